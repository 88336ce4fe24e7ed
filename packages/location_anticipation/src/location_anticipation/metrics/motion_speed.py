"""Average precision of slow, medium and fast objects, on any data set with tracks.

Zhu et al., "Flow-Guided Feature Aggregation for Video Object Detection", ICCV 2017, section 5.1, as their evaluation has it:
the *motion IoU* of a true box is the mean IoU with the same object's boxes in the nearby frames,

    mean over k in [-10, 10], k != 0, of IoU(box at t, box at t + k),

frames outside the video or without the object left out of the mean; the IoU counts a box's last pixel in. The object is
slow above 0.9, fast below 0.7, medium in between. The authors give the values of ImageNet VID's validation set in a file:
37.93 % of its boxes are slow, 35.91 % medium and 26.16 % fast; reproducing that needs the real annotations. Here the values
are computed from the tracks of the evaluated set.

The AP of one bin looks for that bin's boxes alone. All detections are ranked and matched as in plain evaluation; then

- a detection of a box outside the bin is neither right nor wrong;
- a detection of nothing is wrong with a weight: 1 if of all boxes of the frame, of whatever class, it overlaps one of the
  bin most, and 0 if it overlaps another one most; where neither, as when it overlaps none, the share of the frame's boxes
  that are *outside* the bin; in a frame without boxes, the share of all boxes that are in the bin.

The share of the boxes outside looks like a slip (the share inside would give each false alarm the weight 1 over the three
bins), but it is what the released evaluations of FGFA and of MEGA compute, and what the published numbers are. Two details
differ from FGFA's. Its ranges are closed on both ends, so that exactly 0.7 or 0.9 is in two bins; here it is medium. And it
counts an empty frame as one fast box when it takes the share of all boxes; here only boxes count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from location_anticipation.data.videos import Tracks
from location_anticipation.metrics.matching import RULES, FrameBoxes, Matches, Rules, match
from location_anticipation.model.boxes import paired_iou


def motion_iou(tracks: Tracks, *, reach: int = 10, pixel_inclusive: bool = True) -> NDArray[np.float64]:
    """Motion IoU (L, O) of every box of a video, in [0, 1].

    NaN where the object is not present, and where it is present but in none of the 2 ``reach`` frames around: such a
    box has no known speed, is in no bin, and is ignored in all of them. That is every box of a set that is annotated
    more sparsely than every ``reach`` frames.

    Args:
        tracks: of the video. Frames that are not annotated count as frames without the object.
        reach: frames looked at on either side.
        pixel_inclusive: whether a box from x1 to x2 is x2 - x1 + 1 pixels wide.

    Raises:
        ValueError: if ``reach`` is below 1.
    """
    if reach < 1:
        raise ValueError(f"reach must be at least 1 frame, got {reach}")
    boxes = torch.from_numpy(tracks.boxes).double()
    present = tracks.present & tracks.annotated[:, None]
    total, neighbours = np.zeros(present.shape), np.zeros(present.shape, np.int64)
    for k in range(1, min(reach + 1, len(present))):
        both = present[:-k] & present[k:]
        overlap = np.where(both, paired_iou(boxes[:-k], boxes[k:], pixel_inclusive=pixel_inclusive).numpy(), 0.0)
        for half in (slice(None, -k), slice(k, None)):  # t and t + k are neighbours of each other
            total[half] += overlap
            neighbours[half] += both
    return np.divide(total, neighbours, out=np.full(total.shape, np.nan), where=neighbours > 0)


def speeds(motion_ious: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Which boxes are slow (> 0.9), medium (0.7 to 0.9) and fast (< 0.7); those of unknown speed, NaN, are none of it."""
    slow, fast = motion_ious > 0.9, motion_ious < 0.7
    return {"slow": slow, "medium": ~(slow | fast | np.isnan(motion_ious)), "fast": fast}


@dataclass(frozen=True)
class SpeedSplit:
    """AP of slow, medium and fast objects, in [0, 1]."""

    flavour: str
    """``voc`` or ``ilsvrc``."""
    definition: str
    """The definition, in words."""
    map: dict[str, float]
    """Mean AP over the classes with boxes in the bin; NaN for a bin without boxes."""
    rules: Rules
    """The rules of matching, as for all objects."""
    boxes: dict[str, int]
    """True boxes of each bin and, as ``unknown``, those without a known speed."""

    @property
    def shares(self) -> dict[str, float]:
        """Share of each bin and of ``unknown`` in all true boxes; NaN if there are none."""
        total = sum(self.boxes.values())
        return {name: count / total if total else float("nan") for name, count in self.boxes.items()}


def average_precision_by_speed(
    detections: Sequence[FrameBoxes],
    targets: Sequence[FrameBoxes],
    motion_ious: Sequence[NDArray[np.float64]],
    flavour: str = "ilsvrc",
    *,
    rules: Rules | None = None,
) -> SpeedSplit:
    """AP of each bin, by the rules above.

    Args:
        detections: a dict a frame, as for :func:`~location_anticipation.metrics.average_precision.average_precision`.
        targets: a dict a frame of true boxes. Boxes marked ``iscrowd`` are in no bin's truth.
        motion_ious: motion IoU (M,) of each frame's true boxes, NaN where not known.
        flavour: ``voc`` or ``ilsvrc``.
        rules: other rules than those of the flavour.

    Raises:
        ValueError: for another flavour (COCO's AP has no rule for false alarms of a bin), or if the lists or the boxes
            and motion IoUs of a frame differ in number.
    """
    if flavour not in RULES:
        raise ValueError(f"AP by speed is defined for {' and '.join(RULES)}, got {flavour!r}")
    if [len(target["boxes"]) for target in targets] != [len(values) for values in motion_ious]:
        raise ValueError("expected one motion IoU for each target box of each frame")
    rules = rules or RULES[flavour]
    matches = match(detections, targets, rules)
    bins = speeds(np.concatenate([np.zeros(0), *motion_ious]))
    values: dict[str, float] = {}
    boxes: dict[str, int] = {}
    for name, inside in bins.items():
        by_class = matches.average_precision(inside & matches.counted, false_alarm_weights(matches, inside))
        values[name] = float(np.mean(list(by_class.values()))) if by_class else float("nan")
        boxes[name] = int((inside & matches.counted).sum())
    boxes["unknown"] = int(matches.counted.sum()) - sum(boxes.values())
    return SpeedSplit(flavour, f"{flavour.upper()} {rules}, by motion IoU", values, rules, boxes)


def false_alarm_weights(matches: Matches, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much each detection (N,) counts in a bin if it is a false alarm; ``inside`` (M,) are the true boxes in it."""
    detection, box = matches.pairs.T
    most_in, most_out = np.full(len(matches.frames), -1.0), np.full(len(matches.frames), -1.0)
    for most, chosen in ((most_in, inside[box]), (most_out, ~inside[box])):
        np.maximum.at(most, detection[chosen], matches.overlaps[chosen])
    frames = 1 + max(matches.frames.max(initial=-1), matches.true_frames.max(initial=-1))
    boxes = np.bincount(matches.true_frames, minlength=frames)
    outside = np.bincount(matches.true_frames, weights=~inside, minlength=frames)
    undecided = np.where(boxes > 0, outside / np.maximum(boxes, 1), inside.mean() if len(inside) else 0.0)
    return np.where(most_in > most_out, 1.0, np.where(most_out > most_in, 0.0, undecided[matches.frames]))
