"""A video through a detector: detections as CocoVID JSON and CSV, and the video with the boxes drawn in."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from location_anticipation.auto_step import AutoStep
from location_anticipation.detections_csv import create_csv
from location_anticipation.detections_json import create_json
from location_anticipation.drawing import draw_detections
from location_anticipation.errors import UsageError, WorkError
from location_anticipation.image_folder import ImageFolder
from location_anticipation.inference import Inference
from location_anticipation.prefetch import prefetch
from location_anticipation.sources import Source, open_source
from location_anticipation.video import FrameDetections, VideoDetector
from location_anticipation.video_writer import create_video

__all__ = ["DetectSummary", "detect_video"]

Progress = Callable[[int, int | None], None]

_AHEAD = 8  # decoded frames that wait: enough to even out keyframes, 25 MB of them in full HD
_FOLDER_RATE = Fraction(25)


@dataclass(frozen=True)
class DetectSummary:
    """What :func:`detect_video` did, and where the time went."""

    frames: int
    """Frames read, each of which is in the outputs."""
    keyframes: int
    """How many of them the network saw."""
    seconds: float
    """Time for everything: opening, decoding, the network, drawing and writing."""
    waiting: float
    """Seconds of these in which the next frame was not decoded yet; large where the decoder is what limits speed."""
    detecting: float
    """Seconds for keyframes: conversion to RGB, upload, network."""
    writing: float
    """Seconds for the outputs: conversion to RGB of what is drawn, drawing, encoding, text."""
    fps: float
    """Frames per second over ``seconds``."""
    damaged: str | None
    """None, or why the source could not be read to its end; the outputs hold the frames before that."""


class _Output(Protocol):
    def add(self, detections: FrameDetections) -> None: ...


class _Clock:
    """Adds up the time inside ``next`` of an iterator."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def over(self, items: Iterator[Any]) -> Iterator[Any]:
        while True:
            started = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - started
            yield item


