"""Which loss trains the trajectory head, and how its outputs become boxes: the two must agree."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from location_anticipation.model.config import Loss, check_choices, check_cumulative_end
from location_anticipation.model.losses import (
    bag_of_boxes_loss,
    bag_of_offsets_loss,
    cumulative_offset_loss,
    trajectory_loss,
)
from location_anticipation.model.offsets import OffsetSpace, offset_space


@dataclass(frozen=True)
class TrajectoryCriterion:
    """A trajectory loss by name, with the decoding that goes with it.

    With ``bag`` the head's outputs are the boxes B_{t+l}, each written relative to the keyframe box on its own; with
    the other three they are pairwise offsets that add up along the trajectory (section 2.3.2).

    Raises:
        ValueError: for a name that does not exist.
    """

    loss: Loss = "traj"
    """``bag`` (equation 2.1), ``sigma`` (2.2), ``bag_delta`` (2.3) or ``traj`` (2.4)."""
    space: Literal["image", "coder"] = "image"
    """``image``: pixels of the network's input (thesis); ``coder``: box-coder deltas (released code)."""
    beta: float = 1.0
    """Where smooth L1 turns from square to linear, in units of the space."""
    cumulative_end: Literal["every", "random"] = "every"
    """``every``: the cumulative term at all l (thesis); ``random``: at one random l in 1..T-1 per call, and no loss on
    later steps (released code). For ``sigma`` and ``traj`` alone, the losses that have the term."""
    keyframe: Literal["predicted", "detached", "true"] = "predicted"
    """Keyframe box that displacements are measured from. ``predicted`` is equation 2.2 to the letter; its gradient also moves
    the keyframe box. ``detached`` is the same without that gradient. ``true`` is the annotated box: errors of a detector that
    is still learning then do not count as motion, and the term l = 0 is zero."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_cumulative_end(self.loss, self.cumulative_end)

    @property
    def offsets(self) -> OffsetSpace:
        return offset_space(self.space)

    def decode(self, key_boxes: Tensor, raw: Tensor) -> Tensor:
        """Boxes (N, T, 4) at l = 1..T from keyframe boxes (N, 4) and head outputs (N, T, 4)."""
        offsets = self.offsets.from_raw(key_boxes, raw)
        displacement = offsets if self.loss == "bag" else self.offsets.accumulate(offsets)
        return self.offsets.apply(key_boxes, displacement)

    def __call__(self, true_boxes: Tensor, key_boxes: Tensor, raw: Tensor, valid: Tensor) -> Tensor:
        """Loss of each object, (N,).

        Args:
            true_boxes: (N, T+1, 4) boxes at l = 0..T.
            key_boxes: (N, 4) predicted keyframe boxes.
            raw: (N, T, 4) outputs of the head.
            valid: (N, T+1) bool, annotated steps.
        """
        space, beta = self.offsets, self.beta
        if self.keyframe == "detached":
            key_boxes = key_boxes.detach()
        elif self.keyframe == "true":
            key_boxes = true_boxes[:, 0]
        raw = space.from_raw(key_boxes, raw)
        if self.loss == "bag":
            return bag_of_boxes_loss(true_boxes, key_boxes, raw, valid, space=space, beta=beta)
        if self.loss == "bag_delta":
            return bag_of_offsets_loss(true_boxes, raw, valid, space=space, beta=beta)
        if self.cumulative_end == "every":
            function = cumulative_offset_loss if self.loss == "sigma" else trajectory_loss
            return function(true_boxes, key_boxes, raw, valid, space=space, beta=beta)
        return self._one_end(true_boxes, key_boxes, raw, valid)

    def _one_end(self, true_boxes: Tensor, key_boxes: Tensor, raw: Tensor, valid: Tensor) -> Tensor:
        horizon = raw.shape[1]
        end = int(torch.randint(1, max(horizon, 2), ()))
        step = torch.arange(horizon + 1, device=raw.device)
        space, beta = self.offsets, self.beta
        loss = cumulative_offset_loss(true_boxes, key_boxes, raw, valid & (step == end), space=space, beta=beta)
        if self.loss == "traj":
            loss = loss + bag_of_offsets_loss(true_boxes, raw, valid & (step <= end), space=space, beta=beta)
        return loss
