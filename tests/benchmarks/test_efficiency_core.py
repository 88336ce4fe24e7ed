"""What every training and every reader passes through: the training loop, checkpoints, decoded images."""

import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from efficiency_bench.measure.counters import count
from efficiency_core.checkpoint import read_tensors, write_tensors
from efficiency_core.depthwise import quicken_depthwise
from efficiency_core.loop import Accelerator, LoopConfig, Task, run
from efficiency_core.memory import freed_memory_kept
from efficiency_core.readers import decode_image

Gate = Callable[[dict[str, int]], None]
Timed = Ratio = Callable[..., None]
STEPS = 20


class Small(Task[Tensor]):
    """A training of a small convolutional network on random images."""

    name, loss_names, reading = "small", ("loss",), "here"

    def __init__(self, accelerator: Accelerator) -> None:
        torch.manual_seed(0)
        self.accelerator = accelerator
        layers = [
            nn.Conv2d(3, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.LazyLinear(10),
        ]
        self.model = nn.Sequential(*layers)
        self.images = torch.rand(16, 3, 32, 32)
        self.model(self.images)
        self.optimizers = [torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)]
        self.batch_size, self.epoch_steps, self.total = 16, STEPS, STEPS

    def batch(self, step: int) -> Tensor:
        return self.images

    def rate(self, step: int, total: int) -> float:
        return 0.01

    def losses(self, batch: Tensor, step: int) -> dict[str, Tensor]:
        return {"loss": self.model(batch).square().mean()}


def train() -> int:
    """The loop from an empty folder to a checkpoint."""
    config = LoopConfig(workers=0)
    with TemporaryDirectory() as folder, Accelerator("cpu", config) as accelerator:
        return run(Small(accelerator), config, folder, {}).steps


def bare() -> None:
    """The same steps without the loop."""
    config = LoopConfig(workers=0)
    with Accelerator("cpu", config) as accelerator:
        task = Small(accelerator)
        for step in range(STEPS):
            task.take(task.batch(step), step)


@pytest.fixture
def picture() -> Iterator[bytes]:
    """A JPEG file of 640 x 480 pixels in memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((640, 480)).save(file, "jpeg", quality=90)
    yield file.getvalue()


def test_loop(gate: Gate, timed: Timed) -> None:
    """A training of 20 steps on the CPU, with its records and its checkpoint."""
    train()
    gate(count(train))
    timed(train)
    assert train() == STEPS


def test_checkpoint(gate: Gate, timed: Timed, tmp_path: Path) -> None:
    """Writing and reading 4 MB of weights."""
    content = {"format": "small.weights/1", "weights": torch.zeros(1024, 1024)}
    file = tmp_path / "weights.pt"

    def work() -> Tensor:
        write_tensors(file, content)
        weights: Tensor = read_tensors(file, "small.weights/1")["weights"]
        return weights

    gate({"bytes": work().nbytes})
    timed(work)


def test_decoded_image(gate: Gate, timed: Timed, picture: bytes) -> None:
    """A JPEG file to RGB pixels."""
    work = partial(decode_image, picture, "picture.jpg")
    gate({"bytes": work().nbytes})
    timed(work)
    assert work().shape == (480, 640, 3)


def test_loop_and_bare_steps(ratio: Ratio) -> None:
    """What records, seeds, checks and the checkpoint add to steps of a small network."""
    ratio({"the loop": train, "its steps alone": bare}, most=3.0, rounds=5)


def test_decoder_and_pillow(ratio: Ratio, picture: bytes) -> None:
    """The decoder looks at orientation, depth and transparency, and otherwise does what Pillow does."""

    def pillow() -> object:
        with Image.open(io.BytesIO(picture)) as image:
            return np.array(image.convert("RGB"))

    ratio({"decode_image": partial(decode_image, picture, "picture.jpg"), "Pillow alone": pillow}, most=1.7)


def test_freed_memory_kept_and_given_back(ratio: Ratio) -> None:
    """A step on large tensors does not wait for pages that the system clears again."""
    images = torch.rand(512, 16, 64, 64)  # 128 MiB, of which glibc gives back every one

    def step() -> None:
        for _ in range(10):
            images.relu()

    def kept() -> None:
        with freed_memory_kept():
            step()

    ratio({"kept": kept, "given back": step}, most=0.8, rounds=5)


def test_depthwise_gradients_and_torchs(ratio: Ratio) -> None:
    """A strided depthwise convolution trains in bfloat16 without the loop that torch's library has for it."""
    own, torchs = (nn.Conv2d(96, 96, 3, 2, 1, groups=96).to(memory_format=torch.channels_last) for _ in range(2))
    quicken_depthwise(own)
    maps = torch.rand(8, 96, 32, 32).to(memory_format=torch.channels_last).requires_grad_()

    def step(layer: nn.Conv2d) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            result = layer(maps)
        result.float().sum().backward()

    ratio({"ours": partial(step, own), "torch's": partial(step, torchs)}, most=0.5)
