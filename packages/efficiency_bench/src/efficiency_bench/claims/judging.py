"""From claims and run records to verdicts."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from efficiency_bench.claims.comparisons import Comparison, compare, describe, state
from efficiency_bench.claims.definitions import Claim, Claims
from efficiency_bench.claims.intervals import COMBINED, RULES, SEEDS
from efficiency_bench.claims.ledger import Verdict
from efficiency_bench.claims.needs import needed
from efficiency_bench.claims.records import RANKING, THIS_BUILD, Group, Pool, find_groups
from efficiency_bench.claims.values import Value, read_value
from efficiency_bench.workflow.data_sets import DataSet, load_data_sets, with_real_settings
from efficiency_bench.workflow.origin import name_datasets
from efficiency_bench.workflow.presets import load_preset
from efficiency_bench.workflow.tabulate import name_devices

Values = list[dict[str, Value]]
"""For each test of a claim: place -> value."""

POOLED = ("seeds", "cases", "printed")
"""Bases of tests whose seeds may have run on several devices."""
TIMES = ("ms", "s", "h", "frames/s")
"""Units of what differs between devices."""


@dataclass(frozen=True)
class Evidence:
    """The values of a claim in one group of records."""

    group: Group | None
    values: Values
    complete: bool
    """Whether every value is there."""
    seeds: int
    """Fewest seeds of a value that varies over them; 0: none does."""
    count: tuple[int, int]
    """Number of values that are there, and of those that have records."""
    runs: int
    """Number of seeds of all values together."""

    @property
    def seeded(self) -> bool:
        """Whether every value that varies over seeds has enough of them."""
        return not 0 < self.seeds < SEEDS

    @property
    def place(self) -> tuple[bool, str]:
        """Whether its records are kept ones, and their preset."""
        return (False, "") if self.group is None else (self.group.source != THIS_BUILD, self.group.preset.name)


def judge(claims: Claims, folders: Sequence[Path]) -> list[Verdict]:
    """The verdict on each claim by the run records in `folders`; presets and data sets lie beside the file of claims.

    One group of records (`records.Group`) judges a claim: of those that have all its values, with enough seeds if one has
    them, the first: this build before kept records, of these by preset as in `records.RANKING`, and of one preset that with
    most seeds in the test with the fewest, or else in all. Where every test is over seeds, and none of a time, seeds of
    several devices make one group (`records.Pool`). What other groups with enough seeds would say stands in
    `Verdict.elsewhere`.

    Raises:
        UsageError: a folder or record cannot be read, or runs of one claim read different contents of one data set.
    """
    home = claims.path.parent
    data_sets = load_data_sets(home / "data.yaml")
    paths = {name: home / "config" / f"{name}.yaml" for name in RANKING}
    presets = {name: with_real_settings(load_preset(path), data_sets) for name, path in paths.items() if path.exists()}
    groups = find_groups(folders, presets, data_sets)
    found = []
    for claim in claims.claims:
        best, *others = _evidence(claim, groups)
        verdict = _verdict(claim, best, data_sets)
        found.append(replace(verdict, elsewhere=_elsewhere(claim, verdict, others, data_sets)))
    return found


def _evidence(claim: Claim, groups: Sequence[Group]) -> list[Evidence]:
    """The evidence of all groups, the best first; without records only printed values are there."""
    cells = [cell for test in claim.tests for cell in test.measured]
    pools = all(test.basis in POOLED for test in claim.tests) and not any(cell.unit in TIMES for cell in cells)
    found = [_read(claim, None, ())]
    if cells:
        taken = [group for group in groups if pools or not isinstance(group, Pool)]
        found = [_read(claim, group, choice) for group in taken for choice in group.choices(cells)] or found
    # Groups come in the order of preference: this build first, then by preset.
    places = {name: -number for number, name in enumerate(dict.fromkeys(one.place for one in found))}
    ranks = [
        (
            one.complete,
            one.complete and one.seeded,
            one.count,
            places[one.place],
            one.seeds if one.complete else 0,
            one.runs,
        )
        for one in found
    ]
    order = sorted(range(len(found)), key=ranks.__getitem__, reverse=True)  # stable: the first of equal ones
    return [found[at] for at in order]


def _elsewhere(claim: Claim, chosen: Verdict, others: Sequence[Evidence], data_sets: Mapping[str, DataSet]) -> str:
    """The verdicts of other groups that have every value with enough seeds, each with its preset, data and device."""
    seen, said = {chosen.records}, []
    for evidence in others:
        if not (evidence.complete and evidence.seeded):
            continue
        other = _verdict(claim, evidence, data_sets)
        if other.records and other.records not in seen:
            seen.add(other.records)
            where = "; ".join(filter(None, (other.preset, other.dataset, other.device)))
            said.append(f"{other.verdict} ({where})")
    return "; ".join(said)


def _read(claim: Claim, group: Group | None, choice: tuple[tuple[str, str], ...]) -> Evidence:
    values: Values = []
    for test in claim.tests:
        runs = group.read(test.cells, choice) if group and test.basis != "printed" else {}
        values.append({place: read_value(cell, test, runs.get(place, {})) for place, cell in test.cells.items()})
    listed = [(test, value) for test, found in zip(claim.tests, values, strict=True) for value in found.values()]
    seeds = [len(value.by_seed) for test, value in listed if test.basis == "seeds" and not value.missing]
    return Evidence(
        group,
        values,
        complete=all(not value.missing for _, value in listed),
        seeds=min(seeds, default=0),
        runs=sum(len(value.by_seed) for _, value in listed),
        count=(sum(not value.missing for _, value in listed), sum(bool(value.records) for _, value in listed)),
    )


def _verdict(claim: Claim, evidence: Evidence, data_sets: Mapping[str, DataSet]) -> Verdict:
    tests = [(test, values, compare(test, values)) for test, values in zip(claim.tests, evidence.values, strict=True)]
    compared = [comparison for _, _, found in tests for comparison in found]
    verdict = combine(compared)
    listed = [value for _, values, _ in tests for value in values.values()]
    records = {record.run_id: record for value in listed for record in value.records}
    seeds = [len(value.by_seed) for value in listed if value.records and value.by_seed]
    measured = [
        describe(test, values, found)
        for test, values, found in tests
        if any(not value.missing for value in values.values())
    ]
    where = f"claim {claim.id!r}"
    group = evidence.group if records else None
    sources = {run: group.source_of(record) for run, record in records.items()} if group else {}
    named = dict.fromkeys(sources.values())
    printed = not group and any(test.basis == "printed" for test in claim.tests)
    return Verdict(
        id=claim.id,
        chapter=str(claim.chapter),
        claim=claim.claim,
        where=claim.where,
        rests_on=" ".join(claim.rests_on),
        thesis=claim.thesis,
        measured=" | ".join(measured),
        dataset=_datasets(listed, where),
        preset=", ".join(sorted({record.preset for record in records.values()})),
        seeds=str(min(seeds)) if seeds else "",
        device=name_devices(records.values(), where, mix_devices=True),
        source=" + ".join(named) or ("thesis" if printed else ""),
        verdict=verdict,
        reason=_reason(claim.id, verdict, compared, listed, data_sets),
        rule=rule(claim),
        records=shlex.join(f"{sources[run]}/{run}" if len(named) > 1 else run for run in records),
        elsewhere="",
    )


def _datasets(values: Sequence[Value], where: str) -> str:
    """The data sets that the values' runs read, as tables name them."""
    runs = [
        (value.cell, [(value.cell.choice, record) for record in value.records if value.cell.choice]) for value in values
    ]
    name_datasets([run for _, own in runs for run in own], {}, where)  # refuses different contents of one set
    parts = [part for cell, own in runs for part in name_datasets(own, cell.thesis_data, where).split("; ")]
    return "; ".join(dict.fromkeys(filter(None, parts)))


