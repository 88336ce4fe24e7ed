"""One batch's objective against the plain formulas, and which images each part looks at."""

from typing import Any

import pytest
import torch
from torch import Tensor

from outlier_matching.method.config import ObjectiveConfig
from outlier_matching.method.objective import Features, Losses, Objective

N = 4


def features(seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    parts = (torch.randn(3 * N, d, generator=generator, dtype=torch.float64) for d in (6, 5, 3))
    return Features(*parts)


def objective(x: Features, weights: Tensor | None = None, target: bool = True, **changes: Any) -> Losses:
    matching = torch.arange(N) < N // 2
    return Objective(ObjectiveConfig(**changes))(x, matching, weights, target=target)


def unit(x: Tensor) -> list[Tensor]:
    return [row / row.norm() for row in x]


def test_the_contrastive_part_by_a_loop() -> None:
    x = features()
    u = unit(x.fc8)
    total = 0.0
    for i in range(N):
        d = float((u[i] - u[N + i]).norm())
        total += 0.5 * d**2 if i < N // 2 else 0.5 * max(0.0, 0.8 - d) ** 2
    losses = objective(x, target=False, margin=0.8)
    assert float(losses.contrastive) == pytest.approx(total / N)
    assert losses.total is losses.contrastive and float(losses.mmd) == float(losses.entropy) == 0


def mmd_by_loop(x: Features, weights: list[float]) -> float:
    """Eq. 4.6 summed over the layers, 17 kernels around the median of the distances in use."""
    whole = 0.0
    for layer in x:
        s, t = layer[:N], layer[2 * N :]
        terms = []
        for i in range(0, N, 2):
            pairs = ((s[i], s[i + 1]), (t[i], t[i + 1]), (s[i], t[i + 1]), (t[i], s[i + 1]))
            terms.append([float((a - b).square().sum()) for a, b in pairs])
        flat = sorted(value for term in terms for value in term)
        sigma = flat[(len(flat) - 1) // 2]
        for i, term in enumerate(terms):
            h = 0.0
            for m in range(-8, 9):
                k = [torch.tensor(-value / (sigma * 2.0**m)).exp().item() for value in term]
                h += (k[0] + k[1] - k[2] - k[3]) / 17
            whole += weights[2 * i] * weights[2 * i + 1] * h / (N / 2)
    return whole


def test_the_parts_of_the_methods_objective() -> None:
    x = features()
    weights = [0.9, 0.3, 0.5, 1.0]
    losses = objective(x, torch.tensor(weights, dtype=torch.float64), gamma=2.0, eta=0.5)
    assert float(losses.mmd) == pytest.approx(mmd_by_loop(x, weights), rel=1e-5)
    u = unit(x.fc8)
    t = u[2 * N :]
    classes = [u[: N // 2], t[: N // 2], t[N // 2 :]]
    entropy = 0.0
    for sample in t:
        sums = torch.stack([torch.stack([(sample @ r).exp() for r in members]).sum() for members in classes])
        p = sums / sums.sum()
        entropy -= float((p * p.log()).sum()) / N
    assert float(losses.entropy) == pytest.approx(entropy, rel=1e-6)
    total = float(losses.contrastive) + 2 * float(losses.mmd) + 0.5 * entropy
    assert float(losses.total) == pytest.approx(total, rel=1e-6)


def test_weights_of_one_and_nought() -> None:
    x = features()
    plain = objective(x)
    assert float(objective(x, torch.ones(N)).mmd) == pytest.approx(float(plain.mmd))
    assert float(plain.entropy) == 0
    assert float(plain.total) == pytest.approx(float(plain.contrastive) + float(plain.mmd))
    x = Features(*(part.requires_grad_() for part in features()))
    (gradient,) = torch.autograd.grad(objective(x, torch.tensor([1.0, 1.0, 0.0, 1.0]), eta=0.0).total, x.fc6)
    moved = gradient.abs().sum(dim=1) > 0
    # Left images 0 and 1 and target images 0 and 1; the pair of target 2 and 3 has the product 0; right images have no part.
    assert moved.tolist() == [True, True, False, False] + [False] * 4 + [True, True, False, False]


def test_sharpness_kernels_and_estimator() -> None:
    x = features()
    soft, sharp = (float(objective(x, torch.ones(N), sharpness=s).entropy) for s in (1.0, 20.0))
    assert soft > 0.8 * torch.tensor(3.0).log() and sharp < soft
    x = features()
    one = objective(x, kernels="author", estimator="circular")
    assert float(one.mmd) != pytest.approx(float(objective(x).mmd), rel=0.1)
    assert not dict(Objective(ObjectiveConfig(kernels="author")).named_buffers())
    assert dict(Objective(ObjectiveConfig()).named_buffers())  # the running bandwidths, which a checkpoint must hold
