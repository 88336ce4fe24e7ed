"""What the tests of data, training and evaluation share: small images that can be told apart, one thread, slow tests last."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from weight_align.facts import Facts
from weight_align.image_tensor import ImageTensor, pixel_digest

CLASS_NAMES = ("bar", "disc", "cross")
Draw = Callable[..., tuple[NDArray[np.uint8], NDArray[np.int64]]]


def _draw(count: int, size: int = 16, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASS_NAMES)
    images = rng.integers(0, 60, (count, size, size, 3), dtype=np.uint8)
    y, x = np.mgrid[:size, :size] / size - 0.5
    for image, label in zip(images, labels, strict=True):
        cy, cx = rng.uniform(-0.1, 0.1, 2)
        bar = (abs(y - cy) < 0.12) & (abs(x - cx) < 0.4)
        disc = (y - cy) ** 2 + (x - cx) ** 2 < 0.06
        cross = (abs(abs(y - cy) - abs(x - cx)) < 0.1) & (abs(x - cx) < 0.4)
        image[(bar, disc, cross)[label]] = rng.integers(150, 256, 3)
    return images, labels


@pytest.fixture
def draw() -> Draw:
    """A function that draws (count, size, seed): images u1 (N, H, W, 3) of three classes in turn, and labels."""
    return _draw


@pytest.fixture
def make_images() -> Callable[..., ImageTensor]:
    """The same as a set."""

    def make(count: int = 24, size: int = 16, seed: int = 0) -> ImageTensor:
        pixels, numbers = _draw(count, size, seed)
        images, labels = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(numbers)
        return ImageTensor(images, labels, Facts("Marks", pixel_digest(images, labels, CLASS_NAMES), CLASS_NAMES))

    return make


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the images of a split in a folder per class and returns the root."""

    def write(split: str = "train", count: int = 24, size: int = 16, seed: int = 0, suffix: str = ".jpg") -> Path:
        root = tmp_path / "marks"
        for number, (pixels, label) in enumerate(zip(*_draw(count, size, seed), strict=True)):
            path = root / split / CLASS_NAMES[label] / f"{number:04d}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        return root

    return write


@pytest.fixture
def write_hdf5(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes arrays and attributes, those of an image-set or mask-set file unless others are given."""

    def write(name: str, arrays: dict[str, NDArray[Any]], **attributes: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"format": "image-set", "name": "Marks", "class_names": json.dumps(CLASS_NAMES)} | attributes
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file.create_dataset(key, data=array)
            file.attrs.update({key: value for key, value in facts.items() if value is not None})
        return path

    return write


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One torch thread: small tensors are faster so, and another job on the machine does not get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
