"""How far the work of a command is: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0
_log = logging.getLogger(__name__)


def progress(total: int | None, unit: str = "step") -> tqdm[Any]:
    """A bar on stderr where that is a terminal, else one that shows nothing. To be closed, or used with ``with``."""
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, disable=not sys.stderr.isatty(), leave=False)


@contextmanager
def reporting(total: int, unit: str, doing: str) -> Iterator[Callable[[int], None]]:
    """Shows how many more are done: a bar on a terminal, elsewhere a line in the log at the start and every ten seconds.

    ``doing`` begins the line at the start: "evaluating" of 3 "video" is "evaluating 3 videos".
    """
    started = said = perf_counter()
    done = 0
    _log.info("%s %d %ss", doing, total, unit)
    with progress(total, unit) as bar:

        def advance(count: int) -> None:
            nonlocal done, said
            done += count
            bar.update(count)
            if bar.disable and (now := perf_counter()) - said >= _SECONDS_BETWEEN_LINES:
                said, speed = now, done / (now - started)
                left = f", {(total - done) / speed:.0f} s left" if speed else ""
                _log.info("%d of %d %ss, %.3g a second%s", done, total, unit, speed, left)

        yield advance
