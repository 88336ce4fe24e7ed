"""Which network: everything that decides its layers and what of it is trained, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FIVE_LAYERS", "NetworkConfig"]

FIVE_LAYERS = ("alexnet", "small", "small_bn", "small_dbn")
"""Backbones of five convolutions, conv1 to conv5, of which ``trained="thesis"`` can name some."""


@dataclass(frozen=True)
class NetworkConfig:
    """The model. Defaults are the thesis's AlexNet, with torchvision's layers."""

    backbone: str = "alexnet"
    """``alexnet``, ``small`` (its order of layers for images of 32 to 64 pixels), ``small_bn`` (and batch norm, with which it
    learns faster from random weights), ``small_dbn`` (batch norm with statistics of its own for each domain, with which it
    also adapts), or any classifier of torchvision by name."""
    embedding: int = 1000
    """Numbers that describe an image: outputs of fc8."""
    width: int = 4096
    """Outputs of fc6 and of fc7."""
    dropout: float = 0.5
    """Dropout after fc6 and after fc7. With random weights to start from, any of it can keep all pairs at the same distance,
    where the contrastive loss is an eighth of the squared margin: 0 is then the better choice."""
    trained: Literal["thesis", "fc", "all"] = "thesis"
    """Layers that are trained: ``thesis`` conv4 to fc8 (of the backbones that have them), ``fc`` fc6 to fc8, or all."""
    start: Literal["pretrained", "random_heads"] = "pretrained"
    """Where weights are given: ``pretrained`` takes all that fit (the thesis: fine-tuned); ``random_heads`` takes those of
    the layers that are not trained alone, the others starting from random (what the author's release does)."""
    size: int = 227
    """Height and width of the images that the network sees, pixels."""

    def __post_init__(self) -> None:
        for name, known in (("trained", ("thesis", "fc", "all")), ("start", ("pretrained", "random_heads"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        for name in ("embedding", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.size < 16:
            raise ValueError(f"size must be 16 pixels or more, got {self.size}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.trained == "thesis" and self.backbone not in FIVE_LAYERS:
            raise ValueError(
                f"trained='thesis' names conv4 and conv5, which {self.backbone} does not have; choose 'fc' or 'all'"
            )

    @property
    def frozen(self) -> bool:
        """Whether some layers keep the weights they start with."""
        return self.trained != "all"
