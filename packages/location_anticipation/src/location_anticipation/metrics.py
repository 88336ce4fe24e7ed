"""IoU of boxes, and which detection overlaps which true box."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

__all__ = ["best_match", "paired_iou"]


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
