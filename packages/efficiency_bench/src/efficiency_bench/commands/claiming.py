"""`effbench claims`: verdicts on the thesis's claims from run records."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from efficiency_core.command import OutputFile, Positional, arg
from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class ClaimsOptions:
    """Judge the claims of the thesis by run records."""

    runs: Positional[tuple[Path, ...]]
    """Folders of run records; results/reference/DEVICE/runs are kept ones, any other those of this build."""
    out: Annotated[OutputFile[Path], arg(metavar="FILE.csv")]
    """The CSV to write, one row per claim."""
    claims: Annotated[Path, arg(metavar="FILE.yaml")] = Path("workflows/claims.yaml")
    """The claims; the folders tables, figures and config and the file data.yaml lie beside it."""
    only: tuple[str, ...] = ()
    """Id of a claim to judge; repeat for several. Default: all."""


def run_claims(options: ClaimsOptions) -> None:
    from efficiency_bench.claims import judge, load_claims, write_verdicts
    from efficiency_bench.claims.ledger import VERDICTS

    if not options.runs:
        raise UsageError("expected at least one folder of run records, such as results/runs")
    claims = load_claims(options.claims)
    verdicts = judge(claims.only(options.only) if options.only else claims, options.runs)
    write_verdicts(verdicts, options.out)
    counts = Counter(verdict.verdict for verdict in verdicts)
    print(f"{len(verdicts)} claims: {', '.join(f'{counts[name]} {name}' for name in VERDICTS)}")
    print(options.out)
