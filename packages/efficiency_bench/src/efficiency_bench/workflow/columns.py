"""What the columns of a CSV are: header, unit and kind of each, also as a W3C CSVW description beside the file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from efficiency_bench.records.json_file import write_json
from efficiency_bench.workflow.tables import Table
from efficiency_core.files import atomic_path

METADATA = "-metadata.json"
"""What the description's name adds to the name of the CSV, by which CSVW finds it."""
SPREADS = {
    "p10": "tenth percentile over the rounds of the timing",
    "p90": "ninetieth percentile over the rounds of the timing",
    "low": "lower end of the 95 % interval, from resampled rounds",
    "high": "upper end of the 95 % interval, from resampled rounds",
}
"""Ending of the column of a spread of timings -> what it holds."""
ORIGIN = {
    "seeds": "runs behind the row, one per seed; the most of any cell",
    "dataset": "data that were read, and the data set of the thesis that they stand in for",
    "preset": "scale of the runs, a file of workflows/config",
    "device": "device of the runs; on a CPU with the number of threads",
    "seeds_by_cell": "numbers that went into the mean of each cell, where the cells of a row differ",
    "dataset_by_cell": "data that were read for each cell, where the cells of a row differ",
    "scale": "network, input and length of the training; COLUMN: where the cells of a row differ",
    "units": "unit of every column with a number",
    "status": "measured, or reported_only where this project has no number",
    "note": "what is missing, or what else there is to know",
}
"""Column about the origin of a row -> what it holds, in the order of the CSV."""


@dataclass(frozen=True)
class ColumnFacts:
    """What a reader must know of a column."""

    description: str
    """Its header in words."""
    unit: str = ""
    """Unit of its numbers; empty for text, "1" for a plain number."""

    @property
    def datatype(self) -> Literal["number", "string"]:
        return "number" if self.unit else "string"


def table_columns(table: Table, names: Iterable[str]) -> dict[str, ColumnFacts]:
    """The columns `names` of the table's CSV."""
    known = {name: ColumnFacts(text) for name, text in {**table.keys, **ORIGIN}.items()}
    known["seeds"] = ColumnFacts(ORIGIN["seeds"], "1")
    for name, column in table.metrics.items():
        header, unit = column.header, column.unit
        known |= {
            f"{name}_reported": ColumnFacts(f"{header}, as the thesis prints it", unit),
            f"{name}_reported_std": ColumnFacts(f"{header}, spread that the thesis prints", unit),
            name: ColumnFacts(f"{header}, measured here: mean over the seeds", unit),
            f"{name}_std": ColumnFacts(f"{header}, sample standard deviation over the seeds", unit),
            **{f"{name}_{end}": ColumnFacts(f"{header}, {text}", unit) for end, text in SPREADS.items()},
        }
    return {name: known[name] for name in names}


def write_csv(
    frame: pd.DataFrame, path: Path, columns: Mapping[str, ColumnFacts], head: Mapping[str, str]
) -> list[Path]:
    """Write `frame` into `path`, and its CSVW description beside it unless `path` is a stream; returns what was written.

    `head` has `title`, `description` and `source` of the whole table.
    """
    paths = [path, path.with_name(path.name + METADATA)] if path.suffix == ".csv" else [path]
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
        for described in paths[1:]:
            write_json(described, metadata(path.name, columns, head))
    return paths


def metadata(file: str, columns: Mapping[str, ColumnFacts], head: Mapping[str, str]) -> dict[str, Any]:
    """The description of the CSV `file` by "Metadata Vocabulary for Tabular Data" (W3C, 2015)."""
    described = [
        {
            "name": name,
            "titles": [name],
            "dc:description": facts.description,
            "datatype": facts.datatype,
            **({"schema:unitText": facts.unit} if facts.unit else {}),
        }
        for name, facts in columns.items()
    ]
    return {
        "@context": ["http://www.w3.org/ns/csvw", {"@language": "en"}],
        "url": file,
        **{f"dc:{name}": text for name, text in head.items()},
        "tableSchema": {"columns": described},
    }
