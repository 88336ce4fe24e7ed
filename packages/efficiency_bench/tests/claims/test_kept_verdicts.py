"""The project's own claims over the kept records: every verdict follows from its records, computed here a second time with
plain loops over the JSON files, by another way from a place to its runs (`choose_variants`) and with scipy's Student's t."""

import csv
import json
import math
import statistics
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from efficiency_bench.claims import Claim, Claims, Verdict, judge, load_claims
from efficiency_bench.claims.definitions import Check
from efficiency_bench.claims.ledger import VERDICTS
from efficiency_bench.claims.records import RANKING
from efficiency_bench.cli import main
from efficiency_bench.workflow.data_sets import choose_variants, load_data_sets, with_real_settings
from efficiency_bench.workflow.plan import experiment_runs
from efficiency_bench.workflow.presets import load_preset

ROOT = Path(__file__).parents[4]
WORKFLOWS = ROOT / "workflows"
KEPT = sorted(ROOT.glob("results/reference/*/runs"))
REAL = (
    "MNIST/raw", "cifar10/train", "cifar10/test", "tinyimagenet32/train", "tinyimagenet32/test", "imagenette224/train",
    "imagenette224/val",
)  # fmt: skip
"""Real data under the data roots of the kept records."""


@pytest.fixture(scope="module")
def claims() -> Claims:
    return load_claims(WORKFLOWS / "claims.yaml")


