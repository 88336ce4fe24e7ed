"""Pixels for training: all of a set as one tensor on the device where they fit, read batch by batch where not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outlier_matching.image_sets import ImageSet, pixels, stack

__all__ = ["PixelStore", "ahead", "stored_bytes"]

In = TypeVar("In")
Out = TypeVar("Out")


def stored_bytes(images: ImageSet, size: int) -> int:
    """Bytes of a set whose images are resized to ``size`` pixels."""
    return len(images) * 3 * size * size


class PixelStore:
    """Images of a set by their numbers.

    Args:
        images: the set.
        size: height and width that images are resized to.
        device: where batches are wanted.
        resident: whether to read everything now and keep it on the device.
        threads: threads that read and decode.

    Raises:
        BrokenImage: if an image cannot be read; where ``resident``, at once.
    """

    def __init__(self, images: ImageSet, size: int, device: torch.device, resident: bool, threads: int) -> None:
        self._images, self._size, self._device, self._threads = images, size, device, threads
        self.all: Tensor | None = stack(images, size, device, threads) if resident else None
        """uint8 (S, 3, size, size) where resident."""

    def batch(self, indices: NDArray[np.int64]) -> Tensor:
        """uint8 (n, 3, size, size): on the device where resident, else on the CPU."""
        if self.all is not None:
            return self.all[torch.from_numpy(indices).to(self._device)]
        batch = pixels(self._images, indices.tolist(), self._size, self._threads)
        return batch.pin_memory() if self._device.type == "cuda" else batch

    @property
    def whole(self) -> ImageSet | Tensor:
        """Every image, in the form :func:`~outlier_matching.embedding.embed` takes."""
        return self._images if self.all is None else self.all


def ahead(make: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """``map(make, items)``, the next one made by a thread while this one is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            coming = pool.submit(make, item)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()
