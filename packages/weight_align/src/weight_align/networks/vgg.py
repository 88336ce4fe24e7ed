"""VGG16 (Simonyan and Zisserman 2014) with any norm; torchvision's layers, or the usual short form for 32 pixels."""

from torch import Tensor, nn

from weight_align.networks.config import SAMPLE_NORMS, NetworkConfig
from weight_align.networks.norms import make_norm

_STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # multiples of the width, convolutions


class VGG(nn.Module):
    """Five stages of 3x3 convolutions with ReLU; each stage ends in max-pooling. Convolutions have a bias also before a
    norm, as in torchvision. Initial weights of the convolutions are He et al.'s (thesis, section 5.3.3): normal with
    variance 2/n. Those of the linear layers are torchvision's: normal with standard deviation 0.01."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        channels = 3
        for multiple, count in _STAGES:
            for _ in range(count):
                layers.append(nn.Conv2d(channels, multiple * config.width, 3, padding=1))
                channels = multiple * config.width
                if config.norm in SAMPLE_NORMS:
                    layers.append(make_norm(config.norm, channels, config.width))
                layers.append(nn.ReLU(inplace=True))
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.classifier: nn.Module
        if config.stem == "cifar":
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.classifier = nn.Linear(channels, config.classes)
        else:
            hidden = 64 * config.width
            self.avgpool = nn.AdaptiveAvgPool2d(7)
            self.classifier = nn.Sequential(
                nn.Linear(channels * 49, hidden), nn.ReLU(True), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(True),
                nn.Dropout(), nn.Linear(hidden, config.classes),
            )  # fmt: skip
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, 0.01)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 8 * width, H / 32, W / 32)."""
        return self.features(images)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> class scores (B, classes)."""
        return self.classifier(self.avgpool(self.forward_features(images)).flatten(1))
