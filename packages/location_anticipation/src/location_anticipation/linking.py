"""Which detection of one keyframe is the object that the keyframe before it anticipated."""

from __future__ import annotations

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
        (N,) int64, the index of each box's partner or -1, and (N,) float, their IoU or 0. Equal IoUs are taken in the
        order of N, then of M.
    """
    partner = torch.full((len(boxes),), -1, dtype=torch.int64)
    overlap = torch.zeros(len(boxes))
    if len(boxes) == 0 or len(other_boxes) == 0:
        return partner, overlap
    iou = box_iou(boxes, other_boxes) * (labels[:, None] == other_labels)
    rows, columns = torch.where((iou >= min_iou) & (iou > 0))
    order = iou[rows, columns].argsort(descending=True, stable=True)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    paired = torch.tensor(list(pairs), dtype=torch.int64)
    partner[paired] = torch.tensor(list(pairs.values()), dtype=torch.int64)
    overlap[paired] = iou[paired, partner[paired]]
    return partner, overlap
