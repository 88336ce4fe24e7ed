"""How a box along a trajectory is written relative to the keyframe box.

Section 2.3.2 of the thesis predicts pairwise offsets delta_{t+l} between neighbouring boxes and adds them up from the
keyframe box B_t. What "offset" and "add up" mean is an *offset space*:

* :class:`ImageSpace`, as the thesis writes it: differences of (x, y, w, h) in pixels, added up by summation;
* :class:`CoderSpace`, as the author's released code does it: the box coder of Faster R-CNN, (dx/w, dy/h, log w, log h)
  with weights, applied as a chain from box to box.

All boxes are (x1, y1, x2, y2) in pixels; (x, y) in :class:`ImageSpace` is the top-left corner.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class OffsetSpace(Protocol):
    """The operations a trajectory needs. ``displacement`` is a box written relative to the keyframe box."""

    def displacement(self, key_boxes: Tensor, boxes: Tensor) -> Tensor:
        """Write ``boxes`` (N, L, 4) relative to ``key_boxes`` (N, 4); returns (N, L, 4)."""

    def apply(self, key_boxes: Tensor, displacement: Tensor) -> Tensor:
        """Inverse of :meth:`displacement`: boxes (N, L, 4) from ``key_boxes`` (N, 4) and displacements (N, L, 4)."""

    def accumulate(self, offsets: Tensor) -> Tensor:
        """Displacements (N, T, 4) at l = 1..T that follow from pairwise ``offsets`` (N, T, 4)."""

    def pairwise(self, boxes: Tensor) -> Tensor:
        """Pairwise offsets (N, L-1, 4) of consecutive ``boxes`` (N, L, 4)."""

    def from_raw(self, key_boxes: Tensor, raw: Tensor) -> Tensor:
        """Offsets (N, T, 4) of this space from the unit-free numbers (N, T, 4) a network puts out."""


def _xywh(boxes: Tensor) -> Tensor:
    return torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), dim=-1)


@dataclass(frozen=True)
class ImageSpace:
    """Offsets are differences of (x, y, w, h) in pixels and add up by summation (thesis, equations 2.2 and 2.3)."""

    def displacement(self, key_boxes: Tensor, boxes: Tensor) -> Tensor:
        return _xywh(boxes) - _xywh(key_boxes)[:, None]

    def apply(self, key_boxes: Tensor, displacement: Tensor) -> Tensor:
        xywh = _xywh(key_boxes)[:, None] + displacement
        return torch.cat((xywh[..., :2], xywh[..., :2] + xywh[..., 2:]), dim=-1)

    def accumulate(self, offsets: Tensor) -> Tensor:
        return offsets.cumsum(dim=1)

    def pairwise(self, boxes: Tensor) -> Tensor:
        return _xywh(boxes).diff(dim=1)

    def from_raw(self, key_boxes: Tensor, raw: Tensor) -> Tensor:
        """Pixels from tenths of the keyframe box's width and height over the whole trajectory.

        A network that puts out pixels learns at a rate that depends on the size of the image and on T, since every
        offset counts in all later steps. With this unit, the box coder's, spread over T steps, one recipe serves all.
        """
        size = (key_boxes[:, 2:] - key_boxes[:, :2]).detach()
        return raw * (0.1 / max(raw.shape[1], 1)) * torch.cat((size, size), dim=1)[:, None]


@dataclass(frozen=True)
class CoderSpace:
    """Offsets are Faster R-CNN box-coder deltas from one box to the next, applied as a chain (the released code).

    delta = (wx (cx' - cx) / w, wy (cy' - cy) / h, ww log(w'/w), wh log(h'/h)). The chain has a closed form: log sizes
    add up, and each centre step is scaled by the size reached so far, so no loop over steps is needed. Where the
    release takes step 1 from the *proposal*, this takes every step from the (refined) keyframe box, as the thesis does.
    """

    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    log_limit: float = math.log(1000.0 / 16)
    """Largest change of log size along a trajectory, torchvision's own bound; keeps exp() finite."""

    def _encode(self, reference: Tensor, boxes: Tensor) -> Tensor:
        size, new_size = reference[..., 2:] - reference[..., :2], boxes[..., 2:] - boxes[..., :2]
        centre, new_centre = reference[..., :2] + 0.5 * size, boxes[..., :2] + 0.5 * new_size
        scale = reference.new_tensor(self.weights)
        tiny = torch.finfo(boxes.dtype).eps
        shift = (new_centre - centre) / size.clamp(min=tiny)
        growth = torch.log(new_size.clamp(min=tiny) / size.clamp(min=tiny))
        return torch.cat((shift, growth), dim=-1) * scale

    def displacement(self, key_boxes: Tensor, boxes: Tensor) -> Tensor:
        return self._encode(key_boxes[:, None].expand_as(boxes), boxes)

    def apply(self, key_boxes: Tensor, displacement: Tensor) -> Tensor:
        relative = displacement / displacement.new_tensor(self.weights)
        size = (key_boxes[:, 2:] - key_boxes[:, :2])[:, None]
        centre = key_boxes[:, None, :2] + 0.5 * size + relative[..., :2] * size
        half = 0.5 * size * relative[..., 2:].clamp(max=self.log_limit).exp()
        return torch.cat((centre - half, centre + half), dim=-1)

    def accumulate(self, offsets: Tensor) -> Tensor:
        log_size = (offsets[..., 2:] / offsets.new_tensor(self.weights[2:])).cumsum(dim=1).clamp(max=self.log_limit)
        before = torch.cat((torch.zeros_like(log_size[:, :1]), log_size[:, :-1]), dim=1)
        shift = (offsets[..., :2] * before.exp()).cumsum(dim=1)
        return torch.cat((shift, log_size * offsets.new_tensor(self.weights[2:])), dim=-1)

    def pairwise(self, boxes: Tensor) -> Tensor:
        return self._encode(boxes[:, :-1], boxes[:, 1:])

    def from_raw(self, key_boxes: Tensor, raw: Tensor) -> Tensor:
        """Box-coder deltas from their sum over the trajectory, as :meth:`ImageSpace.from_raw`."""
        return raw / max(raw.shape[1], 1)


def offset_space(name: str) -> OffsetSpace:
    """The offset space called ``name``: ``"image"`` (thesis) or ``"coder"`` (released code).

    Raises:
        ValueError: for any other name.
    """
    spaces: dict[str, OffsetSpace] = {"image": ImageSpace(), "coder": CoderSpace()}
    if name not in spaces:
        raise ValueError(f"offset space must be one of {sorted(spaces)}, got {name!r}")
    return spaces[name]
