"""Equations 4.2 to 4.6 against loops, the estimators against each other, limits, memory, errors."""

import math
import statistics
from collections.abc import Callable
from itertools import product
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.graph import saved_tensors_hooks

from outlier_matching.method.config import Estimator, Kernels
from outlier_matching.method.mmd import MKMMD, mk_mmd, multi_layer_mk_mmd

ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
KERNELS: tuple[Kernels, ...] = get_args(Kernels)


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def squared(x: list[float], y: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def pairs_of(n: int, estimator: str) -> list[tuple[int, int]]:
    if estimator == "linear":
        return [(i, i + 1) for i in range(0, n, 2)]
    if estimator == "circular":
        return [(i, (i + 1) % n) for i in range(n)]
    return [(i, j) for i in range(n) for j in range(n) if i != j]


def loop(
    source: Tensor, target: Tensor, weights: list[float], kernels: str, estimator: str, sigma: float | None
) -> float:
    """One pair, one kernel at a time, with the bandwidth taken from the same distances."""
    s, t, n = source.tolist(), target.tolist(), len(source)
    pairs = pairs_of(n, estimator)
    if sigma is None and kernels == "thesis":
        used = [pair for pair in pairs if estimator != "quadratic" or pair[0] < pair[1]]
        quads = ((s[i], s[j], t[i], t[j]) for i, j in used)
        sides = (pair for a, b, c, d in quads for pair in ((a, b), (c, d), (a, d), (c, b)))
        sigma = statistics.median_low(squared(*pair) for pair in sides)
    elif sigma is None:
        points = s + t
        sigma = sum(squared(x, y) for x in points for y in points) / (len(points) ** 2 - len(points))
    scales = [2.0**e for e in (range(-8, 9) if kernels == "thesis" else range(-2, 3))]
    beta = 1 / 17 if kernels == "thesis" else 1.0
    total = 0.0
    for scale in scales:

        def k(x: list[float], y: list[float], width: float = scale * sigma) -> float:
            return math.exp(-squared(x, y) / width)

        for i, j in pairs:
            h = k(s[i], s[j]) + k(t[i], t[j]) - k(s[i], t[j]) - k(t[i], s[j])
            total += beta * weights[i] * weights[j] * h / len(pairs)
    return total


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("sigma", [None, 2.5])
def test_equals_a_loop(kernels: Kernels, estimator: Estimator, sigma: float | None) -> None:
    source, target = draw(8, 3, 0), draw(8, 3, 1, 0.5)
    weights = torch.rand(8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    got = mk_mmd(source, target, weights, kernels=kernels, estimator=estimator, sigma=sigma)
    assert float(got) == pytest.approx(loop(source, target, weights.tolist(), kernels, estimator, sigma), rel=1e-10)
    plain = mk_mmd(source, target, kernels=kernels, estimator=estimator, sigma=sigma)
    assert float(plain) == pytest.approx(loop(source, target, [1.0] * 8, kernels, estimator, sigma), rel=1e-10)
    ones = mk_mmd(source, target, torch.ones(8), kernels=kernels, estimator=estimator, sigma=sigma)
    assert ones.equal(plain)


def test_numbers_by_hand() -> None:
    source, target = torch.zeros(2, 1, dtype=torch.float64), torch.full((2, 1), 2.0, dtype=torch.float64)
    expected = sum(2 - 2 * math.exp(-4 / (3 * 2.0**e)) for e in range(-8, 9)) / 17
    for estimator in ESTIMATORS:
        assert float(mk_mmd(source, target, estimator=estimator, sigma=3.0)) == pytest.approx(expected, rel=1e-14)
    weighted = mk_mmd(source, target, torch.tensor([0.7, 0.3]), sigma=3.0)
    assert float(weighted) == pytest.approx(0.21 * expected, rel=1e-7)  # the weights are single precision
    x, y = draw(5, 2, 22), draw(5, 2, 23)
    for estimator in ("circular", "quadratic"):
        wanted = loop(x, y, [1.0] * 5, "thesis", estimator, 2.0)
        assert float(mk_mmd(x, y, estimator=estimator, sigma=2.0)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_derivatives(kernels: Kernels, estimator: Estimator) -> None:
    """The release's bandwidth carries a gradient; the thesis's median is a constant, so it is fixed here as well."""
    source, target = draw(6, 2, 3).requires_grad_(), draw(6, 2, 4, 0.4).requires_grad_()
    weights = torch.linspace(0.1, 1, 6, dtype=torch.float64, requires_grad=True)
    sigma = None if kernels == "author" else 1.7

    def loss(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        return mk_mmd(source, target, weights, kernels=kernels, estimator=estimator, sigma=sigma)

    assert gradcheck(loss, (source, target, weights))
    assert gradgradcheck(loss, (source, target, weights))


def test_thesis_bandwidth_is_a_constant_of_the_batch() -> None:
    source, target = draw(6, 2, 5).requires_grad_(), draw(6, 2, 6)
    s, t = source.detach(), target
    points = [(s[i], s[i + 1], t[i], t[i + 1]) for i in (0, 2, 4)]
    pairs = [pair for a, b, c, d in points for pair in ((a, b), (c, d), (a, d), (c, b))]
    distances = [float((x - y).square().sum()) for x, y in pairs]
    own = mk_mmd(source, target)
    given = mk_mmd(source, target, sigma=statistics.median_low(distances))
    torch.testing.assert_close(torch.autograd.grad(own, source), torch.autograd.grad(given, source))


@pytest.mark.parametrize(("estimator", "weighted"), [("linear", True), ("circular", False)])
def test_mean_over_many_draws_is_the_quadratic_estimate(estimator: Estimator, weighted: bool) -> None:
    """Every order of the samples pairs them anew: over random orders the mean is the U-statistic, within its standard
    error."""
    source, target = draw(16, 3, 7), draw(16, 3, 8, 1.0)
    weights = torch.linspace(0.2, 1, 16, dtype=torch.float64) if weighted else None
    exact = float(mk_mmd(source, target, weights, estimator="quadratic", sigma=4.0))
    generator = torch.Generator().manual_seed(9)
    values = []
    for _ in range(1000):
        order = torch.randperm(16, generator=generator)
        some = None if weights is None else weights[order]
        values.append(float(mk_mmd(source[order], target[order], some, estimator=estimator, sigma=4.0)))
    error = statistics.stdev(values) / math.sqrt(len(values))
    assert error < abs(exact) / 10
    assert abs(statistics.fmean(values) - exact) < 3 * error


def test_same_distribution_is_near_zero_and_others_are_not() -> None:
    same = [float(mk_mmd(draw(64, 4, 2 * i), draw(64, 4, 2 * i + 1))) for i in range(50)]
    other = [float(mk_mmd(draw(64, 4, 2 * i), draw(64, 4, 2 * i + 1, 1.0))) for i in range(50)]
    assert abs(statistics.fmean(same)) < 3 * statistics.stdev(same) / math.sqrt(50)
    assert min(other) > 0
    assert statistics.fmean(other) > 20 * abs(statistics.fmean(same))


def test_weights_of_zero_and_layers() -> None:
    source, target = draw(8, 3, 10), draw(8, 3, 11)
    weights = torch.tensor([1.0, 1, 0, 1, 1, 1, 1, 1], dtype=torch.float64)
    far = target.clone()
    far[2] += 1e6
    far.requires_grad_()
    loss = mk_mmd(source, far, weights, sigma=1.0)
    assert loss.equal(mk_mmd(source, target, weights, sigma=1.0))
    (gradient,) = torch.autograd.grad(loss, far)
    assert not gradient[2].any() and gradient[4:].any()
    sources, targets = [draw(8, 5, 12), draw(8, 2, 13)], [draw(8, 5, 14), draw(8, 2, 15, 2.0)]
    weights = torch.linspace(0, 1, 8, dtype=torch.float64)
    for kernels in KERNELS:
        parts = [mk_mmd(s, t, weights, kernels=kernels) for s, t in zip(sources, targets, strict=True)]
        torch.testing.assert_close(multi_layer_mk_mmd(sources, targets, weights, kernels=kernels), sum(parts))
    fixed = multi_layer_mk_mmd(sources, targets, sigma=torch.tensor([1.0, 9.0]))
    parts = [mk_mmd(s, t, sigma=sigma) for s, t, sigma in zip(sources, targets, (1.0, 9.0), strict=True)]
    torch.testing.assert_close(fixed, sum(parts))


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_points_that_all_agree_give_no_nan(kernels: Kernels, estimator: Estimator) -> None:
    x, y = torch.ones(4, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    loss = mk_mmd(x, y, kernels=kernels, estimator=estimator)
    assert float(loss.detach()) == 0 and not torch.autograd.grad(loss, x)[0].any()
    apart = mk_mmd(torch.zeros(4, 3, requires_grad=True), y, estimator=estimator)
    assert torch.autograd.grad(apart, y)[0].isfinite().all()


def test_half_precision_is_computed_in_single() -> None:
    source, target = draw(8, 16, 16).to(torch.bfloat16), draw(8, 16, 17).to(torch.bfloat16)
    loss = mk_mmd(source, target)
    assert loss.dtype == torch.float32
    assert loss.equal(mk_mmd(source.float(), target.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = mk_mmd(source.float(), target.float(), estimator="quadratic")
        assert mk_mmd(source, target, estimator="quadratic").equal(expected)


def bytes_kept(n: int, d: int) -> int:
    """What autograd keeps for the backward pass of the weighted linear estimator, beyond the features themselves."""
    source, target = torch.zeros(n, d, requires_grad=True), torch.ones(n, d)
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = mk_mmd(source, target, torch.ones(n), sigma=1.0)
    assert loss.requires_grad
    return sum(storages.values())


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_compiles_to_one_graph(estimator: Estimator) -> None:
    generator = torch.Generator().manual_seed(3)
    source, target = (torch.randn(6, 5, generator=generator).requires_grad_() for _ in range(2))
    weights = torch.rand(6, generator=generator)
    module = MKMMD(estimator=estimator)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    expected, found = module(source, target, weights), compiled(source, target, weights)
    torch.testing.assert_close(found, expected)
    for one, other in zip(*(torch.autograd.grad(x, (source, target)) for x in (found, expected)), strict=True):
        torch.testing.assert_close(one, other)


def test_memory_is_linear_in_samples_and_dimensions() -> None:
    small, large = bytes_kept(64, 512), bytes_kept(256, 512)
    assert large == pytest.approx(4 * small, rel=0.01)
    assert small < 2.5 * 64 * 512 * 4  # two features' worth of differences; n x n x d would be sixty-four
    assert bytes_kept(64, 2048) == pytest.approx(4 * small, rel=0.1)


def test_module_equals_the_functions() -> None:
    source, target, weights = draw(8, 4, 18).float(), draw(8, 4, 19).float(), torch.linspace(0, 1, 8)
    for kernels, estimator in product(KERNELS, ESTIMATORS):
        expected = mk_mmd(source, target, weights, kernels=kernels, estimator=estimator)
        assert MKMMD(kernels, estimator)(source, target, weights).equal(expected)
    layers = MKMMD(bandwidth=2.0, layers=2)
    expected = multi_layer_mk_mmd([source] * 2, [target] * 2, sigma=torch.tensor([2.0, 2.0]))
    assert layers([source] * 2, [target] * 2).equal(expected)
    assert MKMMD(bandwidth=torch.tensor([2.0, 2.0]), layers=2)([source] * 2, [target] * 2).equal(expected)


def test_running_bandwidth_starts_at_the_batch_and_is_kept() -> None:
    source, target = draw(8, 4, 20).float(), draw(8, 4, 21).float()
    module = MKMMD(bandwidth="running", momentum=0.5)
    assert module(source, target).equal(mk_mmd(source, target))
    first = module.running.sigma.clone()
    module(3 * source, 3 * target)
    assert float(module.running.sigma) == pytest.approx(float(first) * (1 + 9) / 2, rel=1e-6)
    again = MKMMD(bandwidth="running").eval()
    again.load_state_dict(module.state_dict())
    assert again(source, target).equal(mk_mmd(source, target, sigma=module.running.sigma))


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: mk_mmd(zeros(7, 2), zeros(7, 2)), "even number of samples, got 7"),
    (lambda: mk_mmd(zeros(6, 2), zeros(8, 2)), "same number of samples, got 6 and 8"),
    (lambda: mk_mmd(zeros(8, 2), zeros(8, 3)), "the same d"),
    (lambda: mk_mmd(zeros(0, 2), zeros(0, 2)), "at least two samples"),
    (lambda: mk_mmd(zeros(1, 2), zeros(1, 2), estimator="circular"), "at least two samples"),
    (lambda: mk_mmd(zeros(8, 2), zeros(8, 2), zeros(4)), r"weights must be \(8,\)"),
    (lambda: mk_mmd(zeros(8, 2), zeros(8, 2), kernels="laplace"), "kernels must be one of thesis, author"),
    (lambda: mk_mmd(zeros(8, 2), zeros(8, 2), estimator="full"), "estimator must be one of"),
    (lambda: multi_layer_mk_mmd([zeros(4, 2)] * 2, [zeros(4, 2)]), "same layers"),
    (lambda: multi_layer_mk_mmd([zeros(4, 2), zeros(6, 2)], [zeros(4, 2), zeros(6, 2)]), "every layer needs the same"),
    (lambda: multi_layer_mk_mmd([zeros(4, 2)], [zeros(4, 2)], sigma=zeros(2)), "one per layer"),
    (lambda: MKMMD(layers=3)([zeros(4, 2)], [zeros(4, 2)]), "expected 3 layers"),
    (lambda: MKMMD("author", bandwidth="running"), "running"),
    (lambda: MKMMD(bandwidth=zeros(2), layers=3), "one per layer"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
