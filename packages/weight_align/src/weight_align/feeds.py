"""Where the batches of a training come from: a tensor on the device, or files that threads read ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from weight_align.augmentation import crops, epoch_plan, erase, padded
from weight_align.image_reading import mapped
from weight_align.image_tensor import ImageTensor
from weight_align.imagenet import ImageFiles
from weight_align.normalisation import Normalisation
from weight_align.train_config import Recipe, TrainConfig

__all__ = ["Batch", "Feed", "FileFeed", "ResidentFeed", "read_ahead"]

Batch = tuple[Tensor, ...]
"""What stands for a batch until :meth:`Feed.prepare` makes images of it; of the same shapes in every step, on the device."""


class Feed(Protocol):
    """Batches in an order, and with a chance, that follow from seed and epoch alone."""

    def __len__(self) -> int:
        """Batches of an epoch."""

    def batches(self, epoch: int, first: int, last: int, /) -> Iterator[Batch]:
        """Batches ``first`` to ``last`` - 1 of an epoch."""

    def prepare(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees, and what it ought to say, of a batch: device work alone, the same in every step."""


class ResidentFeed:
    """Images that lie on the device as one uint8 tensor, cut out, mirrored and normalised there a batch at a time.

    Args:
        images: all of them.
        config: batch size and augmentation.
        normalisation: of the colours.
        seeds: of one training or of several at once.
        device: where they are to lie.
        stacked: whether batches have a first axis over the seeds (R); without it there must be one seed.
    """

    def __init__(
        self,
        images: ImageTensor,
        config: TrainConfig,
        normalisation: Normalisation,
        seeds: tuple[int, ...],
        device: torch.device,
        stacked: bool = False,
    ) -> None:
        self._count, self._size = len(images), images.size
        # Padded where they come from: on the device there is one copy of them.
        self._pixels = padded(images.images, config.padding).to(device)
        self._labels = images.labels.to(device)
        self._config, self._normalisation = config, normalisation
        self._seeds, self._device, self._stacked = seeds, device, stacked

    def __len__(self) -> int:
        return self._count // self._config.batch_size

    def batches(self, epoch: int, first: int, last: int) -> Iterator[Batch]:
        """Rows of the epoch's plan, ([R,] B, 8)."""
        config = self._config
        plans = [
            epoch_plan(
                self._count, seed, epoch, size=self._size, padding=config.padding, flip=config.flip,
                erasing=config.erasing,
            )
            for seed in self._seeds
        ]  # fmt: skip
        plan = (torch.stack(plans) if self._stacked else plans[0]).to(self._device)
        for number in range(first, last):
            yield (plan[..., number * config.batch_size : (number + 1) * config.batch_size, :],)

    def prepare(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Rows ([R,] B, 8) -> images float32 ([R,] B, 3, H, W), labels ([R,] B)."""
        (plan,) = batch
        rows = plan.reshape(-1, plan.shape[-1])
        images = self._normalisation.apply(crops(self._pixels, rows, self._size))
        if self._config.erasing:
            erase(images, rows)
        labels = self._labels.index_select(0, rows[:, 0])
        if self._stacked:
            return images.unflatten(0, plan.shape[:2]), labels.view(plan.shape[:2])
        return images, labels


class FileFeed:
    """Images in files, a random part of each as a square, read by threads while the network learns.

    Args:
        images: the files.
        config: batch size, mirroring and threads.
        normalisation: of the colours.
        device: where batches are wanted.
    """

    def __init__(
        self, images: ImageFiles, config: TrainConfig, normalisation: Normalisation, device: torch.device
    ) -> None:
        self._images, self._config, self._normalisation, self._device = images, config, normalisation, device

    def __len__(self) -> int:
        return len(self._images) // self._config.batch_size

    def batches(self, epoch: int, first: int, last: int) -> Iterator[Batch]:
        """Pixels uint8 (B, 3, side, side) and labels (B,)."""
        config = self._config

        def one(index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
            pixels = self._images.for_training(index, rng)
            return pixels.flip(-1) if config.flip and rng.random() < 0.5 else pixels, self._images.labels[index]

        return read_ahead(one, len(self._images), config.seed, epoch, range(first, last), config, self._device)

    def prepare(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images float32 (B, 3, side, side), in ``channels_last`` order, and labels."""
        images, labels = batch
        return self._normalisation.apply(images.contiguous(memory_format=torch.channels_last)), labels


def read_ahead(
    one: Callable[[int, np.random.Generator], tuple[Tensor, Tensor]],
    count: int,
    seed: int,
    epoch: int,
    numbers: range,
    config: Recipe,
    device: torch.device,
) -> Iterator[Batch]:
    """Batches of an epoch made of single images by threads, a few batches ahead.

    Args:
        one: makes image ``index`` of the set and what belongs to it, with a generator that is a pure function of (seed,
            epoch, index).
        count: images of the set.
        seed, epoch: of the random order and of each image's generator.
        numbers: which batches.
        config: batch size and threads.
        device: where batches are wanted.
    """
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, epoch))).permutation(count)

    def make(number: int) -> Batch:
        chosen = order[number * config.batch_size : (number + 1) * config.batch_size].tolist()
        made = [
            one(index, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2, epoch, index))))
            for index in chosen
        ]
        parts = tuple(torch.stack(part) for part in zip(*made, strict=True))
        return tuple(part.pin_memory() for part in parts) if device.type == "cuda" else parts

    for batch in mapped(make, numbers, config.threads):
        yield tuple(part.to(device, non_blocking=True) for part in batch)
