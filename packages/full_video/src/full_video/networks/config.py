"""Settings of a network. Needs no torch."""

from dataclasses import dataclass
from typing import Literal, get_args

from full_video.clustering.methods import METHODS, Method

Backbone = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2"]
Memory = Literal["plain", "checkpointed", "streamed"]
Average = Literal["after_relu", "before_relu"]
Cut = Literal["layer1", "layer2", "layer3"]
FrozenNorm = Literal["none", "stem", "partial", "all"]

STAGES = ("layer1", "layer2", "layer3", "layer4")
"""torchvision's names of a ResNet's stages; of MobileNetV2, the layers whose maps have the strides 4, 8, 16 and 32."""


@dataclass(frozen=True)
class NetworkConfig:
    """The network. The defaults are the thesis's ResNet-18 on Move4MNIST, without clusters (TSM)."""

    classes: int = 0
    """Outputs of the network; 0: as many as the data has classes."""
    backbone: Backbone = "resnet18"
    """torchvision's name of the network."""
    width: int = 64
    """64 is torchvision's network, for every backbone, and its weights need it. With another width all layers scale by width
    / 64: a ResNet has this number of channels in the first stage, MobileNetV2 is torchvision's of that ``width_mult``."""
    shift: bool = True
    """Temporal shift before the first convolution of residual blocks (TSM; in MobileNetV2, of those with an expansion); False
    is TSN."""
    clusters: int = 0
    """Number of clusters g: averages of frames that the tail sees; 0 shows it every frame."""
    grouping: Method = "cumulative"
    """How frames are clustered; the module ``full_video.clustering.clusters`` explains the methods."""
    average: Average = "after_relu"
    """Activations of the stem's last block that are compared and averaged: after its last ReLU (the author's release), or
    before it, with the ReLU after the average (thesis, section 3.3.2). MobileNetV2 has ReLU6 in its place."""
    cut: Cut = "layer1"
    """Last stage of the stem, at stride 4, 8 or 16. MobileNetV2's blocks end without ReLU, so its stem includes the expansion
    (1x1 convolution, norm, ReLU6) of the next block, which has stride 2 and no residual connection; the tail begins after it."""
    stem_shift: bool | None = None
    """Whether blocks of the stem shift; None: only in a network without clusters, as in the release."""
    dropout: float = 0.5
    """Dropout before the classifier."""
    frozen_norm: FrozenNorm = "none"
    """Batch norm with fixed statistics: ``stem`` that of the stem (scale and offset are trained), ``partial`` all but the
    first one (TSM's partial BN), ``all`` every one (in both, scale and offset are fixed too)."""

    def __post_init__(self) -> None:
        choices = {"backbone": get_args(Backbone), "grouping": METHODS, "average": get_args(Average)}
        choices |= {"cut": get_args(Cut), "frozen_norm": get_args(FrozenNorm)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.width < 8 or self.width % 8:  # an eighth of the channels is shifted each way
            raise ValueError(f"width must be a multiple of 8, got {self.width}")
        if self.classes < 0 or self.clusters < 0:
            raise ValueError(f"classes and clusters must be 0 or more, got {self.classes} and {self.clusters}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def stem_shifts(self) -> bool:
        """Whether the stem mixes frames, so that it cannot be streamed."""
        wanted = self.clusters == 0 if self.stem_shift is None else self.stem_shift
        return self.shift and wanted

    @property
    def streams(self) -> bool:
        """Whether the stem can be streamed (in training, its batch norm must be frozen too)."""
        return self.clusters > 0 and not self.stem_shifts
