"""`effbench`: run experiments, measure, and turn run records into tables and figures."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

WORKER = "EFFBENCH_WORKER"
"""Environment variable: folder of the worker that carries out commands with everything imported already; see
`efficiency_bench.worker`."""


def command() -> NoReturn:
    """The console script."""
    folder, arguments = os.environ.get(WORKER), sys.argv[1:]
    if folder and arguments and not arguments[0].startswith("-"):
        from efficiency_bench.worker.client import call

        sys.exit(call(folder, arguments))
    from efficiency_bench.commands import PROGRAM

    PROGRAM.command()


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Carry out a command with ``arguments`` (None: those of the process) and exit."""
    from efficiency_bench.commands import PROGRAM

    PROGRAM.main(arguments)
