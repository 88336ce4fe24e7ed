"""What several test files need: small images of two domains, a small network, the command, one thread."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from outlier_matching.commands.cli import main
from outlier_matching.networks.config import NetworkConfig
from outlier_matching.networks.network import MatchingNetwork
from outlier_matching.networks.weights import build_network

CLASS_NAMES = ("bar", "disc", "cross")


def _draw(kind: int, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """bool (size, size): a bar, a disc, a cross, or (-1) noise, somewhere in the picture."""
    y, x = np.mgrid[:size, :size]
    cy, cx = rng.uniform(0.4, 0.6, 2) * size
    bar = (abs(y - cy) < size / 10) & (abs(x - cx) < size / 3)
    disc = (y - cy) ** 2 + (x - cx) ** 2 < (size / 4) ** 2
    cross = ((abs(y - cy - x + cx) < size / 10) | (abs(y - cy + x - cx) < size / 10)) & (abs(x - cx) < size / 3)
    noise = rng.random((size, size)) < 0.5
    return (bar, disc, cross, noise)[kind]


def _two_domains(source: int, target: int, outliers: int, size: int, seed: int) -> dict[str, NDArray[Any]]:
    """Black on white in the source, coloured on light grey in the target; outliers are spread over the target."""
    rng = np.random.default_rng(seed)
    label = np.arange(source + target, dtype=np.int64) % len(CLASS_NAMES)
    domain = (np.arange(source + target) >= source).astype(np.int64)
    outlier = np.zeros(source + target, dtype=bool)
    outlier[source + rng.permutation(target)[:outliers]] = True
    label[outlier] = -1
    image = np.empty((source + target, size, size, 3), dtype=np.uint8)
    for i in range(source + target):
        ink, paper = ((0, 0, 0), 255) if domain[i] == 0 else (tuple(rng.integers(0, 200, 3)), 215)
        image[i] = paper
        image[i][_draw(int(label[i]), size, rng)] = ink
    return {"image": image, "label": label, "domain": domain, "outlier": outlier}


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an image-set file into the test's folder; ``attributes`` replaces some of its own."""

    def write(
        name: str = "train.h5", *, source: int = 24, target: int = 24, outliers: int = 4, size: int = 32, seed: int = 0,
        attributes: dict[str, Any] | None = None,
    ) -> Path:  # fmt: skip
        facts = {
            "format": "image-set", "format_version": 1, "name": "Marks", "source": "generated",
            "class_names": json.dumps(CLASS_NAMES), "content_digest": f"{source}-{target}-{outliers}-{size}-{seed}",
        }  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with h5py.File(path, "w") as file:
            for key, array in _two_domains(source, target, outliers, size, seed).items():
                options = {"chunks": (1, *array.shape[1:]), "compression": "gzip"} if key == "image" else {}
                file.create_dataset(key, data=array, **options)
            file.attrs.update(facts | (attributes or {}))
        return path

    return write


@pytest.fixture
def write_pictures() -> Callable[..., Path]:
    """A function that writes ``count`` blurred pictures into a folder, ``0.png`` and so on, and returns the folder."""

    def write(folder: Path, count: int, seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            coarse = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((40, 30)).save(folder / f"{number}.png")
        return folder

    return write


@pytest.fixture
def network() -> MatchingNetwork:
    torch.manual_seed(0)
    return build_network(NetworkConfig("small", embedding=16, width=32, trained="all", size=32)).eval()


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Run the command on the CPU; returns exit status, standard output, and standard error with what was logged."""
    caplog.set_level(logging.INFO, logger="outlier_matching")

    def command(*arguments: object) -> tuple[int, str, str]:
        caplog.clear()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in (*arguments, "--device", "cpu")])
        captured = capfd.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err + caplog.text

    return command


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One torch thread: small tensors are faster so, and another job on the machine does not get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
