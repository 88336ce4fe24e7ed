"""Install each package given on the command line alone into an empty environment, import it, and run its tests there.

    python tests/packages_alone.py [--fast] datasets packages/location_anticipation

With ``--fast``, tests marked slow are left to the run in the shared environment.

Two packages are looked at side by side, one thread each; what their commands print comes when a package is through.

The environments are made under a temporary folder and removed. Nothing of this repository's own environment is visible
in them, so a package that quietly needs a sibling fails here.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def run(*command: str | Path, folder: Path) -> None:
    """Run a command in ``folder``, outside the repository, with nothing of the caller's Python environment."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}
    with (folder / "log").open("a") as log:
        print("+", *command, file=log, flush=True)
        environment = {**clean, "OMP_NUM_THREADS": "1"}
        subprocess.run([str(part) for part in command], cwd=folder, env=environment, check=True, stdout=log, stderr=log)


def check(package: Path, options: list[str]) -> bool:
    """Whether the package installs, imports and passes its tests; prints what was run."""
    with tempfile.TemporaryDirectory(prefix=f"{package.name}-") as folder:
        home = Path(folder)
        try:
            _check(package, options, home)
        except subprocess.CalledProcessError as error:
            print((home / "log").read_text(), f"{package.name}: {error}", sep="\n", flush=True)
            return False
        print((home / "log").read_text(), f"{package.name}: passed", sep="\n", flush=True)
        return True


def _check(package: Path, options: list[str], home: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    venv.create(home / "env", with_pip=True)
    python = home / "env" / "bin" / "python"
    # The plain install first: it must import with its required dependencies alone.
    run(python, "-m", "pip", "install", "--quiet", package, folder=home)
    run(python, "-c", f"import {project['name']} as package; print(package.__name__, package.__file__)", folder=home)
    run(python, "-m", "pip", "install", "--quiet", f"{package}[test]", folder=home)
    run(python, "-m", "pytest", "-q", *options, "--rootdir", package, package / "tests", folder=home)


def main() -> None:
    fast = "--fast" in sys.argv
    options = ["-m", "not slow"] if fast else []
    packages = [Path(word).resolve() for word in sys.argv[1:] if word != "--fast"]
    with ThreadPoolExecutor(max_workers=2) as pool:
        passed = list(pool.map(lambda package: check(package, options), packages))
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
