"""Equation 5.10: against plain loops and timm's formula, its statistics, gradients, components and corners."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.functional import batch_norm, conv_transpose2d

from weight_align import align, weight_align
from weight_align.method import EPS, GAINS, gain_value
from weight_align.method.filters import Layout, layout_of
from weight_align.method.functional import Gain
from weight_align.method.fused import AlignSettings, align_together, can_fuse
from weight_align.method.standardise import standardised


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_loops(
    weight: Tensor, out_dim: int = 0, groups: int = 1, centre: bool = True, variance: bool = True, gain: float = 1.0
) -> Tensor:
    """Equation 5.10 filter by filter in Python's floats; of grouped transposed convolutions, group by group."""
    result = torch.empty_like(weight)
    inputs = weight.shape[0] // groups
    for group in range(groups):
        rows = slice(group * inputs, (group + 1) * inputs) if out_dim else slice(None)
        for j in range(weight.shape[out_dim]):
            place = (rows, j) if out_dim else (j,)
            values = weight[place].flatten().tolist()
            n, mean = len(values), sum(values) / len(values)
            deviation = sum((value - mean) ** 2 for value in values) / n
            aligned = [value - mean * centre for value in values]
            if variance:
                aligned = [gain * value / math.sqrt(n / 2 * deviation + EPS) for value in aligned]
            result[place] = torch.tensor(aligned, dtype=weight.dtype).view(weight[place].shape)
    return result


def timm_formula(weight: Tensor, eps: float) -> Tensor:
    """timm's ``ScaledStdConv2d``, as its documentation has it: batch norm of the filters, times gamma / sqrt(fan-in) and a gain
    of one."""
    fan_in = weight[0].numel()
    gain = torch.full((weight.shape[0],), math.sqrt(2) * fan_in**-0.5)
    rows = weight.reshape(1, weight.shape[0], -1)
    return batch_norm(rows, None, None, weight=gain, training=True, momentum=0.0, eps=eps).reshape_as(weight)


SHAPES: list[tuple[tuple[int, ...], int, int]] = [
    ((6, 4, 3), 0, 1),
    ((6, 4, 3, 3), 0, 1),
    ((6, 1, 5, 5), 0, 1),  # depthwise
    ((4, 2, 2, 3, 2), 0, 1),
    ((5, 7), 0, 1),
    ((4, 6, 3), 1, 1),
    ((4, 6, 3, 2), 1, 1),
    ((6, 2, 3, 3), 1, 3),
    ((4, 1, 3, 3), 1, 4),
    ((2, 3, 2, 2, 2), 1, 2),
]


@pytest.mark.parametrize(("shape", "out_dim", "groups"), SHAPES)
@pytest.mark.parametrize(("centre", "variance"), [(True, True), (True, False), (False, True)])
def test_it_is_what_loops_compute(
    shape: tuple[int, ...], out_dim: int, groups: int, centre: bool, variance: bool
) -> None:
    weight = random(*shape, dtype=torch.float64) + 0.3
    found = align(weight, out_dim=out_dim, groups=groups, centre=centre, variance=variance)
    torch.testing.assert_close(found, by_loops(weight, out_dim, groups, centre, variance), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("deviation", [1.0, 0.05, 2e-3])
@pytest.mark.parametrize("shape", [(64, 3, 7, 7), (32, 64, 3, 3), (16, 512, 1, 1), (10, 2048)])
def test_it_is_timms_scaled_standardised_convolution(shape: tuple[int, ...], deviation: float) -> None:
    weight = random(*shape) * deviation + deviation / 5
    n = weight[0].numel()
    eps = 1e-6  # timm's, beside Var[w]; beside n/2 Var[w] it is n/2 times that
    assert (align(weight, eps=eps * n / 2) - timm_formula(weight, eps)).abs().max() < 1e-6
    assert (align(weight) - timm_formula(weight, EPS * 2 / n)).abs().max() < 1e-6


@pytest.mark.parametrize("start", ["he", "torch", "shifted"])
@pytest.mark.parametrize("shape", [(64, 3, 7, 7), (64, 64, 3, 3), (64, 256, 1, 1), (8, 1, 3, 3), (8, 25088)])
def test_every_filter_has_mean_zero_and_variance_two_over_n(shape: tuple[int, ...], start: str) -> None:
    n = math.prod(shape[1:])
    weight = random(*shape) * math.sqrt(2 / n)
    if start == "torch":
        torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=torch.Generator().manual_seed(1))
    elif start == "shifted":
        weight += math.sqrt(2 / n)
    rows = align(weight).flatten(1).double()
    assert rows.mean(1).abs().max() < 1e-6 * math.sqrt(2 / n)
    assert (rows.var(1, correction=0) * n / 2 - 1).abs().max() < 1e-6


