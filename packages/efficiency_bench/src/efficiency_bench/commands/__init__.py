"""The subcommands of `effbench`."""

from typing import Any

from efficiency_core.command import CONTINUES, Command, Program


def _command(summary: str, place: str, **more: Any) -> Command:
    """A subcommand at `place`: module of this room, class of its options and function."""
    module, options, function = place.split()
    return Command(summary, f"{__name__}.{module}:{options}", f"{__name__}.{module}:{function}", **more)


PROGRAM = Program(
    name="effbench",
    description="Run experiments, measure, and turn run records into tables and figures.",
    commands={
        "run": _command(
            "train and evaluate; continues a run that was stopped", "running RunOptions run", device=True,
            interrupted=CONTINUES,
        ),
        "measure": _command("time and count; wants the machine for itself", "running RunOptions measure", device=True),
        "tabulate": _command("compute a table from run records", "results TableOptions run_tabulate"),
        "plot": _command("draw a figure from run records", "results FigureOptions run_plot"),
        "show": _command(
            "print a table, the thesis's numbers and the measured ones side by side", "showing ShowOptions run_show"
        ),
        "report": _command(
            "write one page that shows claims, tables and figures with the runs behind them", "reporting ReportOptions run_report"
        ),
        "claims": _command("judge the thesis's claims by run records", "claiming ClaimsOptions run_claims"),
        "schemas": _command(
            "write JSON schemas of the workflow's YAML files, for editors", "showing SchemasOptions run_schemas"
        ),
        "index": _command(
            "say what a data set of videos or images holds that is read in its own layout",
            "indexing IndexOptions run_index",
        ),
        "list": _command("list the experiments and their settings", "showing ListOptions run_list"),
        "digest": _command(
            "print which source files the runs of an experiment rest on, and their digests",
            "showing DigestOptions run_digest",
        ),
    },
    package="efficiency_bench",
    flush_denormal=True,
)  # fmt: skip
