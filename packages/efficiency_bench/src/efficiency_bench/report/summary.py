"""What the first screen of a report says: what holds, what ran here and what did not, and on which machines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from efficiency_bench.claims.ledger import VERDICTS, Verdict
from efficiency_bench.records.run_record import RunRecord
from efficiency_bench.report.builds import THIS_BUILD, Build
from efficiency_bench.report.pictures import FigureView
from efficiency_bench.report.rows import STATUSES, TableView
from efficiency_bench.report.runs import log_tail
from efficiency_bench.workflow.origin import WARNINGS

NAMED_PACKAGES = ("python", "torch", "torchvision", "numpy")


@dataclass(frozen=True)
class Machine:
    """A device that runs were measured on."""

    name: str
    type: str
    facts: dict[str, str]
    """Threads, clock, versions and so on, as text."""
    runs: dict[str, int]
    """Build -> how many of its runs."""


@dataclass(frozen=True)
class Unfinished:
    """A run that was begun and has no record."""

    name: str
    log: str
    tail: str


@dataclass(frozen=True)
class Summary:
    verdicts: dict[str, int]
    """Verdict -> how many claims."""
    tables: dict[str, int]
    """`built`, `not built`."""
    figures: dict[str, int]
    """`built`, `not built`."""
    rows: dict[str, int]
    """Status -> how many rows of this build."""
    runs: int
    """Runs of this build."""
    hours: float
    """Their time in hours."""
    unfinished: tuple[Unfinished, ...]
    presets: dict[str, int]
    """Preset -> how many tables and figures of this build have it."""
    warnings: tuple[str, ...]
    """What a reader of numbers with these presets must know first."""
    datasets: tuple[str, ...]
    """What the runs of this build read."""
    commits: tuple[str, ...]
    """Commits of this build's runs, seven letters each."""
    machines: tuple[Machine, ...]


def summarise(
    builds: Sequence[Build], tables: Sequence[TableView], figures: Sequence[FigureView], claims: Sequence[Verdict]
) -> Summary:
    here = [build for build in builds if not build.kept]
    records = [record for build in here for record in build.records.values()]
    verdicts = Counter(claim.verdict for claim in claims)
    statuses = sum((Counter(view.here) for view in tables), Counter[str]())
    drawn = {view.figure.name for view in figures if view.source == THIS_BUILD}
    shown = [{row.facts["preset"] for row in view.rows if row.source == THIS_BUILD} for view in tables]
    shown += [set(view.facts["preset"].split("; ")) for view in figures if view.source == THIS_BUILD]
    presets = dict(Counter(name for names in shown for name in names if name).most_common())
    return Summary(
        verdicts={verdict: verdicts[verdict] for verdict in VERDICTS},
        tables=_built([view.built for view in tables]),
        figures=_built([name in drawn for name in dict.fromkeys(view.figure.name for view in figures)]),
        rows={status: statuses[status] for status in STATUSES if statuses[status]},
        runs=len(records),
        hours=sum(record.duration_s for record in records) / 3600,
        unfinished=tuple(found for build in here for found in _unfinished(build)),
        presets=presets,
        warnings=tuple(WARNINGS[name] for name in presets if name in WARNINGS),
        datasets=tuple(
            dict.fromkeys(f"{fact['name']} ({fact['source']})" for record in records for fact in record.data.values())
        ),
        commits=tuple(dict.fromkeys(_commit(record) for record in records)),
        machines=_machines(builds),
    )


def _built(flags: Sequence[bool]) -> dict[str, int]:
    return {"built": sum(flags), "not built": len(flags) - sum(flags)}


def _commit(record: RunRecord) -> str:
    commit = (record.git["commit"] or "unknown")[:7]
    return f"{commit} with changes" if record.git["dirty"] else commit


def _unfinished(build: Build) -> list[Unfinished]:
    return [
        Unfinished(run.rpartition("-s")[0].rpartition("-")[0].replace("_", " "), f"logs/runs/{run}.log", log_tail(path))
        for run, path in build.logs.items()
        if run not in build.records
    ]


def _machines(builds: Sequence[Build]) -> tuple[Machine, ...]:
    """The devices of all runs, those with most runs first."""
    groups: dict[tuple[str, str], list[tuple[Build, RunRecord]]] = {}
    for build in builds:
        for record in build.records.values():
            groups.setdefault((record.device["type"], record.device["name"]), []).append((build, record))
    machines = []
    for (kind, name), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        facts: dict[str, dict[str, None]] = {}
        for _, record in group:
            device = {
                key: value for key, value in record.device.items() if key not in ("type", "name") and value is not None
            }
            versions = {key: record.packages[key] for key in NAMED_PACKAGES if key in record.packages}
            for key, value in {**device, **versions}.items():
                facts.setdefault(key.replace("_", " "), {})[str(value)] = None
        runs = Counter(build.name for build, _ in group)
        machines.append(
            Machine(name, kind, {key: ", ".join(sorted(values)) for key, values in facts.items()}, dict(runs))
        )
    return tuple(machines)
