"""How good boxes and trajectories are."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision
from torchvision.ops import box_iou

__all__ = ["average_precision", "best_match", "paired_iou"]


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of each box with its counterpart: (..., 4) and (..., 4), x1 y1 x2 y2, to (...); 0 where both are empty."""
    top_left = torch.maximum(boxes[..., :2], others[..., :2])
    bottom_right = torch.minimum(boxes[..., 2:], others[..., 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(dim=-1) for b in (boxes, others)]
    union = areas[0] + areas[1] - intersection
    return torch.where(union > 0, intersection / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)


def best_match(detection: dict[str, Tensor], true_boxes: Tensor, threshold: float = 0.5) -> Tensor:
    """For each true box (M, 4) the index of the highest-scoring detection that overlaps it, or -1. Shape (M,)."""
    if len(detection["boxes"]) == 0:
        return torch.full((len(true_boxes),), -1, dtype=torch.int64)
    overlaps = box_iou(true_boxes, detection["boxes"]) >= threshold
    scores = torch.where(overlaps, detection["scores"], -1.0)
    return torch.where(overlaps.any(dim=1), scores.argmax(dim=1), -1)


def average_precision(
    detections: Sequence[dict[str, Tensor]], targets: Sequence[dict[str, Tensor]]
) -> dict[str, float]:
    """COCO average precision over frames: ``map`` (IoU .50:.05:.95), ``map_50`` and ``map_75``, each in [0, 1].

    Args:
        detections: one dict a frame with ``boxes`` (N, 4), ``scores`` (N,), ``labels`` (N,).
        targets: one dict a frame with ``boxes`` (M, 4), ``labels`` (M,).

    Raises:
        ValueError: if there is no target at all (average precision is then not defined).
    """
    if not any(len(target["boxes"]) for target in targets):
        raise ValueError("average precision needs at least one target box")
    metric = MeanAveragePrecision(backend="faster_coco_eval", max_detection_thresholds=[1, 10, 100])
    metric.warn_on_many_detections = False
    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)  # it announces every evaluation at INFO
    keep = ("boxes", "scores", "labels")
    metric.update([{k: d[k] for k in keep} for d in detections], [{k: t[k] for k in keep if k in t} for t in targets])
    result = metric.compute()
    return {name: float(result[name]) for name in ("map", "map_50", "map_75")}
