"""Detection in a stream of frames: the network sees keyframes, the others get anticipated boxes.

Section 2.3 of the thesis: keyframes are sampled uniformly from the video, and features are extracted from
them alone. With ``keyframe_step`` = n, frames 0, n, 2n, ... are keyframes, and frame t + l is given the boxes
that keyframe t anticipated for step l (1 <= l < n); with an :class:`~location_anticipation.auto_step.AutoStep`,
which the thesis has not, n is chosen at every keyframe. The author's released code loads and uploads every frame
and overwrites step 1 with the keyframe's own boxes; here neither happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from location_anticipation.auto_step import AutoStep, StepChooser
from location_anticipation.inference import Inference
from location_anticipation.linking import boxes_at, match_boxes

__all__ = ["FrameDetections", "VideoDetector"]


@dataclass(frozen=True)
class FrameDetections:
    """The objects of one frame. Tensors are on the CPU and follow torchvision's names."""

    index: int
    """Position of the frame in the stream, from 0."""
    keyframe: bool
    """Whether the network saw this frame."""
    step: int
    """l: how many frames ago the keyframe was; 0 on the keyframe itself."""
    boxes: Tensor
    """(M, 4) float, x1 y1 x2 y2 in pixels of the frame, clipped to it."""
    labels: Tensor
    """(M,) int64, 1-based; 0 is the background and does not occur."""
    scores: Tensor
    """(M,) float in [0, 1], the keyframe's scores."""
    instances: Tensor | None = None
    """(M,) int64, the object of each box, numbered from 1 in the stream and the same in every frame it is followed
    through; None from a method that follows no objects."""


@dataclass(frozen=True)
class _Trajectories:
    """What one keyframe says about itself (l = 0) and the frames up to the next keyframe."""

    boxes: Tensor  # (N, T + 1, 4)
    visible: Tensor  # (N, T + 1) bool: the box has an area inside the image
    labels: Tensor
    scores: Tensor
    instances: Tensor | None = None

    def at(self, index: int, step: int) -> FrameDetections:
        rows = self.visible[:, step]
        boxes, labels, scores = self.boxes[rows, step], self.labels[rows], self.scores[rows]
        instances = None if self.instances is None else self.instances[rows]
        return FrameDetections(index, step == 0, step, boxes, labels, scores, instances)


