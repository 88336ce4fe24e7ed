"""What the video methods of this subpackage share: frames in, FrameDetections out, the model left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from location_anticipation.detector import AnticipationRCNN
from location_anticipation.inference import Inference
from location_anticipation.peers.config import PeerConfig

__all__ = ["ModelRunner"]

M = TypeVar("M", bound=AnticipationRCNN)


class ModelRunner(Generic[M]):
    """Uploads frames, runs parts of a model, and brings what was found to the CPU.

    Args:
        model: the detector.
        config: the method's rules.
        to_tensor: makes an image tensor (3, H, W), float in [0, 1] or uint8, from a frame of the stream; by default frames
            have to be such tensors.
        device: where the model is moved and frames are uploaded; by default where the model is.
        score_threshold: detections with a lower score are left out.
        inference: arithmetic, memory layout and compilation.
    """

    def __init__(
        self,
        model: M,
        config: PeerConfig,
        *,
        to_tensor: Callable[[Any], Tensor] | None = None,
        device: torch.device | str | None = None,
        score_threshold: float = 0.0,
        inference: Inference | None = None,
    ) -> None:
        inference = inference or Inference()
        self.model: M = inference.prepare(model if device is None else model.to(device))  # type: ignore[assignment]
        self.peer, self.inference = config, inference
        self.score_threshold = score_threshold
        self._to_tensor = to_tensor

    def image(self, frame: Any) -> Tensor:
        """The frame as float (3, H, W) in [0, 1] on the model's device.

        Raises:
            TypeError: if it is no tensor and there is no ``to_tensor``.
            ValueError: if it is not (3, H, W).
        """
        if self._to_tensor is not None:
            frame = self._to_tensor(frame)
        if not isinstance(frame, Tensor):
            raise TypeError(
                f"a frame is {type(frame).__name__}, not a tensor: pass to_tensor to make tensors of frames"
            )
        if frame.ndim != 3 or frame.shape[0] != 3:
            raise ValueError(f"expected an image tensor (3, H, W), got shape {tuple(frame.shape)}")
        frame = frame.to(next(self.model.parameters()).device)
        return frame.float() / 255 if frame.dtype == torch.uint8 else frame

    @contextmanager
    def running(self) -> Iterator[None]:
        """Evaluation and inference mode for a moment, in the arithmetic asked for; flags go back one by one."""
        training = [module for module in self.model.modules() if module.training]
        for module in training:
            module.training = False
        try:
            with torch.inference_mode(), self.inference.arithmetic(next(self.model.parameters()).device):
                yield
        finally:
            for module in training:
                module.training = True

    def found(self, detection: dict[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """``boxes``, ``labels`` and ``scores`` on the CPU, those with a score and an area inside the image."""
        boxes = clip_boxes_to_image(detection["boxes"].float(), size)
        kept = (detection["scores"] >= self.score_threshold) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        parts = {"boxes": boxes, "labels": detection["labels"], "scores": detection["scores"].float()}
        return {name: values[kept].cpu() for name, values in parts.items()}
