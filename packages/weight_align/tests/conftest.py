"""What all tests share: one thread, small networks and images, and the command."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from weight_align.data import DatasetInfo, ImageTensor, MaskTensor, pixel_digest
from weight_align.networks import Network, NetworkConfig, build_network


class Small(nn.Module):
    """Every kind of two-dimensional layer, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(8, 6, 2, 2, groups=2)
        self.hidden = nn.Linear(6, 10)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.depthwise(self.stem(x)).relu()).relu()
        return self.head(self.hidden(x.mean((2, 3))).relu())


@pytest.fixture
def small() -> Iterator[Small]:
    """A small network, always the same, as is what a test draws after it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield Small()


@pytest.fixture
def pixels(images: Callable[..., Tensor]) -> Tensor:
    """Four images for it, (4, 3, 8, 8)."""
    return images(4, 8, 0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One torch thread: small tensors are faster so, and another job on the machine does not get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command; returns exit status, standard output and standard error."""
    from weight_align.commands.cli import main

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err

    return command


@pytest.fixture
def built() -> Callable[..., Network]:
    """A network of the factory, drawn from a seed of its own."""

    def build(config: NetworkConfig, state: Mapping[str, Tensor] | None = None, seed: int = 0) -> Network:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build_network(config, state)

    return build


@pytest.fixture
def images() -> Callable[..., Tensor]:
    """Random images."""

    def draw(count: int = 2, size: int = 32, seed: int = 1) -> Tensor:
        return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))

    return draw


@pytest.fixture
def wake() -> Callable[[nn.Module], None]:
    """Give what starts at zero something to do."""

    def stir(network: nn.Module) -> None:
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))

    return stir


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
        return ImageTensor(images, labels, DatasetInfo("Marks", pixel_digest(images, labels, CLASS_NAMES), CLASS_NAMES))

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
def scenes(draw: Draw) -> Callable[..., MaskTensor]:
    """A function that makes pictures of marks on dark ground; the mask is where they are light, with an edge of 255."""

    def make(count: int = 12, seed: int = 0, size: int = 32) -> MaskTensor:
        pixels, labels = draw(count, size, seed)
        masks = (pixels.max(axis=3) >= 150) * (labels + 1)[:, None, None]
        masks[:, 0] = 255
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        names = ("ground", "bar", "disc", "cross")
        return MaskTensor(
            images, torch.from_numpy(masks.astype(np.uint8)), DatasetInfo("Scenes", f"{count}-{seed}", names)
        )

    return make
