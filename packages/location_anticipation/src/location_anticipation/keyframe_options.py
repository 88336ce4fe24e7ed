"""The options of ``detect`` and ``evaluate`` that say which frames are keyframes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from location_anticipation.errors import UsageError

if TYPE_CHECKING:
    from location_anticipation.auto_step import AutoStep

__all__ = ["add_keyframe_options", "keyframe_step"]


def add_keyframe_options(command: argparse.ArgumentParser, default: str) -> None:
    """Add ``--keyframe-step`` and ``--tolerance``; ``default`` says in the help what is done without the first."""
    command.add_argument(
        "--keyframe-step",
        type=_step,
        metavar="N|auto",
        help=f"run the network on every N-th frame, or where it is needed (default: {default})",
    )
    command.add_argument(
        "--tolerance",
        type=float,
        metavar="LOSS",
        help="for auto: mean loss of IoU to accept between keyframes; larger is faster (default 0.1)",
    )


def keyframe_step(options: argparse.Namespace) -> int | AutoStep | None:
    """What the two options ask for; None where they do not say.

    Raises:
        UsageError: for a tolerance that is negative or without ``auto``.
    """
    from location_anticipation.auto_step import AutoStep

    step: int | str | None = options.keyframe_step
    if isinstance(step, str):
        try:
            return AutoStep() if options.tolerance is None else AutoStep(tolerance=options.tolerance)
        except ValueError as error:
            raise UsageError(f"--{error}") from error
    if options.tolerance is not None:
        raise UsageError("--tolerance is for --keyframe-step auto")
    return step


def _step(text: str) -> int | str:
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number or auto, got {text!r}") from None
