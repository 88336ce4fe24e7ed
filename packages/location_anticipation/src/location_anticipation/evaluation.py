"""Evaluating on videos: a detector on keyframes, on every frame and along its trajectories; any video method as a stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from location_anticipation.average_precision import AveragePrecision
from location_anticipation.detector import AnticipationRCNN
from location_anticipation.metrics import best_match, paired_iou
from location_anticipation.video import FrameDetections
from location_anticipation.video_scores import Scores, overall, score_videos
from location_anticipation.videos import Tracks, Videos

__all__ = ["Evaluation", "MethodEvaluation", "VideoMethod", "detect_keyframes", "evaluate", "evaluate_method", "spread"]

VideoMethod = Callable[[Iterable[Tensor]], Iterator[FrameDetections]]
"""Turns the frames of one video, (3, H, W) in [0, 1], into as many detections, in order. Methods may look ahead."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of one detector on one set of videos, from its annotated frames alone. AP is COCO's, in [0, 1]."""

    keyframe_map: float
    """AP at IoU .50:.95 on annotated keyframes alone; NaN if none of them shows an object."""
    keyframe_map_50: float
    """AP at IoU .50 on annotated keyframes alone."""
    video_map: float
    """AP at IoU .50:.95 on every annotated frame: detected boxes on keyframes, anticipated ones in between (standing
    still where the detector has no trajectory head)."""
    video_map_50: float
    """AP at IoU .50 on every annotated frame."""
    trajectory_iou: float
    """Mean IoU of anticipated and true boxes at l = 1..step-1, over all annotated objects of the keyframes; an object
    that is missed in its keyframe counts as 0. NaN if keyframes are not apart or the detector has no trajectories."""
    no_motion_iou: float
    """The same with the true keyframe box standing still: what anticipation has to beat."""
    keyframes: int
    """Frames of the videos that are keyframes. Where none of the frames up to the next keyframe is annotated, which
    changes no figure, the network is not run."""
    frames: int
    """Frames in the videos."""
    scores: Scores
    """AP on every annotated frame by flavour, and what else was asked for."""


@dataclass(frozen=True)
class MethodEvaluation:
    """Figures of one video method on one set of videos, from its annotated frames alone."""

    keyframes: int
    """Frames the network ran on, as the method says."""
    frames: int
    """Frames in the videos."""
    keyframe_share: float
    """``keyframes`` / ``frames``."""
    scores: Scores
    """AP on every annotated frame by flavour, and what else was asked for."""


@torch.inference_mode()
def detect_keyframes(
    model: AnticipationRCNN, videos: Videos, keyframe_step: int, batch_size: int, device: torch.device
) -> dict[tuple[int, int], dict[str, Tensor]]:
    """Detections of the frames 0, step, 2 step, ... of every video, by (video, frame), on the CPU.

    Keyframes with no annotated frame from there to the next keyframe are left out.
    """
    annotated = [videos.tracks(v).annotated for v in range(len(videos))]
    frames = [
        (v, t)
        for v, frame in enumerate(annotated)
        for t in range(0, len(frame), keyframe_step)
        if frame[t : t + keyframe_step].any()
    ]
    found: dict[tuple[int, int], dict[str, Tensor]] = {}
    batches = range(0, len(frames), batch_size)
    for first in tqdm(batches, unit="batch", desc="evaluate", disable=not sys.stderr.isatty()):
        part = frames[first : first + batch_size]
        for key, detection in zip(part, model([videos.frame(v, t).to(device) for v, t in part]), strict=True):
            found[key] = {name: value.cpu() for name, value in detection.items()}
    return found


def spread(
    keyframes: Mapping[tuple[int, int], Mapping[str, Tensor]], keyframe_step: int, lengths: Sequence[int]
) -> dict[tuple[int, int], FrameDetections]:
    """Detections of every frame: a keyframe's own, and its trajectories at l = 1..step-1 with its labels and scores.

    The boxes of a plain detector, without trajectories, stand still until the next keyframe. Boxes that have left the
    image, so that nothing of them is inside, are dropped.

    Args:
        keyframes: detections by (video, frame).
        keyframe_step: frames from one keyframe to the next.
        lengths: number of frames of each video.
    """
    everywhere: dict[tuple[int, int], FrameDetections] = {}
    for (video, time), detection in keyframes.items():
        for step in range(min(keyframe_step, lengths[video] - time)):
            moving = step > 0 and "trajectories" in detection
            boxes = detection["trajectories"][:, step - 1] if moving else detection["boxes"]
            inside = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)
            everywhere[video, time + step] = FrameDetections(
                index=time + step,
                keyframe=step == 0,
                step=step,
                boxes=boxes[inside],
                labels=detection["labels"][inside],
                scores=detection["scores"][inside],
            )
    return everywhere


def _trajectory_ious(
    keyframes: Mapping[tuple[int, int], dict[str, Tensor]], tracks: Sequence[Tracks], keyframe_step: int
) -> tuple[float, float]:
    """Mean IoU at l = 1..step-1 of the anticipated boxes, and of the true keyframe box standing still."""
    anticipated, still = [], []
    for (video, time), detection in keyframes.items():
        truth = tracks[video]
        last = min(time + keyframe_step, len(truth.present))
        objects = np.flatnonzero(truth.present[time])
        if last <= time + 1 or len(objects) == 0:
            continue
        true = torch.from_numpy(truth.boxes[time:last][:, objects]).transpose(0, 1)
        present = torch.from_numpy(truth.present[time + 1 : last][:, objects]).T
        still.append(paired_iou(true[:, :1].expand_as(true[:, 1:]), true[:, 1:])[present])
        if "trajectories" in detection:
            match = best_match(detection, true[:, 0])
            boxes = torch.zeros_like(true[:, 1:])
            boxes[match >= 0] = detection["trajectories"][match[match >= 0], : true.shape[1] - 1]
            anticipated.append(paired_iou(boxes, true[:, 1:])[present])
    means = [float(torch.cat(part).mean()) if part else float("nan") for part in (anticipated, still)]
    return means[0], means[1]


