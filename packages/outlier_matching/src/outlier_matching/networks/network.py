"""The network of figure 4.2: one set of weights, shared by all three branches; and embeddings of many images."""

from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import resize

from outlier_matching.method.objective import Features
from outlier_matching.networks.backbones import StackedLayers, build_backbone
from outlier_matching.networks.config import NetworkConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of red, green and blue in ImageNet, for images in [0, 1]."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Their standard deviation."""


class MatchingNetwork(nn.Module):
    """A backbone and fc6, fc7, fc8. The three branches of figure 4.2 are three calls, or one faster call with all their
    images. The results are equal, except that batch norm takes its statistics over all images of a call (``small_bn``)
    or of each domain in it (``small_dbn``). Layers that are not trained (``config.trained``) get no gradient and stay
    in eval mode. Raises ValueError if there is no such backbone, or it cannot take images of that size."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone, length = build_backbone(config.backbone, config.size)
        self.fc6 = nn.Linear(length, config.width)
        self.fc7 = nn.Linear(config.width, config.width)
        self.fc8 = nn.Linear(config.width, config.embedding)
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        for layer in (self.fc6, self.fc7, self.fc8):
            glorot(layer)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self.trains(name))
        self.train()

    def trains(self, name: str) -> bool:
        """Whether the entry ``name`` of the state belongs to a layer that is trained."""
        if self.config.trained == "all" or not name.startswith("backbone."):
            return True
        if not isinstance(self.backbone, StackedLayers) or self.config.trained == "fc":
            return False
        frozen = len(self.backbone.before_last_two)
        return int(name.split(".")[2]) >= frozen  # backbone.features.<place>.weight

    def train(self, mode: bool = True) -> Self:
        """Set the mode. Layers that are not trained keep the statistics of batch norm and have no dropout."""
        super().train(mode)
        if self.config.trained == "fc":
            self.backbone.eval()
        elif self.config.trained == "thesis" and isinstance(self.backbone, StackedLayers):
            self.backbone.before_last_two.eval()
        return self

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 (n, 3, H, W) of any size -> (n, 3, size, size): resized, in [0, 1], normalised by ImageNet's mean and
        deviation, in the dtype of the weights."""
        small = resized(images, self.config.size).to(self.fc8.weight.dtype)
        return (small / 255 - self.mean) / self.std

    @torch.no_grad()
    def fixed_features(self, images: Tensor, domain: int = 0) -> Tensor:
        """What the layers that are not trained make of uint8 images (n, 3, H, W): the same in every step of a training. Maps
        before conv4, or with ``trained="fc"`` vectors. Raises ValueError if all layers are trained."""
        if not self.config.frozen:
            raise ValueError("all layers of the network are trained")
        images = self.prepare(images)
        if self.config.trained == "thesis":
            assert isinstance(self.backbone, StackedLayers)
            return self.backbone.maps(images, domain, self.backbone.before_last_two)
        return self._vectors(images, domain, None)

    def forward(self, images: Tensor, domain: int = 0, source: int | None = None, fixed: bool = False) -> Features:
        """Features of images.

        Args:
            images: uint8 (n, 3, H, W) of any size, or the output of :meth:`prepare`.
            domain: domain of the images, 0 source or 1 target; only ``small_dbn`` distinguishes them.
            source: number of source images at the start of a batch whose other images belong to the target.
            fixed: whether ``images`` are outputs of :meth:`fixed_features`, after which the other layers go on."""
        if not images.is_floating_point():
            images = self.prepare(images)
        vectors = images if fixed and self.config.trained == "fc" else self._vectors(images, domain, source, fixed)
        fc6 = self.dropout(self.fc6(vectors).relu())
        fc7 = self.dropout(self.fc7(fc6).relu())
        return Features(fc6, fc7, self.fc8(fc7))

    def _vectors(self, images: Tensor, domain: int, source: int | None, fixed: bool = False) -> Tensor:
        if not isinstance(self.backbone, StackedLayers):
            return self.backbone(images)
        first = len(self.backbone.before_last_two) if fixed else 0
        if source is None or not self.backbone.knows_domains:
            return self.backbone(images, domain, first)
        parts = (self.backbone(images[:source], 0, first), self.backbone(images[source:], 1, first))
        return torch.cat(parts)


def glorot(layer: nn.Linear | nn.Conv2d) -> None:
    """Draw the weights of a layer after Glorot and set its bias to 0, as in the author's release."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def check_images(images: Tensor) -> None:
    """Raise ValueError unless ``images`` is uint8 (n, 3, H, W). Whether white is 1 or 255 in other types is unknown."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images must be uint8 (n, 3, H, W), got {images.dtype} {tuple(images.shape)}; floating point in [0, 1] becomes "
            "uint8 by images.mul(255).round().byte()"
        )


def resized(images: Tensor, size: int) -> Tensor:
    """uint8 (..., 3, H, W) -> (..., 3, size, size): antialiased and without regard to the aspect ratio (release)."""
    return images if images.shape[-2:] == (size, size) else resize(images, [size, size], antialias=True)


@torch.no_grad()
def embed(
    network: MatchingNetwork, images: Tensor | Iterable[Tensor], batch: int = 256, device: str | torch.device = "cpu",
    precision: str = "32-true", domain: int = 0, fixed: bool = False,
) -> Tensor:  # fmt: skip
    """L2-normalised fc8 of every image, without dropout. Returns float32 (n, embedding) on ``device``. Raises
    FloatingPointError if an embedding is not finite; ValueError for images of another type or shape.

    Args:
        network: is moved to ``device``; its mode is restored.
        images: uint8 (n, 3, H, W) on any device, or batches of such images.
        batch: number of images at a time, if ``images`` is one tensor.
        precision: ``32-true``, or ``bf16-mixed`` or ``16-mixed`` for half precision where autocast allows it.
        domain: see :meth:`MatchingNetwork.forward`; a gallery is of the source, queries of the target.
        fixed: whether ``images`` are outputs of :meth:`MatchingNetwork.fixed_features`."""
    device = torch.device(device)
    network.to(device)
    training = network.training
    parts = [torch.empty(0, network.config.embedding, dtype=torch.float32, device=device)]
    try:
        network.eval()
        half = torch.float16 if precision == "16-mixed" else torch.bfloat16
        with torch.autocast(device.type, half, enabled=precision != "32-true"):
            for part in images.split(batch) if isinstance(images, Tensor) else images:
                if not fixed:
                    check_images(part)
                if len(part):
                    found = network(part.to(device, non_blocking=True), domain, fixed=fixed)
                    parts.append(found.embedding.float())
    finally:
        network.train(training)
    whole = torch.cat(parts)
    if not torch.isfinite(whole).all():
        raise FloatingPointError(
            "the network's embeddings are not finite: its weights are damaged or its training failed"
        )
    return whole