def combine(compared: Sequence[Comparison]) -> str:
    """The verdict that comparisons make together (`intervals.COMBINED`); a reversed one decides, whatever is missing."""
    outcomes = [comparison.outcome for comparison in compared]
    if "reversed" in outcomes:
        return "does not hold"
    if None in outcomes:
        return "not run"
    return "undecided" if "undecided" in outcomes else "holds"


def rule(claim: Claim) -> str:
    """The rule of a claim in words: its tests, where their spread comes from, and how they are combined."""
    kinds = dict.fromkeys(f"{state(test)}." for test in claim.tests)
    bases = dict.fromkeys(RULES[test.basis] for test in claim.tests)
    return " ".join([*kinds, *bases, COMBINED])


def _reason(
    claim: str, verdict: str, compared: Sequence[Comparison], values: Sequence[Value], data_sets: Mapping[str, DataSet]
) -> str:
    """Why a verdict is not `holds`: the comparisons that decide, or what runs are needed."""
    if verdict == "holds":
        return ""
    if verdict == "not run":
        missing = [value for value in values if value.missing]
        without = [f"{value.cell.label}: {value.missing}" for value in missing if value.records]
        return "; ".join([*dict.fromkeys(without), needed(claim, [value.cell for value in missing], data_sets)])
    decides = "reversed" if verdict == "does not hold" else "undecided"
    return "; ".join(dict.fromkeys(one.reason for one in compared if one.outcome == decides and one.reason))
