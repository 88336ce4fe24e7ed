"""The streamed stem gives the one-shot graph's numbers and gradients, whatever the chunk, and refuses where it could not."""

import weakref
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import StochasticDepth

from full_video.aggregation import cluster_means
from full_video.clustering import METHODS, cluster_frames
from full_video.errors import UsageError
from full_video.hamming import neighbour_distances
from full_video.networks import NetworkConfig, VideoNetwork, build_network
from full_video.run_sums import RunSums, add_clusters
from full_video.shift import ShiftedConv2d
from full_video.stem_checks import check_stem, frames_independent
from full_video.streamed import StreamedStem, stream_distances

pytestmark = pytest.mark.usefixtures("one_thread")


def stem(kind: str = "r18", dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Sequential:
    """A few channels of a ResNet's first stage, with batch norm that has seen data and is frozen."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        blocks: list[nn.Module] = (
            [BasicBlock(4, 4), BasicBlock(4, 4)]
            if kind == "r18"
            else [
                Bottleneck(4, 2, downsample=nn.Sequential(nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8))),
                Bottleneck(8, 2),
            ]
        )
        layers = nn.Sequential(
            nn.Conv2d(3, 4, 7, 2, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
            *blocks,
        )
        for norm in layers.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.normal_(norm.bias, std=0.3)
                nn.init.normal_(norm.running_mean, std=0.2)  # type: ignore[arg-type]
                nn.init.uniform_(norm.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return (layers.double() if dtype == torch.float64 else layers).eval()


def clip(videos: int, frames: int, dtype: torch.dtype = torch.float64, seed: int = 0, side: int = 12) -> Tensor:
    """Videos that drift and jump, so that clusters differ in size."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(videos, frames, 3, side, side, generator=generator, dtype=torch.float64)
    jumps = torch.rand(videos, frames, 1, 1, 1, generator=generator, dtype=torch.float64) ** 6
    return (steps * (0.05 + 2 * jumps)).cumsum(1).to(dtype)


def plain(layers: nn.Module, frames: Tensor, lengths: Tensor, clusters: int, method: str) -> Tensor:
    """One graph over all frames."""
    maps = [layers(video[:n]) for video, n in zip(frames, lengths.tolist(), strict=True)]
    videos = nn.utils.rnn.pad_sequence(maps, batch_first=True)
    distances = neighbour_distances(videos, lengths)
    return cluster_means(videos, cluster_frames(distances, clusters, method, lengths))


def pull(rows: Tensor) -> Tensor:
    """A loss that is not linear in the averages, so that each row has a gradient of its own."""
    weights = torch.linspace(-1, 1, rows.numel(), dtype=rows.dtype).view_as(rows)
    return (rows.square() * weights).sum()


def gradients(loss: Tensor, layers: nn.Module, *more: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [*layers.parameters(), *more]))


