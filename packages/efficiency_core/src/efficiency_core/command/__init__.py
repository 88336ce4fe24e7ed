"""Console commands from typed dataclasses."""

from typing import TYPE_CHECKING

from efficiency_core import lazy_names

if TYPE_CHECKING:
    from efficiency_core.command.options import Pairs, Positional, arg, parse_options
    from efficiency_core.command.outputs import Output, OutputFile, OutputFolder
    from efficiency_core.command.program import CONTINUES, Command, Group, Program
    from efficiency_core.command.reports import progress, reporting

__all__ = [
    "CONTINUES", "Command", "Group", "Output", "OutputFile", "OutputFolder", "Pairs", "Positional", "Program", "arg",
    "parse_options", "progress", "reporting",
]  # fmt: skip
__getattr__ = lazy_names(
    __name__,
    options="Pairs Positional arg parse_options",
    outputs="Output OutputFile OutputFolder",
    program="CONTINUES Command Group Program",
    reports="progress reporting",
)
