"""Pixels of image sets as tensors: some images, batches, or all of a set on the device."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efficiency_core.readers import mapped
from outlier_matching.data.image_set import ImageSet
from outlier_matching.networks.network import check_images, resized


def read_pixels(images: ImageSet, indices: Sequence[int], size: int, threads: int = 4) -> Tensor:
    """The images ``indices`` of a set, resized, uint8 (n, 3, size, size). Raises BrokenFile if an image cannot be read,
    ValueError if the set gives other pixels. ``threads``: number of threads that read and decode; 0 reads in the caller's."""
    batch = torch.empty(len(indices), 3, size, size, dtype=torch.uint8)

    def read(index: int) -> Tensor:
        image = images.image(int(index))
        try:
            check_images(image[None])
        except ValueError as error:
            raise ValueError(f"{images.name(int(index))}: {error}") from error
        return resized(image, size)

    for place, image in enumerate(mapped(read, indices, threads)):
        batch[place] = image
    return batch


def pixel_batches(images: ImageSet, size: int, batch: int = 256, rows: range | None = None) -> Iterator[Tensor]:
    """All images of a set, or consecutive ones, in batches of :func:`read_pixels`."""
    rows = range(len(images)) if rows is None else rows
    for first in range(0, len(rows), batch):
        yield read_pixels(images, rows[first : first + batch], size)


class PixelStore:
    """Images of a set by their numbers: one tensor on the device (``resident``), or read from files for every batch.
    Raises BrokenFile if an image cannot be read; at once if ``resident``. ``size``: height and width of the resized
    images; ``device``: device that computes."""

    def __init__(self, images: ImageSet, size: int, device: torch.device, resident: bool) -> None:
        self._images, self._size, self._device = images, size, device
        self.all: Tensor | None = None
        """uint8 (S, 3, size, size) if resident; after :meth:`keep_features` features (S, ...)."""
        if resident:
            self.all = torch.empty(len(images), 3, size, size, dtype=torch.uint8, device=device)
            first = 0
            for part in pixel_batches(images, size):
                self.all[first : first + len(part)] = part.to(device)
                first += len(part)

    def keep_features(self, features: Callable[[Tensor], Tensor], batch: int) -> None:
        """Replace the pixels of all images, which are resident, by what ``features`` makes of them, ``batch`` at a time."""
        assert self.all is not None
        whole: Tensor | None = None
        for first in range(0, len(self.all), batch):
            part = features(self.all[first : first + batch])
            whole = part.new_empty(len(self.all), *part.shape[1:]) if whole is None else whole
            whole[first : first + len(part)] = part
        self.all = whole

    def batch(self, indices: NDArray[np.int64]) -> Tensor:
        """uint8 (n, 3, size, size), or the features that are kept: on the device if resident, else on the CPU."""
        if self.all is not None:
            return self.all[torch.from_numpy(indices).to(self._device)]
        return read_pixels(self._images, indices.tolist(), self._size, threads=0)

    def batches(self, rows: range, batch: int) -> Iterator[Tensor]:
        """Consecutive images in batches."""
        if self.all is not None:
            return iter(self.all[rows.start : rows.stop].split(batch))
        return pixel_batches(self._images, self._size, batch, rows)
