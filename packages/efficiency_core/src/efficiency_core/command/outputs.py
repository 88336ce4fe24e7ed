"""Options that name what a command writes, and the checks of them before it works."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from tyro.conf import Positional

from efficiency_core.errors import UsageError
from efficiency_core.files import check_output
from efficiency_core.settings import annotations_of

T = TypeVar("T")


@dataclass(frozen=True)
class Output:
    """Mark of an option that names an output: ``Annotated[Path, Output()]``. Text ``-`` is standard output."""

    folder: bool = False
    """Whether it is a folder."""
    writes: tuple[str, ...] = ()
    """Names of files in the folder that the command writes and might be given as an input."""


OutputFile = Annotated[T, Output()]
"""The type of a field that names a file to write: ``OutputFile[Path]``, ``OutputFile[Path | None]``."""
OutputFolder = Annotated[T, Output(folder=True)]
"""The type of a field that names a folder to write into."""


def check_outputs(options: Any, settings: Path | None) -> None:
    """Refuse outputs of a command before it works.

    Inputs are all other paths among the options, the file ``settings``, and texts with a slash or a full stop, also behind
    ``KEY=``.

    Raises:
        UsageError: if an output cannot be written, is an input too, or is two outputs.
    """
    outputs: list[tuple[str, Path, Output]] = []
    inputs = [] if settings is None else [("--settings", settings)]
    for option, value, mark in _values(options):
        if mark is None:
            inputs += [(option, path) for path in _paths(value)]
        elif value is not None and value != "-":
            outputs.append((option, Path(value), mark))
    for number, (option, path, mark) in enumerate(outputs):
        check_output(path, mark.folder)
        if path.exists() and not (path.is_file() or path.is_dir()):
            continue  # a device or a pipe, which can be both
        for other, given in inputs:
            real = Path(os.path.realpath(given))
            if _same(path, given) or (real.name in mark.writes and _same(path, real.parent)):
                raise UsageError(
                    f"{given}: is the input {other}, which {option} would overwrite; give another {option}"
                )
        for other, given, _ in outputs[:number]:
            if _same(path, given):
                raise UsageError(f"{path}: two outputs cannot go to the same file ({other} and {option})")


def _values(options: Any, prefix: str = "") -> Iterator[tuple[str, Any, Output | None]]:
    """Option, value and mark of every field, those of nested dataclasses included."""
    for name, annotation in annotations_of(type(options)).items():
        value, marks = getattr(options, name), getattr(annotation, "__metadata__", ())
        if is_dataclass(value):
            yield from _values(value, f"{prefix}{name}.")
        else:
            option = name.upper() if Positional in marks else f"--{prefix}{name}".replace("_", "-")
            yield option, value, next((mark for mark in marks if isinstance(mark, Output)), None)


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, tuple):
        for part in value:
            yield from _paths(part)
    elif isinstance(value, Path):
        yield value
    elif isinstance(value, str):
        text = value.rpartition("=")[2]
        if "/" in text or "." in text:
            yield Path(text)


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one is not there yet
        return os.path.realpath(one) == os.path.realpath(other)
