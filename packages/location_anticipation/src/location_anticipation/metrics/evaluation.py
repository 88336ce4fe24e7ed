"""Evaluating on videos: a detector on keyframes, on every frame and along its trajectories; any video method as a stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from efficiency_core.command import reporting
from location_anticipation.data.videos import Tracks, Videos
from location_anticipation.inference.stream import FrameDetections, VideoMethod
from location_anticipation.metrics.video_scores import VideoScores, average_precision_of_part, score_videos
from location_anticipation.model.boxes import best_match, has_area, paired_iou
from location_anticipation.model.detector import AnticipationRCNN


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
    """The same with the true keyframe box standing still; it has neither errors of the keyframe box nor missed objects."""
    still_iou: float
    """As ``trajectory_iou``, with the detected keyframe box standing still, for comparison."""
    keyframes: int
    """Frames of the videos that are keyframes. Where none of the frames up to the next keyframe is annotated, the
    network is not run, which changes no figure."""
    frames: int
    """Frames in the videos."""
    scores: VideoScores
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
    scores: VideoScores
    """AP on every annotated frame by flavour, and what else was asked for."""


def keyframe_places(videos: Videos, keyframe_step: int) -> list[tuple[int, int]]:
    """The frames 0, step, 2 step, ... of every video as (video, frame).

    Keyframes with no annotated frame from there to the next keyframe are left out.
    """
    annotated = [videos.tracks(v).annotated for v in range(len(videos))]
    return [
        (v, t)
        for v, frame in enumerate(annotated)
        for t in range(0, len(frame), keyframe_step)
        if frame[t : t + keyframe_step].any()
    ]


@torch.inference_mode()
def detect_keyframes(
    model: AnticipationRCNN, videos: Videos, keyframe_step: int, batch_size: int, device: torch.device
) -> dict[tuple[int, int], dict[str, Tensor]]:
    """Detections of the frames 0, step, 2 step, ... of every video, by (video, frame), on the CPU.

    See :func:`keyframe_places`.
    """
    frames = keyframe_places(videos, keyframe_step)
    videos.check_frames(frames)
    found: dict[tuple[int, int], dict[str, Tensor]] = {}
    with reporting(len(frames), "keyframe", "evaluating") as advance:
        for first in range(0, len(frames), batch_size):
            part = frames[first : first + batch_size]
            for key, detection in zip(part, model([videos.frame(v, t).to(device) for v, t in part]), strict=True):
                found[key] = {name: value.cpu() for name, value in detection.items()}
            advance(len(part))
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
            inside = has_area(boxes)
            labels, scores = detection["labels"][inside], detection["scores"][inside]
            everywhere[video, time + step] = FrameDetections(
                time + step, step == 0, step, boxes[inside], labels, scores
            )
    return everywhere


def _trajectory_ious(
    keyframes: Mapping[tuple[int, int], dict[str, Tensor]], tracks: Sequence[Tracks], keyframe_step: int
) -> tuple[float, float, float]:
    """Mean IoU at l = 1..step-1 of the anticipated boxes, and of the true and the detected keyframe box standing still."""
    anticipated, true_still, still = [], [], []
    for (video, time), detection in keyframes.items():
        truth = tracks[video]
        last = min(time + keyframe_step, len(truth.present))
        objects = np.flatnonzero(truth.present[time])
        if last <= time + 1 or len(objects) == 0:
            continue
        true = torch.from_numpy(truth.boxes[time:last][:, objects]).transpose(0, 1)
        present = torch.from_numpy(truth.present[time + 1 : last][:, objects]).T
        key, future = true[:, 0], true[:, 1:]
        match = best_match(detection, key)
        found = match >= 0
        boxes = torch.zeros_like(future)  # of missed objects
        boxes[found] = detection["boxes"][match[found], None]
        true_still.append(paired_iou(key[:, None], future)[present])
        still.append(paired_iou(boxes, future)[present])
        if "trajectories" in detection:
            boxes[found] = detection["trajectories"][match[found], : future.shape[1]]
            anticipated.append(paired_iou(boxes, future)[present])
    means = [float(torch.cat(part).mean()) if part else float("nan") for part in (anticipated, true_still, still)]
    return means[0], means[1], means[2]


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
    found: dict[tuple[int, int], FrameDetections] | None = None,
) -> Evaluation:
    """Evaluate ``model`` with keyframes every ``keyframe_step`` frames, many of them at once.

    Args:
        model: the detector; it is moved to ``device``.
        videos: annotated videos.
        keyframe_step: frames from one keyframe to the next.
        batch_size: keyframes the network sees at once.
        device: where the network runs. Detections are kept on the CPU.
        flavours, steps, speed: see :func:`~location_anticipation.metrics.video_scores.score_videos`; COCO's average precision
            is always there.
        found: is given the detections of the annotated frames, by (video, frame).

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
    if found is not None:
        found.update({(v, t): frame for (v, t), frame in every.items() if tracks[v].annotated[t]})
    scores = score_videos(every, tracks, flavours=("coco", *flavours), steps=steps, speed=speed)
    on_all = scores.overall["coco"]
    annotated = {(v, t): f for (v, t), f in every.items() if f.keyframe and tracks[v].annotated[t]}
    on_keyframes = on_all if keyframe_step == 1 else average_precision_of_part(annotated, tracks, "coco")
    trajectory_iou, no_motion_iou, still_iou = _trajectory_ious(keyframes, tracks, keyframe_step)
    return Evaluation(
        keyframe_map=on_keyframes.map if on_keyframes else float("nan"),
        keyframe_map_50=on_keyframes.map_50 if on_keyframes else float("nan"),
        video_map=on_all.map,
        video_map_50=on_all.map_50,
        trajectory_iou=trajectory_iou,
        no_motion_iou=no_motion_iou,
        still_iou=still_iou,
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
    found: dict[tuple[int, int], FrameDetections] | None = None,
) -> MethodEvaluation:
    """Evaluate a video method, giving it every video as a stream of frames.

    Args:
        method: for example a :class:`~location_anticipation.inference.stream.VideoDetector`; frames are (3, H, W) in [0, 1].
        videos: annotated videos.
        flavours, steps, speed: see :func:`~location_anticipation.metrics.video_scores.score_videos`.
        found: is given the detections of the annotated frames, by (video, frame).

    Raises:
        ValueError: if no annotated frame shows an object, if the method does not give one result a frame in order, or
            for an unknown flavour.
        UsageError: if stored frames are damaged.
    """
    tracks = _tracks(videos)
    lengths = [len(t.annotated) for t in tracks]
    videos.check_frames((video, time) for video, length in enumerate(lengths) for time in range(length))
    found = {} if found is None else found
    keyframes = 0
    with reporting(sum(lengths), "frame", "evaluating") as advance:
        for video, length in enumerate(lengths):
            time = -1
            for time, detections in enumerate(method(videos.frame(video, t) for t in range(length))):
                if detections.index != time or time >= length:
                    raise ValueError(
                        f"{videos.name(video)}: expected detections of the frames 0..{length - 1} in order, got frame "
                        f"{detections.index} in place {time}"
                    )
                keyframes += detections.keyframe
                if tracks[video].annotated[time]:
                    found[video, time] = detections
                advance(1)
            if time + 1 != length:
                raise ValueError(f"{videos.name(video)}: the method gave detections of {time + 1} frames of {length}")
    scores = score_videos(found, tracks, flavours=flavours, steps=steps, speed=speed)
    return MethodEvaluation(keyframes, sum(lengths), keyframes / sum(lengths), scores)


def _tracks(videos: Videos) -> list[Tracks]:
    tracks = [videos.tracks(v) for v in range(len(videos))]
    if not any((t.present & t.annotated[:, None]).any() for t in tracks):
        raise ValueError(
            f"{videos.path}: no annotated frame shows an object; average precision needs at least one target box"
        )
    return tracks
