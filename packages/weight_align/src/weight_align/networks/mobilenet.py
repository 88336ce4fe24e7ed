"""MobileNetV2 (Sandler et al. 2018) as torchvision has it, of any width."""

from torch import Tensor
from torchvision.models.mobilenetv2 import MobileNetV2

from weight_align.networks.config import NetworkConfig


class MobileNet(MobileNetV2):
    """torchvision's layers, names and initial weights, batch norm and dropout of 0.2 included. Other widths than 64 scale
    all layers by width / 64 (torchvision's ``width_mult``)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(num_classes=config.classes, width_mult=config.width / 64)
        self.config = config

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1280 or more, H / 32, W / 32)."""
        return self.features(images)
