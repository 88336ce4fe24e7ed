"""``full-video predict``."""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficiency_core.command import OutputFile, Positional, progress
from efficiency_core.errors import UsageError, WorkError
from efficiency_core.files import atomic_path
from efficiency_core.loop import check_least

if TYPE_CHECKING:
    from torch import Tensor

    from full_video.checkpoint import SavedNetwork
    from full_video.networks.frames import FrameSource, Wanted
    from full_video.prediction import Prediction

_SECONDS_BETWEEN_LINES = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Name the action of videos: the most probable classes, and the clusters of the frames. A video that cannot be read does not
    stop the others; the exit status is then 1."""

    videos: Positional[tuple[str, ...]]
    """Video files, folders with the frames of a video as images, or lists of them (.txt, a path a line)."""
    checkpoint: Path
    """``network.safetensors`` of a training."""
    top: int = 5
    """Number of classes to name."""
    json: OutputFile[str | None] = None
    """JSON file for classes, clusters and distances, of several videos a list; ``-`` prints it in place of the table."""
    strip: OutputFile[Path | None] = None
    """PNG file for a picture of the frames and their clusters, of one video."""
    root: Path | None = None
    """Folder that the paths of a list are relative to; by default the folder of the list."""
    template: str | None = None
    """Names of the images of a folder, img_{:05d}.jpg for example; by default all images in natural order."""

    def __post_init__(self) -> None:
        check_least(self, 1, "top")
        if not self.videos:
            raise ValueError("expected at least one video")
        if self.strip is not None and self.strip.suffix.lower() != ".png":
            raise ValueError(f"strip must be the name of a .png file, got {self.strip}")


def run(options: PredictOptions, device: str) -> int:
    """Predict; prints the classes and writes the files that are asked for. Raises WorkError at the end if some of several videos
    failed."""
    from full_video.checkpoint import load_network
    from full_video.data.frame_folder import check_template

    check_template(options.template)
    videos = _paths(options)
    alone = videos == list(options.videos)[:1]
    if options.strip is not None and len(videos) > 1:
        raise UsageError(f"--strip draws one video, got {len(videos)}")
    saved = load_network(options.checkpoint)
    documents: list[dict[str, Any]] = []
    failed: list[str] = []
    for video in videos:
        try:
            documents.append(_predicted(video, saved, options, device))
        except (UsageError, WorkError) as error:
            if alone:
                raise
            _log.warning("%s", error)
            failed.append(str(error))
            documents.append({"video": video, "error": str(error)})
            continue
        if options.json != "-":
            _print_table(documents[-1]["classes"], None if alone else video)
    if options.json is not None:
        document = json.dumps(documents[0] if alone else documents, indent=None if options.json == "-" else 1)
        if options.json == "-":
            print(document)
        else:
            with atomic_path(options.json) as temporary:
                temporary.write_text(document + "\n", encoding="utf-8")
    if failed:
        raise WorkError(f"{len(failed)} of {len(videos)} videos failed; the first: {failed[0]}")
    return 0


def _paths(options: PredictOptions) -> list[str]:
    """The videos that are given, those of lists in their place."""
    from full_video.data.formats.video_lists import list_paths

    found: list[str] = []
    for given in options.videos:
        listed = Path(given).suffix.lower() == ".txt" and not Path(given).is_dir()
        found += map(str, list_paths(given, options.root)) if listed else [given]
    return found


def _predicted(video: str, saved: SavedNetwork, options: PredictOptions, device: str) -> dict[str, Any]:
    """The prediction for one video as JSON values; draws its picture."""
    from full_video.data.file_videos import open_frames
    from full_video.prediction import as_json, predict

    with closing(_Watched(open_frames(video, options.template))) as source:
        found = predict(saved.network, source, saved.class_names, saved.clips, top=options.top, device=device)
        if options.strip is not None:
            from efficiency_core.draw import write_png
            from full_video.commands.strip import draw_strip

            title = _title(video, found)
            write_png(options.strip, draw_strip(source, found.frames, found.clusters, found.distances, title))
    return as_json(found, video)


def _print_table(classes: list[dict[str, Any]], video: str | None) -> None:
    """Names and probabilities, under the name of the video if there are several."""
    if video is not None:
        print(video)
    width, space = max(len(one["name"]) for one in classes), "" if video is None else "  "
    for one in classes:
        print(f"{space}{one['name']:{width}s}  {one['probability']:.4f}")


def _title(video: str, found: Prediction) -> str:
    best, seen = found.guesses[0], len(found.frames)
    frames = f"{found.length} frames" if seen == found.length else f"{seen} of {found.length} frames"
    return f"{Path(video).name}: {best.name} {best.probability:.2f} ({frames})"


class _Watched:
    """A video that reports how many of its frames were read: on a terminal with a bar, otherwise in a line every ten
    seconds. The total is not known: a long video is read once for each pass of the network, and for the picture."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._bar = progress(None, unit="frame")
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
