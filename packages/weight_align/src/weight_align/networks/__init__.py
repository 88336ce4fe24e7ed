"""The networks of chapter 5 with every normalisation, and networks of torchvision. Needs torch; torchvision where named."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weight_align.networks.config import DEEPLAB_BACKBONE, AlignmentConfig, Conversion, HeadConfig, NetworkConfig
    from weight_align.networks.deeplab import DeepLab, build_deeplab
    from weight_align.networks.example import example_network
    from weight_align.networks.fixup import fixup_scalars
    from weight_align.networks.network import Network, align_network, build_network, is_aligned_state
    from weight_align.networks.norms import make_norm
    from weight_align.networks.resnet import Block, ResNet
    from weight_align.networks.torchvision_networks import convert, torchvision_network

__all__ = [
    "DEEPLAB_BACKBONE", "AlignmentConfig", "Block", "Conversion", "DeepLab", "HeadConfig", "Network", "NetworkConfig",
    "ResNet", "align_network", "build_deeplab", "build_network", "convert", "example_network", "fixup_scalars",
    "is_aligned_state", "make_norm", "torchvision_network",
]  # fmt: skip
_MODULES = ("config", "network", "resnet", "norms", "fixup", "example", "deeplab", "torchvision_networks")


def __getattr__(name: str) -> Any:
    for module in _MODULES if name in __all__ else ():
        if hasattr(found := import_module(f"{__name__}.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
