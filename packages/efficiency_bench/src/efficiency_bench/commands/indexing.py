"""`effbench index`: what a real data set holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from efficiency_bench.records.set_index import Package, content_name, make_index
from efficiency_core.command import OutputFile, Pairs, Positional, arg
from efficiency_core.settings import parse_assignments


@dataclass(frozen=True)
class IndexOptions:
    """Write an index of a data set that is read in its own layout."""

    format: Positional[str]
    """A format of the package, such as ucf101."""
    root: Positional[Path]
    """Folder of the data set."""
    split: str
    """Name of the split in that format."""
    out: Annotated[OutputFile[Path], arg(metavar="FILE.index.json")]
    """The index to write."""
    package: Package = "full_video"
    """The package that reads the set."""
    set: Pairs = ()
    """An option of the format; may be repeated."""
    fold: Pairs = ()
    """An option of one fold, given once for each fold. A run with seed s reads fold s modulo their number."""
    name: str = ""
    """Name of the set in records (default: the package's name for it)."""
    source: str = ""
    """Name of its form in records (default: the format)."""


def run_index(options: IndexOptions) -> None:
    folds = [parse_assignments([fold]) for fold in options.fold]
    place = (options.root, options.package, options.format, options.split, parse_assignments(options.set), folds)
    count = make_index(*place, options.out, name=options.name, source=options.source)
    folds_text = f"{max(len(folds), 1)} fold{'s' if len(folds) > 1 else ''}"
    print(f"{count} {content_name(options.package)} in {folds_text}: {options.out}")
