"""A video file through a detector: detections as JSON, and the video with the boxes drawn in."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import torch
from torch import nn

from location_anticipation.drawing import draw_detections
from location_anticipation.errors import UsageError, WorkError
from location_anticipation.files import atomic_path
from location_anticipation.video import FrameDetections, VideoDetector
from location_anticipation.video_io import (
    VideoReader,
    create_video,
    frame_to_rgb,
    frame_to_tensor,
    open_video,
)

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["DetectSummary", "detect_video"]

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class DetectSummary:
    """What :func:`detect_video` did."""

    frames: int
    """Frames read, each of which has an entry in the outputs."""
    keyframes: int
    """How many of them the network saw."""
    seconds: float
    """Time for everything: reading, decoding, the network, drawing and writing."""
    fps: float
    """Frames per second over that time."""
    damaged: str | None
    """None, or why the video could not be read to its end; the outputs hold the frames before that."""


def detect_video(
    model: nn.Module,
    source: str | Path,
    *,
    keyframe_step: int,
    out_json: str | Path | None = None,
    out_video: str | Path | None = None,
    score_threshold: float = 0.5,
    class_names: Sequence[str] | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> DetectSummary:
    """Detect the objects in every frame of a video file, running the network on every ``keyframe_step``-th.

    Memory does not grow with the video. Frames between keyframes are converted to RGB only for ``out_video``.
    The outputs take their names when they are complete; a failed run leaves nothing behind.

    The JSON file is one document: ``video`` (file name), ``width``, ``height``, ``fps`` (null where the file
    does not say), ``keyframe_step``, ``score_threshold``, ``categories`` (list of ``id`` and ``name``, empty
    without names), ``frames``, and ``damaged`` (null or a line of text). Each frame has a line of its own:
    ``index``, ``keyframe``, ``step`` (frames since the keyframe), ``boxes`` (x1, y1, x2, y2 in pixels of the
    upright frame), ``labels`` (category ids) and ``scores``.

    Args:
        model: a detector as :class:`~location_anticipation.video.VideoDetector` takes it.
        source: the video file.
        keyframe_step: every how many frames the network runs, 1 to ``model.horizon + 1``.
        out_json: where the detections go, if anywhere.
        out_video: where the video with boxes goes, if anywhere; an ``.mp4`` at the source's average frame
            rate.
        score_threshold: detections with a lower score are left out.
        class_names: ``class_names[k - 1]`` is the name of label k.
        device: where the model is moved; by default it stays where it is.
        progress: called after every frame with the number of frames done and the number the file declares, or
            None.

    Raises:
        UsageError: if the video or an argument cannot be used.
        WorkError: if an output cannot be written.
    """
    started = time.perf_counter()
    outputs = [Path(path) for path in (out_json, out_video) if path is not None]
    _check_outputs(Path(source), outputs)
    try:
        detector = VideoDetector(
            model,
            keyframe_step,
            # Bytes go to the device and are scaled there: a quarter of the traffic.
            to_tensor=lambda frame: frame_to_tensor(frame, torch.uint8),
            device=device,
            score_threshold=score_threshold,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error

    frames = 0
    with ExitStack() as stack:
        video = stack.enter_context(open_video(source))
        document = writer = None
        if out_json is not None:
            header = _header(video, keyframe_step, score_threshold, class_names)
            document = stack.enter_context(_create_document(Path(out_json), header))
        if out_video is not None:
            if video.rate is None:
                raise UsageError(f"{source}: names no frame rate, which the output video needs; ask for JSON alone")
            size = (video.width, video.height)
            writer = stack.enter_context(create_video(out_video, video.rate, size, pixel_aspect=video.pixel_aspect))
        for frame, detections in _paired(detector, video):
            _check_labels(detections, class_names)
            if document is not None:
                document.add(detections)
            if writer is not None:
                writer.write(draw_detections(frame_to_rgb(frame), detections, class_names))
            frames += 1
            if progress is not None:
                progress(frames, video.frame_count)
        if document is not None:
            document.close(video.damage)
    seconds = time.perf_counter() - started
    return DetectSummary(frames, -(-frames // keyframe_step), seconds, frames / seconds, video.damage)


def _paired(detector: VideoDetector, frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, FrameDetections]]:
    """Each frame with its detections, holding the frame at hand alone (``itertools.tee`` keeps dozens)."""
    latest: deque[VideoFrame] = deque(maxlen=1)

    def passing() -> Iterator[VideoFrame]:
        for frame in frames:
            latest.append(frame)
            yield frame

    for detections in detector(passing()):
        yield latest[0], detections


def _check_outputs(source: Path, outputs: list[Path]) -> None:
    resolved = [path.resolve() for path in outputs]
    for path in outputs:
        if path.is_dir():
            raise UsageError(f"{path}: is a folder, give the name of a file")
        if path.resolve() == source.resolve():
            raise UsageError(f"{path}: is the source video, which would be lost; choose another name for the output")
    if len(set(resolved)) < len(resolved):
        raise UsageError(f"{outputs[0]}: JSON and video cannot go to the same file")


def _check_labels(detections: FrameDetections, class_names: Sequence[str] | None) -> None:
    if class_names is not None and len(detections.labels) and detections.labels.max() > len(class_names):
        label = int(detections.labels.max())
        raise UsageError(f"the model found an object of label {label}, but {len(class_names)} class names were given")


def _header(
    video: VideoReader, keyframe_step: int, score_threshold: float, class_names: Sequence[str] | None
) -> dict[str, Any]:
    return {
        "video": video.path.name,
        "width": video.width,
        "height": video.height,
        "fps": None if video.rate is None else float(video.rate),
        "keyframe_step": keyframe_step,
        "score_threshold": score_threshold,
        "categories": [{"id": k, "name": name} for k, name in enumerate(class_names or (), start=1)],
    }


class _Document:
    """The JSON document, written frame by frame: it is valid once closed, and never in memory."""

    def __init__(self, path: Path, file: TextIO, header: dict[str, Any]) -> None:
        self._path = path
        self._file = file
        self._separator = "\n"
        self._write(json.dumps(header)[:-1] + ', "frames": [')

    def add(self, detections: FrameDetections) -> None:
        frame = {
            "index": detections.index,
            "keyframe": detections.keyframe,
            "step": detections.step,
            # A thousandth of a pixel; the digits after it are noise, and most of the file.
            "boxes": [[round(side, 3) for side in box] for box in detections.boxes.tolist()],
            "labels": detections.labels.tolist(),
            "scores": [round(score, 6) for score in detections.scores.tolist()],
        }
        self._write(self._separator + json.dumps(frame))
        self._separator = ",\n"

    def close(self, damaged: str | None) -> None:
        self._write(f'\n], "damaged": {json.dumps(damaged)}}}\n')

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
        except OSError as error:
            raise WorkError(f"{self._path}: cannot be written ({error.strerror or error})") from error


@contextmanager
def _create_document(path: Path, header: dict[str, Any]) -> Iterator[_Document]:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield _Document(path, file, header)