@pytest.fixture(scope="module")
def verdicts(claims: Claims) -> dict[str, Verdict]:
    return {verdict.id: verdict for verdict in judge(claims, KEPT)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for place in REAL:
        (folder / place).mkdir(parents=True)
    return folder


def test_the_ledger_covers_every_chapter_of_methods(claims: Claims, verdicts: dict[str, Verdict]) -> None:
    chapters = [claim.chapter for claim in claims.claims]
    assert len(chapters) >= 40 and set(chapters) == {2, 3, 4, 5} and chapters == sorted(chapters)
    assert len(verdicts) == len(chapters) and {one.verdict for one in verdicts.values()} == set(VERDICTS)
    for verdict in verdicts.values():
        assert bool(verdict.reason) == (verdict.verdict != "holds"), verdict.id
        assert verdict.rule and verdict.where and verdict.thesis and verdict.rests_on, verdict.id
        assert bool(verdict.records) == (verdict.source not in ("", "thesis")), verdict.id
        if verdict.verdict in ("holds", "does not hold"):
            assert verdict.measured and verdict.source, verdict.id
        assert verdict.preset != "smoke"


@cache
def folders(preset_name: str, root: Path | None) -> tuple[Any, dict[str, str]]:
    """The preset, and the folder of every data set with this data root or with none."""
    data_sets = load_data_sets(WORKFLOWS / "data.yaml")
    preset = with_real_settings(load_preset(WORKFLOWS / "config" / f"{preset_name}.yaml"), data_sets)
    variants = choose_variants(data_sets, preset, str(root or ""))
    return preset, {name: variant.folder for name, variant in variants.items()}


def numbers(test: Check, verdict: Verdict, data: Path | None) -> dict[str, dict[int, dict[str, Any]]]:
    """Place -> seed -> its record, as the JSON files have them; each seed from the first folder that has it at all places."""
    # Runs that presets share may have been made with another one: the first that is named judges.
    names = sorted(verdict.preset.split(", "), key=RANKING.index) if verdict.source else []
    preset, variants = folders(names[0], data) if names else (None, {})
    runs = {
        place: experiment_runs(cell.choice, preset, variants, "here", cell.row, cell.seeds_name)
        if preset and cell.choice
        else []
        for place, cell in test.cells.items()
    }
    found: dict[str, dict[int, dict[str, Any]]] = {place: {} for place in runs}
    sources = verdict.source.split(" + ")
    for source in sources:
        kept = ROOT / "results" / "reference" / source / "runs"
        files = {
            place: {run.seed: file for run in own if (file := kept / f"{run.run_id}.json").exists()}
            for place, own in runs.items()
        }
        whole = set.intersection(*map(set, files.values()))
        for place, by_seed in files.items():
            for seed in by_seed if len(sources) == 1 else whole - found[place].keys():
                found[place][seed] = json.loads(by_seed[seed].read_text())
    return found


def value_of(test: Check, place: str, record: dict[str, Any]) -> float | None:
    metric = test.cells[place].metric
    if metric in record["metrics"]:
        return float(record["metrics"][metric]["value"])
    return test.absent_as if metric in (record.get("absent") or {}) else None


def quantities(test: Check) -> list[Any]:
    """(places, function of their numbers) for each comparison."""
    places = test.values
    if test.kind in ("order", "difference"):
        return [((a, b), lambda v: v[0] - v[1]) for a, b in pairwise(places)]
    if test.kind == "ratio":
        return [(places, lambda v: v[0] / v[1])]
    if test.kind == "interval":
        return [((place,), lambda v: v[0]) for place in places]
    if test.kind == "gap":
        return [(places, lambda v: v[0] - v[1] - v[2] + v[3])]
    n = len(places)
    less = lambda v: max(v[n:]) - min(v[n:]) if v[n:] else 0.0  # noqa: E731
    return [((*places, *test.than), lambda v: max(v[:n]) - min(v[:n]) - less(v))]


def outcome(test: Check, low: float, high: float) -> str:
    least = -math.inf if test.at_least is None else test.at_least
    most = math.inf if test.at_most is None else test.at_most
    if test.kind == "order":
        least = max(least, 0.0)
        return "holds" if low > least else "reversed" if high <= least else "undecided"
    if least <= low and high <= most:
        return "holds"
    return "reversed" if high < least or low > most else "undecided"


def compared(test: Check, verdict: Verdict, data: Path | None) -> list[str]:
    """The outcome of each comparison of a test."""
    stats = pytest.importorskip("scipy.stats")
    found = []
    read = {} if test.basis == "printed" else numbers(test, verdict, data)
    for places, quantity in quantities(test):
        if test.basis == "printed":
            exact = quantity([float(test.cells[place].printed) for place in places])
            found.append(outcome(test, exact, exact))
            continue
        records = [read[place] for place in places]
        values = [
            {seed: value for seed, one in by_seed.items() if (value := value_of(test, place, one)) is not None}
            for place, by_seed in zip(places, records, strict=True)
        ]
        if not all(values):
            found.append("missing")
        elif test.basis == "counts":
            exact = quantity([next(iter(by_seed.values())) for by_seed in values])
            found.append(outcome(test, exact, exact))
        elif test.basis == "rounds":
            found.append(rounds_outcome(test, places, records, quantity))
        else:
            seeds = sorted(set(values[0]).intersection(*values))
            by_seed = [quantity([one[seed] for one in values]) for seed in seeds]
            if test.basis == "cases" and "reversed" in {outcome(test, one, one) for one in by_seed}:
                found.append("reversed")
            elif len(by_seed) < 3:
                found.append("undecided")
            else:
                half = stats.t.ppf(0.95, len(by_seed) - 1) * statistics.stdev(by_seed) / math.sqrt(len(by_seed))
                mean = sum(by_seed) / len(by_seed)
                found.append(outcome(test, mean - half, mean + half))
    return found


def rounds_outcome(test: Check, places: tuple[str, ...], records: list[dict[int, Any]], quantity: Any) -> str:
    """By the percentiles of each timing; all that kept claims compare are of the form PREFIX_NAME with PREFIX of one word."""
    low_high = []
    for place, by_seed in zip(places, records, strict=True):
        (record,) = by_seed.values()
        prefix, _, name = test.cells[place].metric.partition("_")
        if record["protocol"]["rounds"] < 5:
            return "undecided"
        low_high.append([record["metrics"][f"{prefix}_{what}_{name}"]["value"] for what in ("p10", "p90")])
    first, rest = low_high[0], low_high[1:]
    return outcome(
        test, quantity([first[0], *(one[1] for one in rest)]), quantity([first[1], *(one[0] for one in rest)])
    )


def combined(outcomes: list[str]) -> str:
    for name, verdict in (("reversed", "does not hold"), ("missing", "not run"), ("undecided", "undecided")):
        if name in outcomes:
            return verdict
    return "holds"


@pytest.mark.parametrize("chapter", [2, 3, 4, 5])
def test_every_verdict_follows_from_its_records(
    claims: Claims, verdicts: dict[str, Verdict], root: Path, chapter: int
) -> None:
    for claim in claims.claims:
        if claim.chapter == chapter:
            verdict = verdicts[claim.id]
            again = {combined(outcomes(claim, verdict, data)) for data in (root, None)}
            if verdict.verdict in ("holds", "does not hold", "undecided"):
                assert verdict.verdict in again, claim.id
            else:
                assert again == {"not run"}, claim.id


def outcomes(claim: Claim, verdict: Verdict, data: Path | None) -> list[str]:
    return [one for test in claim.tests for one in compared(test, verdict, data)]


def test_the_command_wants_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["claims", "--out", str(tmp_path / "claims.csv")])
    assert ended.value.code == 2 and not list(tmp_path.iterdir())
    assert capsys.readouterr().err == "error: expected at least one folder of run records, such as results/runs\n"


def test_the_command_writes_a_row_for_each_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "claims.csv"
    with pytest.raises(SystemExit) as ended:
        main(["claims", *map(str, KEPT), "--claims", str(WORKFLOWS / "claims.yaml"), "--out", str(out)])
    assert not ended.value.code
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "id", "chapter", "claim", "where", "rests_on", "thesis", "measured", "dataset", "preset", "seeds", "device", "source",
        "verdict", "reason", "rule", "records", "elsewhere",
    ]  # fmt: skip
    printed = capsys.readouterr().out.splitlines()
    count = sum(row["verdict"] == "holds" for row in rows)
    assert printed[0].startswith(f"{len(rows)} claims: {count} holds, ") and printed[1] == str(out)