def detect_video(
    model: nn.Module,
    source: str | Path | int,
    *,
    keyframe_step: int | AutoStep,
    out_json: str | Path | None = None,
    out_csv: str | Path | None = None,
    out_video: str | Path | None = None,
    score_threshold: float = 0.5,
    class_names: Sequence[str] | None = None,
    device: torch.device | str | None = None,
    inference: Inference | None = None,
    rate: Fraction | None = None,
    max_frames: int | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> DetectSummary:
    """Detect the objects in every frame of a video, running the network on keyframes.

    Frames are decoded in a thread of their own, a few ahead of the one at hand. Memory does not grow with the video.
    Frames between keyframes are converted to RGB only for ``out_video``. The outputs take their names when they are
    complete; a failed run leaves nothing behind.

    The JSON file is CocoVID: ``videos`` (one), ``images``, ``annotations``, ``categories``. Images also have
    ``keyframe`` and ``step`` (frames since the keyframe), annotations ``score``, and their ``instance_id`` is equal
    along a trajectory and from keyframe to keyframe as long as the object is followed
    (:class:`~location_anticipation.video.VideoDetector`). ``info`` holds ``keyframe_step`` (a number, or the settings of
    the rule), ``score_threshold`` and ``damaged`` (null or a line of text). The CSV file has a line for each box, with
    the columns :data:`~location_anticipation.detections_csv.COLUMNS`.

    Args:
        model: a detector as :class:`~location_anticipation.video.VideoDetector` takes it.
        source: a video file, a folder of images, or the number of a camera.
        keyframe_step: every how many frames the network runs, 1 to ``model.horizon + 1``, or the rule that says so.
        out_json: where the detections go as JSON, if anywhere.
        out_csv: where they go as CSV, if anywhere.
        out_video: where the video with boxes goes, if anywhere; an ``.mp4`` at ``rate``.
        score_threshold: detections with a lower score are left out.
        class_names: ``class_names[k - 1]`` is the name of label k.
        device: where the model is moved; by default it stays where it is.
        inference: precision, memory layout and compilation; by default the model runs as it is.
        rate: frames per second; by default the average rate of the source. A folder of images has none, and its video
            with boxes gets 25.
        max_frames: end after this many frames.
        progress: called after every frame with the number of frames done and the number there will be as the source
            declares it, or None.
        stop: asked after every frame; when it says True, the source counts as ended there.

    Raises:
        UsageError: if the source or an argument cannot be used.
        WorkError: if an output cannot be written.
    """
    started = time.perf_counter()
    outputs = [Path(path) for path in (out_json, out_csv, out_video) if path is not None]
    _check_outputs(source, outputs)
    if max_frames is not None and max_frames < 1:
        raise UsageError(f"at least 1 frame is needed, got {max_frames}")
    frames, keyframes, writing = 0, 0, 0.0
    waiting, everything = _Clock(), _Clock()
    with ExitStack() as stack:
        video = stack.enter_context(open_source(source))
        video.rate = rate or video.rate
        total = video.frame_count if max_frames is None else min(max_frames, video.frame_count or max_frames)
        try:
            detector = VideoDetector(
                model,
                keyframe_step,
                to_tensor=lambda frame: _to_tensor(video, frame),
                device=device,
                score_threshold=score_threshold,
                inference=inference,
                follow=out_json is not None or out_csv is not None,
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        document = writer = None
        lists: list[_Output] = []
        if out_json is not None:
            document = stack.enter_context(create_json(out_json, video))
            lists.append(document)
        if out_csv is not None:
            lists.append(stack.enter_context(create_csv(out_csv, video.rate, class_names)))
        if out_video is not None:
            drawn_rate = video.rate or (_FOLDER_RATE if isinstance(video, ImageFolder) else None)
            if drawn_rate is None:
                raise UsageError(f"{video.label}: names no frame rate, which the output video needs; give one")
            size = (video.width, video.height)
            writer = stack.enter_context(create_video(out_video, drawn_rate, size, pixel_aspect=video.pixel_aspect))
        if inference is not None and inference.compile:
            stack.enter_context(_compiling())
        ahead = stack.enter_context(prefetch(islice(video, max_frames), _AHEAD))
        for frame, detections in everything.over(_paired(detector, waiting.over(ahead))):
            begun = time.perf_counter()
            _check_labels(detections, class_names)
            for output in lists:
                output.add(detections)
            if writer is not None:
                writer.write(draw_detections(video.rgb(frame), detections, class_names))
            writing += time.perf_counter() - begun
            frames += 1
            keyframes += detections.keyframe
            if progress is not None:
                progress(frames, total)
            if stop is not None and stop():
                break
        if document is not None:
            step = asdict(keyframe_step) if isinstance(keyframe_step, AutoStep) else keyframe_step
            info = {"keyframe_step": step, "score_threshold": score_threshold, "damaged": video.damage}
            document.finish(class_names, info)
    seconds = time.perf_counter() - started
    return DetectSummary(
        frames=frames,
        keyframes=keyframes,
        seconds=seconds,
        waiting=waiting.seconds,
        detecting=everything.seconds - waiting.seconds,
        writing=writing,
        fps=frames / seconds,
        damaged=video.damage,
    )


def _paired(detector: VideoDetector, frames: Iterator[Any]) -> Iterator[tuple[Any, FrameDetections]]:
    """Each frame with its detections, holding the frame at hand alone (``itertools.tee`` keeps dozens)."""
    latest: deque[Any] = deque(maxlen=1)

    def passing() -> Iterator[Any]:
        for frame in frames:
            latest.append(frame)
            yield frame

    for detections in detector(passing()):
        yield latest[0], detections


@contextmanager
def _compiling() -> Iterator[None]:
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WorkError(f"torch.compile failed ({reason}); go without it") from error


def _to_tensor(video: Source, frame: Any) -> Tensor:
    # Bytes go to the device and are scaled there: a quarter of the traffic.
    return torch.from_numpy(video.rgb(frame)).permute(2, 0, 1).contiguous()


def _check_outputs(source: str | Path | int, outputs: list[Path]) -> None:
    resolved = [path.resolve() for path in outputs]
    for path in outputs:
        if path.is_dir():
            raise UsageError(f"{path}: is a folder, give the name of a file")
        if not isinstance(source, int) and path.resolve() == Path(source).resolve():
            raise UsageError(f"{path}: is the source video, which would be lost; choose another name for the output")
    if len(set(resolved)) < len(resolved):
        twice = next(path for k, path in enumerate(resolved) if path in resolved[:k])
        raise UsageError(f"{twice}: two outputs cannot go to the same file")


def _check_labels(detections: FrameDetections, class_names: Sequence[str] | None) -> None:
    if class_names is not None and len(detections.labels) and detections.labels.max() > len(class_names):
        label = int(detections.labels.max())
        raise UsageError(f"the model found an object of label {label}, but {len(class_names)} class names were given")
