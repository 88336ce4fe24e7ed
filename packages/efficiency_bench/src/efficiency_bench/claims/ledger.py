"""Verdicts as CSV: one row per claim, text cells."""

import csv
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from efficiency_bench.documents import read_csv
from efficiency_core.errors import UsageError
from efficiency_core.files import atomic_path

VERDICTS = ("holds", "does not hold", "undecided", "not run")


@dataclass(frozen=True)
class Verdict:
    """What the records say of a claim. The fields are the columns of the CSV."""

    id: str
    chapter: str
    claim: str
    where: str
    rests_on: str
    """Names of tables, texts and figures, with spaces between."""
    thesis: str
    measured: str
    """Numbers with spreads and units, and the quantities that are judged with their intervals."""
    dataset: str
    preset: str
    seeds: str
    """Fewest seeds of a value."""
    device: str
    source: str
    """ "this build", the name of a folder of kept records, or "thesis": its printed numbers."""
    verdict: str
    """One of `VERDICTS`."""
    reason: str
    """Why it does not hold or is undecided, or what a run needs."""
    rule: str
    records: str
    """Run ids with spaces between; where they are of several sources, "SOURCE/RUN", quoted like words of a shell."""
    elsewhere: str
    """Verdicts of other presets or devices whose records have every value with enough seeds."""

    @property
    def targets(self) -> list[str]:
        return self.rests_on.split()

    @property
    def runs(self) -> list[tuple[str, str]]:
        """(source, run id) of each record."""
        found = [word.rpartition("/") for word in shlex.split(self.records)]
        return [(source or self.source, run) for source, _, run in found]


def write_verdicts(verdicts: Sequence[Verdict], path: Path) -> None:
    """Write the CSV, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Verdict)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(verdict) for verdict in verdicts)


def is_ledger(path: Path) -> bool:
    """Whether a file begins as `write_verdicts` writes it."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.readline() == ",".join(field.name for field in fields(Verdict)) + "\n"
    except (OSError, UnicodeDecodeError):
        return False


def read_verdicts(path: Path) -> list[Verdict]:
    """The verdicts in a CSV of `write_verdicts`; a `UsageError` if it cannot be read, or has other columns or verdicts."""
    names = [field.name for field in fields(Verdict)]
    verdicts = [Verdict(**{name: row[name] or "" for name in names}) for row in read_csv(path, names)]
    for verdict in verdicts:
        if verdict.verdict not in VERDICTS:
            expected = f"expected a verdict of {', '.join(VERDICTS)}, got {verdict.verdict!r}"
            raise UsageError(f"{path}: claim {verdict.id}: {expected}")
    return verdicts
