"""Numbers for pages, from the kept tables and run records of `results/reference`."""

from __future__ import annotations

import csv
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "results" / "reference"
PLUS_MINUS = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"
VERDICTS = ("holds", "does not hold", "undecided", "not run")
HEADLINES = (
    "ch2_trajectories_anticipated",
    "ch2_motion_helps_keyframes",
    "ch2_speed_over_per_frame",
    "ch3_more_frames_better",
    "ch3_clusters_above_8_frames",
    "ch3_clustering_order",
    "ch3_fewer_operations",
    "ch4_adaptation_helps_shape",
    "ch4_detection_recovers",
    "ch5_wa_stable_at_small_batches",
    "ch5_wa_above_bn_at_small_batches",
    "ch5_both_components_needed",
)
"""Claims that README.md shows."""


class Number(str):
    """A number as a table prints it, for example `85.18 ± 0.91`; `value` is the number before the sign."""

    @property
    def value(self) -> float:
        return float(self.partition(PLUS_MINUS)[0])


class Row:
    """A row of a kept table; `row.m` is the measured metric m with its spread, `row.m_reported` the thesis's."""

    def __init__(self, cells: Mapping[str, str], place: str) -> None:
        self.cells, self.place = cells, place

    def __getattr__(self, name: str) -> Number:
        if name not in self.cells:
            raise KeyError(f"{self.place} has no column {name!r}; it has {', '.join(self.cells)}")
        spread = self.cells.get(f"{name}_std", "")
        return Number(f"{self.cells[name]}{PLUS_MINUS}{spread}" if spread else self.cells[name])


class KeptTable:
    """A kept table or figure: `table("WA", "64")` is the one row whose identifying cells begin with these texts."""

    def __init__(self, place: str) -> None:
        self.place = place
        with (KEPT / f"{place}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        names = list(rows[0])
        first_metric = next(index for index, name in enumerate(names) if name.endswith("_reported"))
        self.rows = [Row(cells, place) for cells in rows]
        self._keys = [tuple(cells[name] for name in names[:first_metric]) for cells in rows]

    def __call__(self, *keys: str) -> Row:
        found = [row for row, own in zip(self.rows, self._keys, strict=True) if own[: len(keys)] == keys]
        if len(found) != 1:
            raise KeyError(f"{self.place}: {len(found)} rows begin with {keys}; there are {self._keys}")
        return found[0]


@cache
def kept(place: str) -> KeptTable:
    """The table or figure `DEVICE/NAME` of `results/reference`."""
    return KeptTable(place)


@cache
def _records(device: str) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(path.read_text(encoding="utf-8")) for path in sorted((KEPT / device).glob("runs/*.json")))


