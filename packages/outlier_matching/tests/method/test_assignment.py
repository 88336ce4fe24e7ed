"""Equations 4.7 to 4.9 against loops, at their limits, and the rule that names an outlier."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from outlier_matching.method.assignment import (
    EntropyLoss,
    class_probabilities,
    classify,
    entropy_loss,
    inlier_weights,
    is_outlier,
)


def draw(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def references(sizes: tuple[int, int, int], d: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    return draw(sizes[0], d, 1), draw(sizes[1], d, 2), draw(sizes[2], d, 3)


def loop(target: Tensor, classes: tuple[Tensor, Tensor, Tensor]) -> list[list[float]]:
    rows = []
    for u in target.tolist():
        sums = [sum(math.exp(sum(a * b for a, b in zip(u, r, strict=True))) for r in c.tolist()) for c in classes]
        rows.append([s / sum(sums) for s in sums])
    return rows


def test_probabilities() -> None:
    target, classes = draw(7, 4, 0), references((5, 5, 5))
    expected = torch.tensor(loop(target, classes), dtype=torch.float64)
    for chunk in (None, 1, 3, 100):
        torch.testing.assert_close(class_probabilities(target, classes, chunk), expected, rtol=1e-13, atol=0)
    larger = (classes[0], classes[1].repeat(4, 1), classes[2].repeat(2, 1))
    torch.testing.assert_close(class_probabilities(target, larger), class_probabilities(target, classes))
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    classes = (torch.tensor([[math.log(6), 0.0]]), torch.tensor([[math.log(3), 9.0]]), torch.tensor([[0.0, 5.0]]))
    expected = torch.tensor([[0.6, 0.3, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(class_probabilities(target, classes), expected)
    target = torch.tensor([[1000.0], [-1000.0]])
    p = class_probabilities(target, (torch.tensor([[1.0]]), torch.tensor([[0.0]]), torch.tensor([[-1.0]])))
    assert p.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert class_probabilities(target.half(), (torch.ones(2, 1).half(),) * 3).dtype == torch.float32


def test_derivatives_through_probabilities_and_entropy() -> None:
    target = draw(4, 3, 5).requires_grad_()
    classes = tuple(r.requires_grad_() for r in references((3, 2, 4), 3))

    def loss(target: Tensor, *classes: Tensor) -> Tensor:
        return entropy_loss(class_probabilities(target, classes, chunk=3))

    assert gradcheck(loss, (target, *classes))
    assert gradgradcheck(loss, (target, *classes))
    assert EntropyLoss()(target, classes).equal(entropy_loss(class_probabilities(target, classes)))


def test_entropy_by_hand_and_at_its_ends() -> None:
    p = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    loss = entropy_loss(p)
    assert float(loss.detach()) == pytest.approx(math.log(2) / 2)
    (gradient,) = torch.autograd.grad(loss, p)
    slope = -(math.log(0.5) + 1) / 2
    assert gradient.flatten().tolist() == pytest.approx([slope, slope, 0.0, -0.5, 0.0, 0.0])
    assert float(entropy_loss(torch.full((5, 3), 1 / 3))) == pytest.approx(math.log(3))
    assert float(entropy_loss(torch.eye(3))) == 0


def test_weights_and_decisions_by_hand() -> None:
    p = torch.tensor([[0.5, 0.2, 0.3], [0.3, 0.5, 0.2], [0.1, 0.3, 0.6], [0.4, 0.4, 0.2], [0.2, 0.4, 0.4]])
    assert classify(p).tolist() == [0, 1, 2, 0, 1]
    assert inlier_weights(p).tolist() == pytest.approx([0.7, 0.5, 0.3, 0.8, 0.4])
    assert inlier_weights(4 * p).tolist() == pytest.approx([0.7, 0.5, 0.3, 0.8, 0.4])  # each over the sum
    assert is_outlier(p).tolist() == [False, False, True, False, False]
    assert not inlier_weights(p.requires_grad_()).requires_grad
    p = torch.tensor([[0.3, 0.3, 0.4], [0.2, 0.2, 0.6], [0.25, 0.25, 0.5], [0.6, 0.2, 0.2]], dtype=torch.float64)
    assert is_outlier(p).tolist() == [True, True, True, False]
    assert is_outlier(p, "majority").tolist() == [False, True, False, False]
    with pytest.raises(ValueError, match="decision must be one of largest, majority, got 'half'"):
        is_outlier(p, "half")  # type: ignore[arg-type]


def test_what_cannot_be_used_is_refused() -> None:
    target, classes = draw(3, 4, 0), references((2, 2, 2))
    with pytest.raises(ValueError, match="none of: pseudo outlier"):
        class_probabilities(target, (*classes[:2], classes[2][:0]))
    with pytest.raises(ValueError, match="three classes"):
        class_probabilities(target, classes[:2])
    with pytest.raises(ValueError, match="three classes"):
        class_probabilities(target[:, :3], classes)
    with pytest.raises(ValueError, match="chunk"):
        class_probabilities(target, classes, 0)
    with pytest.raises(ValueError, match="n at least 1"):
        entropy_loss(torch.zeros(0, 3))
    for function in (classify, inlier_weights, is_outlier):
        with pytest.raises(ValueError, match="source, inlier, outlier"):
            function(torch.zeros(4, 2))
