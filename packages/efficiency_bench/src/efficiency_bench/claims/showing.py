"""Verdicts for a terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from efficiency_bench.claims.ledger import Verdict
from efficiency_bench.workflow.origin import WARNINGS

_STYLES = {"holds": "green", "does not hold": "red", "undecided": "yellow", "not run": "dim"}


def show_verdicts(verdicts: Iterable[Verdict], console: Console) -> None:
    """Print each claim with its verdict, what was measured, on what, and why it does not hold or is undecided."""
    for verdict in verdicts:
        console.print(Text.assemble((verdict.id, "bold"), ": ", (verdict.verdict, f"bold {_STYLES[verdict.verdict]}")))
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column()
        if warning := WARNINGS.get(verdict.preset):
            grid.add_row("", Text(warning, "bold red"))
        origin = [verdict.dataset, f"preset {verdict.preset}" if verdict.preset else "", verdict.device, verdict.source]
        seeds = f"{verdict.seeds} seed{'' if verdict.seeds == '1' else 's'}" if verdict.seeds else ""
        for name, text in {
            "claim": verdict.claim,
            "thesis": f"{verdict.thesis} ({verdict.where})",
            "measured": verdict.measured.replace(" | ", "\n"),
            "on": "; ".join(filter(None, [*origin, seeds])),
            "because": verdict.reason,
            "elsewhere": verdict.elsewhere,
        }.items():
            if text:
                grid.add_row(Text(name, "dim"), Text(text))
        console.print(grid)
