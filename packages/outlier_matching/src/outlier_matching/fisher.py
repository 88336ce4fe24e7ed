"""Fisher vectors of local descriptors (Sánchez et al., IJCV 2013): the thesis's baseline of table 4.2 with SIFT below
it.

Descriptors of all images are fitted by a mixture of diagonal Gaussians, after PCA if wanted; an image's vector is the
normalised gradient of its descriptors' likelihood by the mixture's means and variances, with power and L2
normalisation ("improved"). Everything is batched in torch and runs on the device that the descriptors are on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

_CHUNK = 16384  # descriptors whose posteriors are held at once


@dataclass(frozen=True)
class FisherConfig:
    """How :func:`fit_encoder` fits.

    Attributes:
        clusters: K Gaussians.
        dimensions: PCA keeps this many; None: no PCA. The paper takes 64 of SIFT's 128; scikit-image has no PCA.
        descriptors: at most this many, drawn at random, are fitted to.
        iterations: of expectation maximisation, at most.
        tolerance: it stops when the mean log-likelihood rises by less, in nats a descriptor.
        floor: the least variance, as a share of the descriptors' mean variance: no Gaussian may shrink onto one
            descriptor.
    """

    clusters: int = 64
    dimensions: int | None = 64
    descriptors: int = 200_000
    iterations: int = 100
    tolerance: float = 1e-4
    floor: float = 1e-3

    def __post_init__(self) -> None:
        if min(self.clusters, self.descriptors, self.iterations) < 1 or (self.dimensions or 1) < 1:
            raise ValueError("clusters, dimensions, descriptors and iterations must be at least 1")
        if self.tolerance < 0 or not self.floor > 0:
            raise ValueError(f"tolerance must be 0 or more and floor above 0, got {self.tolerance} and {self.floor}")


@dataclass(frozen=True)
class Mixture:
    """A mixture of diagonal Gaussians: weights (K,) that sum to 1, means (K, D), variances (K, D)."""

    weights: Tensor
    means: Tensor
    variances: Tensor

    def log_joint(self, x: Tensor) -> Tensor:
        """x (n, D) -> (n, K), ``log w_k + log N(x; mu_k, sigma_k^2)``."""
        inverse = 1 / self.variances
        constant = self.weights.log() - 0.5 * (self.variances.log().sum(1) + x.shape[1] * math.log(2 * math.pi))
        squares = x.square() @ inverse.T - 2 * x @ (self.means * inverse).T + (self.means.square() * inverse).sum(1)
        return constant - 0.5 * squares

    def posteriors(self, x: Tensor) -> Tensor:
        """x (n, D) -> (n, K), the probability that each Gaussian made it; rows sum to 1."""
        return self.log_joint(x).softmax(1)


@dataclass(frozen=True)
class FisherEncoder:
    """PCA and mixture: what turns an image's descriptors into one vector.

    Attributes:
        mixture: of the projected descriptors.
        mean: (D,) that PCA takes away; None without PCA.
        axes: (D, P) orthonormal; None without PCA.
    """

    mixture: Mixture
    mean: Tensor | None = None
    axes: Tensor | None = None

    def encode(self, images: Sequence[Tensor], batch: int = 64) -> Tensor:
        """Each image's descriptors (n_i, D), n_i may be 0 -> (images, 2 K P): :func:`fisher_vectors`, ``batch`` at a
        time."""
        parts = [
            fisher_vectors([self.project(x) for x in images[start : start + batch]], self.mixture)
            for start in range(0, len(images), batch)
        ]
        return torch.cat(parts) if parts else self.mixture.means.new_zeros(0, 2 * self.mixture.means.numel())

    def project(self, x: Tensor) -> Tensor:
        """x (n, D) -> (n, P)."""
        return x if self.mean is None or self.axes is None else (x - self.mean) @ self.axes


def fisher_vectors(images: Sequence[Tensor], mixture: Mixture, improved: bool = True) -> Tensor:
    """Equations 17 and 18 of the paper: the gradients by mean and variance, of an image's n descriptors x_t with
    posteriors q_tk.

    ``G_mu_k = 1 / (n sqrt(w_k)) sum_t q_tk (x_t - mu_k) / sigma_k`` and ``G_sigma_k = 1 / (n sqrt(2 w_k)) sum_t q_tk
    ((x_t - mu_k)^2 / sigma_k^2 - 1)``. The gradient by the weights, which adds little (paper, 2.3.3), is left out;
    scikit-image keeps it, and has the opposite sign of ``G_sigma``.

    Args:
        images: each image's descriptors, floating (n_i, D); without any (n_i = 0) the vector is 0.
        mixture: of D dimensions.
        improved: ``sign(z) sqrt(|z|)`` and then length 1.

    Returns:
        (images, 2 K D): G_mu of all Gaussians, then G_sigma.

    Raises:
        ValueError: for descriptors of another D.
    """
    clusters, size = mixture.means.shape
    if any(x.dim() != 2 or x.shape[1] != size for x in images):
        raise ValueError(f"descriptors must be (n, {size}), got {[tuple(x.shape) for x in images]}")
    if not images:
        return mixture.means.new_zeros(0, 2 * clusters * size)
    counts = torch.tensor([len(x) for x in images], device=mixture.means.device)
    x = pad_sequence(list(images), batch_first=True).to(mixture.means)
    real = torch.arange(x.shape[1], device=x.device) < counts[:, None]
    q = (
        mixture.posteriors(x.flatten(0, 1)).view(*x.shape[:2], clusters)
        * real[:, :, None]
        / counts.clamp(min=1)[:, None, None]
    )
    mass, first, second = q.sum(1)[:, :, None], q.mT @ x, q.mT @ x.square()
    means, deviations, root = mixture.means, mixture.variances.sqrt(), mixture.weights.sqrt()[:, None]
    by_mean = (first - mass * means) / (deviations * root)
    spread = second - 2 * first * means + mass * (means.square() - mixture.variances)
    by_deviation = spread / (mixture.variances * root * math.sqrt(2))
    vectors = torch.cat((by_mean.flatten(1), by_deviation.flatten(1)), 1)
    return normalize(vectors.sign() * vectors.abs().sqrt(), dim=1) if improved else vectors


def fit_encoder(descriptors: Tensor, config: FisherConfig, generator: torch.Generator) -> FisherEncoder:
    """PCA and mixture of the descriptors of a training set (in the thesis: of the source domain).

    Args:
        descriptors: floating (n, D), of all images together.
        config: how.
        generator: draws the descriptors and the first means, on the CPU.

    Raises:
        ValueError: for fewer descriptors than Gaussians, or PCA to more than D dimensions.
    """
    if descriptors.dim() != 2 or len(descriptors) < config.clusters:
        raise ValueError(f"{config.clusters} Gaussians need as many descriptors (n, D), got {tuple(descriptors.shape)}")
    if (config.dimensions or 1) > descriptors.shape[1]:
        raise ValueError(f"PCA cannot keep {config.dimensions} of {descriptors.shape[1]} dimensions")
    if len(descriptors) > config.descriptors:
        descriptors = descriptors[_some(len(descriptors), config.descriptors, generator).to(descriptors.device)]
    if config.dimensions is None:
        return FisherEncoder(fit_mixture(descriptors, config, generator))
    mean = descriptors.mean(0)
    covariance = (descriptors - mean).T @ (descriptors - mean) / len(descriptors)
    axes = torch.linalg.eigh(covariance.double()).eigenvectors.flip(1)[:, : config.dimensions].to(descriptors)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # eigenvectors have no sign of their own
    return FisherEncoder(fit_mixture((descriptors - mean) @ axes, config, generator), mean, axes)


def fit_mixture(x: Tensor, config: FisherConfig, generator: torch.Generator) -> Mixture:
    """Expectation maximisation from k-means++ means: x (n, D), n at least K. Sums are taken in double precision."""
    variance = x.double().var(0, correction=0)
    least = config.floor * float(variance.mean()) or 1.0  # descriptors that all agree have no scale
    means = _spread_means(x, config.clusters, generator)
    mixture = Mixture(
        x.new_full((len(means),), 1 / len(means)), means, variance.clamp(min=least).to(x).expand_as(means)
    )
    before = -math.inf
    for _ in range(config.iterations):
        mass = x.new_zeros(config.clusters, dtype=torch.float64)
        first = x.new_zeros(means.shape, dtype=torch.float64)
        second, likelihood = torch.zeros_like(first), 0.0
        for part in torch.split(x, _CHUNK):
            joint = mixture.log_joint(part)
            likelihood += float(joint.logsumexp(1).sum(dtype=torch.float64))
            q = joint.softmax(1).double()
            mass += q.sum(0)
            first += q.T @ part.double()
            second += q.T @ part.double().square()
        share = mass.clamp(min=1e-10)[:, None]  # a Gaussian that lost all its descriptors stays finite
        centre = first / share
        spread = (second / share - centre.square()).clamp(min=least)
        weights = (mass / mass.sum()).clamp(min=1e-10)
        mixture = Mixture((weights / weights.sum()).to(x), centre.to(x), spread.to(x))
        if likelihood / len(x) - before < config.tolerance:
            break
        before = likelihood / len(x)
    return mixture


def _spread_means(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means++: each next mean is a descriptor drawn in proportion to its squared distance to the nearest one so
    far."""
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    nearest = (x - x[chosen[0]]).square().sum(1)
    for _ in range(count - 1):
        totals = nearest.double().cumsum(0)
        at = float(torch.rand((), generator=generator, dtype=torch.float64)) * float(totals[-1])
        chosen.append(min(int(torch.searchsorted(totals, at, right=True)), len(x) - 1))
        nearest = torch.minimum(nearest, (x - x[chosen[-1]]).square().sum(1))
    return x[chosen].clone()


def _some(size: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(size, generator=generator)[:count].sort().values
