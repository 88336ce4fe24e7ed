"""Normalisation of pixels: each colour minus its mean, divided by its standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Colours = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of red, green and blue, for pixels between 0 and 1. Raises ValueError if a standard
    deviation is not positive."""

    mean: Colours
    std: Colours

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            if len(getattr(self, name)) != 3:
                raise ValueError(f"{name} must be three numbers, got {getattr(self, name)}")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std must be positive, got {self.std}")

    def apply(self, images: Tensor) -> Tensor:
        """uint8 (..., 3, H, W) -> float32 of the same shape and memory format."""
        like = {"device": images.device, "dtype": torch.float32}
        mean = torch.tensor([255 * value for value in self.mean], **like)  # type: ignore[arg-type]
        scale = torch.tensor([1 / (255 * value) for value in self.std], **like)  # type: ignore[arg-type]
        return images.to(torch.float32).sub_(mean.view(3, 1, 1)).mul_(scale.view(3, 1, 1))

    @classmethod
    def of(cls, images: Tensor) -> Normalisation:
        """Those of images uint8 (N, 3, H, W), from exact counts of their values; a constant colour gets standard deviation 1."""
        values = torch.arange(256, dtype=torch.float64) / 255
        mean, std = [], []
        for colour in range(3):
            counts = torch.zeros(256, dtype=torch.float64)
            for part in images[:, colour].split(4096):
                counts += torch.bincount(part.flatten().int(), minlength=256).cpu()
            share = counts / counts.sum()
            average = float((share * values).sum())
            spread = float((share * (values - average) ** 2).sum()) ** 0.5
            mean.append(average)
            std.append(spread or 1.0)
        return cls((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Normalisation of torchvision's pretrained networks."""
