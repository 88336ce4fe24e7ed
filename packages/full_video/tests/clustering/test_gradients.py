"""Equations 3.2 to 3.7: numbers by hand, against autograd and plain loops, and the places where the bound fails."""

import math

import pytest
import torch
from torch import Tensor

from full_video.clustering.gradients import (
    check_bound,
    class_probabilities,
    gradient_bound,
    merged_gradient,
    merged_loss,
    pair_gradient,
    pair_loss,
    true_bound,
)


def pairs(count: int = 50, dims: int = 6, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 2, dims, generator=generator, dtype=torch.float64)
    w = torch.randn(dims, classes, generator=generator, dtype=torch.float64)
    return x, w, torch.randint(0, classes, (count,), generator=generator)


def test_losses_and_gradients_are_those_of_autograd() -> None:
    x, w, label = pairs()
    w.requires_grad_()
    for p in range(5):
        loss = sum(-torch.log((x[p, i] @ w).relu().softmax(0)[label[p]]) for i in range(2)) / 2
        assert isinstance(loss, Tensor)
        torch.testing.assert_close(pair_loss(x, w, label)[p], loss)
        expected = torch.autograd.grad(loss, w, retain_graph=True)[0]
        torch.testing.assert_close(pair_gradient(x, w, label, through_relu=True)[p], expected)
        merged = -torch.log(((x[p, 0] + x[p, 1]) / 2 @ w).relu().softmax(0)[label[p]])
        torch.testing.assert_close(merged_loss(x, w, label)[p], merged)
        expected = torch.autograd.grad(merged, w, retain_graph=True)[0]
        torch.testing.assert_close(merged_gradient(x, w, label, through_relu=True)[p], expected)


def test_equations_as_printed_entry_by_entry() -> None:
    x, w, label = pairs(count=3, dims=3, classes=3)
    q = class_probabilities(x, w)
    for p in range(3):
        mean = [(x[p, 0, d] + x[p, 1, d]).item() / 2 for d in range(3)]
        exps = [math.exp(max(0.0, sum(mean[d] * w[d, c].item() for d in range(3)))) for c in range(3)]
        for d in range(3):
            for c in range(3):
                delta = float(label[p] == c)
                printed = (x[p, 0, d] * (q[p, 0, c] - delta) + x[p, 1, d] * (q[p, 1, c] - delta)) / 2
                assert pair_gradient(x, w, label)[p, d, c].item() == pytest.approx(printed.item(), abs=1e-14)
                merged = mean[d] * (exps[c] / sum(exps) - delta)
                assert merged_gradient(x, w, label)[p, d, c].item() == pytest.approx(merged, abs=1e-14)
                bound = abs((x[p, 0, d] - x[p, 1, d]) * (q[p, 0, c] - q[p, 1, c])) / 4
                assert gradient_bound(x, w)[p, d, c].item() == pytest.approx(bound.item(), abs=1e-15)


def test_equal_frames_have_no_error() -> None:
    x, w, label = pairs()
    x = x[:, :1].expand(-1, 2, -1)
    torch.testing.assert_close(pair_gradient(x, w, label), merged_gradient(x, w, label))
    check = check_bound(x, w, label)
    assert check.fails == 0 and check.signs_agree == 1


def test_the_bound_fails_in_a_case_by_hand() -> None:
    # One coordinate is the same in both frames, so its bound is 0; the other makes their softmax differ. Signs agree.
    x = torch.tensor([[[1.0, 0.0], [1.0, 4.0]]], dtype=torch.float64)
    w = torch.tensor([[1.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    label = torch.tensor([0])
    assert gradient_bound(x, w)[0, 0].tolist() == [0.0, 0.0]
    q = [1 / 2, 1 / (1 + math.exp(-4))]
    expected = (q[0] + q[1]) / 2 - 1 / (1 + math.exp(-2))
    difference = (pair_gradient(x, w, label) - merged_gradient(x, w, label))[0, 0]
    assert difference.tolist() == pytest.approx([expected, -expected]) and abs(expected) > 0.1
    check = check_bound(x, w, label)
    assert check.signs_agree == 1 and check.fails_where_signs_agree >= 0.5 and check.true_bound_fails == 0
    assert check.convex == 0.5  # the likelier class is concave here
    assert check.fails_where_convex > 0  # Jensen's inequality holds for the other class, and the bound is false


@pytest.mark.parametrize("positive", [False, True])
def test_the_true_bound_always_holds_and_the_printed_one_does_not(positive: bool) -> None:
    x, w, label = pairs(count=400)
    if positive:  # all activations and scores positive: what the derivation assumes
        x, w = x.abs(), w.abs()
    check = check_bound(x, w, label)
    assert check.entries == 400 * 6 * 4
    assert check.true_bound_fails == 0 and bool((true_bound(x, w) >= gradient_bound(x, w)).all())
    assert 0 < check.fails < 1 and 0 < check.convex < 1
    assert check.signs_agree == 1 if positive else 0 < check.signs_agree < 1
    difference = (pair_gradient(x, w, label) - merged_gradient(x, w, label)).abs()
    assert check.fails == pytest.approx(float((difference > gradient_bound(x, w) + 1e-13).double().mean()), abs=1e-3)


def test_the_error_falls_with_the_distance_of_the_frames() -> None:
    x, w, label = pairs(count=200)
    errors = []
    for scale in (1.0, 0.1, 0.01):
        near = torch.stack((x[:, 0], x[:, 0] + scale * x[:, 1]), dim=1)
        errors.append(float((pair_gradient(near, w, label) - merged_gradient(near, w, label)).abs().mean()))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_other_shapes_are_refused() -> None:
    x, w, label = pairs(count=4)
    for call, message in (
        (lambda: pair_gradient(x[:, :1], w, label), r"x \(P, 2, D\) and label \(P,\)"),
        (lambda: merged_loss(x, w, label[:2]), "label"),
        (lambda: gradient_bound(x, w.T[:2]), r"w \(D, C\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
