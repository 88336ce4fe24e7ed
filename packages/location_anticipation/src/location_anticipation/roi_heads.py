"""torchvision's RoI heads with the trajectory subnetwork beside them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import batched_nms, clip_boxes_to_image

from location_anticipation.criterion import TrajectoryCriterion
from location_anticipation.trajectory_head import TrajectoryHead

__all__ = ["AnticipationRoIHeads"]


class AnticipationRoIHeads(RoIHeads):
    """Classifies and refines proposals as torchvision does, and anticipates where the refined boxes go.

    In training the trajectory head sees the positive proposals; in inference only the boxes that survive NMS, with the
    RoI features their proposals were classified by, so that it costs no second pooling.

    Args:
        box_beta: where the smooth L1 of the box loss turns from square to linear (1/9 in torchvision).
        trajectory_features: what the trajectory head is given, ``pooled`` features or the ``box_head``'s output.
        trajectory_head: the subnetwork, or None for a plain detector.
        criterion: the trajectory loss and its decoding.
        trajectory_weight: factor of the trajectory loss in ``loss_trajectory``.
        Everything else: as torchvision's ``RoIHeads``.
    """

    def __init__(
        self,
        *args: object,
        box_beta: float,
        trajectory_features: str,
        trajectory_head: TrajectoryHead | None,
        criterion: TrajectoryCriterion,
        trajectory_weight: float,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.box_beta = box_beta
        self.trajectory_features = trajectory_features
        self.trajectory_head = trajectory_head
        self.criterion = criterion
        self.trajectory_weight = trajectory_weight

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        if self.training:
            return [], self._losses(features, proposals, image_shapes, targets)
        pooled = self.box_roi_pool(features, proposals, image_shapes)
        represented = self.box_head(pooled)
        class_logits, box_regression = self.box_predictor(represented)
        known = pooled if self.trajectory_features == "pooled" else represented
        return self.detections(known, class_logits, box_regression, proposals, image_shapes), {}

    def _losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None,
    ) -> dict[str, Tensor]:
        proposals, matched, labels, regression_targets = self.select_training_samples(proposals, targets)
        pooled = self.box_roi_pool(features, proposals, image_shapes)
        represented = self.box_head(pooled)
        class_logits, box_regression = self.box_predictor(represented)
        losses = self.box_losses(class_logits, box_regression, labels, regression_targets)
        if self.trajectory_head is not None and targets is not None:
            known = pooled if self.trajectory_features == "pooled" else represented
            loss = self._trajectory_loss(known, box_regression, proposals, matched, labels, image_shapes, targets)
            losses["loss_trajectory"] = loss
        return losses

    def box_losses(
        self,
        class_logits: Tensor,
        box_regression: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> dict[str, Tensor]:
        """Losses of the sampled proposals' classes and boxes, from outputs (R, C+1) and (R, 4 (C+1)) of all images."""
        every = torch.cat(labels)
        return {
            "loss_classifier": F.cross_entropy(class_logits, every),
            "loss_box_reg": _box_loss(box_regression, every, torch.cat(list(regression_targets)), self.box_beta),
        }

    def _trajectory_loss(
        self,
        known: Tensor,
        box_regression: Tensor,
        proposals: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> Tensor:
        """Trajectory loss of the positive proposals, divided by the number of sampled ones as the box loss is."""
        head = self.trajectory_head
        assert head is not None
        all_labels = torch.cat(labels)
        positive = torch.where(all_labels > 0)[0]
        positive_labels = all_labels[positive]
        regression = box_regression.unflatten(1, (-1, 4))[positive, positive_labels]
        # float32 throughout: pixel coordinates do not fit the eight bits of a bfloat16 mantissa.
        key_boxes = self.box_coder.decode_single(regression.float(), torch.cat(proposals)[positive])
        inputs = torch.cat([_relative_boxes(boxes, size) for boxes, size in zip(
            key_boxes.detach().split([int((part > 0).sum()) for part in labels]), image_shapes, strict=True
        )])  # fmt: skip
        raw = _of_class(head(known[positive], inputs), positive_labels, head).float()
        true_boxes, valid = _matched_trajectories(targets, matched, labels, head.horizon)
        per_object = self.criterion(true_boxes, key_boxes, raw, valid)
        return self.trajectory_weight * per_object.sum() / max(all_labels.numel(), 1)

    def detections(
        self,
        known: Tensor,
        class_logits: Tensor,
        box_regression: Tensor,
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Detections of every image from outputs (R, C+1) and (R, 4 (C+1)) of all images' proposals.

        ``known`` (R, ...) is what a trajectory head is given; it is not read without one.
        """
        counts = [len(boxes) for boxes in proposals]
        scores = F.softmax(class_logits.float(), -1)
        # (decode answers (R, C, 4), but (0, 4 C) where there is no proposal at all.)
        boxes = self.box_coder.decode(box_regression.float(), proposals).reshape(-1, scores.shape[1], 4)
        result, kept = [], []
        offset = 0
        for image_boxes, image_scores, size, count in zip(
            boxes.split(counts), scores.split(counts), image_shapes, counts, strict=True
        ):
            detection, rows = self._select(clip_boxes_to_image(image_boxes, size), image_scores)
            result.append(detection)
            kept.append(rows + offset)
            offset += count
        if self.trajectory_head is not None:
            self._anticipate(self.trajectory_head, known, result, kept, image_shapes)
        return result

    def _select(self, boxes: Tensor, scores: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Score threshold, NMS per class and the best ``detections_per_img``: torchvision's rule, in one pass.

        ``boxes`` (R, C, 4), ``scores`` (R, C). Returns the detections and the proposal each one came from.
        """
        rows, columns = torch.where(scores[:, 1:] > self.score_thresh)
        columns = columns + 1
        candidate_boxes, candidate_scores = boxes[rows, columns], scores[rows, columns]
        sides = candidate_boxes[:, 2:] - candidate_boxes[:, :2]
        large = torch.where((sides >= 1e-2).all(dim=1))[0]
        keep = batched_nms(candidate_boxes[large], candidate_scores[large], columns[large], self.nms_thresh)
        keep = large[keep[: self.detections_per_img]]
        detection = {
            "boxes": candidate_boxes[keep],
            "labels": columns[keep],
            "scores": candidate_scores[keep],
        }
        return detection, rows[keep]

    def _anticipate(
        self,
        head: TrajectoryHead,
        known: Tensor,
        result: list[dict[str, Tensor]],
        kept: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> None:
        """Add ``trajectories`` (N, T, 4), clipped to the image, to every detection; one call for all images."""
        relative = torch.cat([_relative_boxes(d["boxes"], s) for d, s in zip(result, image_shapes, strict=True)])
        labels = torch.cat([detection["labels"] for detection in result])
        raw = _of_class(head(known[torch.cat(kept)], relative), labels, head).float()
        boxes = torch.cat([detection["boxes"] for detection in result])
        trajectories = self.criterion.decode(boxes, raw)
        for detection, part, size in zip(
            result, trajectories.split([len(rows) for rows in kept]), image_shapes, strict=True
        ):
            detection["trajectories"] = clip_boxes_to_image(part, size)


def _box_loss(box_regression: Tensor, labels: Tensor, targets: Tensor, beta: float) -> Tensor:
    """Smooth L1 of the positive proposals' class-specific deltas, over the number of all: torchvision's, any beta."""
    positive = torch.where(labels > 0)[0]
    predicted = box_regression.unflatten(1, (-1, 4))[positive, labels[positive]]
    return F.smooth_l1_loss(predicted, targets[positive], beta=beta, reduction="sum") / labels.numel()


def _relative_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes x1 y1 x2 y2 in pixels as (x, y, w, h) divided by the image's width and height."""
    scale = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    return torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), dim=1) / scale


def _of_class(raw: Tensor, labels: Tensor, head: nn.Module) -> Tensor:
    """(N, T, 4) from class-specific outputs (N, T, C, 4) and labels 1..C; class-agnostic ones pass through."""
    if head.num_classes is None:
        return raw
    return raw[torch.arange(len(raw), device=raw.device), :, labels - 1]


def _matched_trajectories(
    targets: list[dict[str, Tensor]], matched: list[Tensor], labels: list[Tensor], horizon: int
) -> tuple[Tensor, Tensor]:
    """True boxes (P, T+1, 4) and validity (P, T+1) of the object each positive proposal was matched to."""
    true_boxes, valid = [], []
    for target, index, label in zip(targets, matched, labels, strict=True):
        if "trajectories" not in target or "trajectory_valid" not in target:
            raise ValueError(
                f"targets need trajectories (N, {horizon}, 4) and trajectory_valid (N, {horizon}), got {sorted(target)}"
            )
        objects = index[label > 0]
        trajectories, mask = target["trajectories"], target["trajectory_valid"]
        if trajectories.shape[1:] != (horizon, 4) or mask.shape != trajectories.shape[:2]:
            raise ValueError(
                f"targets need trajectories (N, {horizon}, 4) and trajectory_valid (N, {horizon}), "
                f"got {tuple(trajectories.shape)} and {tuple(mask.shape)}"
            )
        if len(objects) == 0:
            continue
        keyframe = target["boxes"].float()[objects, None]
        true_boxes.append(torch.cat((keyframe, trajectories.float()[objects]), dim=1))
        present = torch.ones(len(objects), 1, dtype=torch.bool, device=mask.device)
        valid.append(torch.cat((present, mask[objects]), dim=1))
    if not true_boxes:
        device = targets[0]["boxes"].device
        return torch.zeros(0, horizon + 1, 4, device=device), torch.zeros(
            0, horizon + 1, dtype=torch.bool, device=device
        )
    return torch.cat(true_boxes), torch.cat(valid)
