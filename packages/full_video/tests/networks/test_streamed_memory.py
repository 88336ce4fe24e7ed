"""Memory of the streamed stem: it does not grow with the video, and the three forms of memory train alike."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from full_video.clustering import TemporalAggregation
from full_video.networks import NetworkConfig, StreamedStem, build_network


class Peak(TorchDispatchMode):
    """Most bytes alive of what operators returned."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for storage in (leaf.untyped_storage() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)):
            if storage._cdata not in self._known:
                self._known.add(storage._cdata)
                self.live += storage.nbytes()
                weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes()).atexit = False
        self.peak = max(self.peak, self.live)
        return result

    def _forget(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self.live -= size


class Generated:
    """Frames that exist only when they are asked for."""

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, wanted: Any) -> Tensor:
        start, stop, _ = wanted.indices(self.frames)
        times = torch.arange(start, stop, dtype=torch.float32)[:, None, None, None]
        return torch.sin(times * torch.arange(3 * 32 * 32).view(3, 32, 32))


def stem() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1)).eval()


def streamed_peak(frames: int) -> int:
    streamed = StreamedStem(stem(), 4)
    with Peak() as peak:
        streamed([Generated(frames)]).square().sum().backward()  # type: ignore[no-untyped-call]
    return int(peak.peak)


def test_memory_does_not_grow_with_the_video() -> None:
    short, middle, long = streamed_peak(32), streamed_peak(64), streamed_peak(256)
    assert long <= 1.02 * middle <= 1.05 * short  # this stem has no network behind it whose peak hides the kept sums
    layers, frames = stem(), Generated(64)[:64]
    with Peak() as peak:
        TemporalAggregation(4)(layers(frames)[None]).square().sum().backward()
    assert peak.peak > 4 * short


def test_memory_can_be_counted_without_data() -> None:
    with FakeTensorMode():
        rows = StreamedStem(stem(), 3, kept=4)(torch.zeros(2, 9, 3, 64, 64))
        rows.sum().backward()
    assert rows.shape == (2, 3, 4, 16, 16)


@pytest.mark.parametrize(
    "settings",
    [{}, {"average": "before_relu"}, {"cut": "layer2"},
     pytest.param({"grouping": "slope", "backbone": "resnet50"}, marks=pytest.mark.slow)],
)  # fmt: skip
def test_three_memories_one_training_step(settings: dict[str, Any]) -> None:
    frames = torch.randint(0, 256, (2, 7, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    lengths, labels = torch.tensor([7, 5]), torch.tensor([0, 2])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = NetworkConfig(3, width=8, clusters=3, frozen_norm="stem", dropout=0.0, **settings)
        net = build_network(config).double().train()
        nn.init.normal_(net.fc.weight, std=0.2)
    results = {}
    for memory in ("plain", "checkpointed", "streamed"):
        net.memory, net.chunk = memory, 3
        net.zero_grad()
        out = net.explain(frames, lengths)
        nn.functional.cross_entropy(out.logits, labels).backward()  # type: ignore[no-untyped-call]
        results[memory] = [out.logits.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)]
    for memory in ("checkpointed", "streamed"):
        assert len(results[memory]) == 1 + len(list(net.parameters()))
        for found, expected in zip(results[memory], results["plain"], strict=True):
            assert (found - expected).norm() <= 1e-10 * expected.norm()
