"""Embeddings of many images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from outlier_matching.errors import WorkError
from outlier_matching.image_sets import ImageSet, pixels
from outlier_matching.networks import MatchingNetwork

__all__ = ["embed"]


@torch.no_grad()
def embed(
    network: MatchingNetwork,
    images: ImageSet | Tensor,
    batch: int = 256,
    device: str | torch.device = "cpu",
    precision: str = "32-true",
    domain: int = 0,
) -> Tensor:
    """L2-normalised fc8 of every image, dropout off.

    Args:
        network: the network; it is moved to ``device``, and its mode is left as it was.
        images: a set, or uint8 (n, 3, H, W) on any device.
        batch: images at a time.
        device: where to compute.
        precision: ``32-true``, or ``bf16-mixed`` for bfloat16 where autocast allows it.
        domain: of the images, 0 the source (and the gallery) or 1 the target (the queries); matters to a network that keeps
            them apart (``small_dbn``).

    Returns:
        float32 (n, embedding) on ``device``.

    Raises:
        BrokenImage: if an image cannot be read.
        WorkError: if an embedding is not finite.
    """
    device = torch.device(device)
    network.to(device)
    training = network.training
    parts = []
    try:
        network.eval()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            for part in _batches(network, images, batch):
                parts.append(network(part.to(device, non_blocking=True), domain).embedding.float())
    finally:
        network.train(training)
    if not parts:
        return torch.empty(0, network.config.embedding, device=device)
    whole = torch.cat(parts)
    if not torch.isfinite(whole).all():
        raise WorkError("the network's embeddings are not finite; its weights are damaged or its training failed")
    return whole


def _batches(network: MatchingNetwork, images: ImageSet | Tensor, batch: int) -> Iterator[Tensor]:
    if isinstance(images, Tensor):
        for first in range(0, len(images), batch):
            yield images[first : first + batch]
        return
    for first in range(0, len(images), batch):
        yield pixels(images, range(first, min(first + batch, len(images))), network.config.size)
