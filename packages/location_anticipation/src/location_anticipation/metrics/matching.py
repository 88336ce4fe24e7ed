"""Which detection has found which true box, and the average precision of that: VOC's and ILSVRC's rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from location_anticipation.model.boxes import paired_iou

FrameBoxes = Mapping[str, Tensor]
"""Detections or true boxes of a frame by torchvision's names: ``boxes``, ``labels``, ``scores``, ``iscrowd``."""
_CHUNK = 1_000_000
"""Pairs of boxes whose IoU is computed at once."""


@dataclass(frozen=True)
class Rules:
    """When a detection has found a true box, and how precision and recall become one number."""

    threshold: float = 0.5
    """IoU a detection needs, in (0, 1]."""
    tolerance: float = 0.0
    """Pixels: a true box of w by h needs only min(threshold, w h / ((w + tolerance) (h + tolerance)))."""
    matching: Literal["best", "free"] = "best"
    """``best``: a detection stands for the true box it overlaps most, and is a false alarm if that one has been found
    already (VOC devkit). ``free``: for the one it overlaps most of those not found yet (FGFA, MEGA, COCO)."""
    pixel_inclusive: bool = True
    """Whether a box from x1 to x2 is x2 - x1 + 1 pixels wide, or x2 - x1."""
    points: int | None = None
    """Recall points 0 .. 1 at which the precision envelope is averaged, 11 for VOC 2007; all of its area when None."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")
        if self.tolerance < 0:
            raise ValueError(f"tolerance must be 0 or more pixels, got {self.tolerance}")
        if self.matching not in ("best", "free"):
            raise ValueError(f"matching must be 'best' or 'free', got {self.matching!r}")
        if self.points is not None and self.points < 2:
            raise ValueError(f"points must be at least 2, got {self.points}")

    def __str__(self) -> str:
        size = f" or less for small boxes ({self.tolerance:g} px)" if self.tolerance else ""
        area = "area under the precision envelope" if self.points is None else f"{self.points} recall points"
        edges = "" if self.pixel_inclusive else ", boxes by their edges"
        return f"AP at IoU {self.threshold:g}{size}, {area}{edges}"


VOC = Rules()
ILSVRC = Rules(tolerance=10.0, matching="free")
RULES = {"voc": VOC, "ilsvrc": ILSVRC}


@dataclass(frozen=True)
class Matches:
    """Which detection has found which true box: N detections and M true boxes of all frames, frame after frame.

    The detections of a frame are in the order of their scores; equal ones keep the order they came in.
    """

    scores: np.ndarray
    """float (N,)."""
    labels: np.ndarray
    """int (N,)."""
    frames: np.ndarray
    """int (N,): the frame of each detection."""
    found: np.ndarray
    """int (N,): the number of the true box the detection stands for, or -1."""
    first: np.ndarray
    """bool (N,): no better-scored detection stands for that box."""
    true_labels: np.ndarray
    """int (M,)."""
    true_frames: np.ndarray
    """int (M,): the frame of each true box."""
    counted: np.ndarray
    """bool (M,): not a crowd."""
    pairs: np.ndarray
    """int (P, 2): every detection with every true box of its frame, of whatever class."""
    overlaps: np.ndarray
    """float (P,): the IoU of each pair."""
    points: int | None
    """:attr:`Rules.points`."""

    def average_precision(self, counted: np.ndarray, weights: np.ndarray) -> dict[int, float]:
        """AP by label, of the classes with a true box that counts.

        A detection of a box that does not count is neither right nor wrong.

        Args:
            counted: bool (M,), the true boxes to find.
            weights: float (N,), how much each detection counts where it is a false alarm; 1 in plain evaluation.
        """
        of_counted = np.zeros(len(self.found), bool)
        hit = self.found >= 0
        of_counted[hit] = counted[self.found[hit]]
        right = hit & self.first & of_counted
        wrong = np.where(hit & (~of_counted | self.first), 0.0, weights)
        ranking = np.argsort(-self.scores, kind="stable")
        labels, positives = np.unique(self.true_labels[counted], return_counts=True)
        return {
            int(label): _area(right[ranked], wrong[ranked], int(number), self.points)
            for label, number in zip(labels, positives, strict=True)
            for ranked in [ranking[self.labels[ranking] == label]]
        }


def match(detections: Sequence[FrameBoxes], targets: Sequence[FrameBoxes], rules: Rules) -> Matches:
    """Match the detections of every frame, the highest score first, to its true boxes of the same class.

    Raises:
        ValueError: if the lists differ in length.
    """
    check_frames(detections, targets)
    frames, true_frames = (
        np.repeat(np.arange(len(part)), [len(frame["boxes"]) for frame in part]) for part in (detections, targets)
    )
    scores = _flat(detections, "scores").double().numpy()
    order = np.lexsort((-scores, frames))
    scores, boxes = scores[order], _flat(detections, "boxes").reshape(-1, 4).double()[torch.from_numpy(order)]
    labels, true_labels = _flat(detections, "labels").numpy()[order], _flat(targets, "labels").numpy()
    true_boxes = _flat(targets, "boxes").reshape(-1, 4).double()
    crowds = [t["iscrowd"].bool() if "iscrowd" in t else torch.zeros(len(t["boxes"])).bool() for t in targets]

    sizes = np.bincount(true_frames, minlength=len(targets))
    starts = np.cumsum(sizes) - sizes
    here = sizes[frames]
    first_pair = np.cumsum(here) - here
    one = np.repeat(np.arange(len(frames)), here)
    other = np.arange(len(one)) + np.repeat(starts[frames] - first_pair, here)
    chunks = [slice(i, i + _CHUNK) for i in range(0, len(one), _CHUNK)]
    parts = (paired_iou(boxes[one[c]], true_boxes[other[c]], pixel_inclusive=rules.pixel_inclusive) for c in chunks)
    overlaps = torch.cat([torch.zeros(0, dtype=torch.float64), *parts]).numpy()

    same = labels[one] == true_labels[other]
    needed = _needed(true_boxes, rules)
    if rules.matching == "free":
        same &= overlaps >= needed[other]
    wish = np.flatnonzero(same)
    wish = wish[np.lexsort((-overlaps[wish], one[wish]))]  # by detection, the largest overlap first
    if rules.matching == "free":
        found = _propose(one[wish], other[wish], len(frames), len(true_boxes))
    else:
        found = np.full(len(frames), -1)
        some, best = np.unique(one[wish], return_index=True)
        enough = overlaps[wish[best]] >= needed[other[wish[best]]]
        found[some[enough]] = other[wish[best[enough]]]
    first = np.zeros(len(found), bool)
    first[np.unique(found, return_index=True)[1]] = True
    return Matches(
        scores=scores,
        labels=labels,
        frames=frames,
        found=found,
        first=first & (found >= 0),
        true_labels=true_labels,
        true_frames=true_frames,
        counted=~torch.cat([torch.zeros(0).bool(), *crowds]).numpy(),
        pairs=np.stack((one, other), axis=1),
        overlaps=overlaps,
        points=rules.points,
    )


def _flat(frames: Sequence[FrameBoxes], name: str) -> Tensor:
    """One entry of all frames, one after another; empty ones may be of any type."""
    parts = [frame[name].detach().cpu() for frame in frames if len(frame[name])]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)


def _needed(true_boxes: Tensor, rules: Rules) -> np.ndarray:
    """IoU that each true box (M, 4) asks of a detection, (M,)."""
    sides = true_boxes[:, 2:] - true_boxes[:, :2] + (1 if rules.pixel_inclusive else 0)
    shares = (sides / (sides + rules.tolerance)).prod(dim=1) if rules.tolerance else torch.ones_like(sides[:, 0])
    needed: np.ndarray = shares.clamp(max=rules.threshold).numpy()
    return needed


def _propose(one: np.ndarray, other: np.ndarray, detections: int, boxes: int) -> np.ndarray:
    """The true box each detection takes if, in the order of their scores, each takes the first of its wishes that is free.

    Detection by detection that is slow. The same comes out of proposals (Gale and Shapley), of all frames at once: every
    detection asks for its first wish, a box keeps the best-scored detection that asked, the others ask for their next.

    Args:
        one: detections, ascending, within a frame in the order of their scores. (P,)
        other: true boxes, the wishes of each detection in their order. (P,)
        detections: N.
        boxes: M.

    Returns:
        Number of the true box, or -1. (N,)
    """
    wishes = np.bincount(one, minlength=detections)
    last = np.cumsum(wishes)
    at = last - wishes
    keeper = np.full(boxes, detections)
    asking = np.flatnonzero(at < last)
    while len(asking):
        np.minimum.at(keeper, other[at[asking]], asking)
        asking = np.flatnonzero(at < last)
        asking = asking[keeper[other[at[asking]]] != asking]
        at[asking] += 1
        asking = asking[at[asking] < last[asking]]
    found = np.full(detections, -1)
    kept = np.flatnonzero(at < last)
    found[kept] = other[at[kept]]
    return found


def _area(right: np.ndarray, wrong: np.ndarray, positives: int, points: int | None) -> float:
    """Area under the precision envelope, the highest precision at this recall or a higher one, of a ranking."""
    true, false = np.cumsum(right), np.cumsum(wrong)
    recall = true / positives
    precision = true / np.maximum(true + false, np.finfo(np.float64).eps)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if points is None:
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    reached = np.searchsorted(recall, np.arange(points) / (points - 1), side="left")
    return float(np.append(envelope, 0.0)[reached].mean())


def check_frames(detections: Sequence[FrameBoxes], targets: Sequence[FrameBoxes]) -> None:
    """One target for each frame of detections, or a ValueError."""
    if len(detections) != len(targets):
        raise ValueError(f"expected one target a frame, got {len(targets)} for {len(detections)} frames of detections")