@pytest.mark.parametrize(("out_dim", "groups"), [(0, 1), (1, 1), (1, 2)])
def test_a_scale_multiplies_the_channels_of_the_output(out_dim: int, groups: int) -> None:
    weight = random(4, 6, 3, 3)
    channels = 6 * groups if out_dim else 4
    scale = torch.arange(1.0, channels + 1)
    plain = align(weight, out_dim=out_dim, groups=groups)
    scaled = align(weight, scale, out_dim=out_dim, groups=groups)
    if out_dim:
        x = random(2, 4, 5, 5, seed=1)
        before, after = (conv_transpose2d(x, each, groups=groups) for each in (plain, scaled))
        torch.testing.assert_close(after, before * scale.view(-1, 1, 1))
    else:
        torch.testing.assert_close(scaled, plain * scale.view(-1, 1, 1, 1))
    for one in (torch.tensor(2.5), torch.tensor([2.5])):
        torch.testing.assert_close(align(weight, one, out_dim=out_dim, groups=groups), plain * 2.5)


def test_gains_and_sizes() -> None:
    weight = random(4, 6, 3, 3)
    plain = align(weight)
    assert {"thesis": 1.0, "nf": pytest.approx(1.2112, abs=1e-4)} == GAINS
    torch.testing.assert_close(align(weight, gain="nf"), plain / math.sqrt(1 - 1 / math.pi))
    torch.testing.assert_close(align(weight, gain=1 / 4), plain / 4)  # figure 5.6: 4 times sqrt(n/2) in the denominator
    torch.testing.assert_close(align(weight, gain=3.0, variance=False), align(weight, variance=False))
    torch.testing.assert_close(align(weight * 7 + 3), align(weight), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gain", ["NF", 0.0, -1.0, math.inf, math.nan])
def test_gains_that_make_no_sense(gain: Gain) -> None:
    with pytest.raises(ValueError, match="gain must be"):
        gain_value(gain)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7])
@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (3, 1, 1, 1), (3, 1), (4, 1000)])
def test_constant_filters_and_filters_of_one_weight_give_zeros(shape: tuple[int, ...], value: float) -> None:
    weight = torch.full(shape, value, requires_grad=True)
    scale = torch.ones(shape[0], requires_grad=True)
    aligned = align(weight, scale)
    # Zero up to the rounding of the mean, which one over the root of eps makes larger.
    assert aligned.abs().max() <= abs(value) * 2**-23 / math.sqrt(EPS)
    aligned.backward(torch.ones(shape) + random(*shape))
    assert weight.grad is not None and scale.grad is not None
    assert weight.grad.isfinite().all() and scale.grad.isfinite().all()
    assert weight.grad.norm() <= (torch.ones(shape) + random(*shape)).norm() / math.sqrt(EPS) * 1.01


def test_constant_filters_and_odd_layouts() -> None:
    weight = random(3, 2, 3, 3)
    weight[1] = 0.5
    torch.testing.assert_close(align(weight)[[0, 2]], align(weight[[0, 2]]))
    weight = random(4, 3, 2, 2, 2)
    last = weight.to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(align(last), align(weight))
    assert align(last).stride() == last.stride()
    weight = random(8, 6, 3, 3)[::2, 1::2]
    torch.testing.assert_close(align(weight), align(weight.contiguous()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("centre", "variance"), [(True, True), (True, False), (False, True)])
def test_half_precision_is_computed_in_single(dtype: torch.dtype, centre: bool, variance: bool) -> None:
    weight, scale = random(4, 6, 3, 3).to(dtype).requires_grad_(), torch.rand(4).to(dtype)
    found = align(weight, scale, centre=centre, variance=variance)
    expected = align(weight.float(), scale.float(), centre=centre, variance=variance).to(dtype)
    assert found.dtype == dtype and torch.equal(found, expected)
    found.sum().backward()
    assert weight.grad is not None and weight.grad.dtype == dtype


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (6, 4, 1, 1), (6, 1, 3, 3), (1, 4, 3, 3), (6, 1, 1, 5)])
def test_channels_last_weights(shape: tuple[int, ...]) -> None:
    """Also those whose dimensions of size one leave the format open: the kernel must not take rows for columns."""
    plain = random(*shape).requires_grad_()
    last = random(*shape).to(memory_format=torch.channels_last).requires_grad_()
    gradient = random(*shape, seed=1)
    found = align(last)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, align(plain))
    for weight in (plain, last):
        align(weight).backward(gradient)
    torch.testing.assert_close(last.grad, plain.grad)


