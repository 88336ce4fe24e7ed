"""What can be done between keyframes with their boxes alone: copying, constant velocity, interpolation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_convert, clip_boxes_to_image

from location_anticipation.detector import AnticipationRCNN
from location_anticipation.linking import match_boxes
from location_anticipation.peers.streaming import ModelRunner
from location_anticipation.video import FrameDetections

__all__ = ["KeyBoxes", "moved_boxes", "velocities"]


def velocities(
    earlier: dict[str, Tensor], later: dict[str, Tensor], frames: int, min_iou: float
) -> tuple[Tensor, Tensor]:
    """Velocity of every object that two keyframes show, from boxes matched by class and IoU, the largest IoU first.

    Args:
        earlier, later: ``boxes`` (N, 4) and (M, 4) x1 y1 x2 y2, ``labels`` (N,) and (M,).
        frames: from the one keyframe to the other.
        min_iou: boxes that overlap less are not matched.

    Returns:
        (N, 4) and (M, 4): change of centre x, centre y, width and height per frame, in pixels, for the boxes of the
        earlier and of the later keyframe; zero for boxes without a partner.
    """
    partner, _ = match_boxes(earlier["boxes"], earlier["labels"], later["boxes"], later["labels"], min_iou)
    rows = torch.where(partner >= 0)[0]
    columns = partner[rows]
    before, after = (box_convert(part["boxes"], "xyxy", "cxcywh") for part in (earlier, later))
    velocity = (after[columns] - before[rows]) / frames
    return torch.zeros_like(before).index_copy(0, rows, velocity), torch.zeros_like(after).index_copy(
        0, columns, velocity
    )


def moved_boxes(boxes: Tensor, velocity: Tensor, steps: int) -> Tensor:
    """Boxes (N, steps, 4) at l = 0..steps-1 that start at ``boxes`` (N, 4) and change by ``velocity`` (N, 4) a frame.

    Velocities are those of :func:`velocities`. Sides that would become negative are 0.
    """
    time = torch.arange(steps, dtype=boxes.dtype)[None, :, None]
    moved = box_convert(boxes, "xyxy", "cxcywh")[:, None] + time * velocity[:, None]
    half = moved[..., 2:].clamp(min=0) / 2
    moved = torch.cat((moved[..., :2] - half, moved[..., :2] + half), dim=-1)
    moved[:, :1] = boxes[:, None]  # untouched by rounding
    return moved


class KeyBoxes(ModelRunner[AnticipationRCNN]):
    """A detector on every ``keyframe_step``-th frame of a stream, its boxes moved in between.

    ``per_frame``: every frame is a keyframe. ``key_boxes_copied``: boxes stand still until the next keyframe.
    ``constant_velocity``: they go on as they came from the keyframe before. ``interpolation``: they go to where the
    next keyframe has them, so that results come up to ``keyframe_step`` frames late. Objects that only one of the two
    keyframes shows stand still; labels and scores are those of the keyframe before the frame.
    """

    def __call__(self, frames: Iterable[Any]) -> Iterator[FrameDetections]:
        """Yield the detections of every frame, in order.

        Raises:
            TypeError, ValueError: if a keyframe is no image.
        """
        method = self.peer.method
        step = 1 if method == "per_frame" else self.peer.keyframe_step
        if method == "interpolation":
            yield from self._interpolated(frames, step)
            return
        previous: dict[str, Tensor] | None = None
        for index, frame in enumerate(frames):
            if index % step == 0:
                key, size = self._detect(frame)
                velocity = torch.zeros_like(key["boxes"])
                if method == "constant_velocity" and previous is not None:
                    _, velocity = velocities(previous, key, step, self.peer.match_iou)
                trajectories = clip_boxes_to_image(moved_boxes(key["boxes"], velocity, step), size)
                previous = key
            yield _at(index, index % step, trajectories, key)

    def _interpolated(self, frames: Iterable[Any], step: int) -> Iterator[FrameDetections]:
        key: dict[str, Tensor] | None = None
        waiting = 0
        for index, frame in enumerate(frames):
            if index % step == 0:
                found, _ = self._detect(frame)
                if key is not None:
                    velocity, _ = velocities(key, found, step, self.peer.match_iou)
                    moved = moved_boxes(key["boxes"], velocity, step)
                    yield from (_at(index - step + after, after, moved, key) for after in range(step))
                key, waiting = found, 0
            waiting += 1
        if key is not None:
            still = key["boxes"][:, None].expand(-1, waiting, -1)
            yield from (_at(index - waiting + 1 + after, after, still, key) for after in range(waiting))

    def _detect(self, frame: Any) -> tuple[dict[str, Tensor], tuple[int, int]]:
        image = self.image(frame)
        size = (int(image.shape[-2]), int(image.shape[-1]))
        with self.running():
            (detection,) = self.model([image])
        return self.found(detection, size), size


def _at(index: int, step: int, trajectories: Tensor, key: dict[str, Tensor]) -> FrameDetections:
    boxes = trajectories[:, step]
    rows = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return FrameDetections(index, step == 0, step, boxes[rows], key["labels"][rows], key["scores"][rows])
