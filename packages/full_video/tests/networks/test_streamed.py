"""The streamed stem has the numbers and gradients of one graph, with chunks of any size, and refuses stems it cannot serve."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from efficiency_core.errors import BrokenFile
from full_video.clustering.aggregation import cluster_means
from full_video.clustering.clusters import cluster_frames
from full_video.clustering.hamming import neighbour_distances
from full_video.clustering.methods import METHODS
from full_video.networks.streamed import StreamedStem, stream_distances


def stem(kind: str = "r18", dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Sequential:
    """A few channels of a ResNet's first stage, with batch norm that has seen data and is frozen."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        blocks: list[nn.Module] = [BasicBlock(4, 4), BasicBlock(4, 4)]
        if kind == "r50":
            shortcut = nn.Sequential(nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8))
            blocks = [Bottleneck(4, 2, downsample=shortcut), Bottleneck(8, 2)]
        first = nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        layers = nn.Sequential(*first, *blocks)
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
    pairs = zip(found, expected, strict=True)
    return max(float(((a - b).norm() / b.norm().clamp(min=1e-30)).detach()) for a, b in pairs)


@pytest.mark.parametrize(
    ("kind", "method", "dtype", "limit"),
    [("r18", method, torch.float64, 1e-10) for method in METHODS]
    + [("r50", "cumulative", torch.float64, 1e-10), ("r18", "cumulative", torch.float32, 1e-4)],
)
def test_exact(kind: str, method: str, dtype: torch.dtype, limit: float) -> None:
    layers, lengths = stem(kind, dtype), torch.tensor([21, 3, 1, 10])
    frames = clip(4, 21, dtype)
    expected = plain(layers, frames, lengths, 4, method)
    wanted = gradients(pull(expected), layers)
    for chunk, kept in ((4, None), (5, 0), (3, 4), (1, 2), (64, 40)):
        out = StreamedStem(layers, 4, method, chunk, kept).explain(frames, lengths)
        assert worst([out.rows], [expected]) <= limit
        assert worst(gradients(pull(out.rows), layers), wanted) <= limit
        assert all((out.clusters.ids[v, n:] == -1).all() for v, n in enumerate(lengths.tolist()))


@pytest.mark.parametrize("method", METHODS)
def test_clusters_and_distances_are_those_of_the_batch(method: str) -> None:
    layers, frames, lengths = stem(), clip(4, 19), torch.tensor([17, 2, 7, 12])
    maps = layers(frames.flatten(0, 1)).unflatten(0, (4, 19))
    distances = neighbour_distances(maps, lengths)
    clusters = cluster_frames(distances, 3, method, lengths)
    out = StreamedStem(layers, 3, method, chunk=5, kept=4).explain(frames, lengths)
    assert torch.equal(out.distances, distances)
    assert torch.equal(out.clusters.ids, clusters.ids) and torch.equal(out.clusters.rows, clusters.rows)
    found, real = stream_distances(layers, frames, lengths, chunk=4)
    assert torch.equal(found, distances) and real.tolist() == lengths.tolist()


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


def test_sources_are_read_in_passes_and_rarely_twice(source: Callable[..., Any]) -> None:
    layers = stem()
    long, short = source(clip(1, 300)[0]), source(clip(1, 20, seed=1)[0])
    rows = StreamedStem(layers, 4, chunk=6)([long, short])
    assert short.asked == [[*range(k, min(k + 6, 20))] for k in range(0, 20, 6)]  # 20 <= 8 g frames: one pass
    first, again = long.asked[:50], long.asked[50:]
    assert first == [[*range(start, start + 6)] for start in range(0, 300, 6)]
    assert again == sorted(again)
    assert 0 < sum(map(len, again)) <= 3 * 16  # 3 borders, runs of 16 frames
    long.asked.clear()
    expected = [plain(layers, s.frames[None], torch.tensor([len(s)]), 4, "cumulative") for s in (long, short)]
    assert worst([rows], [torch.cat(expected)]) <= 1e-12
    assert worst(gradients(pull(rows), layers), gradients(pull(torch.cat(expected)), layers)) <= 1e-10
    assert long.asked == first


def test_an_error_of_a_source_is_passed_on(source: Callable[..., Any]) -> None:
    with pytest.raises(BrokenFile, match="frame 6 is corrupt"):
        StreamedStem(stem(), 2)([source(clip(1, 12)[0], broken=6)])


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


def test_arguments_that_are_refused() -> None:
    layers = stem()
    streamed = StreamedStem(layers, 2)
    for call, message in (
        (lambda: StreamedStem(layers, 2, "kmeans"), "method must be one of"),
        (lambda: StreamedStem(layers, 2, chunk=0), "1 or more"),
        (lambda: StreamedStem(layers, 2, kept=3), "even number"),
        (lambda: streamed([clip(1, 4)[0]], torch.tensor([4])), "sources of frames know"),
        (lambda: streamed([]), "at least one video"),
        (lambda: streamed([clip(1, 4)[0, :0]]), "no frames"),
        (lambda: streamed(clip(1, 4), torch.tensor([5])), "1 numbers from 1 to 4"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
