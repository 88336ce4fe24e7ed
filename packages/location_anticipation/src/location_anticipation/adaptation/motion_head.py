"""The trajectory head of any detector: chapter 2's subnetwork, which may also see how boxes moved since the last keyframe."""

import torch
from torch import Tensor, nn

from location_anticipation.adaptation.config import MotionConfig
from location_anticipation.inference.stream import Earlier
from location_anticipation.model.boxes import match_boxes
from location_anticipation.model.criterion import TrajectoryCriterion
from location_anticipation.model.offsets import CoderSpace
from location_anticipation.model.trajectory_head import TrajectoryHead

_MOTION = 7
"""Numbers of :func:`box_motion` for a box."""


def box_motion(boxes: Tensor, labels: Tensor, earlier: Earlier | None, horizon: int, min_iou: float) -> Tensor:
    """How boxes moved since the last keyframe.

    Args:
        boxes: (N, 4), x1 y1 x2 y2, with ``labels`` (N,).
        earlier: boxes of the last keyframe; None if there is none.
        horizon: T of the head.
        min_iou: boxes of one class that overlap less are not taken for one object.

    Returns:
        (N, 7): the velocity as box-coder deltas per frame (4), 1 for boxes that were found in the last keyframe, their IoU
        with what was found there, and the number of frames since then over T; zero for other boxes.
    """
    motion = boxes.new_zeros(len(boxes), _MOTION)
    if earlier is None:
        return motion
    partner, iou = match_boxes(boxes, labels, earlier.boxes, earlier.labels, min_iou)
    known = torch.where(partner >= 0)[0].to(boxes.device)
    before = earlier.boxes[partner[partner >= 0].to(boxes.device)]
    motion[known, :4] = -CoderSpace().displacement(boxes[known], before[:, None])[:, 0] / earlier.frames
    motion[known, 4] = 1
    motion[known, 5] = iou[partner >= 0].to(motion)
    motion[known, 6] = earlier.frames / horizon
    return motion


class MotionHead(nn.Module):
    """Trajectories of boxes from what is known of them in a keyframe.

    It is the subnetwork of section 2.3 with box-coder offsets. With ``history`` it has a second output, a gate g in (0, 1) for
    every offset, and the velocity v since the last keyframe is added to the offsets: delta_l = raw_l / T + g_l v. A gate of 1
    and raw outputs of 0 are a constant velocity; gates of 0 let boxes stand still.

    Args:
        config: shape.
        features: length of the pooled features of a box; 0 without a backbone.
    """

    def __init__(self, config: MotionConfig, features: int = 0) -> None:
        super().__init__()
        self.config = config
        seen = 1 + features + (_MOTION + 4 if config.history else 0)
        self.head = TrajectoryHead(seen, config.horizon, config.hidden, 2 if config.history else None)
        self.criterion = TrajectoryCriterion("traj", "coder", keyframe="true")

    def forward(self, boxes: Tensor, scores: Tensor, features: Tensor, motion: Tensor, sizes: Tensor) -> Tensor:
        """Raw outputs (N, T, 4) for :meth:`boxes_from`.

        Args:
            boxes: (N, 4), x1 y1 x2 y2 in pixels.
            scores: (N,).
            features: (N, F) of the area of each box.
            motion: (N, 7) of :func:`box_motion`; not read without ``history``.
            sizes: (N, 2), width and height of the image of each box.
        """
        relative = torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), dim=1) / sizes.repeat(1, 2)
        seen = [scores[:, None], features]
        if not self.config.history:
            raw: Tensor = self.head(torch.cat(seen, dim=1), relative)
            return raw
        horizon, velocity = self.config.horizon, motion[:, :4]
        rest, gate = self.head(torch.cat((*seen, motion, velocity * horizon), dim=1), relative).unbind(2)
        summed: Tensor = rest + horizon * gate.sigmoid() * velocity[:, None]
        return summed

    def boxes_from(self, boxes: Tensor, raw: Tensor) -> Tensor:
        """Boxes (N, T, 4) at l = 1..T from keyframe boxes (N, 4) and raw outputs (N, T, 4)."""
        return self.criterion.decode(boxes, raw)
