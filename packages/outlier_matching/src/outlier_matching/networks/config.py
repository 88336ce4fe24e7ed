"""Settings of the network. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Literal

from outlier_matching.method.config import check_choices

THESIS_BACKBONES = ("alexnet", "small", "small_bn", "small_dbn", "squeezenet1_0", "squeezenet1_1")
"""Backbones for which ``trained="thesis"`` is defined: they end in two convolutions (conv4, conv5) or two fire
modules (SqueezeNet)."""
WeightsInput = Literal["rgb", "bgr"]
"""Input that pretrained weights expect: ``rgb`` in [0, 1], normalised by ImageNet's mean and deviation (torchvision), or
``bgr`` from 0 to 255, minus 104, 117 and 123 (Caffe)."""


@dataclass(frozen=True)
class NetworkConfig:
    """The network. The defaults are the thesis's AlexNet, with torchvision's layers."""

    backbone: str = "alexnet"
    """``alexnet``; ``small``: its order of layers for images of 32 to 64 pixels; ``small_bn``: with batch norm, which learns
    faster from random weights; ``small_dbn``: with batch norm that keeps statistics of each domain, which also adapts;
    ``squeezenet1_1``: as accurate as AlexNet on ImageNet; or the name of any classifier of torchvision."""
    embedding: int = 1000
    """Length of an image's embedding: outputs of fc8."""
    width: int = 4096
    """Outputs of fc6 and of fc7."""
    dropout: float = 0.5
    """Dropout after fc6 and after fc7; the thesis does not name it, 0.5 is AlexNet's and the release's. Trainings of one or
    two thousand steps adapt much better with 0. Training from random weights needs 0: with dropout all pairs can stay at
    the same distance, where the contrastive loss is an eighth of the squared margin."""
    trained: Literal["thesis", "fc", "all"] = "thesis"
    """Layers that are trained: conv4 to fc8 (``thesis``; of SqueezeNet its last two fire modules and fc6 to fc8; not for
    other backbones of torchvision), fc6 to fc8 (``fc``), or all."""
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
        if self.trained == "thesis" and self.backbone not in THESIS_BACKBONES:
            raise ValueError(
                f"trained='thesis' names conv4 and conv5, which {self.backbone} does not have; choose 'fc' or 'all'"
            )

    @property
    def frozen(self) -> bool:
        """Whether some layers keep their initial weights."""
        return self.trained != "all"
