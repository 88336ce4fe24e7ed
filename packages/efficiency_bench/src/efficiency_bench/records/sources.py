"""What code a result rests on, exactly: a change of a file that it does not reach repeats nothing."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from efficiency_bench.records.builds import note
from efficiency_bench.records.imports import PACKAGES, module_file, package_folder, reached_modules

# Reading files, writing records and results, settings and their errors: what changes here changes no number of a run.
_FORM = (
    "efficiency_bench.documents",
    "efficiency_bench.records",
    "efficiency_bench.workflow",
    "efficiency_core.command",
    "efficiency_core.errors",
    "efficiency_core.files",
    "efficiency_core.settings",
    "efficiency_core.yaml_file",
    "synthetic_datasets.previews",
)


def run_sources(module: str) -> dict[str, Path]:
    """Module -> file of the code that the runs of the experiment in `module` rest on, but for what only reads and writes files
    and the index of data sets, which names every reader."""
    return reached_modules([module], ignored=_FORM)


def data_sources(generator: str) -> dict[str, Path]:
    """Module -> file of the code that a data set of this generator ("moving-digits") rests on, but for its preview."""
    from synthetic_datasets import get_generator

    configuration = get_generator(generator).config_type.__module__
    return reached_modules([configuration, "synthetic_datasets.storage.building"], ignored=_FORM)


def room_sources(room: str) -> dict[str, Path]:
    """Module -> file of the modules in a room, and of the code that they rest on."""
    init = module_file(room)
    assert init is not None  # a room of this repository
    modules = [f"{room}.{file.stem}" for file in init.parent.glob("*.py") if file != init]
    return reached_modules(modules, ignored=_FORM)


def index_sources(package: str) -> dict[str, Path]:
    """Module -> file of the code that the index of a data set in its own layout rests on, which `package` reads."""
    others = {*PACKAGES} - {package, "efficiency_bench", "efficiency_core"}
    form = {*_FORM} - {"efficiency_bench.records"}
    return reached_modules(["efficiency_bench.records.set_index"], ignored={*others, *form})


def command_sources(module: str) -> dict[str, Path]:
    """Module -> file of the code of the bench that a table or a figure rests on, reading and writing included."""
    return reached_modules([module], ignored={*PACKAGES} - {"efficiency_bench"})


def source_digests(modules: Mapping[str, Path]) -> dict[str, str]:
    """Package -> sha256 over those of its files that are among `modules`; see `digest_files`."""
    packages: dict[str, dict[str, Path]] = {}
    for module, file in modules.items():
        package = module.partition(".")[0]
        root = package_folder(package)
        assert root is not None  # it has this module
        packages.setdefault(package, {})[file.relative_to(root).as_posix()] = file
    return {package: digest_files(files) for package, files in sorted(packages.items())}


def folder_digest(root: Path) -> str:
    """`digest_files` of all `*.py` under `root`: what records of version 0.1.0 say of a package."""
    return digest_files({file.relative_to(root).as_posix(): file for file in root.rglob("*.py")})


def digest_files(files: Mapping[str, Path]) -> str:
    """sha256 (hex) over name, length and bytes of every file, sorted by name."""
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        content = file.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def note_digests(path: Path, modules: Mapping[str, Path]) -> None:
    """Note `source_digests` of `modules` in `path`."""
    note(path, "".join(f"{digest}  {package}\n" for package, digest in source_digests(modules).items()))
