"""What a page shows when a cell, a point, a claim or a figure is opened: its facts, and the runs behind it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from efficiency_bench.claims.ledger import Verdict
from efficiency_bench.report.builds import Build
from efficiency_bench.report.rows import CellView, RowView, Runs, TableView
from efficiency_bench.report.runs import shared_settings, view_run
from efficiency_bench.workflow.data_sets import DataSet

Facts = Iterable[tuple[str, str]]
ORIGIN = {"Data set": "dataset", "Preset": "preset", "Network and input": "scale", "Note": "note"}
"""What the page calls the facts of a row -> their names in `RowView.facts`."""


class Details:
    """Collects what can be opened. Its methods return a number, by which the page finds the entry again."""

    def __init__(self, builds: Sequence[Build], data_sets: Mapping[str, DataSet]) -> None:
        self._builds = {build.name: build for build in builds}
        self._data_sets = data_sets
        self._entries: list[dict[str, Any]] = []
        self._origins: dict[tuple[tuple[str, str], ...], int] = {}
        self._runs: dict[str, dict[str, Any]] = {}

    def cell(self, view: TableView, row: RowView, cell: CellView) -> int:
        column = view.table.metrics[cell.metric]
        title = f"{view.title}: {' '.join(filter(None, row.keys))}, {column.header}"
        measured = ", ".join(filter(None, [cell.measured, cell.spread])).replace(", ±", " ±")
        facts = [
            ("Thesis", cell.thesis),
            ("Measured", measured),
            ("Difference", cell.difference),
            ("Unit", column.unit),
        ]
        facts += [("Better", "higher" if column.higher_is_better else "lower"), ("Caution", cell.doubt)]
        return self.add(
            title, facts, cell.runs, cell.recorded, [(name, row.facts[key]) for name, key in ORIGIN.items()]
        )

    def claim(self, claim: Verdict) -> int:
        facts = [
            ("Verdict", claim.verdict),
            ("Reason", claim.reason),
            ("Thesis", claim.thesis),
            ("Measured", claim.measured),
        ]
        facts += [("Rule", claim.rule), ("Where", claim.where), ("Data set", claim.dataset), ("Device", claim.device)]
        facts.append(("Elsewhere", claim.elsewhere))
        runs = [(name, run) for name, run in claim.runs if name in self._builds and run in self._builds[name].records]
        if absent := len(claim.runs) - len(runs):
            facts.append(("Caution", f"{absent} of its {len(claim.runs)} run records are not in this report"))
        return self.add(claim.claim, facts, tuple(runs))

    def add(self, title: str, facts: Facts, runs: Runs, metric: str = "", origin: Facts = ()) -> int:
        """`metric` is the one of the runs' metrics that is shown; `origin` are facts that many entries share."""
        keys = []
        for name, run in runs:
            key = f"{name}/{run}"
            if key not in self._runs:
                build = self._builds[name]
                self._runs[key] = view_run(build, build.records[run], self._data_sets)
            keys.append(key)
        shared = self._origins.setdefault(_given(origin), len(self._origins))
        self._entries.append({"title": title, "facts": _given(facts), "origin": shared, "runs": keys, "metric": metric})
        return len(self._entries) - 1

    def to_json(self) -> dict[str, Any]:
        """Every entry, and the runs that they name, as JSON values."""
        runs, settings = shared_settings(self._runs)
        return {"entries": self._entries, "origins": list(self._origins), "runs": runs, "settings": settings}


def _given(facts: Facts) -> tuple[tuple[str, str], ...]:
    """The facts that are not empty."""
    return tuple(fact for fact in facts if fact[1])
