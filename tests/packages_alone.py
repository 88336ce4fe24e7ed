"""Install each package given on the command line alone into an empty environment, import it, and run its tests there.

    python tests/packages_alone.py [--fast] datasets packages/location_anticipation

With ``--fast``, every module is imported and the commands are tested, without tests marked slow; the others are left to the
run in the shared environment.

Two packages are looked at side by side, one thread each; what their commands print comes when a package is through, the
end of it once more at the close where one failed.

The environments are made under a temporary folder and removed. Nothing of this repository's own environment is visible
in them, so a package that quietly needs a sibling fails here. One thing is not installed anew: torchvision, and the torch
of several gigabytes that it brings, are links to those of the interpreter that runs this, which a package sees only where
it asks for torch or torchvision itself.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

IMPORT_ALL = """
import importlib, pkgutil, {package}
for module in pkgutil.walk_packages({package}.__path__, "{package}."):
    importlib.import_module(module.name)
"""


def run(*command: str | Path, folder: Path) -> None:
    """Run a command in ``folder``, outside the repository, with nothing of the caller's Python environment."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}
    with (folder / "log").open("a") as log:
        print("+", *command, file=log, flush=True)
        environment = {**clean, "OMP_NUM_THREADS": "1"}
        subprocess.run([str(part) for part in command], cwd=folder, env=environment, check=True, stdout=log, stderr=log)


def modules(environment: Path) -> Path:
    """The site-packages of a virtual environment of this interpreter."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)}))


def link_torch(folder: Path) -> None:
    """Make ``folder`` hold torchvision and all that it requires, as this interpreter has them."""
    found: set[tuple[str, str]] = set()
    wanted = [("torchvision", "")]  # a distribution, and one of its extras or none
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        installed = distribution(name)
        for place in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            if not (folder / place).exists():  # nvidia's packages share one
                (folder / place).symlink_to(str(installed.locate_file(place)))
        for requirement in map(Requirement, installed.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                wanted += [(requirement.name, extra) for extra in ("", *requirement.extras)]


def make(home: Path) -> Path:
    """An empty environment in ``home``; its interpreter."""
    venv.create(home / "env", with_pip=True)
    return home / "env" / "bin" / "python"


def check(package: Path, fast: bool, torch: Path) -> str:
    """Install, import and test a package; prints what was run and returns the end of it, or nothing if all went well."""
    with tempfile.TemporaryDirectory(prefix=f"{package.name}-") as folder:
        home = Path(folder)
        failure = ""
        try:
            _check(package, fast, torch, home)
        except subprocess.CalledProcessError as error:
            failure = str(error)
        text = (home / "log").read_text()
        print(text, f"{package.name}: {failure or 'passed'}", sep="\n", flush=True)
        return "\n".join([*text.splitlines()[-60:], f"{package.name}: {failure}"]) if failure else ""


def _check(package: Path, fast: bool, torch: Path, home: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    python = make(home)
    torch_is_seen = modules(home / "env") / "torch.pth"
    if any(words.startswith("torch") for words in project["dependencies"]):
        torch_is_seen.write_text(f"{torch}\n")
    # The plain install first: it must import with its required dependencies alone.
    run(python, "-m", "pip", "install", "--quiet", package, folder=home)
    run(python, "-c", f"import {project['name']} as package; print(package.__name__, package.__file__)", folder=home)
    if any(words.startswith("torch") for extra in project["optional-dependencies"].values() for words in extra):
        torch_is_seen.write_text(f"{torch}\n")
    run(python, "-m", "pip", "install", "--quiet", f"{package}[test]", folder=home)
    run(python, "-c", IMPORT_ALL.format(package=project["name"]), folder=home)
    tests = package / "tests"
    commands = [*tests.glob("test_cli.py"), *tests.glob("test_*_command.py")]
    chosen = ["-m", "not slow", *sorted(commands)] if fast else [tests]
    run(python, "-m", "pytest", "-q", "--rootdir", package, *chosen, folder=home)


def main() -> None:
    fast = "--fast" in sys.argv
    packages = [Path(word).resolve() for word in sys.argv[1:] if word != "--fast"]
    with tempfile.TemporaryDirectory(prefix="torch-") as folder:
        torch = Path(folder)
        link_torch(torch)
        with ThreadPoolExecutor(max_workers=2) as pool:
            ends = list(pool.map(lambda package: check(package, fast, torch), packages))
    failures = [end for end in ends if end]
    sys.exit("\n\n".join(failures) if failures else 0)


if __name__ == "__main__":
    main()
