"""Which detection of one keyframe is the object that the keyframe before it anticipated."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

__all__ = ["boxes_at", "match_boxes"]


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


def match_boxes(
    boxes: Tensor, labels: Tensor, other_boxes: Tensor, other_labels: Tensor, min_iou: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Pair boxes of the same class, the largest IoU first, each box at most once.

    Args:
        boxes: (N, 4) x1 y1 x2 y2, with ``labels`` (N,).
        other_boxes: (M, 4), with ``other_labels`` (M,).
        min_iou: pairs below this are none.

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
