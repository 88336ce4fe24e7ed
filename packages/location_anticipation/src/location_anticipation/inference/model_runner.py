"""A model on the frames of a stream: images in, boxes on the CPU out, the model left as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from location_anticipation.inference.runtime import Inference
from location_anticipation.model.boxes import has_area

M = TypeVar("M", bound=nn.Module)


class ModelRunner(Generic[M]):
    """Uploads frames, runs a model or parts of it, and brings the boxes to the CPU.

    Args:
        model: the detector.
        to_tensor: makes an image tensor (3, H, W), float in [0, 1] or uint8 in 0..255, from a frame of the stream; by
            default frames have to be such tensors. Bytes are scaled after the upload, which moves a quarter of the data.
        device: where the model is moved and frames are uploaded; by default where the model is.
        score_threshold: detections with a lower score are left out.
        inference: arithmetic, memory layout and compilation; by default the model runs as it is.

    Raises:
        ValueError: if the score threshold is not in 0..1.
    """

    def __init__(
        self,
        model: M,
        *,
        to_tensor: Callable[[Any], Tensor] | None = None,
        device: torch.device | str | None = None,
        score_threshold: float = 0.0,
        inference: Inference | None = None,
    ) -> None:
        if not 0 <= score_threshold <= 1:
            raise ValueError(f"score_threshold must be 0 to 1, got {score_threshold}")
        self.inference = inference or Inference()
        self.model: M = self.inference.prepare(model if device is None else model.to(device))  # type: ignore[assignment]
        self.score_threshold = score_threshold
        self._to_tensor = to_tensor

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        weights = chain(self.model.parameters(), self.model.buffers())
        return next((tensor.device for tensor in weights), torch.device("cpu"))

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
        frame = frame.to(self.device)
        return frame.float() / 255 if frame.dtype == torch.uint8 else frame

    @contextmanager
    def running(self) -> Iterator[None]:
        """Evaluation and inference mode inside the block, in the arithmetic asked for.

        The ``training`` flags go back one by one: some parts of a model may be frozen.
        """
        training = [module for module in self.model.modules() if module.training]
        if training:
            self.model.eval()
        try:
            with torch.inference_mode(), self.inference.arithmetic(self.device):
                yield
        finally:
            for module in training:
                module.training = True

    def found(self, detection: dict[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """``boxes``, ``labels`` and ``scores`` on the CPU, those with a score and an area inside the image."""
        boxes = clip_boxes_to_image(detection["boxes"].float(), size)
        kept = (detection["scores"] >= self.score_threshold) & has_area(boxes)
        parts = {"boxes": boxes, "labels": detection["labels"], "scores": detection["scores"].float()}
        return {name: values[kept].cpu() for name, values in parts.items()}
