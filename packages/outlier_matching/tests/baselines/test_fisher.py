"""Fisher vectors against loops and scikit-image's formula, the mixture and PCA against known data."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from outlier_matching.baselines.config import FisherConfig
from outlier_matching.baselines.fisher import FisherEncoder, Mixture, fisher_vectors, fit_encoder, fit_mixture


def draw(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixture(clusters: int = 3, size: int = 4) -> Mixture:
    weights = torch.arange(1.0, clusters + 1, dtype=torch.float64)
    return Mixture(weights / weights.sum(), draw(clusters, size, 1), draw(clusters, size, 2).square() + 0.5)


def loop(x: Tensor, m: Mixture) -> list[float]:
    """Equations 17 and 18 of Sánchez et al., one descriptor, one Gaussian, one dimension at a time."""
    w, mu, var = m.weights.tolist(), m.means.tolist(), m.variances.tolist()
    clusters, size, n = len(w), len(mu[0]), len(x)
    by_mean = [[0.0] * size for _ in w]
    by_deviation = [[0.0] * size for _ in w]
    for row in x.tolist():
        density = [
            w[k]
            * math.prod(
                math.exp(-((row[i] - mu[k][i]) ** 2) / (2 * var[k][i])) / math.sqrt(2 * math.pi * var[k][i])
                for i in range(size)
            )
            for k in range(clusters)
        ]
        for k in range(clusters):
            q = density[k] / sum(density)
            for i in range(size):
                z = (row[i] - mu[k][i]) / math.sqrt(var[k][i])
                by_mean[k][i] += q * z / (n * math.sqrt(w[k]))
                by_deviation[k][i] += q * (z**2 - 1) / (n * math.sqrt(2 * w[k]))
    return [v for part in (by_mean, by_deviation) for row in part for v in row]


def test_vectors_equal_a_loop_and_are_gradients() -> None:
    m, images = mixture(), [draw(5, 4, 3), draw(1, 4, 4), draw(9, 4, 5)]
    vectors = fisher_vectors(images, m, improved=False)
    for vector, x in zip(vectors, images, strict=True):
        assert vector.tolist() == pytest.approx(loop(x, m), rel=1e-10, abs=1e-12)
    improved = fisher_vectors(images, m)
    expected = vectors.sign() * vectors.abs().sqrt()
    torch.testing.assert_close(improved, expected / expected.norm(dim=1, keepdim=True))
    m, x = mixture(), draw(11, 4, 9)
    means = m.means.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Mixture(m.weights, means, m.variances).log_joint(x).logsumexp(1).mean(), means)
    scaled = gradient * m.variances.sqrt() / m.weights.sqrt()[:, None]
    torch.testing.assert_close(fisher_vectors([x], m, improved=False)[0, :12], scaled.flatten())


def test_equals_scikit_image_but_for_its_sign_and_weight_gradient() -> None:
    feature = pytest.importorskip("skimage.feature")
    sklearn_mixture = pytest.importorskip("sklearn.mixture")
    m, x = mixture(), draw(20, 4, 6)
    theirs = sklearn_mixture.GaussianMixture(3, covariance_type="diag")
    theirs.weights_, theirs.means_, theirs.covariances_ = (v.numpy() for v in (m.weights, m.means, m.variances))
    theirs.precisions_cholesky_ = (1 / m.variances.sqrt()).numpy()
    vector = torch.from_numpy(feature.fisher_vector(x.numpy(), theirs))[3:]  # the first K are the weights' gradient
    sign = torch.cat((torch.ones(12), -torch.ones(12)))
    torch.testing.assert_close(fisher_vectors([x], m, improved=False)[0], vector * sign, rtol=1e-8, atol=1e-10)


def test_images_without_descriptors_and_equal_ones() -> None:
    vectors = fisher_vectors([draw(0, 4, 7), draw(3, 4, 8)], mixture())
    assert not vectors[0].any()
    assert float(vectors[1].norm()) == pytest.approx(1)
    assert fisher_vectors([], mixture()).shape == (0, 24)
    assert FisherEncoder(mixture()).encode([]).shape == (0, 24)
    m = fit_mixture(torch.ones(10, 3), FisherConfig(clusters=2, dimensions=None), torch.Generator().manual_seed(0))
    assert fisher_vectors([torch.ones(4, 3)], m).isfinite().all()


def clusters(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 5.0, 2.0]])
    deviations = torch.tensor([[0.3, 0.6, 0.5], [0.5, 0.2, 0.4], [0.4, 0.4, 0.9]])
    which = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), n, replacement=True, generator=generator)
    return centres[which] + deviations[which] * torch.randn(n, 3, generator=generator), which


def test_mixture_finds_the_gaussians_that_made_the_data() -> None:
    x, which = clusters(6000, 0)
    m = fit_mixture(x, FisherConfig(clusters=3, dimensions=None), torch.Generator().manual_seed(1))
    order = m.means[:, 0].add(10 * m.means[:, 1]).argsort()  # by place: first, second, third
    for k, row in enumerate(order.tolist()):
        own = x[which == k]
        assert float(m.weights[row]) == pytest.approx(len(own) / 6000, abs=0.01)
        torch.testing.assert_close(m.means[row], own.mean(0), rtol=0, atol=0.02)
        torch.testing.assert_close(m.variances[row], own.var(0, correction=0), rtol=0.05, atol=0.005)
    assert float(m.posteriors(x).sum(1).sub(1).abs().max()) < 1e-5


def test_every_iteration_raises_the_likelihood() -> None:
    x = clusters(1500, 2)[0].double()
    values = []
    for iterations in range(1, 12):
        config = FisherConfig(clusters=5, dimensions=None, iterations=iterations, tolerance=0.0)
        m = fit_mixture(x, config, torch.Generator().manual_seed(3))
        values.append(float(m.log_joint(x).logsumexp(1).mean()))
    assert all(b > a - 1e-9 for a, b in pairwise(values))
    assert values[-1] > values[0] + 0.01


def test_pca_keeps_the_directions_of_most_variance() -> None:
    x = draw(500, 6, 10).float() * torch.tensor([5.0, 0.1, 3.0, 0.1, 0.1, 0.1]) + 7
    encoder = fit_encoder(x, FisherConfig(clusters=2, dimensions=2), torch.Generator().manual_seed(0))
    assert encoder.mean is not None and encoder.axes is not None
    torch.testing.assert_close(encoder.axes.T @ encoder.axes, torch.eye(2), rtol=0, atol=1e-5)
    assert encoder.axes.abs().argmax(0).tolist() == [0, 2]
    kept = encoder.project(x).var(0).sum() / x.var(0).sum()
    assert float(kept) > 0.99
    assert encoder.encode([x[:10], x[10:13]]).shape == (2, 2 * 2 * 2)


def test_same_generator_same_encoder_and_batches_do_not_matter() -> None:
    x = clusters(800, 4)[0]
    config = FisherConfig(clusters=4, dimensions=2, descriptors=500)
    first = fit_encoder(x, config, torch.Generator().manual_seed(5))
    second = fit_encoder(x, config, torch.Generator().manual_seed(5))
    images = list(torch.split(x[:100], [10, 0, 50, 1, 39]))
    assert first.encode(images).equal(second.encode(images))
    torch.testing.assert_close(first.encode(images, batch=2), first.encode(images), atol=1e-4, rtol=1e-3)


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValueError, match="need as many"):
        fit_encoder(draw(3, 4, 0), FisherConfig(clusters=4, dimensions=None), torch.Generator())
    with pytest.raises(ValueError, match="PCA cannot keep 9"):
        fit_encoder(draw(30, 4, 0), FisherConfig(clusters=4, dimensions=9), torch.Generator())
    with pytest.raises(ValueError, match="descriptors must be"):
        fisher_vectors([draw(3, 5, 0)], mixture())
    with pytest.raises(ValueError, match="at least 1"):
        FisherConfig(clusters=0)
    with pytest.raises(ValueError, match="floor"):
        FisherConfig(floor=0)
