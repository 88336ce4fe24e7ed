"""A function from an image to boxes, with the call of torchvision's detectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Detection = dict[str, Tensor]
"""``boxes`` (N, 4) float, x1 y1 x2 y2 in pixels of the image; ``labels`` (N,) int64 from 1; ``scores`` (N,) float."""


@dataclass(frozen=True)
class NamedDetector:
    """A detector of single images, and what its labels mean."""

    name: str
    """The detector in messages and files: what it was opened by."""
    model: nn.Module
    """Detector in eval mode with torchvision's call: a list of images (3, H, W) in [0, 1] to a list of dicts."""
    class_names: tuple[str, ...]
    """``class_names[k - 1]`` is the name of label k; empty if the names are not known."""


class ImageDetector(nn.Module):
    """Any function from an image to boxes, called like torchvision's detectors.

    Args:
        function: maps an image (3, H, W), float RGB in [0, 1], to a dict with ``boxes`` (N, 4), x1 y1 x2 y2 in pixels of
            that image, ``labels`` (N,) from 1 and ``scores`` (N,), or to the tuple (boxes, labels, scores). The values may
            be tensors, NumPy arrays or lists. A module is moved with this one.
        name: the detector in messages.
    """

    def __init__(self, function: Callable[[Tensor], Any], name: str = "the detector") -> None:
        super().__init__()
        self.function, self.name = function, name
        self.register_buffer("_where", torch.empty(0), persistent=False)  # tells the device of a plain function

    def forward(self, images: Sequence[Tensor]) -> list[Detection]:
        """Detections of every image.

        Raises:
            ValueError: if an answer of the function is no detection.
        """
        return [as_detection(self.function(image), self.name, image.device) for image in images]


def as_detection(answer: Any, name: str, device: torch.device) -> Detection:
    """The answer of a detector as tensors, checked.

    Raises:
        ValueError: if it lacks a part, or a part has another shape, a label below 1, or a value that is not finite.
    """
    keys = ("boxes", "labels", "scores")
    if isinstance(answer, Mapping):
        missing = [key for key in keys if key not in answer]
        if missing:
            raise ValueError(f"{name}: gives {', '.join(map(str, answer)) or 'nothing'}, without {', '.join(missing)}")
        parts = [answer[key] for key in keys]
    elif isinstance(answer, tuple | list) and len(answer) == 3:
        parts = list(answer)
    else:
        raise ValueError(
            f"{name}: expected a dict with {', '.join(keys)} or a tuple of these, got {type(answer).__name__}"
        )
    boxes, labels, scores = (torch.as_tensor(part, device=device) for part in parts)
    boxes = boxes.reshape(0, 4) if boxes.numel() == 0 else boxes
    shapes = [tuple(part.shape) for part in (boxes, labels, scores)]
    if shapes != [(len(boxes), 4), (len(boxes),), (len(boxes),)]:
        raise ValueError(f"{name}: expected boxes (N, 4), labels (N,) and scores (N,), got shapes {shapes}")
    if not (boxes.isfinite().all() and scores.isfinite().all()):
        raise ValueError(f"{name}: gives a box or a score that is not finite")
    if len(labels) and int(labels.min()) < 1:
        raise ValueError(f"{name}: gives the label {int(labels.min())}; labels start at 1, 0 is the background")
    return {"boxes": boxes.float(), "labels": labels.to(torch.int64), "scores": scores.float()}
