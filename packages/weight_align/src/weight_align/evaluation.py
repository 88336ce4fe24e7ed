"""How often a classifier is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from weight_align.errors import UsageError, WorkError
from weight_align.image_reading import mapped
from weight_align.image_sets import ImageSet, ImageTensor
from weight_align.normalisation import Normalisation

__all__ = ["Scores", "evaluate"]


@dataclass(frozen=True)
class Scores:
    """Errors over the images of a set, in percent."""

    top1_error: float
    """Of the likeliest class."""
    top5_error: float
    """Of the five likeliest classes; 0 where there are five or fewer."""
    per_class: tuple[float, ...]
    """Top-1 error of each class; NaN of one without images."""
    images: int
    """How many there are."""


def evaluate(
    network: nn.Module,
    images: ImageSet,
    *,
    normalisation: Normalisation,
    batch_size: int = 256,
    device: str = "cpu",
    threads: int = 4,
) -> Scores:
    """Score a network on labelled images: whole images where they lie in memory, the middle of images in files.

    Args:
        network: turns normalised images (B, 3, H, W) into class scores (B, C); it is moved to ``device`` and set to eval
            mode.
        images: the labelled images.
        normalisation: of the colours, as the network was trained with.
        batch_size: images at a time. Changes the figures by rounding alone.
        device: ``cpu`` or ``cuda``.
        threads: threads that read images in files.

    Raises:
        UsageError: if the network has another number of classes than the images.
        WorkError: if a class score is not finite, or an image cannot be read.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, got {batch_size}")
    classes = len(images.facts.class_names)
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    wrong, wrong5, count = (torch.zeros(classes, dtype=torch.int64, device=device) for _ in range(3))
    finite = torch.ones((), dtype=torch.bool, device=device)
    with torch.inference_mode():
        for pixels, labels in _batches(images, batch_size, device, threads):
            scores = network(normalisation.apply(pixels))
            if scores.shape[1] != classes:
                raise UsageError(f"the network has {scores.shape[1]} classes, {images.facts.name} has {classes}")
            finite &= scores.isfinite().all()
            hits = scores.topk(min(5, classes), dim=1).indices == labels[:, None]
            count += torch.bincount(labels, minlength=classes)
            wrong += torch.bincount(labels[~hits[:, 0]], minlength=classes)
            wrong5 += torch.bincount(labels[~hits.any(dim=1)], minlength=classes)
    if not finite:
        raise WorkError(f"class scores of {images.facts.name} are not finite; the network is unusable")
    each = (100 * wrong / count).tolist()  # 0/0 is NaN
    total = int(count.sum())
    return Scores(100 * int(wrong.sum()) / total, 100 * int(wrong5.sum()) / total, tuple(each), total)


def _batches(images: ImageSet, size: int, device: str, threads: int) -> Iterator[tuple[Tensor, Tensor]]:
    starts = range(0, len(images), size)

    def read(first: int) -> tuple[Tensor, Tensor]:
        last = min(first + size, len(images))
        if isinstance(images, ImageTensor):
            pixels = images.images[first:last]
        else:
            pixels = torch.stack([images.for_testing(index) for index in range(first, last)])
        return pixels.contiguous(memory_format=torch.channels_last), images.labels[first:last]

    batches = mapped(read, starts, 1 if isinstance(images, ImageTensor) else threads)
    shown = tqdm(batches, total=len(starts), unit="batch", disable=not sys.stderr.isatty(), leave=False, delay=2)
    for pixels, labels in shown:
        yield pixels.to(device), labels.to(device)
