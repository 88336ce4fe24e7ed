"""Instance norm in ``channels_last`` order against torch's."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weight_align.networks.instance_norm import InstanceNorm

ORDERS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def pair(channels: int, dtype: torch.dtype = torch.float64) -> tuple[InstanceNorm, nn.InstanceNorm2d]:
    generator = torch.Generator().manual_seed(1)
    own, known = InstanceNorm(channels).to(dtype), nn.InstanceNorm2d(channels, affine=True).to(dtype)
    for parameter in own.parameters():
        parameter.data = torch.randn(channels, generator=generator, dtype=dtype)
    known.load_state_dict(own.state_dict())
    return own, known


def maps(*shape: int, order: str = "channels_last", dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=dtype) * 3 + 10
    return drawn.contiguous(memory_format=ORDERS[order])


def with_gradients(norm: nn.Module, x: Tensor, upstream: Tensor) -> list[Tensor]:
    x = x.detach().clone().requires_grad_()
    norm.zero_grad()
    found = norm(x)
    found.backward(upstream)
    assert x.grad is not None
    return [found.detach(), x.grad, *(p.grad.clone() for p in norm.parameters() if p.grad is not None)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("upstream_order", ORDERS)
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (1, 7, 2, 1), (2, 1, 3, 3), (4, 16, 1, 9)])
def test_it_is_torchs_function_with_its_gradients(shape: Any, order: str, upstream_order: str) -> None:
    own, known = pair(shape[1])
    x, upstream = maps(*shape, order=order), maps(*shape, order=upstream_order) - 10
    # For one image torch's own gradient is wrong in channels_last.
    right = with_gradients(known, x.contiguous(), upstream.contiguous())
    for got, expected in zip(with_gradients(own, x, upstream), right, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_channels_last_stays_channels_last_forth_and_back() -> None:
    own, _ = pair(8, torch.float32)
    x = maps(2, 8, 6, 6, dtype=torch.float32)
    found, gradient, *_ = with_gradients(own, x, torch.ones_like(x))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_what_follows_may_write_in_place() -> None:
    own, known = pair(4)
    x = [maps(2, 4, 3, 3).requires_grad_() for _ in range(2)]
    for norm, read in zip((own, known), x, strict=True):
        norm(read).relu_().square().sum().backward()
    torch.testing.assert_close(x[0].grad, x[1].grad, rtol=1e-10, atol=1e-10)


def test_a_large_mean_does_not_cost_the_variance() -> None:
    own, known = pair(3, torch.float32)
    x = maps(2, 3, 8, 8, dtype=torch.float32) + 1e4
    exact = known.double()(x.double())
    assert (own(x) - exact).abs().max() < 1e-2 * exact.abs().max()


@pytest.mark.parametrize("constant", ["maps", "weight", "bias"])
def test_what_needs_no_gradient_gets_none(constant: str) -> None:
    own, known = pair(4)
    for norm in (own, known):
        for name, parameter in norm.named_parameters():
            parameter.requires_grad_(name != constant)
    x = [maps(2, 4, 3, 3).requires_grad_(constant != "maps") for _ in range(2)]
    for norm, read in zip((own, known), x, strict=True):
        norm(read).square().sum().backward()
    for got, expected in zip([x[0], *own.parameters()], [x[1], *known.parameters()], strict=True):
        assert (got.grad is None) == (expected.grad is None)
        if got.grad is not None:
            torch.testing.assert_close(got.grad, expected.grad, rtol=1e-10, atol=1e-10)


def test_traces_hold_torchs_operator_and_copies_the_same_parameters() -> None:
    own, known = pair(4, torch.float32)
    x = maps(2, 4, 3, 3, dtype=torch.float32)
    traced = torch.jit.trace(own, x)
    assert "aten::instance_norm" in str(traced.inlined_graph)
    torch.testing.assert_close(copy.deepcopy(own)(x), traced(x))
    assert list(own.state_dict()) == list(known.state_dict())


def test_it_may_be_transformed() -> None:
    """One norm with its parameters for each of two stacks of images."""
    own, known = pair(4)
    weights = {name: torch.stack((p, 2 * p)) for name, p in own.named_parameters()}
    x = torch.stack([maps(3, 4, 5, 5), maps(3, 4, 5, 5) ** 2])

    def total(norm: nn.Module, weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(norm, weights, (x,)).square().sum()

    found, expected = (torch.func.vmap(torch.func.grad(partial(total, norm)))(weights, x) for norm in (own, known))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(2, 4, 1, 1), (2, 5, 3, 3), (2, 4, 3)])
def test_what_torch_refuses_is_refused_alike(shape: Any) -> None:
    own, known = pair(4)
    x = torch.randn(shape, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
    caught = []
    for norm in (own, known):
        with pytest.raises((ValueError, RuntimeError)) as error:
            norm(x)
        caught.append((type(error.value), str(error.value)))
    assert caught[0] == caught[1]


@pytest.mark.parametrize("images", [1, 2])
def test_half_precision_is_torchs_with_the_right_gradient(images: int) -> None:
    own, known = (norm.bfloat16() for norm in pair(4, torch.float32))
    x, upstream = (maps(images, 4, 3, 3, dtype=torch.bfloat16) for _ in range(2))
    right = with_gradients(known, x.contiguous(), upstream.contiguous())
    for got, expected in zip(with_gradients(own, x, upstream), right, strict=True):
        assert torch.equal(got, expected)
