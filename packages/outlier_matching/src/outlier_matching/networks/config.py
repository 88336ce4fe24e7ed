"""Settings of the network. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Literal

from outlier_matching.method.config import check_choices

FIVE_LAYERS = ("alexnet", "small", "small_bn", "small_dbn")
"""Backbones with five convolutions, conv1 to conv5; ``trained="thesis"`` needs one of them."""


@dataclass(frozen=True)
class NetworkConfig:
    """The network. The defaults are the thesis's AlexNet, with torchvision's layers."""

    backbone: str = "alexnet"
    """``alexnet``; ``small``: its order of layers for images of 32 to 64 pixels; ``small_bn``: with batch norm, which learns
    faster from random weights; ``small_dbn``: with batch norm that keeps statistics of each domain, which also adapts; or
    the name of any classifier of torchvision."""
    embedding: int = 1000
    """Length of an image's embedding: outputs of fc8."""
    width: int = 4096
    """Outputs of fc6 and of fc7."""
    dropout: float = 0.5
    """Dropout after fc6 and after fc7. Training from random weights needs 0: with dropout all pairs can stay at the same
    distance, where the contrastive loss is an eighth of the squared margin."""
    trained: Literal["thesis", "fc", "all"] = "thesis"
    """Layers that are trained: conv4 to fc8 (``thesis``, for backbones of five convolutions), fc6 to fc8 (``fc``), or all."""
    start: Literal["pretrained", "random_heads"] = "pretrained"
    """Layers that take pretrained weights: all that fit (``pretrained``, the thesis), or only those that are not trained
    (``random_heads``, the author's release)."""
    size: int = 227
    """Height and width of the network's input in pixels."""

    def __post_init__(self) -> None:
        check_choices(self)
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
        """Whether some layers keep their initial weights."""
        return self.trained != "all"
