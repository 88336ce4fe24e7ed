"""Install each package given on the command line alone into an empty environment, import it, and run its tests there.

    python tests/packages_alone.py [--fast] datasets packages/location_anticipation

With ``--fast``, tests marked slow are left to the run in the shared environment.

The environments are made under a temporary folder and removed. Nothing of this repository's own environment is visible
in them, so a package that quietly needs a sibling fails here.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path


def run(*command: str | Path, folder: Path) -> None:
    """Run a command in ``folder``, outside the repository, with nothing of the caller's Python environment."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], cwd=folder, env=clean, check=True)


def check(package: Path, options: list[str]) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory(prefix=f"{project['name']}-") as folder:
        home = Path(folder)
        venv.create(home / "env", with_pip=True)
        python = home / "env" / "bin" / "python"
        # The plain install first: it must import with its required dependencies alone.
        run(python, "-m", "pip", "install", "--quiet", package, folder=home)
        run(
            python, "-c", f"import {project['name']} as package; print(package.__name__, package.__file__)", folder=home
        )
        run(python, "-m", "pip", "install", "--quiet", f"{package}[test]", folder=home)
        run(python, "-m", "pytest", "-q", *options, "--rootdir", package, package / "tests", folder=home)


def main() -> None:
    fast = "--fast" in sys.argv
    for package in sys.argv[1:]:
        if package != "--fast":
            check(Path(package).resolve(), ["-m", "not slow"] if fast else [])


if __name__ == "__main__":
    main()
