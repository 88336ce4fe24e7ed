"""Detection in a stream of frames: the network runs on keyframes, the other frames get anticipated boxes.

Section 2.3 of the thesis: keyframes are sampled uniformly from the video, and features are extracted from
them alone. With ``keyframe_step`` = n, frames 0, n, 2n, ... are keyframes, and frame t + l is given the boxes
that keyframe t anticipated for step l (1 <= l < n); with an :class:`~location_anticipation.inference.auto_step.AutoStep`,
an addition to the thesis, n is chosen at every keyframe. The author's released code loads and uploads every frame
and overwrites step 1 with the keyframe's own boxes; here neither happens.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from location_anticipation.inference.auto_step import AutoStep, StepChooser
from location_anticipation.inference.model_runner import ModelRunner
from location_anticipation.model.boxes import boxes_at, has_area, match_boxes


@dataclass(frozen=True)
class FrameDetections:
    """The objects of one frame. Tensors are on the CPU and follow torchvision's names."""

    index: int
    """Position of the frame in the stream, from 0."""
    keyframe: bool
    """Whether the network ran on this frame."""
    step: int
    """l, the number of frames since the keyframe; 0 on the keyframe itself."""
    boxes: Tensor
    """(M, 4) float, x1 y1 x2 y2 in pixels of the frame, clipped to it."""
    labels: Tensor
    """(M,) int64, 1-based; 0 is the background and does not occur."""
    scores: Tensor
    """(M,) float in [0, 1], the keyframe's scores."""
    instances: Tensor | None = None
    """(M,) int64, the object of each box, numbered from 1 in the stream and the same in every frame it is followed
    through; None from a method that follows no objects."""


VideoMethod = Callable[[Iterable[Any]], Iterator[FrameDetections]]
"""Turns the frames of one video into as many detections, in order. Methods may look ahead."""


class Earlier(NamedTuple):
    """What the keyframe before has shown, for a detector that looks at how boxes move."""

    boxes: Tensor
    """(N, 4), x1 y1 x2 y2 in pixels of the frame."""
    labels: Tensor
    """(N,) int64."""
    frames: int
    """How many frames ago that keyframe was."""


@dataclass(frozen=True)
class Trajectories:
    """Boxes of one keyframe (l = 0) and of the frames up to the next keyframe, on the CPU."""

    boxes: Tensor
    """(N, T + 1, 4), clipped to the frame."""
    labels: Tensor
    """(N,) int64."""
    scores: Tensor
    """(N,) float."""
    instances: Tensor | None = None
    """(N,) int64, numbers of the objects."""

    def at(self, index: int, step: int) -> FrameDetections:
        """The boxes with an area ``step`` frames after the keyframe, as detections of frame ``index``."""
        boxes, labels, scores, instances = self._steps[step], self.labels, self.scores, self.instances
        if (rows := self._kept[step]) is not None:
            boxes, labels, scores = boxes[rows], labels[rows], scores[rows]
            instances = None if instances is None else instances[rows]
        return FrameDetections(index, step == 0, step, boxes, labels, scores, instances)

    # What frames share is found once for all of them: on tensors of this size time is the number of calls.

    @cached_property
    def _steps(self) -> tuple[Tensor, ...]:
        """For every step the boxes (N, 4)."""
        return self.boxes.transpose(0, 1).contiguous().unbind()

    @cached_property
    def _kept(self) -> list[Tensor | None]:
        """For every step which boxes have an area, (N,) bool; None for all."""
        kept = has_area(self.boxes)
        return [None if whole else kept[:, step] for step, whole in enumerate(kept.all(dim=0).tolist())]


