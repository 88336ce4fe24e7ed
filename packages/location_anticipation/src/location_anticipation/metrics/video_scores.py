"""Average precision of detections in annotated videos: over all, by step after the keyframe, and by speed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from location_anticipation.data.videos import Tracks
from location_anticipation.inference.stream import FrameDetections
from location_anticipation.metrics.average_precision import AveragePrecision, average_precision
from location_anticipation.metrics.matching import FrameBoxes
from location_anticipation.metrics.motion_speed import SpeedSplit, average_precision_by_speed, motion_iou

Found = Mapping[tuple[int, int], FrameDetections]
"""Detections by (video, frame)."""


@dataclass(frozen=True)
class VideoScores:
    """Average precision of the annotated frames, by the name of its flavour (``coco``, ``voc``, ``ilsvrc``)."""

    overall: dict[str, AveragePrecision]
    """Over all annotated frames."""
    by_step: dict[str, tuple[float, ...]] | None
    """mAP of the annotated frames that lie l = 0, 1, ... steps after their keyframe; NaN where no such frame shows an object.
    None if it was not asked for."""
    frames_by_step: tuple[int, ...] | None
    """The number of those frames."""
    by_speed: dict[str, SpeedSplit] | None
    """mAP of slow, medium and fast objects. None if it was not asked for."""


def score_videos(
    found: Found,
    tracks: Sequence[Tracks],
    *,
    flavours: Sequence[str] = ("coco",),
    steps: bool = False,
    speed: Sequence[str] = (),
) -> VideoScores:
    """Score detections against the annotation of the videos.

    Args:
        found: detections of every annotated frame; those of other frames are left out.
        tracks: annotation of each video.
        flavours: of average precision, over all and by step.
        steps: whether to score by step.
        speed: flavours of average precision by speed, of ``voc`` and ``ilsvrc``.

    Raises:
        ValueError: if no annotated frame shows an object, if an annotated frame has no detections, or for an unknown flavour.
    """
    scored = {key: found[key] for key in found if tracks[key[0]].annotated[key[1]]}
    expected = sum(int(t.annotated.sum()) for t in tracks)
    if len(scored) != expected:
        raise ValueError(f"expected detections of all {expected} annotated frames, got those of {len(scored)}")
    flavours = tuple(dict.fromkeys(flavours))
    detections, targets = _boxes(scored, tracks)
    overall = {flavour: average_precision(detections, targets, flavour) for flavour in flavours}
    by_step = frames_by_step = by_speed = None
    if steps:
        groups: list[Found] = [
            {key: frame for key, frame in scored.items() if frame.step == step}
            for step in range(1 + max(frame.step for frame in scored.values()))
        ]
        frames_by_step = tuple(len(group) for group in groups)
        by_step = {}
        for flavour in flavours:
            parts = [average_precision_of_part(group, tracks, flavour) for group in groups]
            by_step[flavour] = tuple(math.nan if part is None else part.map for part in parts)
    if speed:
        values = [motion_iou(t) for t in tracks]
        nearby = [values[video][time, tracks[video].present[time]] for video, time in scored]
        by_speed = {
            name: average_precision_by_speed(detections, targets, nearby, name) for name in dict.fromkeys(speed)
        }
    return VideoScores(overall, by_step, frames_by_step, by_speed)


def average_precision_of_part(found: Found, tracks: Sequence[Tracks], flavour: str) -> AveragePrecision | None:
    """Average precision over the frames of ``found``, not by class; None if no frame shows an object."""
    if not any(tracks[video].present[time].any() for video, time in found):
        return None
    return average_precision(*_boxes(found, tracks), flavour, per_class=False)


def _boxes(found: Found, tracks: Sequence[Tracks]) -> tuple[list[FrameBoxes], list[FrameBoxes]]:
    """Detections and true boxes of the frames of ``found``; labels count from 1."""
    targets: list[FrameBoxes] = []
    for video, time in found:
        objects = np.flatnonzero(tracks[video].present[time])
        boxes, labels = tracks[video].boxes[time, objects], tracks[video].labels[objects] + 1
        targets.append({"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels)})
    return [{"boxes": f.boxes, "labels": f.labels, "scores": f.scores} for f in found.values()], targets
