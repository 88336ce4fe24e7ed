"""Boxes between keyframes from the boxes of keyframes alone: copying, constant velocity, interpolation."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, clip_boxes_to_image

from location_anticipation.inference.model_runner import ModelRunner
from location_anticipation.inference.stream import FrameDetections, Instances, Trajectories
from location_anticipation.model.boxes import match_boxes


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
    earlier_velocity = torch.zeros_like(before).index_copy(0, rows, velocity)
    return earlier_velocity, torch.zeros_like(after).index_copy(0, columns, velocity)


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


class KeyBoxes(ModelRunner[nn.Module]):
    """Any detector on every ``keyframe_step``-th frame of a stream, its boxes moved in between.

    ``copied``: boxes stand still until the next keyframe. ``velocity``: they go on as they came from the keyframe before.
    ``interpolation``: they go to where the next keyframe has them, so that results come up to ``keyframe_step`` frames late.
    Objects that only one of the two keyframes shows stand still; labels and scores are those of the keyframe before the frame.

    Args:
        model: a detector in torchvision's convention.
        method: the rule.
        keyframe_step: frames from one keyframe to the next.
        match_iou: least IoU of boxes of one class in two keyframes that are taken for one object.
        follow: number the objects; those that are taken for one have one number.
        options: of :class:`~location_anticipation.inference.model_runner.ModelRunner`.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Literal["copied", "velocity", "interpolation"],
        keyframe_step: int,
        match_iou: float = 0.1,
        *,
        follow: bool = False,
        **options: Any,
    ) -> None:
        if keyframe_step < 1:
            raise ValueError(f"keyframe_step must be at least 1, got {keyframe_step}")
        super().__init__(model, **options)
        self.method, self.keyframe_step, self.match_iou, self.follow = method, keyframe_step, match_iou, follow

    def __call__(self, frames: Iterable[Any]) -> Iterator[FrameDetections]:
        """Yield the detections of every frame, in order.

        Raises:
            TypeError, ValueError: if a keyframe is no image.
        """
        step, late = self.keyframe_step, self.method == "interpolation"
        numbers = Instances(self.match_iou) if self.follow else None
        before: dict[str, Tensor] | None = None
        key: Trajectories | None = None
        index = -1
        for index, frame in enumerate(frames):
            if index % step == 0:
                found, size = self._detect(frame)
                velocity = torch.zeros_like(found["boxes"])
                if before is not None and self.method != "copied":
                    earlier, later = velocities(before, found, step, self.match_iou)
                    if late and key is not None:
                        moved = replace(key, boxes=moved_boxes(before["boxes"], earlier, step))
                        yield from (moved.at(index - step + after, after) for after in range(step))
                    velocity = velocity if late else later
                boxes = clip_boxes_to_image(moved_boxes(found["boxes"], velocity, step), size)
                key, before = Trajectories(boxes, found["labels"], found["scores"]), found
                key = key if numbers is None else numbers.give(key, step)
            if not late and key is not None:
                yield key.at(index, index % step)
        if late and key is not None:
            yield from (key.at(index - index % step + after, after) for after in range(index % step + 1))

    def _detect(self, frame: Any) -> tuple[dict[str, Tensor], tuple[int, int]]:
        image = self.image(frame)
        size = (int(image.shape[-2]), int(image.shape[-1]))
        with self.running():
            (detection,) = self.model([image])
        return self.found(detection, size), size
