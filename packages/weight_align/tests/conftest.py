"""What the tests of the core share: one thread, and the command."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from weight_align.cli import main
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
        scores: Tensor = self.head(self.hidden(x.mean((2, 3))).relu())
        return scores


@pytest.fixture
def small() -> Iterator[Small]:
    """A small network, always the same, as is what a test draws after it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield Small()


@pytest.fixture
def pixels(images: Callable[..., Tensor]) -> Tensor:
    """Four images for it, (4, 3, 8, 8)."""
    drawn: Tensor = images(4, 8, 0)
    return drawn


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One torch thread: small tensors are faster so, and another job on the machine does not get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command; returns exit status, standard output and standard error."""

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

    def build(config: NetworkConfig, weights: str | Path | None = None, seed: int = 0) -> Network:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build_network(config, weights)

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
