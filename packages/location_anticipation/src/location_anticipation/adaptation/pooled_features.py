"""Features of a small network, pooled at boxes that some detector has found."""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.ops import roi_align

from efficiency_core.errors import UsageError, WorkError
from efficiency_core.network_file import read_state
from location_anticipation.adaptation.config import MotionConfig

_LAYERS = {"mobilenet_v2": (14, 96), "mobilenet_v3_small": (9, 48)}
"""Layers of ``features`` down to stride 16, and their channels."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PooledFeatures(nn.Module):
    """Features of ``config.backbone`` at stride 16, pooled at each box; nothing where it is ``none``. Never trained."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config = config
        layers, channels = _LAYERS.get(config.backbone, (0, 0))
        self.layers = get_model(config.backbone, weights=None).features[:layers] if layers else nn.Sequential()
        self.length = channels * config.pool**2
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "PooledFeatures":
        """Batch normalisation keeps its statistics."""
        return super().train(False)

    def forward(self, image: Tensor, boxes: Tensor) -> Tensor:
        """Features (N, F) of boxes (N, 4) in an image (3, H, W) in [0, 1]."""
        if not self.length or not len(boxes):
            return boxes.new_zeros(len(boxes), self.length)
        scale = self.config.backbone_size / min(image.shape[1:])
        size = [max(round(side * scale), 32) for side in image.shape[1:]]
        small = F.interpolate(image[None], size, mode="bilinear", antialias=True)
        mean, std = (small.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
        maps = self.layers((small - mean) / std)
        ratio = boxes.new_tensor([maps.shape[3] / image.shape[2], maps.shape[2] / image.shape[1]])
        pooled: Tensor = roi_align(maps, [boxes * ratio.repeat(2)], self.config.pool, aligned=True)
        return pooled.flatten(1)


def load_backbone(pool: PooledFeatures, weights: str | Path | None) -> None:
    """Load classification weights: of a file, or torchvision's of ImageNet, which it downloads on first use.

    Raises:
        UsageError: if the weights do not fit the backbone.
        WorkError: if they cannot be downloaded.
    """
    name = pool.config.backbone
    if name == "none":
        if weights is not None:
            raise UsageError("weights of a backbone need --motion.backbone")
        return
    if weights is not None:
        state = read_state(weights)
    else:
        try:
            state = get_model_weights(name).DEFAULT.get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
        except (OSError, RuntimeError) as error:
            raise WorkError(f"the weights of {name} cannot be downloaded ({error}); give them as a file") from error
    wanted = pool.layers.state_dict()
    found = {key: state[f"features.{key}"] for key in wanted if f"features.{key}" in state}
    missing = sorted(wanted.keys() - found.keys())
    if missing or any(found[key].shape != value.shape for key, value in wanted.items()):
        lacks = f"lacks features.{missing[0]}" if missing else "has other shapes"
        raise UsageError(f"{weights or name}: does not fit torchvision's {name}; it {lacks}")
    with torch.no_grad():
        pool.layers.load_state_dict(found)