@pytest.mark.parametrize(("call", "message"), [
    (lambda w: align(w[0, 0, 0]), "2 dimensions or more"), (lambda w: align(w[:, :0]), "no empty one"),
    (lambda w: align(w.long()), r"floating point, got torch\.int64"),
    (lambda w: align(w, torch.ones(3)), r"one number or \(4,\), one per filter, got \(3,\)"),
    (lambda w: align(w, torch.ones(6), out_dim=1, groups=2), r"\(12,\)"),
    (lambda w: align(w, out_dim=2), "out_dim must be 0 or"),
    (lambda w: align(w, out_dim=1, groups=3), "3 groups do not divide 4 input channels"),
    (lambda w: align(w, groups=0), "groups must be 1 or more"),
    (lambda w: align(w, eps=0), "eps must be above 0"),
    (lambda w: align(w, centre=False, variance=False), "nothing to align"),
    (lambda w: layout_of(torch.nn.ReLU()), "ReLU has no filters"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(call: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(random(4, 6, 3, 3))


@pytest.mark.parametrize(
    ("shape", "out_dim", "groups", "centre", "variance"),
    [(*case, True, True) for case in (*SHAPES[3:6], SHAPES[8])]
    + [(*case, *parts) for case in (SHAPES[4], SHAPES[8]) for parts in ((True, False), (False, True))],
)
def test_gradients_of_first_and_second_order(
    shape: tuple[int, ...], out_dim: int, groups: int, centre: bool, variance: bool
) -> None:
    weight = random(*shape, dtype=torch.float64).requires_grad_()
    channels = shape[out_dim] * (groups if out_dim else 1)

    def function(weight: Tensor, *scale: Tensor) -> Tensor:
        return align(weight, *scale, out_dim=out_dim, groups=groups, centre=centre, variance=variance, gain="nf")

    for scale in (None, torch.rand(channels), torch.zeros(channels), torch.tensor(1.3)):
        inputs = (weight,) if scale is None else (weight, scale.double().requires_grad_())
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    weight, scale = random(4, 6, 3, 3), torch.ones(4)
    for needs in ((True, False), (False, True)):
        w, s = weight.clone().requires_grad_(needs[0]), scale.clone().requires_grad_(needs[1])
        align(w, s).square().sum().backward()
        assert (w.grad is not None, s.grad is not None) == needs
    weights = [random(4, 6).requires_grad_(), random(5, 7).requires_grad_()]
    aligned = align_together(weights, [None, None], [AlignSettings(Layout(), 1.0, EPS)] * 2)
    aligned[0].pow(3).sum().backward()
    assert weights[0].grad is not None and weights[1].grad is None


def test_the_kernels_and_the_plain_operations_agree() -> None:
    weight, factor = random(8, 50).requires_grad_(), torch.rand(8).requires_grad_()
    assert can_fuse()
    gradient = random(8, 50, seed=1)
    eps, constant = 1e-3, math.sqrt(2 / 50)
    fused = align(weight, factor, eps=eps)
    plain = standardised(weight, factor * constant, eps * 2 / 50)
    torch.testing.assert_close(fused, plain)
    for found, expected in zip(
        torch.autograd.grad(fused, (weight, factor), gradient),
        torch.autograd.grad(plain, (weight, factor), gradient),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


def test_several_weights_at_once_are_bit_for_bit_each_alone() -> None:
    weights = [random(4, 6, 3, 3).requires_grad_(), random(5, 7).requires_grad_(), random(4, 2, 3, 3).requires_grad_()]
    scales = [torch.rand(4).requires_grad_(), None, torch.tensor(2.0, requires_grad=True)]
    given = ((Layout(), 1.0, EPS), (Layout(), 1.3, 1e-4), (Layout(1, 2), 1.0, EPS))
    settings = [AlignSettings(*each) for each in given]
    alone = [align(w, s, out_dim=r.layout.out_dim, groups=r.layout.groups, gain=r.gain, eps=r.eps)
             for w, s, r in zip(weights, scales, settings, strict=True)]  # fmt: skip
    together = align_together(weights, scales, settings)
    learned = [*weights, *(scale for scale in scales if scale is not None)]

    def gradients(parts: tuple[Tensor, ...] | list[Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad([part.pow(3).sum() for part in parts], learned)

    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(gradients(alone), gradients(together), strict=True))


def test_under_vmap_and_grad() -> None:
    weights, scales = random(3, 4, 6, 3, 3), torch.rand(3, 4)

    def loss(weight: Tensor, scale: Tensor) -> Tensor:
        return align(weight, scale).pow(3).sum()

    mapped = vmap(align)(weights, scales)
    for at in range(3):
        torch.testing.assert_close(mapped[at], align(weights[at], scales[at]))
    of_weights, of_scales = vmap(grad(loss, argnums=(0, 1)))(weights, scales)
    learned = weights.clone().requires_grad_(), scales.clone().requires_grad_()
    sum(loss(w, s) for w, s in zip(*learned, strict=True)).backward()  # type: ignore[union-attr]
    torch.testing.assert_close(of_weights, learned[0].grad)
    torch.testing.assert_close(of_scales, learned[1].grad)


def test_a_layer_called_with_other_weights() -> None:
    layer = weight_align(torch.nn.Linear(5, 3))
    weight, scale, bias = random(3, 5), torch.tensor([1.0, 2.0, 0.0]), torch.zeros(3)
    names = ("parametrizations.weight.original", "parametrizations.weight.0.scale", "bias")
    x = random(2, 5, seed=1)
    found = functional_call(layer, dict(zip(names, (weight, scale, bias), strict=True)), (x,))
    torch.testing.assert_close(found, x @ align(weight, scale).T)
