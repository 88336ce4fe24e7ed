"""A video through a detector: detections as CocoVID JSON and CSV, and the video with the boxes drawn in."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from efficiency_core.errors import UsageError, WorkError, checking
from location_anticipation.data.frame_sources import Source, open_source
from location_anticipation.data.image_folder import ImageFolder
from location_anticipation.inference.auto_step import AutoStep
from location_anticipation.inference.detections import Add, create_csv, create_json
from location_anticipation.inference.drawing import draw_detections, label_font
from location_anticipation.inference.key_boxes import KeyBoxes
from location_anticipation.inference.prefetch import prefetch
from location_anticipation.inference.runtime import Inference
from location_anticipation.inference.stream import VideoDetector, VideoMethod
from location_anticipation.inference.video_writer import create_video

_AHEAD = 8  # decoded frames that wait: enough to even out keyframes, 25 MB of them in full HD
_FOLDER_RATE = Fraction(25)


@dataclass(frozen=True)
class DetectSummary:
    """What :func:`detect_video` did, and where the time went."""

    frames: int
    """Frames read; all of them are in the outputs."""
    keyframes: int
    """Number of keyframes among them."""
    boxes: int
    """Boxes in the outputs."""
    seconds: float
    """Time for everything: opening, decoding, the network, drawing and writing."""
    waiting: float
    """Seconds of these spent waiting for the decoder; large where decoding limits the speed."""
    detecting: float
    """Seconds for keyframes: conversion to RGB, upload, network."""
    writing: float
    """Seconds for the outputs: conversion of drawn frames to RGB, drawing, encoding, text."""
    fps: float
    """Frames per second over ``seconds``."""
    damaged: str | None
    """None, or what is damaged or missing in the source; the outputs hold every frame that could be decoded."""
    broken: bool
    """Whether frames of the source are missing or ruined; False where FFmpeg has repaired all that is damaged."""


Between = Literal["anticipation", "copied", "velocity", "interpolation"]
"""Where boxes are between keyframes: as the model anticipates them, or by a rule of
:class:`~location_anticipation.inference.key_boxes.KeyBoxes`, which serves any detector."""


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
    source: Source,
    *,
    keyframe_step: int | AutoStep,
    between: Between = "anticipation",
    out_json: str | Path | None = None,
    out_csv: str | Path | None = None,
    out_video: str | Path | None = None,
    score_threshold: float = 0.5,
    class_names: Sequence[str] | None = None,
    category_ids: Sequence[int] | None = None,
    font: str | Path | None = None,
    device: torch.device | str | None = None,
    inference: Inference | None = None,
    rate: Fraction | None = None,
    max_frames: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> DetectSummary:
    """Detect the objects in every frame of a video, running the network on keyframes.

    Frames are decoded in a thread of their own, a few ahead of the one at hand. Memory does not grow with the video.
    Frames between keyframes are converted to RGB only for ``out_video``. The outputs take their names when they are
    complete; a failed run leaves nothing behind.

    The JSON file is CocoVID: ``videos`` (one), ``images``, ``annotations``, ``categories``. Images also have
    ``keyframe`` and ``step`` (frames since the keyframe). Annotations also have ``score`` and ``instance_id``, which is equal
    as long as the object is followed (``follow`` of ``VideoDetector``). ``info`` holds ``keyframe_step`` (a number, or the
    settings of the rule), ``score_threshold`` and ``damaged`` (null or a line of text). The CSV file has a line for each
    box, with the columns :data:`~location_anticipation.inference.detections.COLUMNS`.

    Args:
        model: a detector as :class:`~location_anticipation.inference.stream.VideoDetector` takes it.
        source: a video file or address, a folder of images, or the number of a camera.
        keyframe_step: every how many frames the network runs, 1 to ``model.horizon + 1``, or the rule that says so.
        between: the boxes between keyframes; with ``interpolation`` they are known at the next keyframe only.
        out_json: where the detections go as JSON, if anywhere.
        out_csv: where they go as CSV, if anywhere.
        out_video: where the video with boxes goes, if anywhere; an ``.mp4``.
        score_threshold: detections with a lower score are left out.
        class_names: ``class_names[k - 1]`` is the name of label k.
        category_ids: ``category_ids[k - 1]`` is the id of label k in the JSON file; by default k.
        font: font file for the names; by default the first on this machine that has their letters.
        device: where the model is moved; by default it stays where it is.
        inference: precision, memory layout and compilation; by default the model runs as it is.
        rate: frames per second; by default frames have the times that the source gives them. A folder of images gives none,
            and its video with boxes gets 25.
        max_frames: end after this many frames.
        progress: called after every frame with the number of frames done and the number there will be as the source
            declares it, or None.
        stop: asked after every frame; when it says True, the source counts as ended there.

    Raises:
        UsageError: if the source or an argument cannot be used.
        WorkError: if an output cannot be written.
    """
    started = time.perf_counter()
    _check_outputs(source, [Path(path) for path in (out_json, out_csv, out_video) if path is not None])
    if max_frames is not None and max_frames < 1:
        raise UsageError(f"at least 1 frame is needed, got {max_frames}")
    frames, keyframes, boxes, writing = 0, 0, 0, 0.0
    waiting, everything = _Clock(), _Clock()
    with ExitStack() as stack:
        video = stack.enter_context(open_source(source))
        video.rate = rate or video.rate
        total = video.frame_count if max_frames is None else min(max_frames, video.frame_count or max_frames)
        options: dict[str, Any] = {
            # Bytes go to the device and are scaled there: a quarter of the traffic.
            "to_tensor": lambda frame: torch.from_numpy(video.rgb(frame)).permute(2, 0, 1).contiguous(),
            "device": device,
            "score_threshold": score_threshold,
            "inference": inference,
            "follow": out_json is not None or out_csv is not None,
        }
        with checking():
            detector: VideoMethod
            if between == "anticipation":
                detector = VideoDetector(model, keyframe_step, **options)
            elif isinstance(keyframe_step, AutoStep):
                raise UsageError(f"keyframes that are chosen need boxes that are anticipated, not {between}")
            else:
                detector = KeyBoxes(model, between, keyframe_step, **options)
        lists: list[Add] = []
        write = None
        if out_json is not None:
            step = asdict(keyframe_step) if isinstance(keyframe_step, AutoStep) else keyframe_step
            info: dict[str, Any] = {"keyframe_step": step, "score_threshold": score_threshold}
            if between != "anticipation":
                info["between"] = between
            lists.append(stack.enter_context(create_json(out_json, video, class_names, info, category_ids)))
        if out_csv is not None:
            lists.append(stack.enter_context(create_csv(out_csv, video.rate, class_names)))
        if out_video is not None:
            drawn_rate = video.rate or (_FOLDER_RATE if isinstance(video, ImageFolder) else None)
            if drawn_rate is None:
                raise UsageError(f"{video.label}: names no frame rate, which the output video needs; give one")
            size = (video.width, video.height)
            font = label_font(tuple(class_names or ()), font)
            write = stack.enter_context(create_video(out_video, drawn_rate, size, pixel_aspect=video.pixel_aspect))
        if inference is not None and inference.compile:
            stack.enter_context(_compiling())
        pending = deque[Any]()  # results may come later than their frames
        ahead = _kept(waiting.over(stack.enter_context(prefetch(islice(video, max_frames), _AHEAD))), pending)
        for detections in everything.over(detector(ahead)):
            frame = pending.popleft()
            begun = time.perf_counter()
            label = max(detections.labels.tolist(), default=0)
            if class_names is not None and label > len(class_names):
                raise UsageError(
                    f"the model found an object of label {label}, but {len(class_names)} class names were given"
                )
            shown = video.seconds(frame) if rate is None else None
            for add in lists:
                add(detections, shown)
            if write is not None:
                write(draw_detections(video.rgb(frame), detections, class_names, font), shown)
            writing += time.perf_counter() - begun
            frames += 1
            keyframes += detections.keyframe
            boxes += len(detections.labels)
            if progress is not None:
                progress(frames, total)
            if stop is not None and stop():
                break
    seconds = time.perf_counter() - started
    return DetectSummary(
        frames=frames,
        keyframes=keyframes,
        boxes=boxes,
        seconds=seconds,
        waiting=waiting.seconds,
        detecting=everything.seconds - waiting.seconds,
        writing=writing,
        fps=frames / seconds,
        damaged=video.damage,
        broken=video.broken is not None,
    )


def _kept(items: Iterator[Any], pending: deque[Any]) -> Iterator[Any]:
    for item in items:
        pending.append(item)
        yield item


@contextmanager
def _compiling() -> Iterator[None]:
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WorkError(f"torch.compile failed ({reason}); go without it") from error


def _check_outputs(source: Source, outputs: list[Path]) -> None:
    resolved = [path.resolve() for path in outputs]
    for path in outputs:
        if path.is_dir():
            raise UsageError(f"{path}: is a folder, give the name of a file")
        if not isinstance(source, int) and path.resolve() == Path(source).resolve():
            raise UsageError(f"{path}: is the source video, which would be lost; choose another name for the output")
    if len(set(resolved)) < len(resolved):
        twice = next(path for k, path in enumerate(resolved) if path in resolved[:k])
        raise UsageError(f"{twice}: two outputs cannot go to the same file")
