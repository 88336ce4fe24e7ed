"""JSON files that appear whole or not at all."""

import json
from pathlib import Path
from typing import Any

from efficiency_core.errors import WorkError
from efficiency_core.files import atomic_path


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON; a `WorkError` if it holds NaN, infinity or an object."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise WorkError(f"could not write {path}: its content is not valid JSON ({error})") from error
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
