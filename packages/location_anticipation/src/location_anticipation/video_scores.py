"""Average precision of what was detected in annotated videos: over all, by step after the keyframe, and by speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from location_anticipation.average_precision import AveragePrecision, average_precision
from location_anticipation.motion_speed import SpeedSplit, average_precision_by_speed, motion_iou
from location_anticipation.video import FrameDetections
from location_anticipation.videos import Tracks

__all__ = ["Scores", "by_speed", "by_step", "overall", "score_videos", "target"]

Found = Mapping[tuple[int, int], FrameDetections]
"""Detections by (video, frame)."""


@dataclass(frozen=True)
class Scores:
    """Average precision of the annotated frames, by the name of its flavour (``coco``, ``voc``, ``ilsvrc``)."""

    overall: dict[str, AveragePrecision]
    """Over all annotated frames."""
    by_step: dict[str, tuple[float, ...]] | None
    """mAP of the annotated frames that lie l = 0, 1, ... steps after their keyframe, l = 0 being the keyframe; NaN
    where no such frame shows an object. None if it was not asked for."""
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
) -> Scores:
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
    over_all = {flavour: overall(scored, tracks, flavour) for flavour in dict.fromkeys(flavours)}
    table, frames = by_step(scored, tracks, flavours) if steps else (None, None)
    return Scores(
        overall=over_all,
        by_step=table,
        frames_by_step=frames,
        by_speed=by_speed(scored, tracks, speed) if speed else None,
    )


def overall(found: Found, tracks: Sequence[Tracks], flavour: str, *, per_class: bool = True) -> AveragePrecision:
    """Average precision over the frames of ``found``."""
    targets = [target(tracks[video], time) for video, time in found]
    return average_precision([_entries(f) for f in found.values()], targets, flavour, per_class=per_class)


def by_step(
    found: Found, tracks: Sequence[Tracks], flavours: Sequence[str]
) -> tuple[dict[str, tuple[float, ...]], tuple[int, ...]]:
    """mAP by flavour over the frames l = 0, 1, ... steps after their keyframe, and the number of those frames."""
    groups: list[dict[tuple[int, int], FrameDetections]] = [{} for _ in range(1 + max(f.step for f in found.values()))]
    for key, frame in found.items():
        groups[frame.step][key] = frame
    defined = [any(tracks[video].present[time].any() for video, time in group) for group in groups]
    table = {
        flavour: tuple(
            overall(group, tracks, flavour, per_class=False).map if some else float("nan")
            for group, some in zip(groups, defined, strict=True)
        )
        for flavour in dict.fromkeys(flavours)
    }
    return table, tuple(len(group) for group in groups)


def by_speed(found: Found, tracks: Sequence[Tracks], flavours: Sequence[str]) -> dict[str, SpeedSplit]:
    """mAP of slow, medium and fast objects, by flavour."""
    values = [motion_iou(t) for t in tracks]
    nearby = [values[video][time, tracks[video].present[time]] for video, time in found]
    targets = [target(tracks[video], time) for video, time in found]
    detections = [_entries(f) for f in found.values()]
    return {
        flavour: average_precision_by_speed(detections, targets, nearby, flavour) for flavour in dict.fromkeys(flavours)
    }


def target(tracks: Tracks, time: int) -> dict[str, Tensor]:
    """``boxes`` (M, 4) and ``labels`` (M,), from 1, of the objects of one frame."""
    objects = np.flatnonzero(tracks.present[time])
    return {
        "boxes": torch.from_numpy(tracks.boxes[time, objects]),
        "labels": torch.from_numpy(tracks.labels[objects] + 1),
    }


def _entries(frame: FrameDetections) -> dict[str, Tensor]:
    return {"boxes": frame.boxes, "labels": frame.labels, "scores": frame.scores}
