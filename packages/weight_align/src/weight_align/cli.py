"""``weight-align``: convert networks, fold them, train and evaluate them."""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
import warnings
from collections.abc import Sequence

import torch

from weight_align import convert_command, evaluate_command, fold_command, train_command
from weight_align.errors import UsageError, WorkError

__all__ = ["command", "main", "resolve_device"]

_COMMANDS = {
    "convert": (convert_command, "align the weights of a trained network, to fine-tune it"),
    "fold": (fold_command, "plain layers again, with the same outputs"),
    "train": (train_command, "train a network with any norm, with or without WeightAlign"),
    "evaluate": (evaluate_command, "score a trained network"),
}


def command() -> None:
    """The console script: :func:`main` in a process that is its own."""
    # Before the first work of torch: its threads have the mode of the one that starts them. Numbers below 1e-38, which
    # Fixup's first steps are full of, cost a CPU a hundred times the time of others, and are nothing to a network.
    torch.set_flush_denormal(True)
    main()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command; exits with 0 (done), 1 (the work failed) or 2 (wrong usage or unusable input).

    An interrupt from the keyboard exits with 130, as shells have it.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # Notices of libraries about themselves, which nobody who runs a command can act on.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        status: int = options.function(options, resolve_device(options.device))
    except (UsageError, WorkError, ModuleNotFoundError, KeyboardInterrupt, torch.OutOfMemoryError) as error:
        if options.debug:
            traceback.print_exc()
        print(f"error: {_message(error, options)}", file=sys.stderr)
        failed = isinstance(error, WorkError | torch.OutOfMemoryError)
        status = 130 if isinstance(error, KeyboardInterrupt) else 1 if failed else 2
    sys.exit(status)


def _message(error: BaseException, options: argparse.Namespace) -> str:
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; {options.interrupted}"
    if isinstance(error, ModuleNotFoundError):
        return f'this command needs {error.name}: pip install "weight_align[train]"'
    if isinstance(error, torch.OutOfMemoryError):
        said = ". ".join(str(error).split(". ")[:2])
        return f"{said}; a smaller batch or image size needs less"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="weight-align", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (module, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=module.__doc__)
        module.add_arguments(command)
        command.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.set_defaults(function=module.run, interrupted=module.INTERRUPTED)
    return parser


def resolve_device(name: str) -> str:
    """``cpu`` or ``cuda`` from ``auto``, ``cpu`` or ``cuda``; ``cuda`` without CUDA is a :class:`UsageError`."""
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device must be auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but torch finds no CUDA device; use --device cpu or auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
