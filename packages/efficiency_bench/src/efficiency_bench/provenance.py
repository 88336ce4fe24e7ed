"""Which code made a number: versions of packages, digests of sources, state of the repository."""

import hashlib
import importlib.util
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import UsageError

# Distributions whose version can change a number. Those that are not installed are left out of the record.
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "lightning",
    "torchmetrics",
    "faster-coco-eval",
    "fvcore",
    "h5py",
    "av",
    "pillow",
    "scikit-learn",
    "pandas",
    "nvidia-ml-py",
)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed distributions among `PACKAGES`."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def source_digest(package: str) -> str:
    """sha256 (hex) over the installed package's `*.py`: for each, sorted by relative path, the path and the
    bytes.

    It changes when a line of the package does, wherever the package is installed from.

    Raises:
        UsageError: no package of this name can be imported.
    """
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"package {package!r} is not installed, so its source has no digest")
    return folder_digest(Path(next(iter(spec.submodule_search_locations))))


def folder_digest(root: Path) -> str:
    """`source_digest` of the package whose `*.py` lie under `root`."""
    digest = hashlib.sha256()
    files = {file.relative_to(root).as_posix(): file for file in root.rglob("*.py")}
    for name, file in sorted(files.items()):
        content = file.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def git_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """`commit` (hex) and `dirty` (tracked changes, or untracked files git does not ignore) of the repository
    of `path`.

    Both are None where git is not installed, `path` lies in no repository, or the repository ignores `path`
    (a virtual environment inside somebody's project says nothing about that project). `commit` alone is None
    before the first commit.
    """
    nothing: dict[str, Any] = {"commit": None, "dirty": None}
    place = Path(path).resolve()
    while not place.is_dir():
        place = place.parent
    status = _git(place, "status", "--porcelain")
    if status is None or _git(place, "check-ignore", "--quiet", str(place)) is not None:
        return nothing
    commit = _git(place, "rev-parse", "--verify", "--quiet", "HEAD")
    return {"commit": commit.strip() if commit else None, "dirty": bool(status.strip())}


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command in `folder`, None where it fails or git is absent."""
    # Without optional locks the question leaves no trace in a repository that others are working in.
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