def worst(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest relative error of a tensor, in the Euclidean norm."""
    return max(
        float(((a - b).norm() / b.norm().clamp(min=1e-30)).detach()) for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["r18", "r50"])
def test_exact(kind: str, method: str, dtype: torch.dtype, limit: float) -> None:
    layers, lengths = stem(kind, dtype), torch.tensor([21, 3, 1, 10])
    frames = clip(4, 21, dtype)
    expected = plain(layers, frames, lengths, 4, method)
    wanted = gradients(pull(expected), layers)
    for chunk, kept in ((4, None), (5, 0), (3, 4)):
        out = StreamedStem(layers, 4, method, chunk, kept).explain(frames, lengths)
        assert worst([out.rows], [expected]) <= limit
        assert worst(gradients(pull(out.rows), layers), wanted) <= limit
        assert all((out.clusters.ids[v, n:] == -1).all() for v, n in enumerate(lengths.tolist()))


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
@pytest.mark.parametrize("kept", [0, 2, 6, 40])
def test_exact_for_any_chunk(chunk: int, kept: int) -> None:
    layers, lengths, frames = stem(), torch.tensor([21, 9]), clip(2, 21)
    expected = plain(layers, frames, lengths, 4, "cumulative")
    rows = StreamedStem(layers, 4, "cumulative", chunk, kept)(frames, lengths)
    assert worst([rows], [expected]) <= 1e-10
    assert worst(gradients(pull(rows), layers), gradients(pull(expected), layers)) <= 1e-10


@pytest.mark.parametrize("method", METHODS)
def test_clusters_and_distances_are_those_of_the_batch(method: str) -> None:
    layers, frames, lengths = stem(), clip(4, 19), torch.tensor([19, 2, 7, 12])
    maps = layers(frames.flatten(0, 1)).unflatten(0, (4, 19))
    distances = neighbour_distances(maps, lengths)
    clusters = cluster_frames(distances, 3, method, lengths)
    out = StreamedStem(layers, 3, method, chunk=5, kept=4).explain(frames, lengths)
    assert torch.equal(out.distances, distances)
    assert torch.equal(out.clusters.ids, clusters.ids) and torch.equal(out.clusters.rows, clusters.rows)
    found, real = stream_distances(layers, frames, lengths, chunk=4)
    assert torch.equal(found, distances) and real.tolist() == lengths.tolist()


def test_padding_up_to_the_length_of_the_tensor() -> None:
    layers, frames, lengths = stem(), clip(2, 9), torch.tensor([4, 6])
    out = StreamedStem(layers, 3, chunk=2).explain(frames, lengths)
    assert out.clusters.ids.shape == (2, 9) and out.distances.shape == (2, 8)
    assert (out.clusters.ids < 0).sum(1).tolist() == [5, 3] and not out.distances[:, 5:].any()
    assert stream_distances(layers, frames, lengths)[0].shape == (2, 8)


def test_a_constant_video_and_one_frame() -> None:
    layers = stem()
    frames = clip(1, 1).expand(2, 9, -1, -1, -1)
    for lengths in (torch.tensor([9, 1]), torch.tensor([1, 1])):
        expected = plain(layers, frames, lengths, 3, "cumulative")
        rows = StreamedStem(layers, 3, chunk=2)(frames, lengths)
        assert worst([rows], [expected]) <= 1e-12
        assert worst(gradients(pull(rows), layers), gradients(pull(expected), layers)) <= 1e-10


def test_gradient_of_the_frames_and_of_some_parameters() -> None:
    layers = stem()
    layers[0].requires_grad_(False)
    layers[4].conv1.requires_grad_(False)
    frames, lengths = clip(2, 8).requires_grad_(), torch.tensor([8, 5])
    learning = [p for p in layers.parameters() if p.requires_grad]
    loss = pull(StreamedStem(layers, 3, chunk=3)(frames, lengths))
    found = torch.autograd.grad(loss, [*learning, frames])
    expected = torch.autograd.grad(pull(plain(layers, frames, lengths, 3, "cumulative")), [*learning, frames])
    assert worst(found, expected) <= 1e-10
    assert (found[-1][1, 5:] == 0).all()
    tiny = nn.Conv2d(1, 1, 3).double()
    assert torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(StreamedStem(tiny, 2, chunk=2), {"stem.weight": w}, (x,)),
        (clip(1, 4, side=4)[:, :, :1].requires_grad_(), tiny.weight.detach().clone().requires_grad_()),
    )


class Source:
    """Frames that are made when they are asked for; remembers what was."""

    def __init__(self, frames: Tensor) -> None:
        self.frames = frames
        self.asked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, wanted: Any) -> Tensor:
        start, stop, step = wanted.indices(len(self))
        assert step == 1
        self.asked.append((start, stop))
        return self.frames[wanted].clone()


def test_sources_are_read_in_passes_and_rarely_twice() -> None:
    layers = stem()
    long, short = Source(clip(1, 300)[0]), Source(clip(1, 20, seed=1)[0])
    rows = StreamedStem(layers, 4, chunk=6)([long, short])
    assert short.asked == [(0, 6), (6, 12), (12, 18), (18, 20)]  # 20 <= 8 g frames: one look
    first, again = long.asked[:50], long.asked[50:]
    assert first == [(start, start + 6) for start in range(0, 300, 6)]
    assert again == sorted(again)
    assert 0 < sum(stop - start for start, stop in again) <= 3 * 16  # 3 borders, runs of 16 frames
    long.asked.clear()
    expected = [plain(layers, s.frames[None], torch.tensor([len(s)]), 4, "cumulative") for s in (long, short)]
    assert worst([rows], [torch.cat(expected)]) <= 1e-12
    assert worst(gradients(pull(rows), layers), gradients(pull(torch.cat(expected)), layers)) <= 1e-10
    assert long.asked == first


def test_an_error_of_a_source_is_passed_on() -> None:
    class Broken(Source):
        def __getitem__(self, wanted: Any) -> Tensor:
            if wanted.start >= 6:
                raise OSError("the disk is gone")
            return super().__getitem__(wanted)

    with pytest.raises(OSError, match="the disk is gone"):
        StreamedStem(stem(), 2)([Broken(clip(1, 12)[0])])


@pytest.mark.parametrize("capacity", [0, 2, 4, 10])
def test_run_sums(capacity: int) -> None:
    generator = torch.Generator().manual_seed(capacity)
    for frames in (1, 2, 3, 9, 40, 65):
        maps = torch.randn(frames, 3, dtype=torch.float64, generator=generator)
        cuts = torch.randint(0, 2, (frames,), generator=generator)
        ids = (cuts.cumsum(0) - cuts[0]).tolist()
        if frames > 9:
            ids[-2:] = [-1, -1]
        sums = RunSums(capacity)
        for part in torch.split(maps, 7):
            sums.add(part)
        totals = torch.zeros(max(ids) + 1, 3, dtype=torch.float64)
        for start, stop in sums.spend(ids, totals):
            add_clusters(totals, maps[start:stop], ids[start:stop])
        expected = [maps[[i for i, id_ in enumerate(ids) if id_ == c]].sum(0) for c in range(len(totals))]
        torch.testing.assert_close(totals, torch.stack(expected))
        assert not capacity or frames <= capacity * sums.run


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
        return torch.sin(times * torch.arange(3 * 64 * 64).view(3, 64, 64))


def streamed_peak(frames: int) -> int:
    layers = stem(dtype=torch.float32)
    with Peak() as peak:
        pull(StreamedStem(layers, 4)([Generated(frames)])).backward()  # type: ignore[no-untyped-call]
    return int(peak.peak)


def test_memory_does_not_grow_with_the_video() -> None:
    short, middle, long = streamed_peak(32), streamed_peak(64), streamed_peak(512)
    assert long <= 1.02 * middle <= 1.05 * short  # this stem has no network behind it whose peak hides the kept sums
    layers, frames = stem(dtype=torch.float32), Generated(32)[:32][None]
    with Peak() as peak:
        pull(plain(layers, frames, torch.tensor([32]), 4, "cumulative")).backward()  # type: ignore[no-untyped-call]
    assert peak.peak > 4 * short


def test_memory_can_be_counted_without_data() -> None:
    with FakeTensorMode():
        layers = stem(dtype=torch.float32)
        rows = StreamedStem(layers, 3, kept=4)(torch.zeros(2, 9, 3, 64, 64))
        rows.sum().backward()
    assert rows.shape == (2, 3, 4, 16, 16)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"average": "before_relu"},
        pytest.param({"cut": "layer2"}, marks=pytest.mark.slow),
        pytest.param({"grouping": "slope", "backbone": "resnet50"}, marks=pytest.mark.slow),
    ],
)
def test_three_memories_one_training_step(settings: dict[str, Any]) -> None:
    frames = torch.randint(0, 256, (2, 7, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    lengths, labels = torch.tensor([7, 5]), torch.tensor([0, 2])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build_network(NetworkConfig(3, clusters=3, frozen_norm="stem", dropout=0.0, **settings)).double().train()
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
        assert worst(results[memory], results["plain"]) <= 1e-10


def test_two_forward_passes_before_the_backward_passes() -> None:
    layers, one, two = stem(), clip(1, 7), clip(1, 9, seed=5)
    streamed = StreamedStem(layers, 3, chunk=2)
    first, second = pull(streamed(one)), pull(streamed(two))
    found = [gradients(first, layers), gradients(second, layers)]
    for frames, grads in ((one, found[0]), (two, found[1])):
        expected = plain(layers, frames, torch.tensor([frames.shape[1]]), 3, "cumulative")
        assert worst(grads, gradients(pull(expected), layers)) <= 1e-10


def test_weights_that_changed_in_between_are_noticed() -> None:
    layers = stem()
    loss = pull(StreamedStem(layers, 3)(clip(1, 7)))
    with torch.no_grad():
        next(layers.parameters()).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]


def test_backward_computes_in_the_precision_of_the_forward_pass() -> None:
    layers, frames = stem(dtype=torch.float32), clip(1, 12, torch.float32)
    streamed = StreamedStem(layers, 3, chunk=4)
    exact = gradients(pull(streamed(frames)), layers)
    seen: list[torch.dtype] = []
    handle = layers[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        rows = streamed(frames)
    count = len(seen)
    found = gradients(pull(rows.float()), layers)  # outside autocast, as loops do
    handle.remove()
    assert len(seen) > count and set(seen) == {torch.bfloat16}
    assert all(grad.dtype == torch.float32 for grad in found) and 0 < worst(found, exact) < 0.2


def test_without_gradients_nothing_is_kept() -> None:
    layers, frames = stem(), clip(2, 7)
    with torch.no_grad():
        rows = StreamedStem(layers, 3)(frames)
    assert not rows.requires_grad
    layers.requires_grad_(False)
    assert not StreamedStem(layers, 3)(frames).requires_grad


def test_same_numbers_every_time() -> None:
    layers, frames = stem(dtype=torch.float32), clip(2, 30, torch.float32)
    runs = [StreamedStem(layers, 3, kept=4)(frames) for _ in range(2)]
    assert torch.equal(*runs)
    assert all(torch.equal(a, b) for a, b in zip(*(gradients(pull(r), layers) for r in runs), strict=True))


class Draws(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class Mixes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.BatchNorm2d(3), r"0 \(BatchNorm2d\) normalises with the statistics of its batch.*frozen_norm='stem'"),
        (nn.BatchNorm2d(3, track_running_stats=False).eval(), "normalises with the statistics of its batch"),
        (nn.SyncBatchNorm(3), "normalises with the statistics of its batch"),
        (nn.InstanceNorm2d(3, track_running_stats=True), "running statistics"),
        (nn.Dropout(0.5), "draws other numbers"),
        (StochasticDepth(0.2, "row"), "draws other numbers"),
        (nn.RReLU(), "draws other numbers"),
        (ShiftedConv2d(3, 3, 1), "mixes neighbouring frames"),
        (nn.GRU(3, 3), "mixes the frames"),
        (Draws(), "draws random numbers"),
    ],
)
def test_stems_that_are_refused(module: nn.Module, reason: str) -> None:
    layers = nn.Sequential(module, nn.Conv2d(3, 2, 3))
    with pytest.raises(UsageError, match=reason):
        StreamedStem(layers, 2)(clip(1, 6, torch.float32))


def test_stems_that_are_fine() -> None:
    check_stem(nn.Sequential(nn.BatchNorm2d(3).eval(), nn.Dropout(0.0), nn.Dropout().eval(), nn.GroupNorm(1, 3)))
    frames = clip(1, 6)[0]
    assert frames_independent(stem(), frames)
    assert not frames_independent(Mixes(), frames)


@pytest.mark.parametrize("memory", ["checkpointed", "streamed"])
def test_networks_that_are_refused(memory: Any) -> None:
    frames = torch.zeros(1, 5, 3, 32, 32)

    def build(**settings: Any) -> VideoNetwork:
        return VideoNetwork(NetworkConfig(2, **settings), memory).train()

    with pytest.raises(UsageError, match=r"bn1 \(BatchNorm2d\).*frozen_norm='stem'.*memory='plain'"):
        build(clusters=2)(frames)
    with pytest.raises(UsageError, match=r"shift over time.*memory='plain'.*stem_shift=False"):
        build(clusters=2, stem_shift=True, frozen_norm="stem")(frames)
    with pytest.raises(UsageError, match="needs clusters" if memory == "streamed" else "shift over time"):
        build(frozen_norm="all")(frames)
    assert build(clusters=2).eval()(frames).shape == (1, 2)


def test_arguments_that_are_refused() -> None:
    layers = stem()
    with pytest.raises(ValueError, match="method must be one of"):
        StreamedStem(layers, 2, "kmeans")
    with pytest.raises(ValueError, match="1 or more"):
        StreamedStem(layers, 2, chunk=0)
    with pytest.raises(ValueError, match="even number"):
        StreamedStem(layers, 2, kept=3)
    with pytest.raises(ValueError, match="sources of frames know"):
        StreamedStem(layers, 2)([clip(1, 4)[0]], torch.tensor([4]))
    with pytest.raises(ValueError, match="at least one video"):
        StreamedStem(layers, 2)([])
    with pytest.raises(ValueError, match="no frames"):
        StreamedStem(layers, 2)([clip(1, 4)[0, :0]])
    with pytest.raises(ValueError, match="1 numbers from 1 to 4"):
        StreamedStem(layers, 2)(clip(1, 4), torch.tensor([5]))
