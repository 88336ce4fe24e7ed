"""`effbench report`: one page about claims, tables, figures and the runs behind them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from efficiency_core.command import OutputFile, arg


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Write one page that shows results and works without a network."""

    out: Annotated[OutputFile[Path], arg(metavar="FILE.html")]
    """The page to write."""
    results: Path = Path("results")
    """Folder of results: tables, figures, and run records in `runs`."""
    kept: Annotated[tuple[Path, ...], arg(metavar="DIR ...")] = ()
    """Folders of results of earlier builds, such as results/reference/*, to show beside them."""
    claims: Annotated[Path | None, arg(metavar="FILE.csv")] = None
    """Verdicts that `effbench claims` wrote (default: claims.csv of the folder of results, if it is there)."""
    workflows: Path = Path("workflows")
    """Folder of the definitions of tables, figures, presets and data sets, and of report.yaml."""


def run_report(options: ReportOptions) -> None:
    from efficiency_bench.report.page import write_report

    usual = options.results / "claims.csv"
    claims = options.claims or (usual if usual.is_file() else None)
    write_report(options.out, options.results, options.kept, claims, options.workflows)
    print(f"{options.out} ({options.out.stat().st_size / 1e6:.1f} MB)")