class VideoDetector(ModelRunner[nn.Module]):
    """Turns a stream of frames into a stream of detections, one for one and in order.

    Works online: the result for a frame is there as soon as that frame has arrived, without looking ahead.
    Frames between keyframes are neither converted nor uploaded nor kept, and the network does not run on them, so that
    memory does not grow with the stream. One detector can serve any number of streams.

    Args:
        model: a detector in torchvision's convention: ``model([image])`` gives one dict with ``boxes``
            (N, 4), ``labels`` (N,), ``scores`` (N,) and, if ``model.horizon`` is above 0, ``trajectories``
            (N, horizon, 4) for l = 1, 2, ... A model without a ``horizon`` attribute counts as horizon 0, so
            that any torchvision detector works at step 1. A model whose attribute ``remembers`` is true is called as
            ``model([image], [earlier])`` with an :class:`Earlier`, or None at the first keyframe of a stream.
        keyframe_step: the network runs on every so many frames, 1 (every frame) to ``model.horizon + 1``; or the
            rule by which every keyframe chooses the next.
        follow: number the objects (``FrameDetections.instances``). A box found in a keyframe takes the number of the
            box that was anticipated for that frame if both are of one class and their IoU is at least 0.5, largest
            IoU first; any other box gets a new number.
        options: of :class:`~location_anticipation.inference.model_runner.ModelRunner`; ``to_tensor`` is called on
            keyframes only.

    Raises:
        ValueError: if ``keyframe_step`` is below 1 or needs more steps than the model anticipates, or the score threshold
            is not in 0..1.
    """

    def __init__(
        self, model: nn.Module, keyframe_step: int | AutoStep, *, follow: bool = False, **options: Any
    ) -> None:
        horizon = int(getattr(model, "horizon", 0))
        name, largest = "keyframe_step", keyframe_step
        if isinstance(largest, AutoStep):
            name, largest = "max_step", horizon + 1 if largest.max_step is None else largest.max_step
        if largest < 1:
            raise ValueError(f"{name} must be at least 1, got {largest}")
        if largest - 1 > horizon:
            raise ValueError(
                f"{name} {largest} leaves {largest - 1} frames between keyframes, but the "
                f"model anticipates {horizon}: use a {name} of at most {horizon + 1}"
            )
        super().__init__(model, **options)
        self.keyframe_step, self.follow = keyframe_step, follow

    def __call__(self, frames: Iterable[Any]) -> Iterator[FrameDetections]:
        """Yield the detections of every frame of ``frames``, each as soon as its frame has come.

        Raises:
            TypeError: if a keyframe is no tensor and there is no ``to_tensor``.
            ValueError: if the image tensor of a keyframe is not (3, H, W).
        """
        rule = StepChooser(self.keyframe_step) if isinstance(self.keyframe_step, AutoStep) else self.keyframe_step
        numbers = Instances() if self.follow else None
        key, due, earlier = 0, 0, None
        for index, frame in enumerate(frames):
            if index == due:
                found, earlier = self._detect(frame, earlier and earlier._replace(frames=index - key))
                if numbers is not None:
                    found = numbers.give(found, index - key)
                step = rule if isinstance(rule, int) else rule.next_step(found.boxes, found.labels, found.scores)
                key, due = index, index + step
            yield found.at(index, index - key)

    def _detect(self, frame: Any, earlier: Earlier | None) -> tuple[Trajectories, Earlier]:
        image = self.image(frame)
        with self.running():
            remembered = ([earlier],) if getattr(self.model, "remembers", False) else ()
            (output,) = self.model([image], *remembered)
        boxes = output["boxes"][:, None]
        if "trajectories" in output:
            boxes = torch.cat((boxes, output["trajectories"]), dim=1)
        # One transfer per keyframe; frames in between never wait for the device.
        confident = output["scores"] >= self.score_threshold
        parts = (boxes.float(), output["labels"], output["scores"].float())
        boxes, labels, scores = (rows[confident].cpu() for rows in parts)
        boxes = clip_boxes_to_image(boxes, (int(image.shape[-2]), int(image.shape[-1])))
        return Trajectories(boxes, labels, scores), Earlier(output["boxes"][confident], output["labels"][confident], 0)


class Instances:
    """Numbers for the objects of a stream, handed on from keyframe to keyframe where class and place (IoU) fit."""

    def __init__(self, min_iou: float = 0.5) -> None:
        self._next, self._min_iou = 1, min_iou
        self._before: Trajectories | None = None

    def give(self, found: Trajectories, step: int) -> Trajectories:
        """``found`` with numbers; its keyframe is ``step`` frames after the one before."""
        instances = torch.zeros(len(found.labels), dtype=torch.int64)
        if self._before is not None and self._before.instances is not None:
            expected = boxes_at(self._before.boxes, step)
            partner, _ = match_boxes(found.boxes[:, 0], found.labels, expected, self._before.labels, self._min_iou)
            known = partner >= 0
            instances[known] = self._before.instances[partner[known]]
        new = torch.where(instances == 0)[0]
        instances[new] = torch.arange(self._next, self._next + len(new))
        self._next += len(new)
        self._before = replace(found, instances=instances)
        return self._before
