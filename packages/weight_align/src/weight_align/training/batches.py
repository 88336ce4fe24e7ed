"""The batches of a training of classifiers, each a pure function of the step."""

from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from efficiency_core.loop import Accelerator, epoch_order
from weight_align.data import ImageFiles, ImageTensor
from weight_align.training.augmentation import crops, epoch_plan, erase, padded
from weight_align.training.config import SgdConfig, TrainConfig
from weight_align.training.normalisation import Normalisation

Batch = tuple[Tensor, ...]
"""Tensors from which :meth:`Batches.prepare` makes images and targets; of the same shapes in every step."""


class Batches(Protocol):
    """Batches whose order and augmentation follow from seed and step alone."""

    resident: bool
    """Whether the images are on the device, so that making a batch takes no time."""

    def __len__(self) -> int:
        """Number of batches of an epoch."""

    def batch(self, step: int, /) -> Batch:
        """This process's part of the batch of a step, counted from 0 over the whole training."""

    def prepare(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs of the network and targets, from a batch on the device. The same operations run in every step."""


class ResidentBatches:
    """Images that are on the device as one uint8 tensor, cropped, mirrored and normalised there.

    Args:
        seeds: of one training, or of several that run at once.
        accelerator: the device, and this process's part of a batch.
        stacked: whether batches have a first axis over the seeds (R); without it there must be one seed."""

    resident = True

    def __init__(
        self, images: ImageTensor, config: TrainConfig, normalisation: Normalisation, seeds: tuple[int, ...],
        accelerator: Accelerator, stacked: bool = False,
    ) -> None:  # fmt: skip
        self._count, self._size = len(images), images.size
        # Padded before the copy, so that the device holds one copy.
        self._pixels = padded(images.images, config.padding).to(accelerator.device)
        self._labels = images.labels.to(accelerator.device)
        self._config, self._normalisation, self._accelerator = config, normalisation, accelerator
        self._seeds, self._stacked = seeds, stacked
        self._plan = lru_cache(1)(self._epoch_plan)

    def __len__(self) -> int:
        return self._count // self._config.batch_size

    def _epoch_plan(self, epoch: int) -> Tensor:
        config = self._config
        plans = [
            epoch_plan(
                self._count, seed, epoch, size=self._size, padding=config.padding, flip=config.flip,
                erasing=config.erasing,
            )
            for seed in self._seeds
        ]  # fmt: skip
        return (torch.stack(plans) if self._stacked else plans[0]).to(self._accelerator.device)

    def batch(self, step: int) -> Batch:
        """Rows of the plan of the epoch, ([R,] B, 8)."""
        epoch, number = divmod(step, len(self))
        size = self._config.batch_size
        rows = self._plan(epoch)[..., number * size : (number + 1) * size, :]
        return (rows if self._stacked else self._accelerator.part(rows),)

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


class ReadBatches:
    """Batches of images that are read from files, each with a generator that follows from (seed, epoch, image).

    Args:
        count: number of images to use, the first ones.
        accelerator: this process's part of a batch."""

    resident = False

    def __init__(self, count: int, config: SgdConfig, normalisation: Normalisation, accelerator: Accelerator) -> None:
        self._count, self._size, self._seed = count, config.batch_size, config.seed
        self._normalisation, self._accelerator = normalisation, accelerator

    def __len__(self) -> int:
        return self._count // self._size

    def one(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Image ``index``, uint8 (3, H, W) in the size of the batch, and its target."""
        raise NotImplementedError

    def batch(self, step: int) -> Batch:
        """Pixels uint8 (B, 3, H, W) and targets (B, ...)."""
        epoch, number = divmod(step, len(self))
        chosen = epoch_order(self._count, self._seed, epoch)[number * self._size : (number + 1) * self._size].tolist()
        made = [
            self.one(index, np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(2, epoch, index))))
            for index in self._accelerator.part(chosen)
        ]
        return tuple(torch.stack(part) for part in zip(*made, strict=True))

    def prepare(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images float32 (B, 3, H, W), in ``channels_last`` order, and int64 targets."""
        images, targets = batch
        return self._normalisation.apply(images.contiguous(memory_format=torch.channels_last)), targets.long()


class FileBatches(ReadBatches):
    """Random parts of images, resized to a square and mirrored, and their labels (B,)."""

    def __init__(
        self, images: ImageFiles, config: TrainConfig, normalisation: Normalisation, accelerator: Accelerator
    ) -> None:
        super().__init__(len(images), config, normalisation, accelerator)
        self._images, self._flip = images, config.flip

    def one(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        pixels = self._images.for_training(index, rng)
        mirrored = self._flip and rng.random() < 0.5
        return pixels.flip(-1) if mirrored else pixels, self._images.labels[index]
