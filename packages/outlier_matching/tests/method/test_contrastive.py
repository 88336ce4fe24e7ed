"""Equation 4.1 against a loop, by hand, at its kinks, and the module that wraps it."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from outlier_matching.method.contrastive import ContrastiveLoss, contrastive_loss


def features(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop(a: Tensor, b: Tensor, matching: Tensor, margin: float) -> list[float]:
    losses = []
    for x, y, match in zip(a.tolist(), b.tolist(), matching.tolist(), strict=True):
        distance = math.sqrt(sum((p - q) ** 2 for p, q in zip(x, y, strict=True)))
        losses.append(0.5 * match * distance**2 + 0.5 * (1 - match) * max(0.0, margin - distance) ** 2)
    return losses


@pytest.mark.parametrize("margin", [0.3, 1.0, 4.0])
def test_equals_a_loop(margin: float) -> None:
    a, b = features(20, 3, 0), features(20, 3, 1)
    matching = torch.arange(20) % 3 == 0
    expected = loop(a, b, matching, margin)
    assert contrastive_loss(a, b, matching, margin, "none").tolist() == pytest.approx(expected, rel=1e-14)
    assert float(contrastive_loss(a, b, matching, margin)) == pytest.approx(sum(expected) / 20, rel=1e-14)
    assert float(contrastive_loss(a, b, matching, margin, "sum")) == pytest.approx(sum(expected), rel=1e-14)
    assert contrastive_loss(a, b, matching.int(), margin).equal(ContrastiveLoss(margin)(a, b, matching))


def test_numbers_by_hand() -> None:
    a, b = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[3.0, 4.0], [1.3, 1.4]])
    assert contrastive_loss(a, b, torch.ones(2), reduction="none").tolist() == pytest.approx([12.5, 0.125])
    assert contrastive_loss(a, b, torch.zeros(2), reduction="none").tolist() == pytest.approx([0.0, 0.125])
    assert float(contrastive_loss(a, b, torch.tensor([1.0, 0.0]))) == pytest.approx(6.3125)
    a = torch.tensor([[2.0, 0.0]], requires_grad=True)
    loss = contrastive_loss(a, torch.zeros(1, 2), torch.tensor([0]))
    assert float(loss.detach()) == 0 and not torch.autograd.grad(loss, a)[0].any()
    a = torch.full((1, 4096), 8.0, dtype=torch.float16)
    loss = contrastive_loss(a, torch.zeros_like(a), torch.tensor([1]))  # 64 * 4096 / 2 is beyond half precision
    assert loss.dtype == torch.float32 and float(loss) == 131072
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="reduction"):
        contrastive_loss(x, x, torch.tensor([1]), reduction="max")  # type: ignore[arg-type]


@pytest.mark.parametrize("matching", [True, False])
def test_derivatives(matching: bool) -> None:
    a, b = features(6, 4, 2).mul(0.2).requires_grad_(), features(6, 4, 3).mul(0.2).requires_grad_()
    y = torch.full((6,), matching)
    assert gradcheck(lambda a, b: contrastive_loss(a, b, y, 1.3), (a, b))
    assert gradgradcheck(lambda a, b: contrastive_loss(a, b, y, 1.3), (a, b))


def test_equal_features_have_a_gradient_of_zero_not_nan() -> None:
    a = features(4, 3, 4).float().requires_grad_()
    b = a.detach().clone().requires_grad_()
    losses = contrastive_loss(a, b, torch.tensor([1, 0, 1, 0]), reduction="none")
    assert losses.tolist() == [0.0, 0.5, 0.0, 0.5]
    assert not any(gradient.any() for gradient in torch.autograd.grad(losses.sum(), (a, b)))


@pytest.mark.parametrize(("a", "b", "matching", "margin", "message"), [
    ((2, 3), (2, 4), [1, 0], 1.0, "features must be floating"), ((0, 3), (0, 3), [], 1.0, "n at least 1"),
    ((2, 3), (2, 3), [1], 1.0, r"matching must be \(2,\)"), ((2, 3), (2, 3), [1, 2], 1.0, "0 and 1"),
    ((2, 3), (2, 3), [1, 0], 0.0, "margin must be above 0"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused(
    a: tuple[int, ...], b: tuple[int, ...], matching: list[int], margin: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        contrastive_loss(torch.zeros(a), torch.zeros(b), torch.tensor(matching), margin)