def _agrees(settings: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(
        _agrees(settings[name], value) if isinstance(value, Mapping) else settings[name] == value
        for name, value in wanted.items()
    )


def measured(
    device: str,
    experiment: str,
    metric: str,
    settings: Mapping[str, Any] | None = None,
    digits: int = 1,
    folder: str = "",
    each: bool = False,
) -> Number:
    """Mean of a metric, and its standard deviation, over the seeds of the kept runs with these settings (nested) and, if
    `folder` is given, data from this folder; "diverged" if every training did. With `each`, the value of every seed in order
    of the seeds, with the digits that it has, "0.05, 0.2, 0.05".

    Raises:
        KeyError: no kept run has them, or runs with different settings do.
    """
    found = [
        record
        for record in _records(device)
        if record["experiment"] == experiment
        and _agrees(record["settings"], settings or {})
        and (not folder or folder in {fact.get("folder") for fact in record["data"].values()})
    ]
    kinds = {
        json.dumps(
            [record["settings"], {name: fact.get("folder") for name, fact in record["data"].items()}], sort_keys=True
        )
        for record in found
    }
    if len(kinds) != 1:
        ids = sorted(record["run_id"] for record in found)
        wanted = f"{settings} and {folder or 'any data'}"
        raise KeyError(f"{device}: {len(kinds)} kinds of kept {experiment} runs have {wanted}: {ids}")
    if all(metric in record["absent"] for record in found):
        return Number("diverged")
    values = [record["metrics"][metric]["value"] for record in sorted(found, key=itemgetter("seed"))]
    if each:
        return Number(", ".join(f"{value:g}" for value in values))
    mean = f"{statistics.fmean(values):.{digits}f}"
    return Number(f"{mean}{PLUS_MINUS}{statistics.stdev(values):.{digits}f}" if len(set(values)) > 1 else mean)


@cache
def claims() -> tuple[dict[str, str], ...]:
    """The verdict of every claim of `workflows/claims.yaml` over the kept records, as `effbench claims` gives it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "claims.csv"
        command = [sys.executable, "-c", "from efficiency_bench.cli import main; main()", "claims"]
        runs = sorted(map(str, KEPT.glob("*/runs")))
        options = ["--claims", str(ROOT / "workflows" / "claims.yaml"), "--out", str(out)]
        subprocess.run([*command, *runs, *options], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        with out.open(encoding="utf-8", newline="") as file:
            return tuple(csv.DictReader(file))


def claims_counted(chapter: int | None = None) -> str:
    """How many claims of a chapter, or of all, have each verdict; those about the thesis's own numbers apart."""
    of_runs, of_thesis = _verdicts(chapter, printed=False), _verdicts(chapter, printed=True)
    words = ("hold", "do not hold", "are undecided", "were not run")
    counts = [f"{of_runs.count(verdict)} {word}" for verdict, word in zip(VERDICTS, words, strict=True)]
    text = f"Of {len(of_runs)} claims, {', '.join(counts[:-1])} and {counts[-1]}"
    if of_thesis:
        contradicted = of_thesis.count("does not hold")
        text += f"; the thesis's own numbers contradict {contradicted} of {len(of_thesis)} further statements"
    return text


def claims_by_chapter() -> str:
    """Markdown table: chapter, and how many of its claims have each verdict."""
    rows = {str(chapter): _verdicts(chapter, printed=False) for chapter in range(2, 6)}
    rows["the thesis against its own numbers"] = _verdicts(None, printed=True)
    lines = [f"| chapter | {' | '.join(VERDICTS)} |", f"|---|{'---:|' * len(VERDICTS)}"]
    lines += [f"| {name} | {' | '.join(str(found.count(each)) for each in VERDICTS)} |" for name, found in rows.items()]
    return "\n".join(lines)


def _verdicts(chapter: int | None, printed: bool) -> list[str]:
    """Verdicts of a chapter's claims, or of all: of those that runs test, or that the thesis's printed numbers test."""
    return [
        claim["verdict"]
        for claim in claims()
        if chapter in (None, int(claim["chapter"])) and (claim["source"] == "thesis") == printed
    ]


def cost_of_records() -> str:
    """Markdown table: what the kept runs of every preset and experiment took, in core-hours (time by threads)."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for folder in sorted(path.parent for path in KEPT.glob("*/runs")):
        for record in _records(folder.name):
            key = record["experiment"], record["preset"], folder.name
            groups.setdefault(key, []).append(record["duration_s"] * record["device"]["threads"] / 3600)
    lines = ["| experiment | preset | device | runs | core-hours | minutes a run |", "|---|---|---|---:|---:|---:|"]
    for key, hours in sorted(groups.items()):
        cells = (*key, str(len(hours)), f"{sum(hours):.1f}", f"{60 * statistics.median(hours):.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def compared(claim: str, name: str, verdict: str, at: int = 0, digits: int = 1) -> str:
    """The comparison `name` of a claim, "slope 8 - uniform 8", with its interval, "4.2 [1.5, 6.9]"; of several tests with this
    comparison the one at place `at`.

    Raises:
        KeyError: there is no such claim or comparison, or its verdict is another than the one that the page writes about.
    """
    found = {one["id"]: one for one in claims()}[claim]
    if found["verdict"] != verdict:
        raise KeyError(f"{claim}: the page says {verdict!r}, the records {found['verdict']!r}")
    numbers = re.findall(rf"(?:; | \| ){re.escape(name)} (-?[\d.]+ \[.*?\])", found["measured"])
    if at >= len(numbers):
        raise KeyError(f"{claim}: no comparison {name!r} at {at} in {found['measured']}")
    return re.sub(r"[\d.]+", lambda number: f"{float(number[0]):.{digits}f}", numbers[at])


def headlines() -> str:
    """Markdown table of the claims that say most about the methods."""
    known = {claim["id"]: claim for claim in claims()}
    lines = ["| chapter | claim of the thesis | here |", "|---|---|---|"]
    lines += [f"| {known[name]['chapter']} | {known[name]['claim']} | {known[name]['verdict']} |" for name in HEADLINES]
    return "\n".join(lines)


def _seeds(count: str) -> str:
    return f"{count} seed" if count == "1" else f"{count} seeds"


def claims_of(chapter: int) -> str:
    """Markdown table of the claims of one chapter, each with its id, what was measured and its verdict."""
    lines = ["| claim | thesis | measured | verdict |", "|---|---|---|---|"]
    for claim in claims():
        if claim["chapter"] == str(chapter):
            where = f"{claim['claim']} <small>({claim['where']}; `{claim['id']}`)</small>"
            found = claim["measured"] or claim["reason"]
            found += f" <small>({claim['dataset']}; {_seeds(claim['seeds'])})</small>" if claim["dataset"] else ""
            verdict = f"**{claim['verdict']}**"
            if seeds := re.findall(r"((?:about|more than) \d+) seeds", claim["reason"]):
                verdict += f" <small>seeds that would decide: {'; '.join(dict.fromkeys(seeds))}</small>"
            verdict += f" <small>elsewhere: {claim['elsewhere']}</small>" if claim["elsewhere"] else ""
            cells = (where, claim["thesis"], found, verdict)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)
