"""Reading the claims with their verdicts, as `effbench claims` writes them."""

from dataclasses import fields
from pathlib import Path

from efficiency_bench.claims.ledger import VERDICTS, Verdict
from efficiency_bench.report.builds import read_csv
from efficiency_core.errors import UsageError


def read_claims(path: Path) -> list[Verdict]:
    """The claims in the CSV file `path`; a `UsageError` if it has other columns or verdicts."""
    names = [field.name for field in fields(Verdict)]
    claims = [Verdict(**{name: row[name] or "" for name in names}) for row in read_csv(path, names)]
    for claim in claims:
        if claim.verdict not in VERDICTS:
            raise UsageError(
                f"{path}: claim {claim.id}: expected a verdict of {', '.join(VERDICTS)}, got {claim.verdict!r}"
            )
    return claims
