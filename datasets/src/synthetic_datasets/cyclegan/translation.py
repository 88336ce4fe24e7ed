"""Pictures through a trained generator, many at a time."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from .networks import ResnetGenerator

Pixels = NDArray[np.uint8]


def to_network(pixels: Pixels) -> Tensor:
    """uint8 (n, h, w, 3) as float32 (n, 3, h, w) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_pixels(images: Tensor) -> Pixels:
    """(n, 3, h, w) in -1..1 as uint8 (n, h, w, 3), to the nearest value."""
    values = images.detach().float().add(1).mul_(127.5).round_().clamp_(0, 255)
    out: Pixels = values.to(torch.uint8).permute(0, 2, 3, 1).cpu().contiguous().numpy()
    return out


class Translator:
    """A generator ready to translate: in eval mode, on its device, in its precision.

    A picture's translation does not depend on those it shares a batch with but for rounding, which can move a value by one.

    Args:
        network: trained; it is moved to ``device``.
        device: ``cpu`` or ``cuda``.
        batch: pictures at a time.
        precision: ``32`` or ``bf16`` (about twice as fast on a GPU, off by a few values of 255).
    """

    def __init__(self, network: ResnetGenerator, device: str = "cpu", batch: int = 16, precision: str = "32") -> None:
        if batch < 1:
            raise InputError(f"batch: expected at least 1, got {batch}")
        self.batch = batch
        self._device, self._precision = device, precision
        # on a GPU convolutions in half precision are fastest with the channels last
        layout = torch.channels_last if device == "cuda" else torch.contiguous_format
        self._layout = layout
        self._network = network.eval().to(device).to(memory_format=layout)

    def __call__(self, pixels: Pixels) -> Pixels:
        """uint8 (n, h, w, 3) to the same, ``batch`` at a time; h and w multiples of 4.

        Raises:
            InputError: they are not.
        """
        if pixels.shape[1] % 4 or pixels.shape[2] % 4:
            raise InputError(f"size: expected height and width in multiples of 4, got {pixels.shape[1:3]}")
        parts = [pixels[first : first + self.batch] for first in range(0, len(pixels), self.batch)]
        return np.concatenate([self._one(part) for part in parts]) if parts else pixels.copy()

    def _one(self, part: Pixels) -> Pixels:
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=self._precision == "bf16"):
            images = to_network(part).to(self._device, memory_format=self._layout)
            return to_pixels(self._network(images))
