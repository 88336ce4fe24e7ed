"""The folder of real data sets."""

import os
from pathlib import Path

from efficiency_core.errors import UsageError


def resolve_data_root(data_root: str | os.PathLike[str] | None) -> Path | None:
    """The folder of real data: the argument, else the ``EFFICIENCY_DATA`` variable, else none. Raises UsageError if a
    folder was named, by either way, that does not exist."""
    named_by = "--data-root"
    if data_root is None:
        named_by, data_root = "EFFICIENCY_DATA", os.environ.get("EFFICIENCY_DATA")
        if not data_root:
            return None
    root = Path(data_root)
    if not root.is_dir():
        raise UsageError(f"{named_by}: {root} is not a folder; name one that exists, or none to use scikit-learn's")
    return root


def data_folder(data_root: str | os.PathLike[str] | None, *names: str) -> Path | None:
    """The first of these folders of the data root that exists, or None. Raises UsageError as ``resolve_data_root``."""
    root = resolve_data_root(data_root)
    return next((root / name for name in names if root is not None and (root / name).is_dir()), None)
