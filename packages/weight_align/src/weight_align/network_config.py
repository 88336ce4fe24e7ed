"""Which network: everything that decides its layers, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from weight_align.align import GAINS
from weight_align.norms import SAMPLE_NORMS, Norm

__all__ = ["Backbone", "NetworkConfig"]

Backbone = Literal["vgg16", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


@dataclass(frozen=True)
class NetworkConfig:
    """The network. Defaults are a ResNet-18 for small images without any normalisation."""

    classes: int
    """Outputs of the network."""
    backbone: Backbone = "resnet18"
    """torchvision's name."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """``imagenet`` has torchvision's layers under torchvision's names. ``cifar``, for images of 32 pixels: a ResNet begins with
    a 3x3 convolution of stride 1 and no max-pooling, VGG16 ends with one linear layer on the mean of its last map."""
    width: int = 64
    """Channels of the first stage; 64 is the thesis's."""
    norm: Norm = "none"
    """After every convolution batch norm (``bn``), group norm (``gn``, of 32 groups at width 64 and as many channels a group in
    thinner networks), layer norm over channels and places (``ln``) or instance norm (``in``); in its weight, weight norm
    (``wn``); or nothing."""
    fixup: bool | None = None
    """Whether residual blocks have Fixup's scalars and start (Zhang et al. 2019). None is the thesis's rule: ResNets
    without a norm of samples (``none``, ``wn``) have. With WA or WN the start goes into their scales, see
    :mod:`weight_align.fixup`."""
    align: bool = False
    """WeightAlign in every layer but the classifier."""
    centre: bool = True
    """WA's first component, E[w] = 0 (table 5.4)."""
    variance: bool = True
    """WA's second component, Var[w] = 2/n."""
    gain: Literal["thesis", "nf"] = "thesis"
    """``nf`` makes up for the variance that filters of mean zero lose; see :data:`~weight_align.align.GAINS`."""
    scale_factor: float = 1.0
    """Multiplies sqrt(n/2) in the denominator of equation 5.10 (figure 5.6)."""
    scale: Literal["filter", "layer", "none"] = "filter"
    """WA's learnable scale: one a filter, one a layer, or none."""

    def __post_init__(self) -> None:
        choices = {"backbone": get_args(Backbone), "stem": ("cifar", "imagenet"), "norm": get_args(Norm)}
        choices |= {"gain": tuple(GAINS), "scale": ("filter", "layer", "none")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        for name in ("classes", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not 0 < self.scale_factor < float("inf"):
            raise ValueError(f"scale_factor must be above 0 and finite, got {self.scale_factor}")
        if self.fixup and (self.norm in SAMPLE_NORMS or self.backbone == "vgg16"):
            raise ValueError(
                f"fixup is for ResNets without a norm of samples, not for {self.backbone} with norm={self.norm}"
            )
        if self.align and self.norm == "wn":
            raise ValueError("norm=wn and align both replace the weight; choose one of them")
        if self.align and self.width == 1 and self.backbone != "vgg16":
            raise ValueError(
                f"align needs width=2 or more in {self.backbone}: at 1 filters of its 1x1 convolutions have one weight each"
            )
        if self.align and not (self.centre or self.variance):
            raise ValueError("align has nothing to do with centre=false and variance=false; set align=false")

    @property
    def fixed_up(self) -> bool:
        """Whether the network has Fixup's scalars and start."""
        if self.fixup is None:
            return self.backbone != "vgg16" and self.norm not in SAMPLE_NORMS
        return self.fixup
