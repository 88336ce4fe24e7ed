"""Bandwidths: their scales, the median, the running median, the release's mean without the distance matrix."""

import statistics

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from outlier_matching.method.kernels import (
    RunningMedian,
    above_diagonal,
    bandwidths,
    mean_bandwidth,
    median_bandwidth,
    squared_distances,
)


def points(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def all_distances(x: list[list[float]]) -> list[float]:
    pairs = [(a, b) for i, a in enumerate(x) for b in x[i + 1 :]]
    return [sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) for a, b in pairs]


def test_bandwidths_and_diagonals_by_hand() -> None:
    assert bandwidths(3.0).tolist() == [3.0 * 2.0**e for e in range(-8, 9)]
    assert bandwidths(torch.tensor([1.0, 2.0]), 5).tolist() == [[0.25, 0.5, 1, 2, 4], [0.5, 1, 2, 4, 8]]
    assert bandwidths(2, 3, 10.0).tolist() == pytest.approx([0.2, 2.0, 20.0])
    assert above_diagonal(torch.arange(9).view(3, 3)).tolist() == [1, 2, 5]


@pytest.mark.parametrize(("count", "factor"), [(0, 2.0), (4, 2.0), (3, 1.0)])
def test_scales_not_about_one_are_refused(count: int, factor: float) -> None:
    with pytest.raises(ValueError, match="odd"):
        bandwidths(1.0, count, factor)


def test_median_of_squared_distances() -> None:
    x = points(9, 4)
    assert float(median_bandwidth(x)) == pytest.approx(statistics.median_low(all_distances(x.tolist())), rel=1e-12)
    assert float(median_bandwidth(torch.tensor([[0.0], [1.0], [4.0]]))) == 9  # of 1, 9 and 16, no zero among them
    assert float(median_bandwidth(3 * x) / median_bandwidth(x)) == pytest.approx(9)  # the unit of squared distances
    x = points(1000, 5)
    draw = torch.Generator().manual_seed(7)
    first = median_bandwidth(x, 400, draw)
    assert first.equal(median_bandwidth(x, 400, torch.Generator().manual_seed(7)))
    assert float(first) == pytest.approx(float(median_bandwidth(x, 1000)), rel=0.05)


def test_distances_and_the_release_bandwidth() -> None:
    x = points(30, 3).float()
    shifted = squared_distances(x + 100, x + 100)
    torch.testing.assert_close(shifted, torch.cdist(x.double(), x.double()).square().float(), rtol=1e-3, atol=1e-4)
    assert (shifted >= 0).all()
    x, y = points(5, 3), points(4, 3, seed=1)
    every = all_distances([*x.tolist(), *y.tolist()])
    assert float(mean_bandwidth((x, y))) == pytest.approx(sum(every) / len(every), rel=1e-13)
    assert gradcheck(lambda x: mean_bandwidth((x, y)), x.requires_grad_())


def test_running_median_follows_and_is_kept() -> None:
    running = RunningMedian(layers=2, momentum=0.25)
    assert running(torch.tensor([4.0, 0.0])).tolist() == [4.0, 0.0]
    assert running(torch.tensor([8.0, 3.0])).tolist() == [5.0, 3.0]  # 4 + (8 - 4) / 4; the second starts here
    assert running(torch.tensor([0.0, 3.0])).tolist() == [5.0, 3.0]  # a median of 0 is passed over
    running.eval()
    assert running(torch.tensor([100.0, 100.0])).tolist() == [5.0, 3.0]
    other = RunningMedian(2)
    other.load_state_dict(running.state_dict())
    assert other.sigma.tolist() == [5.0, 3.0]


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValueError, match="n and size at least 2"):
        median_bandwidth(points(1, 3))
    with pytest.raises(ValueError, match="two points"):
        mean_bandwidth((points(1, 3),))
    with pytest.raises(ValueError, match="momentum"):
        RunningMedian(momentum=0)
    with pytest.raises(ValueError, match="medians must be"):
        RunningMedian(2)(torch.ones(3))
