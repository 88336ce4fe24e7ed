"""torchvision's RoI heads, extended by the trajectory subnetwork."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import batched_nms, clip_boxes_to_image

from location_anticipation.model.config import DetectorConfig
from location_anticipation.model.criterion import TrajectoryCriterion
from location_anticipation.model.trajectory_head import TrajectoryHead


class AnticipationRoIHeads(RoIHeads):
    """Classifies and refines proposals as torchvision does, and anticipates where the refined boxes go.

    In training the trajectory head sees the positive proposals; in inference only the boxes that survive NMS, with the
    RoI features their proposals were classified by, so that it costs no second pooling.

    Args:
        config: of the detector; its horizon 0 leaves the trajectory head out.
        pool, box_head, box_predictor: of torchvision's ``RoIHeads``.
    """

    def __init__(self, config: DetectorConfig, pool: nn.Module, box_head: nn.Module, box_predictor: nn.Module) -> None:
        super().__init__(
            pool,
            box_head,
            box_predictor,
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=config.rois_per_image,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=config.score_threshold,
            nms_thresh=config.nms_threshold,
            detections_per_img=config.detections_per_image,
        )
        self.config = config
        self.criterion = TrajectoryCriterion(
            config.loss, config.space, config.trajectory_beta, config.cumulative_end, config.keyframe
        )
        self.trajectory_head: TrajectoryHead | None = None
        if config.horizon > 0:
            classes = None if config.class_agnostic else config.num_classes
            features = config.channels * 7 * 7 if config.trajectory_features == "pooled" else config.representation
            self.trajectory_head = TrajectoryHead(features, config.horizon, config.trajectory_hidden, classes)

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Detections in inference, losses in training."""
        if self.training:
            proposals, matched, labels, regression_targets = self.select_training_samples(proposals, targets)
        pooled = self.box_roi_pool(features, proposals, image_shapes)
        represented = self.box_head(pooled)
        class_logits, box_regression = self.box_predictor(represented)
        known = pooled if self.config.trajectory_features == "pooled" else represented
        if not self.training:
            return self.detections(known, class_logits, box_regression, proposals, image_shapes), {}
        losses = self.box_losses(class_logits, box_regression, labels, regression_targets)
        if self.trajectory_head is not None and targets is not None:
            true_boxes, valid = _matched_trajectories(targets, matched, labels, self.config.horizon)
            # Of the positive proposals, divided by the number of sampled ones as the box loss is.
            every = torch.cat(labels)
            positive = torch.where(every > 0)[0]
            regression = box_regression.unflatten(1, (-1, 4))[positive, every[positive]]
            # float32 throughout: pixel coordinates do not fit the eight bits of a bfloat16 mantissa.
            key_boxes = self.box_coder.decode_single(regression.float(), torch.cat(proposals)[positive])
            by_image = key_boxes.detach().split([int((part > 0).sum()) for part in labels])
            raw = _outputs(self.trajectory_head, known[positive], by_image, image_shapes, every[positive])
            total = self.criterion(true_boxes, key_boxes, raw, valid).sum()
            losses["loss_trajectory"] = self.config.trajectory_weight * total / max(every.numel(), 1)
        return [], losses

    def box_losses(
        self, class_logits: Tensor, box_regression: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> dict[str, Tensor]:
        """Losses of the sampled proposals' classes and boxes, from outputs (R, C+1) and (R, 4 (C+1)) of all images.

        The box loss is torchvision's, the smooth L1 of positive proposals over the number of all, with any beta.
        """
        every = torch.cat(labels)
        positive = torch.where(every > 0)[0]
        predicted = box_regression.unflatten(1, (-1, 4))[positive, every[positive]]
        wanted = torch.cat(list(regression_targets))[positive]
        loss = F.smooth_l1_loss(predicted, wanted, beta=self.config.box_beta, reduction="sum")
        return {"loss_classifier": F.cross_entropy(class_logits, every), "loss_box_reg": loss / every.numel()}

    def detections(
        self,
        known: Tensor,
        class_logits: Tensor,
        box_regression: Tensor,
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Detections of every image from outputs (R, C+1) and (R, 4 (C+1)) of all images' proposals.

        ``known`` (R, ...) is the input of the trajectory head; it is not read without one.
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
        if self.trajectory_head is not None:  # one call for all images
            found, labels = [d["boxes"] for d in result], torch.cat([d["labels"] for d in result])
            raw = _outputs(self.trajectory_head, known[torch.cat(kept)], found, image_shapes, labels)
            trajectories = self.criterion.decode(torch.cat(found), raw).split([len(rows) for rows in kept])
            for detection, part, size in zip(result, trajectories, image_shapes, strict=True):
                detection["trajectories"] = clip_boxes_to_image(part, size)
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
        return {"boxes": candidate_boxes[keep], "labels": columns[keep], "scores": candidate_scores[keep]}, rows[keep]


def _outputs(
    head: TrajectoryHead, known: Tensor, boxes: Iterable[Tensor], sizes: list[tuple[int, int]], labels: Tensor
) -> Tensor:
    """Outputs (N, T, 4) of the head for the class of each box, float32; ``boxes`` are in pixels, by image."""
    relative = []  # (x, y, w, h), divided by the image's width and height
    for part, (height, width) in zip(boxes, sizes, strict=True):
        scale = part.new_tensor([width, height, width, height])
        relative.append(torch.cat((part[:, :2], part[:, 2:] - part[:, :2]), dim=1) / scale)
    raw: Tensor = head(known, torch.cat(relative))
    if head.num_classes is not None:
        raw = raw[torch.arange(len(raw), device=raw.device), :, labels - 1]
    return raw.float()


def _matched_trajectories(
    targets: list[dict[str, Tensor]], matched: list[Tensor], labels: list[Tensor], horizon: int
) -> tuple[Tensor, Tensor]:
    """True boxes (P, T+1, 4) and validity (P, T+1) of the object each positive proposal was matched to."""
    expected = f"targets need trajectories (N, {horizon}, 4) and trajectory_valid (N, {horizon})"
    true_boxes, valid = [], []
    for target, index, label in zip(targets, matched, labels, strict=True):
        if "trajectories" not in target or "trajectory_valid" not in target:
            raise ValueError(f"{expected}, got {sorted(target)}")
        trajectories, mask = target["trajectories"], target["trajectory_valid"]
        if trajectories.shape[1:] != (horizon, 4) or mask.shape != trajectories.shape[:2]:
            raise ValueError(f"{expected}, got {tuple(trajectories.shape)} and {tuple(mask.shape)}")
        objects = index[label > 0]
        keyframe = target["boxes"].float()[objects, None]
        true_boxes.append(torch.cat((keyframe, trajectories.float()[objects]), dim=1))
        present = torch.ones(len(objects), 1, dtype=torch.bool, device=mask.device)
        valid.append(torch.cat((present, mask[objects]), dim=1))
    return torch.cat(true_boxes), torch.cat(valid)
