"""`effbench tabulate` and `effbench plot`: tables and figures from run records."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff

from efficiency_bench.workflow.presets import Preset, load_preset
from efficiency_core.command import OutputFile, Pairs, Positional, arg
from efficiency_core.settings import parse_pairs


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """Which records go into a table or figure."""

    preset_file: Annotated[Path, arg(metavar="FILE.yaml")]
    """The preset, a file of workflows/config."""
    runs: Annotated[Path, arg(metavar="DIR")]
    """Folder of the run records."""
    data_sets: Annotated[Path | None, arg(metavar="FILE.yaml")] = None
    """workflows/data.yaml; needed where a run read a real data set, which has settings of its own."""
    data: Annotated[Pairs, arg(metavar="NAME=DIR")] = ()
    """Folder of a data set; may be repeated."""
    allow_missing: Annotated[bool, FlagCreatePairsOff] = False
    """Leave out what runs measure that are not there."""
    mix_devices: Annotated[bool, FlagCreatePairsOff] = False
    """Allow runs of several devices in one row."""

    def inputs(self) -> tuple[Preset, Path, dict[str, str]]:
        """The preset, with what real data sets change in it; the folder of the records; data set -> the name of its folder."""
        preset = load_preset(self.preset_file)
        if self.data_sets is not None:
            from efficiency_bench.workflow.data_sets import load_data_sets, with_real_settings  # brings the generators

            preset = with_real_settings(preset, load_data_sets(self.data_sets))
        folders = parse_pairs(self.data, "--data", "NAME=DIR")
        return preset, self.runs, {name: Path(folder).name for name, folder in folders.items()}


@dataclass(frozen=True, kw_only=True)
class TableOptions(ResultOptions):
    """Compute a table from run records."""

    table: Positional[Path]
    """workflows/tables/tableC_N.yaml."""
    out: Annotated[OutputFile[Path], arg(metavar="FILE.csv")]
    """The table to write; FILE.csv-metadata.json beside it says what its columns are."""


@dataclass(frozen=True, kw_only=True)
class FigureOptions(ResultOptions):
    """Draw a figure from run records."""

    figure: Positional[Path]
    """workflows/figures/figC_N.yaml."""
    out: Annotated[OutputFile[Path], arg(metavar="FILE.svg")]
    """The figure to write; FILE.png, FILE.csv and FILE.csv-metadata.json go beside it."""


def run_tabulate(options: TableOptions) -> None:
    from efficiency_bench.workflow.tables import load_table
    from efficiency_bench.workflow.tabulate import tabulate, write_table

    table = load_table(options.table)
    frame = tabulate(table, *options.inputs(), options.allow_missing, options.mix_devices)
    for path in write_table(table, frame, options.out):
        print(path)


def run_plot(options: FigureOptions) -> None:
    from efficiency_bench.figures.definitions import load_figure
    from efficiency_bench.figures.plot import plot

    allowed = options.allow_missing, options.mix_devices
    for path in plot(load_figure(options.figure), *options.inputs(), options.out, *allowed):
        print(path)
