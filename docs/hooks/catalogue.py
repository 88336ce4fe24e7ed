"""What the bench has, from its own files: data sets, generators and experiments."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from kept import ROOT

from efficiency_bench import experiments as bench
from efficiency_bench.figures.definitions import find_figures
from efficiency_bench.figures.kinds import CurveFigure
from efficiency_bench.workflow.data_sets import DataSet, load_data_sets
from efficiency_bench.workflow.tables import RunChoice, find_tables
from synthetic_datasets.generators import SUMMARIES


class RealSet(NamedTuple):
    summary: str
    needs: str
    """What must lie under the data root, for each form of the set."""
    used_by: str
    stand_in: str


@cache
def _data_sets() -> dict[str, DataSet]:
    return load_data_sets(ROOT / "workflows" / "data.yaml")


def experiments() -> list[bench.Experiment]:
    return [bench.get(name) for name in bench.names()]


def generators() -> dict[str, str]:
    """Name on the command line -> what it makes."""
    return SUMMARIES


def generated_data() -> list[DataSet]:
    return [data_set for data_set in _data_sets().values() if data_set.generator]


def real_data() -> list[RealSet]:
    """The real data sets, with the tables and figures that read them."""
    users: dict[str, list[str]] = {}
    for target, run in _runs():
        read = bench.get(run.experiment).data
        for name in {run.data.get(own, own) for own in read}:
            if target not in users.setdefault(name, []):
                users[name].append(target)
    return [
        RealSet(
            data_set.summary,
            "<br>or ".join("<br>".join(f"`{path}`" for path in form.needs) for form in data_set.real),
            ", ".join(users.get(name, [])),
            f"`{data_set.stand_in}`",
        )
        for name, data_set in _data_sets().items()
        if data_set.real
    ]


def _runs() -> Iterator[tuple[str, RunChoice]]:
    """Every table and figure with the runs that it asks for."""
    workflows = ROOT / "workflows"
    for table in find_tables(workflows / "tables").values():
        for row in table.rows:
            for measure in row.measures:
                yield f"{table.kind} {table.number}", measure
    for figure in find_figures(workflows / "figures").values():
        runs = (
            [m for row in figure.points.rows for m in row.measures]
            if isinstance(figure, CurveFigure)
            else figure.panels
        )
        for run in runs:
            yield f"figure {figure.figure}", run
