"""The mean of each cluster and its gradient, and the module that puts clustering between two stages."""

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from full_video.clustering.aggregation import TemporalAggregation, cluster_means
from full_video.clustering.clusters import Clusters, cluster_frames
from full_video.clustering.hamming import neighbour_distances
from full_video.clustering.methods import METHODS


def activations(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def clusters_of(ids: list[list[int]], rows: list[list[int]]) -> Clusters:
    return Clusters(torch.tensor(ids), torch.tensor(rows))


def loop(x: Tensor, clusters: Clusters) -> Tensor:
    """One output at a time, from the frames that carry its id."""
    outputs = []
    for video, ids, rows in zip(x, clusters.ids.tolist(), clusters.rows.tolist(), strict=True):
        for row in rows:
            frames = [frame for frame, cluster in zip(video, ids, strict=True) if cluster == row]
            outputs.append(sum(frames[1:], start=frames[0]) / len(frames))
    return torch.stack(outputs).view(len(x), -1, *x.shape[2:])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("padded", [False, True])
def test_means_and_gradients_equal_a_loop(method: str, padded: bool) -> None:
    x = activations(4, 11, 3, 4, 5).requires_grad_()
    lengths = torch.tensor([11, 3, 1, 8]) if padded else None
    clusters = cluster_frames(neighbour_distances(x, lengths), 5, method, lengths)
    weight = activations(4, 5, 3, 4, 5, seed=1)
    means, expected = cluster_means(x, clusters), loop(x, clusters)
    torch.testing.assert_close(means, expected, rtol=0, atol=1e-14)
    (got,) = torch.autograd.grad((means * weight).sum(), x)
    (gradient,) = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(got, gradient, rtol=0, atol=1e-14)
    assert torch.equal(got.flatten(2).abs().sum(2) > 0, clusters.ids >= 0)


def test_numbers_by_hand() -> None:
    """Three clusters; the second is empty and repeats the first, and the last frame is in no cluster."""
    x = torch.tensor([[[1.0], [2.0], [6.0], [10.0], [99.0]]], requires_grad=True)
    means = cluster_means(x, clusters_of([[0, 0, 0, 2, -1]], [[0, 0, 2]]))
    assert means.tolist() == [[[3.0], [3.0], [10.0]]]
    (gradient,) = torch.autograd.grad(means, x, torch.tensor([[[6.0], [9.0], [7.0]]]))
    assert gradient.tolist() == [[[5.0], [5.0], [5.0], [7.0], [0.0]]]


def test_first_and_second_derivatives() -> None:
    x = activations(2, 6, 2, 2).requires_grad_()
    for clusters in (
        clusters_of([[0, 0, 0, 2, 2, -1], [0, 1, 2, 2, -1, -1]], [[0, 0, 2], [0, 1, 2]]),
        cluster_frames(neighbour_distances(x), 3),
    ):
        assert gradcheck(lambda x, c=clusters: cluster_means(x, c), x)
        assert gradgradcheck(lambda x, c=clusters: cluster_means(x, c).pow(3), x)


def test_as_many_clusters_as_frames_is_the_input_and_one_is_the_mean() -> None:
    x = activations(3, 7, 2, 3)
    for method in ("cumulative", "slope", "uniform"):
        assert torch.equal(TemporalAggregation(7, method)(x), x)
        torch.testing.assert_close(TemporalAggregation(1, method)(x), x.mean(1, keepdim=True))
    more = TemporalAggregation(9)(x)
    assert torch.equal(more, torch.cat((x, x[:, -1:], x[:, -1:]), 1))


def test_what_lies_in_the_padding_never_counts() -> None:
    x, lengths = activations(2, 9, 4, 3), torch.tensor([9, 5])
    module = TemporalAggregation(3)
    expected = module(x, lengths)
    for value in (float("nan"), float("inf"), 1e300):
        other = x.clone()
        other[1, 5:] = value
        assert torch.equal(module(other, lengths), expected)
    torch.testing.assert_close(expected[1:], module(x[1:, :5]), rtol=0, atol=1e-15)
    bad = x.clone().requires_grad_()
    with torch.no_grad():
        bad[1, 5:] = float("nan")
    module(bad, lengths).sum().backward()
    assert bad.grad is not None and bad.grad.isfinite().all() and not bad.grad[1, 5:].any()


def test_channels_last_maps_give_the_same_and_stay_channels_last() -> None:
    x = activations(12, 8, 5, 6)
    last = x.to(memory_format=torch.channels_last).requires_grad_()
    module = TemporalAggregation(3, num_frames=6)
    rows = module(last)
    torch.testing.assert_close(rows, module(x), rtol=0, atol=1e-15)
    assert rows.is_contiguous(memory_format=torch.channels_last)
    rows.square().sum().backward()
    plain = x.requires_grad_()
    module(plain).square().sum().backward()
    torch.testing.assert_close(last.grad, plain.grad, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_added_up_in_single(dtype: torch.dtype) -> None:
    """300 frames of 1.01: a sum kept in bfloat16 would stop at 256."""
    x = torch.full((1, 300, 64), 1.01, dtype=dtype)
    means = cluster_means(x, clusters_of([[0] * 300], [[0]]))
    assert means.dtype == dtype
    torch.testing.assert_close(means[0, 0], x[0, 0], rtol=2 * torch.finfo(dtype).eps, atol=0)


def test_repeats_bit_for_bit() -> None:
    x, module = activations(2, 33, 7, 5, dtype=torch.float32), TemporalAggregation(4)
    assert torch.equal(module(x), module(x.clone()))


def test_folded_frames_in_a_sequence_of_stages() -> None:
    torch.manual_seed(0)
    stem, tail = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3)
    frames = activations(2 * 10, 3, 8, 8, dtype=torch.float32)
    module = TemporalAggregation(4, num_frames=10)
    network = nn.Sequential(stem, module, nn.ReLU(), tail)
    rows = network(frames)
    assert rows.shape == (2 * 4, 4, 6, 6)
    maps = stem(frames).view(2, 10, 8, 8, 8)
    clusters = cluster_frames(neighbour_distances(maps), 4)
    assert torch.equal(rows, tail(cluster_means(maps, clusters).flatten(0, 1).relu()))
    assert torch.equal(module.group(stem(frames)).ids, clusters.ids)
    assert repr(module) == "TemporalAggregation(4, method='cumulative', num_frames=10)"
    rows.sum().backward()
    assert stem.weight.grad is not None


@pytest.mark.parametrize("method", METHODS)
def test_runs_without_values_and_compiles_to_one_graph(method: str) -> None:
    module = TemporalAggregation(4, method)
    with FakeTensorMode():
        x = torch.empty(2, 9, 16, 7, 7, requires_grad=True)
        rows = module(x, torch.empty(2, dtype=torch.int64))
        assert rows.shape == (2, 4, 16, 7, 7)
        rows.sum().backward()
        assert x.grad is not None and x.grad.shape == x.shape
    torch.compiler.reset()  # the limit of recompilations counts those of the other methods
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    x, lengths = activations(2, 9, 16), torch.tensor([9, 6])
    assert torch.equal(compiled(x), module(x))
    assert torch.equal(compiled(x, lengths), module(x, lengths))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_a_cuda_device_gives_the_same_clusters_without_being_waited_for(method: str) -> None:
    x, lengths = activations(3, 20, 16, 9, 9, dtype=torch.float32), torch.tensor([20, 4, 13])
    module = TemporalAggregation(5, method)
    on_device, real = x.cuda().requires_grad_(), lengths.cuda()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        clusters = module.group(on_device, real)
        rows = module(on_device, real)
        rows.square().sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert torch.equal(clusters.ids.cpu(), module.group(x, lengths).ids)
    torch.testing.assert_close(rows.cpu(), module(x, lengths), rtol=1e-6, atol=1e-6)
    assert torch.equal(rows, module(on_device, real))


def test_unusable_arguments_are_refused() -> None:
    clusters = clusters_of([[0, 0, 1]], [[0, 1]])
    for ids, rows in ([[0, 1, 0]], [[0, 1]]), ([[0, -1, 1]], [[0, 1]]), ([[0, 0, 1]], [[1, 0]]):
        with pytest.raises(ValueError, match="clusters must be runs"):
            cluster_means(torch.zeros(1, 3, 2), clusters_of(ids, rows))
    for call, message in (
        (lambda: cluster_means(torch.zeros(1, 3, 2).long(), clusters), r"floating \(1, 3, '\*'\).*torch.int64"),
        (lambda: cluster_means(torch.zeros(1, 4, 2), clusters), r"got torch.float32 \(1, 4, 2\)"),
        (lambda: TemporalAggregation(8, "middle"), "method must be one of cumulative"),
        (lambda: TemporalAggregation(0), "at least 1, got 0 and None"),
        (lambda: TemporalAggregation(8, num_frames=0), "at least 1, got 8 and 0"),
        (lambda: TemporalAggregation(2, num_frames=4)(torch.zeros(10, 3, 2, 2)), "multiple of num_frames = 4, got 10"),
        (
            lambda: TemporalAggregation(2, num_frames=4)(torch.zeros(8)),
            r"folded frames \(V \* 4, \*\), got the shape \(8,\)",
        ),
        (lambda: TemporalAggregation(2, num_frames=4)(torch.zeros(0, 3)), r"folded frames \(V \* 4, \*\)"),
        (lambda: TemporalAggregation(2)(torch.zeros(8, 3)), r"must be \(V, T, \*\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
