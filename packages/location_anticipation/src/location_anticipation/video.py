"""Detection in a stream of frames: the network sees keyframes, the others get anticipated boxes.

Section 2.3 of the thesis: keyframes are sampled uniformly from the video, and features are extracted from
them alone. With ``keyframe_step`` = n, frames 0, n, 2n, ... are keyframes, and frame t + l is given the boxes
that keyframe t anticipated for step l (1 <= l < n). The author's released code loads and uploads every frame
and overwrites step 1 with the keyframe's own boxes; here neither happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

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


@dataclass(frozen=True)
class _Trajectories:
    """What one keyframe says about itself (l = 0) and the frames up to the next keyframe."""

    boxes: Tensor  # (N, steps, 4)
    visible: Tensor  # (N, steps) bool: the box has an area inside the image
    labels: Tensor
    scores: Tensor

    def at(self, index: int, step: int) -> FrameDetections:
        rows = self.visible[:, step]
        return FrameDetections(index, step == 0, step, self.boxes[rows, step], self.labels[rows], self.scores[rows])


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
        keyframe_step: every how many frames the network runs; from 1 (every frame) to ``model.horizon + 1``.
        to_tensor: makes an image tensor (3, H, W) from a frame of the stream, float in [0, 1] or uint8 in
            0..255 (which is scaled after the upload, a quarter of the bytes). Called on keyframes only. By
            default frames have to be such tensors.
        device: where the model is moved and the keyframes are uploaded; by default where the model is.
        score_threshold: detections with a lower score are left out.

    Raises:
        ValueError: if ``keyframe_step`` is below 1 or needs more steps than the model anticipates.
    """

    def __init__(
        self,
        model: nn.Module,
        keyframe_step: int,
        *,
        to_tensor: Callable[[Any], Tensor] | None = None,
        device: torch.device | str | None = None,
        score_threshold: float = 0.0,
    ) -> None:
        horizon = int(getattr(model, "horizon", 0))
        if keyframe_step < 1:
            raise ValueError(f"keyframe_step must be at least 1, got {keyframe_step}")
        if keyframe_step - 1 > horizon:
            raise ValueError(
                f"keyframe_step {keyframe_step} leaves {keyframe_step - 1} frames between keyframes, but the "
                f"model anticipates {horizon}: use a keyframe_step of at most {horizon + 1}"
            )
        self.model = model if device is None else model.to(device)
        self.device = device
        self.keyframe_step = keyframe_step
        self.score_threshold = score_threshold
        self._to_tensor = _as_is if to_tensor is None else to_tensor

    def __call__(self, frames: Iterable[Any]) -> Iterator[FrameDetections]:
        """Yield the detections of every frame of ``frames``, each as soon as its frame has come.

        Raises:
            TypeError: if a keyframe is no tensor and there is no ``to_tensor``.
            ValueError: if the image tensor of a keyframe is not (3, H, W).
        """
        for index, frame in enumerate(frames):
            step = index % self.keyframe_step
            if step == 0:
                trajectories = self._detect(frame)
            yield trajectories.at(index, step)

    def _detect(self, frame: Any) -> _Trajectories:
        image = self._to_tensor(frame)
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"expected an image tensor (3, H, W), got shape {tuple(image.shape)}")
        image = image.to(_device_of(self.model) if self.device is None else self.device)
        if image.dtype == torch.uint8:
            image = image.float() / 255
        with _evaluation_mode(self.model), torch.inference_mode():
            (output,) = self.model([image])

        boxes = output["boxes"][:, None]
        if self.keyframe_step > 1:
            boxes = torch.cat((boxes, output["trajectories"][:, : self.keyframe_step - 1]), dim=1)
        # One transfer per keyframe; frames in between never wait for the device.
        confident = output["scores"] >= self.score_threshold
        boxes, labels, scores = (
            rows[confident].cpu() for rows in (boxes.float(), output["labels"], output["scores"].float())
        )
        height, width = image.shape[-2:]
        boxes = clip_boxes_to_image(boxes, (height, width))
        visible = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
        return _Trajectories(boxes, visible, labels, scores)


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
