"""Which network: everything that decides its layers and what it computes, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from full_video.clustering import METHODS

__all__ = ["STAGES", "Backbone", "NetworkConfig"]

Backbone = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

STAGES = ("layer1", "layer2", "layer3", "layer4")
"""torchvision's names of a ResNet's stages."""


@dataclass(frozen=True)
class NetworkConfig:
    """The model. Defaults are the thesis's ResNet-18 on Move4MNIST, without clusters."""

    classes: int
    """Outputs of the network."""
    backbone: Backbone = "resnet18"
    """torchvision's name."""
    width: int = 64
    """Channels of the first stage; 64 is torchvision's, and what its weights need. Every layer is as much wider or thinner."""
    shift: bool = True
    """Temporal shift before the first convolution of residual blocks (TSM); False is TSN."""
    clusters: int = 0
    """g: averages of frames that the tail sees; 0 shows it every frame."""
    grouping: str = "cumulative"
    """How frames are clustered: one of :data:`~full_video.clustering.METHODS`."""
    average: Literal["after_relu", "before_relu"] = "after_relu"
    """Which activations of the stem's last block are compared and averaged: those after its last ReLU (the author's
    release) or those before it, the ReLU then following the average (thesis, section 3.3.2)."""
    cut: Literal["layer1", "layer2", "layer3"] = "layer1"
    """The last stage of the stem."""
    stem_shift: bool | None = None
    """Whether blocks before the cut shift; None shifts them only where nothing is clustered, as the release does."""
    dropout: float = 0.5
    """Dropout before the classifier."""
    frozen_norm: Literal["none", "stem", "partial", "all"] = "none"
    """Batch norm with fixed statistics: ``stem`` that of the stem (scale and offset are trained), ``partial`` all but the
    first one (TSM's partial BN) and ``all`` every one (in both, scale and offset are fixed too)."""

    def __post_init__(self) -> None:
        choices = {"backbone": get_args(Backbone), "grouping": METHODS, "average": ("after_relu", "before_relu")}
        choices |= {"cut": STAGES[:3], "frozen_norm": ("none", "stem", "partial", "all")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {tuple(known)}, got {getattr(self, name)!r}")
        if self.width < 8 or self.width % 8:  # an eighth of the channels is shifted each way
            raise ValueError(f"width must be a multiple of 8, got {self.width}")
        if self.classes < 1 or self.clusters < 0:
            raise ValueError(
                f"classes must be 1 or more and clusters 0 or more, got {self.classes} and {self.clusters}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def stem_shifts(self) -> bool:
        """Whether the stem mixes frames, so that it cannot be streamed."""
        wanted = self.clusters == 0 if self.stem_shift is None else self.stem_shift
        return self.shift and wanted

    @property
    def streams(self) -> bool:
        """Whether a network of this configuration can be streamed at all (in training, its stem's norm must be frozen)."""
        return self.clusters > 0 and not self.stem_shifts
