"""Name the action of a video: the most probable classes, and how its frames were clustered."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from full_video.errors import UsageError
from full_video.files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

    from full_video.frames import FrameSource, Wanted
    from full_video.prediction import Prediction

__all__ = ["INTERRUPTED", "add_arguments", "run"]

INTERRUPTED = "nothing was written"
_SECONDS_BETWEEN_LINES = 10.0
_log = logging.getLogger(__name__)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command, without ``--device`` and ``--debug``."""
    command.add_argument("video", metavar="VIDEO", help="video file, or folder with the frames of one as images")
    command.add_argument("--checkpoint", type=Path, required=True, help="network.pt of a training")
    command.add_argument("--top", type=int, default=5, metavar="N", help="how many classes to name (default 5)")
    command.add_argument(
        "--json", metavar="OUT.json", help="classes, clusters and distances as JSON; - prints it in place of the table"
    )
    command.add_argument("--strip", type=Path, metavar="OUT.png", help="picture of the frames and their clusters")


def run(options: argparse.Namespace, device: str) -> int:
    """Predict; prints the classes and writes what was asked for."""
    from full_video.checkpoint import load_network
    from full_video.file_videos import open_frames
    from full_video.prediction import as_json, predict

    if options.top < 1:
        raise UsageError(f"--top must be at least 1, got {options.top}")
    if options.strip is not None and options.strip.suffix.lower() != ".png":
        raise UsageError(f"--strip {options.strip}: the picture is a PNG, name it so")
    saved = load_network(options.checkpoint)
    with closing(_Watched(open_frames(options.video))) as source:
        found = predict(
            saved.network,
            source,
            saved.class_names,
            sampling=saved.sampling,
            augmentation=saved.augmentation,
            max_frames=saved.max_frames,
            top=options.top,
            device=device,
        )
        if options.strip is not None:
            from full_video.strip import write_strip

            write_strip(
                options.strip, source, found.frames, found.clusters, found.distances, _title(options.video, found)
            )
    document = json.dumps(as_json(found, options.video), indent=None if options.json == "-" else 1)
    if options.json == "-":
        print(document)
        return 0
    if options.json is not None:
        with atomic_path(options.json) as temporary:
            temporary.write_text(document + "\n", encoding="utf-8")
    width = max(len(guess.name) for guess in found.guesses)
    for guess in found.guesses:
        print(f"{guess.name:{width}s}  {guess.probability:.4f}")
    return 0


def _title(video: str, found: Prediction) -> str:
    best, seen = found.guesses[0], len(found.frames)
    frames = f"{found.length} frames" if seen == found.length else f"{seen} of {found.length} frames"
    return f"{Path(video).name}: {best.name} {best.probability:.2f} ({frames})"


class _Watched:
    """A video that tells how many of its frames were read: a bar on a terminal, elsewhere a line every ten seconds.

    How many there will be is not known: a long video is read once for each look of the network, and for the picture.
    """

    def __init__(self, source: FrameSource) -> None:
        from tqdm import tqdm

        self._source = source
        self._bar = tqdm(unit="frame", desc="reading", delay=2, leave=False, disable=not sys.stderr.isatty())
        self._read, self._said = 0, time.perf_counter()

    def close(self) -> None:
        self._bar.close()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, wanted: Wanted) -> Tensor:
        frames = self._source[wanted]
        self._read += len(frames)
        self._bar.update(len(frames))
        if self._bar.disable and time.perf_counter() - self._said > _SECONDS_BETWEEN_LINES:
            self._said = time.perf_counter()
            _log.info("%d frames read", self._read)
        return frames
