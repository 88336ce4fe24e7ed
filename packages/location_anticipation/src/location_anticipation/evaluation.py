"""Evaluating a detector on videos: on keyframes, on every frame, and along the trajectories."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from location_anticipation.data import TrackVideos
from location_anticipation.detector import AnticipationRCNN
from location_anticipation.metrics import average_precision, best_match, paired_iou

__all__ = ["Evaluation", "detect_keyframes", "evaluate", "spread"]


@dataclass(frozen=True)
class Evaluation:
    """Figures of one detector on one set of videos. AP is COCO's, in [0, 1]."""

    keyframe_map: float
    """AP at IoU .50:.95 on keyframes alone."""
    keyframe_map_50: float
    """AP at IoU .50 on keyframes alone."""
    video_map: float
    """AP at IoU .50:.95 on every frame: detected boxes on keyframes, anticipated ones in between (standing still where
    the detector has no trajectory head)."""
    video_map_50: float
    """AP at IoU .50 on every frame."""
    trajectory_iou: float
    """Mean IoU of anticipated and true boxes at l = 1..step-1, over all annotated objects of the keyframes; an object
    that is missed in its keyframe counts as 0. NaN if keyframes are not apart or the detector has no trajectories."""
    no_motion_iou: float
    """The same with the true keyframe box standing still: what anticipation has to beat."""
    keyframes: int
    """Frames the network ran on."""
    frames: int
    """Frames in the videos."""


@torch.inference_mode()
def detect_keyframes(
    model: AnticipationRCNN, videos: TrackVideos, keyframe_step: int, batch_size: int, device: torch.device
) -> dict[tuple[int, int], dict[str, Tensor]]:
    """Detections of the frames 0, step, 2 step, ... of every video, by (video, frame), on the CPU."""
    frames = [(v, t) for v in range(videos.facts.videos) for t in range(0, videos.facts.frames, keyframe_step)]
    found: dict[tuple[int, int], dict[str, Tensor]] = {}
    batches = range(0, len(frames), batch_size)
    for first in tqdm(batches, unit="batch", desc="evaluate", disable=not sys.stderr.isatty()):
        part = frames[first : first + batch_size]
        for key, detection in zip(part, model([videos.frame(v, t).to(device) for v, t in part]), strict=True):
            found[key] = {name: value.cpu() for name, value in detection.items()}
    return found


def spread(
    keyframes: dict[tuple[int, int], dict[str, Tensor]], keyframe_step: int, frames: int
) -> dict[tuple[int, int], dict[str, Tensor]]:
    """Detections of every frame: a keyframe's own, and its trajectories at l = 1..step-1 with its labels and scores.

    The boxes of a plain detector, without trajectories, stand still until the next keyframe. Boxes that have left the
    image, so that nothing of them is inside, are dropped.
    """
    everywhere: dict[tuple[int, int], dict[str, Tensor]] = {}
    for (video, time), detection in keyframes.items():
        for step in range(min(keyframe_step, frames - time)):
            moving = step > 0 and "trajectories" in detection
            boxes = detection["trajectories"][:, step - 1] if moving else detection["boxes"]
            inside = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)
            everywhere[video, time + step] = {
                "boxes": boxes[inside],
                "labels": detection["labels"][inside],
                "scores": detection["scores"][inside],
            }
    return everywhere


def _target(videos: TrackVideos, video: int, time: int) -> dict[str, Tensor]:
    objects = np.flatnonzero(videos.present[video, time])
    return {
        "boxes": torch.from_numpy(videos.boxes[video, time, objects]),
        "labels": torch.from_numpy(videos.labels[video, objects] + 1),
    }


def _average_precision(detections: dict[tuple[int, int], dict[str, Tensor]], videos: TrackVideos) -> dict[str, float]:
    return average_precision(list(detections.values()), [_target(videos, v, t) for v, t in detections])


def _trajectory_ious(
    keyframes: dict[tuple[int, int], dict[str, Tensor]], videos: TrackVideos, keyframe_step: int
) -> tuple[float, float]:
    """Mean IoU at l = 1..step-1 of the anticipated boxes, and of the true keyframe box standing still."""
    anticipated, still = [], []
    for (video, time), detection in keyframes.items():
        last = min(time + keyframe_step, videos.facts.frames)
        objects = np.flatnonzero(videos.present[video, time])
        if last <= time + 1 or len(objects) == 0:
            continue
        true = torch.from_numpy(videos.boxes[video, time:last][:, objects]).transpose(0, 1)
        present = torch.from_numpy(videos.present[video, time + 1 : last][:, objects]).T
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
    videos: TrackVideos,
    *,
    keyframe_step: int,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Evaluate ``model`` with keyframes every ``keyframe_step`` frames.

    Raises:
        ValueError: if ``keyframe_step`` is below 1 or its steps reach past the model's horizon, or if no keyframe
            shows an object.
        UsageError: if stored frames are damaged.
    """
    if keyframe_step < 1:
        raise ValueError(f"keyframe_step must be at least 1, got {keyframe_step}")
    if model.horizon and keyframe_step - 1 > model.horizon:
        raise ValueError(
            f"keyframe_step {keyframe_step} needs boxes at l = 1..{keyframe_step - 1}, "
            f"but the model anticipates {model.horizon} steps"
        )
    was_training = model.training
    model = model.to(device).eval()
    try:
        keyframes = detect_keyframes(model, videos, keyframe_step, batch_size, torch.device(device))
    finally:
        model.train(was_training)
    on_keyframes = _average_precision(keyframes, videos)
    every = spread(keyframes, keyframe_step, videos.facts.frames)
    on_all = on_keyframes if keyframe_step == 1 else _average_precision(every, videos)
    trajectory_iou, no_motion_iou = _trajectory_ious(keyframes, videos, keyframe_step)
    return Evaluation(
        keyframe_map=on_keyframes["map"],
        keyframe_map_50=on_keyframes["map_50"],
        video_map=on_all["map"],
        video_map_50=on_all["map_50"],
        trajectory_iou=trajectory_iou,
        no_motion_iou=no_motion_iou,
        keyframes=len(keyframes),
        frames=len(every),
    )
