"""The keys of `snakemake --config KEY=VALUE`."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from efficiency_bench.documents import Entry, Expected, Flag, Source, Text, check_document
from efficiency_bench.workflow.presets import TARGET
from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class Config(Entry):
    """Configuration of the workflow."""

    preset: Annotated[str, Expected("the name of a preset: a file of workflows/config without .yaml")] = "quick"
    """Scale of every run: a file of `workflows/config` without `.yaml`."""
    data_root: Annotated[str | None, Expected("the folder of real data sets (empty for none)")] = None
    """Folder of real data sets; empty: there is none; not given: the variable EFFICIENCY_DATA."""
    device: Annotated[Literal["auto", "cpu", "cuda"], Expected("auto, cpu or cuda")] = "auto"
    """Device of every run."""
    results: Annotated[Text, Expected("the folder for results")] = "results"
    """Folder for run records, tables and figures."""
    mix_devices: Flag = False
    """Allow a row of a table to hold numbers measured on different devices."""
    worker: Flag = True
    """Let one process with torch imported fork for every local run; false: each run is a process of its own."""
    cluster: Flag = False
    """Runs are jobs of a SLURM cluster: `device` is one of its nodes', which `auto` asks SLURM for. `profiles/slurm` sets it."""


def read_config(values: Mapping[str, Any]) -> Config:
    """The configuration that `values` (Snakemake's `config`) gives, with `data_root` resolved to a folder or "".

    Raises:
        UsageError: an unknown key, a value of another type, or a `data_root` that is no folder.
    """
    # Snakemake takes `True` on its command line for true, and `true` for text.
    plain = {name: value == "true" if value in ("true", "false") else value for name, value in values.items()}
    config = check_document(Config, Source(plain, lambda name: "--config"))
    root = os.environ.get("EFFICIENCY_DATA", "") if config.data_root is None else config.data_root
    if root and not Path(root).is_dir():
        raise UsageError(f"data_root: {root} is no folder; name one that exists, or none")
    return replace(config, data_root=root, results=config.results.rstrip("/"))


def check_asked(asked: Iterable[str], results: str, known: Iterable[str]) -> None:
    """Refuse a file that looks like a result and is none, before Snakemake says that it has no rule for it.

    Args:
        asked: words of the command line; those that are no file of a table or picture are passed over.
        results: the folder for results.
        known: names of tables, figures and other results.

    Raises:
        UsageError: a known name in another folder, or a name like a known one; the message has the right file.
    """
    names = list(known)
    for file in map(Path, asked):
        if file.suffix not in (".csv", ".svg", ".png"):
            continue
        mistyped = file.parent == Path(results) and file.stem not in names and not TARGET.fullmatch(file.stem)
        if mistyped and (meant := get_close_matches(file.stem, names, 1)):
            raise UsageError(f"{file}: no such result; did you mean {results}/{meant[0]}{file.suffix}?")
        if file.stem in names and file.parent != Path(results):
            raise UsageError(f"{file}: results are in {results}; ask for {results}/{file.name}")
