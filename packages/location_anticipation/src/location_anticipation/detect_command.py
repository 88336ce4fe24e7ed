"""``location-anticipation detect``: arguments, progress, and what is said at the end."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from location_anticipation.errors import UsageError
from location_anticipation.keyframe_options import add_keyframe_options, keyframe_step

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["add_arguments", "run"]

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command, without ``--device`` and ``--debug``."""
    command.add_argument("source", metavar="SOURCE", help="video file, folder of images, or number of a camera (0, 1)")
    command.add_argument("--checkpoint", type=Path, required=True, help="detector.pt of a training")
    command.add_argument("--out", type=Path, metavar="OUT.mp4", help="video with the boxes drawn in")
    command.add_argument("--json", type=Path, metavar="OUT.json", help="detections of every frame as CocoVID JSON")
    command.add_argument("--csv", type=Path, metavar="OUT.csv", help="a line for each box of each frame")
    add_keyframe_options(command, default="the trained T, at least 1")
    command.add_argument(
        "--score-threshold", type=float, default=0.5, metavar="S", help="drop detections below this score (default 0.5)"
    )
    command.add_argument("--frames", type=int, metavar="N", help="end after N frames")
    command.add_argument(
        "--fps", type=_rate, metavar="F", help="frame rate of the source, where it says none or a wrong one"
    )
    command.add_argument(
        "--precision", choices=("32", "bf16"), default="32", help="arithmetic of the network (default 32)"
    )
    command.add_argument(
        "--channels-last",
        action=argparse.BooleanOptionalAction,
        help="memory layout of the network (default: on the CPU)",
    )
    command.add_argument("--compile", action="store_true", help="torch.compile the backbone; for long videos")


def run(options: argparse.Namespace, device: str) -> int:
    """Detect; the exit status is 1 where the source was damaged."""
    from tqdm import tqdm

    from location_anticipation.checkpoint import load_detector
    from location_anticipation.detect import detect_video
    from location_anticipation.inference import Inference
    from location_anticipation.sources import parse_source

    if options.out is None and options.json is None and options.csv is None:
        raise UsageError("nothing to write: give --out OUT.mp4, --json OUT.json, --csv OUT.csv, or several")
    step = keyframe_step(options)
    source = parse_source(options.source)
    model, class_names = load_detector(options.checkpoint)
    if step is None:
        step = max(model.horizon, 1)
    channels_last = device == "cpu" if options.channels_last is None else options.channels_last
    with _Progress(tqdm) as progress, _stopping(isinstance(source, int) and options.frames is None) as stop:
        summary = detect_video(
            model,
            source,
            keyframe_step=step,
            out_json=options.json,
            out_csv=options.csv,
            out_video=options.out,
            score_threshold=options.score_threshold,
            class_names=class_names,
            device=device,
            inference=Inference(options.precision, channels_last, options.compile),
            rate=options.fps,
            max_frames=options.frames,
            progress=progress,
            stop=stop,
        )
    print(
        f"{summary.frames} frames, {summary.keyframes} keyframes, {summary.fps:.1f} frames/s on {device} "
        f"(detecting {summary.detecting:.1f} s, waiting for frames {summary.waiting:.1f} s, "
        f"writing {summary.writing:.1f} s)"
    )
    if summary.damaged is not None:
        print(f"warning: {source}: {summary.damaged}; the outputs hold the frames before that", file=sys.stderr)
        return 1
    return 0


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0 such as 25 or 30000/1001, got {text!r}")
    return rate


class _Progress:
    """Frames done and frames per second: a bar on a terminal, elsewhere a line in the log every ten seconds."""

    def __init__(self, bar: type[tqdm[Any]]) -> None:
        self._bar = bar(unit="frame") if sys.stderr.isatty() else None
        self._started = self._said = time.perf_counter()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int | None) -> None:
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(1)
            return
        now = time.perf_counter()
        if now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            of = "" if total is None else f" of {total}"
            logger.info("%d%s frames, %.1f frames/s", done, of, done / (now - self._started))


class _Stop:
    """True once the first interrupt has come; the second is an ordinary one."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _stopping(endless: bool) -> Iterator[_Stop]:
    """While an endless source is read, Ctrl-C ends it as its last frame would, so that the outputs are kept."""
    stop = _Stop()
    if not endless:
        yield stop
        return
    logger.info("Ctrl-C ends the recording")
    before = signal.signal(signal.SIGINT, stop.handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
