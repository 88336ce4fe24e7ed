"""`effbench list`, `digest`, `show` and `schemas`: what there is to run, tables for people, and schemas for editors."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficiency_bench import experiments
from efficiency_core.command import OutputFolder, Positional
from efficiency_core.settings import flatten, to_json


@dataclass(frozen=True)
class ListOptions:
    """List the experiments with their settings and defaults."""


def run_list(options: ListOptions) -> None:
    for name in experiments.names():
        experiment = experiments.get(name)
        print(f"{name} (kind {experiment.kind}; data: {', '.join(experiment.data) or 'none'})\n  {experiment.summary}")
        for key, value in flatten(to_json(experiment.settings_type())).items():
            print(f"    {key} = {json.dumps(value)}")


@dataclass(frozen=True)
class DigestOptions:
    """Print the modules that the runs of an experiment rest on, and a sha256 over those of each package."""

    experiment: Positional[str]
    """Name of the experiment."""


def run_digest(options: DigestOptions) -> None:
    from efficiency_bench.records.sources import run_sources, source_digests

    modules = run_sources(experiments.module_of(options.experiment))
    for package, digest in source_digests(modules).items():
        print(f"{digest}  {package}")
    print("\n".join(modules))


@dataclass(frozen=True)
class ShowOptions:
    """Print tables, the thesis's numbers and the measured ones side by side, or claims with their verdicts."""

    table: Positional[tuple[Path, ...]]
    """CSV files that `effbench tabulate` or `effbench claims` wrote."""
    tables: Path = Path("workflows/tables")
    """Folder of the tables' YAML files, which have the captions and headers."""
    width: int = 0
    """Letters in a line; 0: those of the terminal, or 120 where there is none."""


def run_show(options: ShowOptions) -> None:
    import shutil

    from rich.console import Console

    from efficiency_bench.claims.ledger import is_ledger, read_verdicts
    from efficiency_bench.claims.showing import show_verdicts
    from efficiency_bench.workflow.show import show_table

    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know no arrows
    console = Console(
        width=options.width or shutil.get_terminal_size((120, 24)).columns, highlight=False, soft_wrap=False
    )
    for path in options.table:
        if is_ledger(path):
            show_verdicts(read_verdicts(path), console)
        else:
            show_table(path, options.tables, console)


@dataclass(frozen=True)
class SchemasOptions:
    """Write JSON schemas of the YAML files of the workflow (tables, figures, presets and so on), for editors."""

    folder: Positional[OutputFolder[Path]]
    """Folder to write KIND.schema.json into."""


def run_schemas(options: SchemasOptions) -> None:
    from pydantic import TypeAdapter

    from efficiency_bench.claims import Claims
    from efficiency_bench.figures.kinds import Figure
    from efficiency_bench.records.json_file import write_json
    from efficiency_bench.report.charts import ReportFile
    from efficiency_bench.workflow.config import Config
    from efficiency_bench.workflow.data_sets import DataFile
    from efficiency_bench.workflow.presets import Preset
    from efficiency_bench.workflow.tables import Table

    kinds: dict[str, Any] = dict(
        table=Table, figure=Figure, claims=Claims, preset=Preset, data=DataFile, config=Config, report=ReportFile
    )
    for name, kind in kinds.items():
        path = options.folder / f"{name}.schema.json"
        write_json(path, TypeAdapter(kind).json_schema())
        print(path)
