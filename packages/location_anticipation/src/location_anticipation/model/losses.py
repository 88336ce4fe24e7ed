r"""The trajectory losses of section 2.3.2 (equations 2.1 to 2.4), as functions of boxes.

With L_1 the smooth L1 loss, B* the true and B the predicted boxes, delta the predicted pairwise offsets:

    L_bag        = sum_{l=0..T} L_1(B*_{t+l} - B_{t+l})                                   (2.1)
    L_Sigma      = sum_{l=0..T} L_1((B*_{t+l} - B_t) - sum_{k=1..l} delta_{t+k})          (2.2)
    L_bag(delta) = sum_{l=1..T} L_1((B*_{t+l} - B*_{t+l-1}) - delta_{t+l})                (2.3)
    L_traj       = L_Sigma + L_bag(delta)                                                 (2.4)

Every function returns one value per object, (N,): summed over steps and the four coordinates, not averaged, so that the
caller decides how objects are reduced. Their arguments are

    true_boxes     (N, T+1, 4) true boxes at l = 0..T, (x1, y1, x2, y2) in pixels
    key_boxes      (N, 4) predicted keyframe boxes B_t; the gradient reaches them through every step, as (2.2) has it
    offsets        (N, T, 4) predicted pairwise offsets delta_{t+1..t+T} in ``space``
    displacements  (N, T, 4) predicted boxes B_{t+l}, l = 1..T, each written relative to B_t in ``space``
    valid          (N, T+1) bool, steps at which the object is annotated; the other steps do not count; None: all do
    space          offset space, :class:`~location_anticipation.model.offsets.ImageSpace` when None
    beta           where smooth L1 turns from square to linear

Arguments of other shapes raise ``ValueError``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from location_anticipation.model.offsets import ImageSpace, OffsetSpace


def _check(true_boxes: Tensor, steps: Tensor, valid: Tensor | None) -> Tensor:
    if true_boxes.ndim != 3 or true_boxes.shape[-1] != 4 or true_boxes.shape[1] < 1:
        raise ValueError(f"true_boxes must be (N, T+1, 4), got {tuple(true_boxes.shape)}")
    expected = (true_boxes.shape[0], true_boxes.shape[1] - 1, 4)
    if tuple(steps.shape) != expected:
        raise ValueError(f"predictions for l = 1..T must be {expected}, got {tuple(steps.shape)}")
    if valid is None:
        return torch.ones(true_boxes.shape[:2], dtype=torch.bool, device=true_boxes.device)
    if valid.shape != true_boxes.shape[:2] or valid.dtype != torch.bool:
        raise ValueError(f"valid must be bool {tuple(true_boxes.shape[:2])}, got {valid.dtype} {tuple(valid.shape)}")
    return valid


def _masked_smooth_l1(predicted: Tensor, target: Tensor, valid: Tensor, beta: float) -> Tensor:
    # Masked before the loss, not after: an absent step may hold any number, NaN included, and must leave no gradient.
    target = torch.where(valid[..., None], target, 0.0)
    predicted = torch.where(valid[..., None], predicted, 0.0)
    return F.smooth_l1_loss(predicted, target, beta=beta, reduction="none").sum(dim=(1, 2))


def _fill(true_boxes: Tensor, valid: Tensor) -> Tensor:
    """Absent boxes replaced by some box with an area, so that no arithmetic on them can produce NaN."""
    return torch.where(valid[..., None], true_boxes, true_boxes.new_tensor([0.0, 0.0, 1.0, 1.0]))


def _with_keyframe(displacements: Tensor) -> Tensor:
    """Put the displacement of the keyframe box itself, zero, in front: (N, T, 4) to (N, T+1, 4)."""
    return torch.cat((displacements.new_zeros(displacements.shape[0], 1, 4), displacements), dim=1)


def bag_of_boxes_loss(
    true_boxes: Tensor,
    key_boxes: Tensor,
    displacements: Tensor,
    valid: Tensor | None = None,
    *,
    space: OffsetSpace | None = None,
    beta: float = 1.0,
) -> Tensor:
    """Equation 2.1: the boxes of a trajectory as an unordered bag."""
    space = space or ImageSpace()
    valid = _check(true_boxes, displacements, valid)
    target = space.displacement(key_boxes, _fill(true_boxes, valid))
    return _masked_smooth_l1(_with_keyframe(displacements), target, valid, beta)


def cumulative_offset_loss(
    true_boxes: Tensor,
    key_boxes: Tensor,
    offsets: Tensor,
    valid: Tensor | None = None,
    *,
    space: OffsetSpace | None = None,
    beta: float = 1.0,
) -> Tensor:
    """Equation 2.2: the offsets from the keyframe up to step l must add up to where the object is at step l."""
    space = space or ImageSpace()
    valid = _check(true_boxes, offsets, valid)
    target = space.displacement(key_boxes, _fill(true_boxes, valid))
    return _masked_smooth_l1(_with_keyframe(space.accumulate(offsets)), target, valid, beta)


def bag_of_offsets_loss(
    true_boxes: Tensor,
    offsets: Tensor,
    valid: Tensor | None = None,
    *,
    space: OffsetSpace | None = None,
    beta: float = 1.0,
) -> Tensor:
    """Equation 2.3: every predicted offset must equal the true offset of its step.

    A step counts only where the object is annotated at both of its ends.
    """
    space = space or ImageSpace()
    valid = _check(true_boxes, offsets, valid)
    target = space.pairwise(_fill(true_boxes, valid))
    return _masked_smooth_l1(offsets, target, valid[:, 1:] & valid[:, :-1], beta)


def trajectory_loss(
    true_boxes: Tensor,
    key_boxes: Tensor,
    offsets: Tensor,
    valid: Tensor | None = None,
    *,
    space: OffsetSpace | None = None,
    beta: float = 1.0,
) -> Tensor:
    """Equation 2.4: :func:`cumulative_offset_loss` plus :func:`bag_of_offsets_loss`. Arguments and result as theirs."""
    cumulative = cumulative_offset_loss(true_boxes, key_boxes, offsets, valid, space=space, beta=beta)
    return cumulative + bag_of_offsets_loss(true_boxes, offsets, valid, space=space, beta=beta)
