"""Boxes in pixels: their overlap, which of them belong together, and where they are along a trajectory."""

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou


def has_area(boxes: Tensor) -> Tensor:
    """Whether boxes (..., 4), x1 y1 x2 y2, have an area, (...) bool."""
    return (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)


def paired_iou(boxes: Tensor, others: Tensor, *, pixel_inclusive: bool = False) -> Tensor:
    """IoU of each box with its counterpart: (..., 4) and (..., 4), x1 y1 x2 y2, to (...); 0 where both are empty.

    Shapes are broadcast. ``pixel_inclusive``: x2 and y2 are the last pixels of the box, which is x2 - x1 + 1 wide.
    """
    last = 1 if pixel_inclusive else 0
    top_left = torch.maximum(boxes[..., :2], others[..., :2])
    bottom_right = torch.minimum(boxes[..., 2:], others[..., 2:])
    intersection = (bottom_right - top_left + last).clamp(min=0).prod(dim=-1)
    areas = [(b[..., 2:] - b[..., :2] + last).clamp(min=0).prod(dim=-1) for b in (boxes, others)]
    union = areas[0] + areas[1] - intersection
    return torch.where(union > 0, intersection / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)


def best_match(detection: dict[str, Tensor], true_boxes: Tensor, threshold: float = 0.5) -> Tensor:
    """For each true box (M, 4) the index of the highest-scoring detection that overlaps it, or -1. Shape (M,)."""
    if len(detection["boxes"]) == 0:
        return torch.full((len(true_boxes),), -1, dtype=torch.int64)
    overlaps = box_iou(true_boxes, detection["boxes"]) >= threshold
    scores = torch.where(overlaps, detection["scores"], -1.0)
    return torch.where(overlaps.any(dim=1), scores.argmax(dim=1), -1)


def match_boxes(
    boxes: Tensor, labels: Tensor, other_boxes: Tensor, other_labels: Tensor, min_iou: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Pair boxes of the same class, the largest IoU first, each box at most once.

    Args:
        boxes: (N, 4) x1 y1 x2 y2, with ``labels`` (N,).
        other_boxes: (M, 4), with ``other_labels`` (M,).
        min_iou: boxes with a smaller IoU are not paired.

    Returns:
        On the CPU: (N,) int64, the index of each box's partner or -1, and (N,) float, their IoU or 0. Equal IoUs
        are taken in the order of N, then of M.
    """
    partner, overlap = np.full(len(boxes), -1), np.zeros(len(boxes), np.float32)
    if len(boxes) and len(other_boxes):
        # NumPy: on matrices of this size most of torch's time would be its overhead.
        iou, same = box_iou(boxes, other_boxes).numpy(force=True), (labels[:, None] == other_labels).numpy(force=True)
        iou[~((iou >= min_iou) & (iou > 0) & same)] = 0
        rows = np.arange(len(boxes))
        while iou.any():
            # Pairs that are the largest of their row and column are those that taking one pair at a time would take too.
            # argmax is the first of equals, so that equal pairs have one order throughout and there is always one to take.
            column = iou.argmax(axis=1)
            taken = rows[(iou.argmax(axis=0)[column] == rows) & (iou[rows, column] > 0)]
            partner[taken], overlap[taken] = column[taken], iou[taken, column[taken]]
            iou[taken] = 0
            iou[:, column[taken]] = 0
    return torch.from_numpy(partner), torch.from_numpy(overlap)


def boxes_at(trajectories: Tensor, step: int) -> Tensor:
    """Boxes (N, 4) at ``step`` from (N, S + 1, 4) boxes at l = 0..S.

    One step beyond the last (the keyframe after S anticipated frames) continues the last offset:
    B_{S+1} = B_S + (B_S - B_{S-1}); with S = 0 the boxes stand still.

    Raises:
        ValueError: if ``step`` is not 0..S + 1.
    """
    last = trajectories.shape[1] - 1
    if not 0 <= step <= last + 1:
        raise ValueError(f"step must be 0..{last + 1} for boxes at l = 0..{last}, got {step}")
    if step <= last:
        return trajectories[:, step]
    if last == 0:
        return trajectories[:, 0]
    return 2 * trajectories[:, last] - trajectories[:, last - 1]