def evaluate(
    model: AnticipationRCNN,
    videos: Videos,
    *,
    keyframe_step: int,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    flavours: Sequence[str] = (),
    steps: bool = False,
    speed: Sequence[str] = (),
) -> Evaluation:
    """Evaluate ``model`` with keyframes every ``keyframe_step`` frames, many of them at once.

    Args:
        model: the detector; it is moved to ``device``.
        videos: annotated videos.
        keyframe_step: frames from one keyframe to the next.
        batch_size: keyframes the network sees at once.
        device: where the network runs. Detections are kept on the CPU.
        flavours: further average precisions over every annotated frame, ``voc`` or ``ilsvrc``; COCO's is always there.
        steps: whether to score by step after the keyframe too.
        speed: flavours of average precision by speed, of ``voc`` and ``ilsvrc``.

    Raises:
        ValueError: if ``keyframe_step`` is below 1 or its steps reach past the model's horizon, if no annotated frame
            shows an object, or for an unknown flavour.
        UsageError: if stored frames are damaged.
    """
    if keyframe_step < 1:
        raise ValueError(f"keyframe_step must be at least 1, got {keyframe_step}")
    if model.horizon and keyframe_step - 1 > model.horizon:
        raise ValueError(
            f"keyframe_step {keyframe_step} needs boxes at l = 1..{keyframe_step - 1}, "
            f"but the model anticipates {model.horizon} steps"
        )
    tracks = _tracks(videos)
    was_training = model.training
    model = model.to(device).eval()
    try:
        keyframes = detect_keyframes(model, videos, keyframe_step, batch_size, torch.device(device))
    finally:
        model.train(was_training)
    lengths = [len(t.annotated) for t in tracks]
    every = spread(keyframes, keyframe_step, lengths)
    scores = score_videos(every, tracks, flavours=("coco", *flavours), steps=steps, speed=speed)
    on_all = scores.overall["coco"]
    on_keyframes: AveragePrecision | None = on_all
    if keyframe_step > 1:
        annotated = {(v, t): f for (v, t), f in every.items() if f.keyframe and tracks[v].annotated[t]}
        shown = any(tracks[v].present[t].any() for v, t in annotated)
        on_keyframes = overall(annotated, tracks, "coco", per_class=False) if shown else None
    trajectory_iou, no_motion_iou = _trajectory_ious(keyframes, tracks, keyframe_step)
    return Evaluation(
        keyframe_map=on_keyframes.map if on_keyframes else float("nan"),
        keyframe_map_50=on_keyframes.map_50 if on_keyframes else float("nan"),
        video_map=on_all.map,
        video_map_50=on_all.map_50,
        trajectory_iou=trajectory_iou,
        no_motion_iou=no_motion_iou,
        keyframes=sum(-(-length // keyframe_step) for length in lengths),
        frames=sum(lengths),
        scores=scores,
    )


def evaluate_method(
    method: VideoMethod,
    videos: Videos,
    *,
    flavours: Sequence[str] = ("coco",),
    steps: bool = False,
    speed: Sequence[str] = (),
) -> MethodEvaluation:
    """Evaluate a video method, giving it every video as a stream of frames.

    Args:
        method: a :data:`VideoMethod`, for example a :class:`~location_anticipation.video.VideoDetector`.
        videos: annotated videos.
        flavours: average precisions over every annotated frame, of ``coco``, ``voc`` and ``ilsvrc``.
        steps: whether to score by step after the keyframe too, as the method's ``step`` says.
        speed: flavours of average precision by speed, of ``voc`` and ``ilsvrc``.

    Raises:
        ValueError: if no annotated frame shows an object, if the method does not give one result a frame in order, or
            for an unknown flavour.
        UsageError: if stored frames are damaged.
    """
    tracks = _tracks(videos)
    found: dict[tuple[int, int], FrameDetections] = {}
    keyframes = 0
    for video, truth in enumerate(tqdm(tracks, unit="video", desc="evaluate", disable=not sys.stderr.isatty())):
        length = len(truth.annotated)
        time = -1
        for time, detections in enumerate(method(videos.frame(video, t) for t in range(length))):
            if detections.index != time or time >= length:
                raise ValueError(
                    f"{videos.name(video)}: expected detections of the frames 0..{length - 1} in order, got frame "
                    f"{detections.index} in place {time}"
                )
            keyframes += detections.keyframe
            if truth.annotated[time]:
                found[video, time] = _on_cpu(detections)
        if time + 1 != length:
            raise ValueError(f"{videos.name(video)}: the method gave detections of {time + 1} frames of {length}")
    frames = sum(len(t.annotated) for t in tracks)
    scores = score_videos(found, tracks, flavours=flavours, steps=steps, speed=speed)
    return MethodEvaluation(keyframes, frames, keyframes / frames, scores)


def _tracks(videos: Videos) -> list[Tracks]:
    tracks = [videos.tracks(v) for v in range(len(videos))]
    if not any((t.present & t.annotated[:, None]).any() for t in tracks):
        raise ValueError(
            f"{videos.path}: no annotated frame shows an object; average precision needs at least one target box"
        )
    return tracks


def _on_cpu(frame: FrameDetections) -> FrameDetections:
    boxes, labels, scores = (rows.detach().cpu() for rows in (frame.boxes, frame.labels, frame.scores))
    return replace(frame, boxes=boxes, labels=labels, scores=scores, instances=None)