class VideoDetector:
    """Turns a stream of frames into a stream of detections, one for one and in order.

    Works online: the result for a frame is there as soon as that frame has arrived, without looking ahead,
    and on frames between keyframes the network does not run. Those frames are neither converted nor uploaded
    nor kept, so memory does not grow with the stream. One detector can serve any number of streams.

    The model is put in evaluation mode while it sees a keyframe, and every module's ``training`` flag is set
    back right after, so the model is as it was whenever the caller has control.

    Args:
        model: a detector in torchvision's convention: ``model([image])`` gives one dict with ``boxes``
            (N, 4), ``labels`` (N,), ``scores`` (N,) and, if ``model.horizon`` is above 0, ``trajectories``
            (N, horizon, 4) for l = 1, 2, ... A model without a ``horizon`` attribute counts as horizon 0, so
            that any torchvision detector works at step 1.
        keyframe_step: every how many frames the network runs, from 1 (every frame) to ``model.horizon + 1``; or the
            rule by which every keyframe chooses the next.
        to_tensor: makes an image tensor (3, H, W) from a frame of the stream, float in [0, 1] or uint8 in
            0..255 (which is scaled after the upload, a quarter of the bytes). Called on keyframes only. By
            default frames have to be such tensors.
        device: where the model is moved and the keyframes are uploaded; by default where the model is.
        score_threshold: detections with a lower score are left out.
        inference: precision, memory layout and compilation; by default the model runs as it is.
        follow: number the objects (``FrameDetections.instances``). A box found in a keyframe takes the number of the
            box that was anticipated for that frame if both are of one class and their IoU is at least 0.5, largest
            IoU first; any other box gets a new number.

    Raises:
        ValueError: if ``keyframe_step`` is below 1 or needs more steps than the model anticipates, or the score threshold
            is not in 0..1.
    """

    def __init__(
        self,
        model: nn.Module,
        keyframe_step: int | AutoStep,
        *,
        to_tensor: Callable[[Any], Tensor] | None = None,
        device: torch.device | str | None = None,
        score_threshold: float = 0.0,
        inference: Inference | None = None,
        follow: bool = False,
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
        if not 0 <= score_threshold <= 1:
            raise ValueError(f"score_threshold must be 0 to 1, got {score_threshold}")
        self.inference = Inference() if inference is None else inference
        self.model = self.inference.prepare(model if device is None else model.to(device))
        self.device = device
        self.keyframe_step = keyframe_step
        self.score_threshold = score_threshold
        self.follow = follow
        self._to_tensor = _as_is if to_tensor is None else to_tensor

    def __call__(self, frames: Iterable[Any]) -> Iterator[FrameDetections]:
        """Yield the detections of every frame of ``frames``, each as soon as its frame has come.

        Raises:
            TypeError: if a keyframe is no tensor and there is no ``to_tensor``.
            ValueError: if the image tensor of a keyframe is not (3, H, W).
        """
        next_step = _next_step(self.keyframe_step)
        numbers = _Instances() if self.follow else None
        key, due = 0, 0
        for index, frame in enumerate(frames):
            if index == due:
                trajectories = self._detect(frame)
                if numbers is not None:
                    trajectories = numbers.give(trajectories, index - key)
                key, due = index, index + next_step(trajectories)
            yield trajectories.at(index, index - key)

    def _detect(self, frame: Any) -> _Trajectories:
        image = self._to_tensor(frame)
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"expected an image tensor (3, H, W), got shape {tuple(image.shape)}")
        image = image.to(_device_of(self.model) if self.device is None else self.device)
        if image.dtype == torch.uint8:
            image = image.float() / 255
        with _evaluation_mode(self.model), torch.inference_mode(), self.inference.arithmetic(image.device):
            (output,) = self.model([image])

        boxes = output["boxes"][:, None]
        if "trajectories" in output:
            boxes = torch.cat((boxes, output["trajectories"]), dim=1)
        # One transfer per keyframe; frames in between never wait for the device.
        confident = output["scores"] >= self.score_threshold
        boxes, labels, scores = (
            rows[confident].cpu() for rows in (boxes.float(), output["labels"], output["scores"].float())
        )
        height, width = image.shape[-2:]
        boxes = clip_boxes_to_image(boxes, (height, width))
        visible = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
        return _Trajectories(boxes, visible, labels, scores)


class _Instances:
    """Numbers for the objects of a stream, handed on from keyframe to keyframe."""

    def __init__(self) -> None:
        self._next = 1
        self._before: _Trajectories | None = None

    def give(self, found: _Trajectories, step: int) -> _Trajectories:
        """``found`` with numbers; its keyframe is ``step`` frames after the one before."""
        instances = torch.zeros(len(found.labels), dtype=torch.int64)
        if self._before is not None and self._before.instances is not None:
            expected = boxes_at(self._before.boxes, step)
            partner, _ = match_boxes(found.boxes[:, 0], found.labels, expected, self._before.labels)
            known = partner >= 0
            instances[known] = self._before.instances[partner[known]]
        new = torch.where(instances == 0)[0]
        instances[new] = torch.arange(self._next, self._next + len(new))
        self._next += len(new)
        self._before = replace(found, instances=instances)
        return self._before


def _next_step(rule: int | AutoStep) -> Callable[[_Trajectories], int]:
    """How many frames after a keyframe of one stream the next one comes."""
    if not isinstance(rule, AutoStep):
        return lambda _: rule
    chooser = StepChooser(rule)
    return lambda found: chooser.next_step(found.boxes, found.labels, found.scores)


def _as_is(frame: Any) -> Tensor:
    if not isinstance(frame, Tensor):
        raise TypeError(f"a frame is {type(frame).__name__}, not a tensor: pass to_tensor to make tensors of frames")
    return frame


def _device_of(model: nn.Module) -> torch.device:
    for tensors in (model.parameters(), model.buffers()):
        for tensor in tensors:
            return tensor.device
    return torch.device("cpu")


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    """``model.eval()`` for a moment. Flags go back one by one: some parts may be frozen."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training
