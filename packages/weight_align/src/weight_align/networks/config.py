"""Settings of the networks. Needs no torch, so that ``--help`` is fast."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

Backbone = Literal["vgg16", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2"]
Norm = Literal["none", "bn", "gn", "ln", "in", "wn"]
Stem = Literal["cifar", "imagenet"]
Scale = Literal["filter", "layer", "none"]
Gain = Literal["thesis", "nf"]

SAMPLE_NORMS = ("bn", "gn", "ln", "in")
"""Norms that are layers and compute statistics of samples: batch, group, layer and instance norm."""


def _check_choices(config: object, **choices: Any) -> None:
    for name, known in choices.items():
        if getattr(config, name) not in get_args(known):
            raise ValueError(f"{name} must be one of {get_args(known)}, got {getattr(config, name)!r}")


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """Settings of WeightAlign that all layers share."""

    centre: bool = True
    """First component of WeightAlign: filters get mean zero, E[w] = 0 (table 5.4)."""
    variance: bool = True
    """Second component of WeightAlign: filters get variance 2/n."""
    gain: Gain = "thesis"
    """Gain of WeightAlign. ``nf`` compensates for the variance that filters of mean zero lose after a ReLU."""
    scale_factor: float = 1.0
    """Factor of sqrt(n/2) in the denominator of equation 5.10 (figure 5.6)."""
    scale: Scale = "filter"
    """Learnable scales of WeightAlign: one per filter, one per layer, or none."""

    def __post_init__(self) -> None:
        _check_choices(self, gain=Gain, scale=Scale)
        if not 0 < self.scale_factor < float("inf"):
            raise ValueError(f"scale_factor must be above 0 and finite, got {self.scale_factor}")


@dataclass(frozen=True)
class NetworkConfig(AlignmentConfig):
    """A classifier. The default is the thesis's: a ResNet-50 for small images with WeightAlign and no other norm."""

    classes: int = 0
    """Number of outputs; 0: as many as the data set has classes."""
    backbone: Backbone = "resnet50"
    """Architecture, by torchvision's name. MobileNetV2 is torchvision's: with ``stem`` imagenet and ``norm`` bn alone."""
    stem: Stem = "cifar"
    """``imagenet`` has torchvision's layers under torchvision's names. ``cifar`` is for images of 32 pixels: a ResNet starts with
    a 3x3 convolution of stride 1 without max-pooling, VGG16 ends in one linear layer on the mean of its last map."""
    width: int = 64
    """Channels of the first stage."""
    norm: Norm = "none"
    """Norm: ``bn`` (batch), ``gn`` (group; 32 groups at width 64, the same number of channels per group at other widths), ``ln``
    (layer, over channels and positions) or ``in`` (instance) after every convolution, ``wn`` (weight norm) in its weight, or
    ``none``."""
    fixup: bool | None = None
    """Whether residual blocks have the scalars and initial weights of Fixup (Zhang et al. 2019). ``None`` is the thesis's rule:
    ResNets with norm ``none`` or ``wn`` have them. With WeightAlign or weight norm the initial factors are in their scales, see
    :mod:`weight_align.networks.fixup`."""
    align: bool = True
    """Whether all layers but the classifier have WeightAlign."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choices(self, backbone=Backbone, stem=Stem, norm=Norm)
        for name, least in (("classes", 0), ("width", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if self.backbone == "mobilenet_v2" and (self.stem != "imagenet" or self.norm != "bn"):
            raise ValueError(
                f"mobilenet_v2 is torchvision's: with stem=imagenet and norm=bn, not stem={self.stem} and norm={self.norm}"
            )
        if self.fixup and (self.norm in SAMPLE_NORMS or self.backbone == "vgg16"):
            raise ValueError(
                f"fixup is for ResNets without a norm of samples, not for {self.backbone} with norm={self.norm}"
            )
        if self.align and self.norm == "wn":
            raise ValueError("norm=wn and align=true both replace the weight; choose one of them")
        if self.align and self.width == 1 and self.backbone != "vgg16":
            raise ValueError(
                f"align needs width=2 or more in {self.backbone}: with 1 the filters of its 1x1 convolutions have one weight"
            )
        if self.align and not (self.centre or self.variance):
            raise ValueError("align has nothing to do with centre=false and variance=false; set align=false")

    @property
    def fixed_up(self) -> bool:
        """Whether the network has the scalars and initial weights of Fixup."""
        if self.fixup is None:
            return self.backbone != "vgg16" and self.norm not in SAMPLE_NORMS
        return self.fixup


DEEPLAB_BACKBONE = NetworkConfig(stem="imagenet", norm="bn")
"""The ResNet of DeepLabv3: a ResNet-50 as torchvision has it, with batch norm and WeightAlign."""


@dataclass(frozen=True)
class HeadConfig:
    """The part of DeepLabv3 after the ResNet. The defaults are those of its paper for output stride 16."""

    channels: int = 256
    """Channels of each of the five branches and of their projection."""
    rates: tuple[int, ...] = (6, 12, 18)
    """Dilations of the 3x3 branches."""
    multi_grid: tuple[int, ...] = (1, 1, 1)
    """Factors of the dilations of the blocks in the last stage of the ResNet (thesis, section 5.4.4)."""

    def __post_init__(self) -> None:
        for name, values in (("channels", (self.channels,)), ("rates", self.rates), ("multi_grid", self.multi_grid)):
            if not values or min(values) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class Conversion(AlignmentConfig):
    """A network of torchvision, and how it is aligned."""

    network: str = ""
    """torchvision's name of the network, for example ``resnet50``; empty for a network of this package."""
    classes: int = 1000
    """Number of outputs of a network of torchvision."""
    exclude: tuple[str, ...] = ()
    """Layers of a network of torchvision to leave out, by name or pattern (``layer4.*``); the name of a module stands for all
    layers in it."""
    classifier: bool = False
    """Whether the classifier of a network of torchvision is aligned too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes < 1:
            raise ValueError(f"classes must be 1 or more, got {self.classes}")
