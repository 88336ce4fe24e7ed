"""Which software made a number: versions of packages and the state of the repository."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from efficiency_bench.records.run_record import GitState

# Distributions whose version can change a number. Those that are not installed are left out of the record.
PACKAGES = (
    "torch", "torchvision", "numpy", "lightning", "torchmetrics", "faster-coco-eval", "fvcore", "h5py", "av", "pillow",
    "scikit-learn", "pandas", "nvidia-ml-py",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed distributions among `PACKAGES`."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(path: str | os.PathLike[str]) -> GitState:
    """`commit` (hex) and `dirty` (tracked changes, or untracked files git does not ignore) of the repository of `path`.

    Both are None where git is not installed, `path` lies in no repository, or the repository ignores `path` (a virtual
    environment inside a project). `commit` alone is None before the first commit.
    """
    nothing: GitState = {"commit": None, "dirty": None}
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
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, env=environment, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
