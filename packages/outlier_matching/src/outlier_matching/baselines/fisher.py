"""Fisher vectors of local descriptors (Sánchez et al., IJCV 2013), with SIFT the thesis's baseline of table 4.2: the
normalised gradient of the likelihood under a mixture of diagonal Gaussians by means and variances, with power and L2
normalisation ("improved"), optionally after PCA. Batched in torch, on the device of the descriptors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from outlier_matching.baselines.config import FisherConfig

_CHUNK = 16384  # number of descriptors whose posteriors are held at a time


@dataclass(frozen=True)
class Mixture:
    """A mixture of diagonal Gaussians."""

    weights: Tensor
    """(K,), sum 1."""
    means: Tensor
    """(K, D)."""
    variances: Tensor
    """(K, D)."""

    def log_joint(self, x: Tensor) -> Tensor:
        """x (n, D) -> (n, K), ``log w_k + log N(x; mu_k, sigma_k^2)``."""
        inverse = 1 / self.variances
        constant = self.weights.log() - 0.5 * (self.variances.log().sum(1) + x.shape[1] * math.log(2 * math.pi))
        squares = x.square() @ inverse.T - 2 * x @ (self.means * inverse).T + (self.means.square() * inverse).sum(1)
        return constant - 0.5 * squares

    def posteriors(self, x: Tensor) -> Tensor:
        """x (n, D) -> (n, K): posterior probability of each Gaussian; rows sum to 1."""
        return self.log_joint(x).softmax(1)


@dataclass(frozen=True)
class FisherEncoder:
    """PCA and mixture, which turn the descriptors of an image into one vector."""

    mixture: Mixture
    """Mixture of the projected descriptors."""
    mean: Tensor | None = None
    """(D,): mean that PCA subtracts; None without PCA."""
    axes: Tensor | None = None
    """(D, P), orthonormal; None without PCA."""

    def encode(self, images: Sequence[Tensor], batch: int = 64) -> Tensor:
        """:func:`fisher_vectors` of images, ``batch`` at a time: descriptors (n_i, D), n_i may be 0 -> (images, 2 K P)."""
        parts = [
            fisher_vectors([self.project(x) for x in images[start : start + batch]], self.mixture)
            for start in range(0, len(images), batch)
        ]
        return torch.cat(parts) if parts else self.mixture.means.new_zeros(0, 2 * self.mixture.means.numel())

    def project(self, x: Tensor) -> Tensor:
        """x (n, D) -> (n, P)."""
        return x if self.mean is None or self.axes is None else (x - self.mean) @ self.axes


def fisher_vectors(images: Sequence[Tensor], mixture: Mixture, improved: bool = True) -> Tensor:
    """Equations 17 and 18 of the paper: gradients by mean and variance for the n descriptors x_t of each image. With
    posteriors q_tk, ``G_mu_k = 1 / (n sqrt(w_k)) sum_t q_tk (x_t - mu_k) / sigma_k`` and ``G_sigma_k = 1 / (n sqrt(2
    w_k)) sum_t q_tk ((x_t - mu_k)^2 / sigma_k^2 - 1)``. The gradient by the weights is omitted; the paper (2.3.3) finds
    that it adds little. scikit-image includes it and has the opposite sign of ``G_sigma``. Returns (images, 2 K D):
    G_mu of all Gaussians, then G_sigma. Raises ValueError for descriptors of another D.

    Args:
        images: descriptors of each image, floating (n_i, D); the vector of an image without descriptors is 0.
        mixture: a mixture of D dimensions.
        improved: ``sign(z) sqrt(|z|)`` and then length 1."""
    clusters, size = mixture.means.shape
    if any(x.dim() != 2 or x.shape[1] != size for x in images):
        raise ValueError(f"descriptors must be (n, {size}), got {[tuple(x.shape) for x in images]}")
    if not images:
        return mixture.means.new_zeros(0, 2 * clusters * size)
    counts = torch.tensor([len(x) for x in images], device=mixture.means.device)
    x = pad_sequence(list(images), batch_first=True).to(mixture.means)
    real = torch.arange(x.shape[1], device=x.device) < counts[:, None]
    q = mixture.posteriors(x.flatten(0, 1)).view(*x.shape[:2], clusters)
    q = q * real[:, :, None] / counts.clamp(min=1)[:, None, None]
    mass, first, second = q.sum(1)[:, :, None], q.mT @ x, q.mT @ x.square()
    means, deviations, root = mixture.means, mixture.variances.sqrt(), mixture.weights.sqrt()[:, None]
    by_mean = (first - mass * means) / (deviations * root)
    spread = second - 2 * first * means + mass * (means.square() - mixture.variances)
    by_deviation = spread / (mixture.variances * root * math.sqrt(2))
    vectors = torch.cat((by_mean.flatten(1), by_deviation.flatten(1)), 1)
    return normalize(vectors.sign() * vectors.abs().sqrt(), dim=1) if improved else vectors


def fit_encoder(descriptors: Tensor, config: FisherConfig, generator: torch.Generator) -> FisherEncoder:
    """PCA and mixture of the descriptors of a training set; the thesis uses the source domain. Raises ValueError for
    fewer descriptors than Gaussians, or PCA to more than D dimensions. ``descriptors``: floating (n, D), those of all
    images; ``generator``: draws descriptors and initial means, on the CPU."""
    if descriptors.dim() != 2 or len(descriptors) < config.clusters:
        raise ValueError(f"{config.clusters} Gaussians need as many descriptors (n, D), got {tuple(descriptors.shape)}")
    if (config.dimensions or 1) > descriptors.shape[1]:
        raise ValueError(f"PCA cannot keep {config.dimensions} of {descriptors.shape[1]} dimensions")
    if len(descriptors) > config.descriptors:
        kept = torch.randperm(len(descriptors), generator=generator)[: config.descriptors]
        descriptors = descriptors[kept.sort().values.to(descriptors.device)]
    if config.dimensions is None:
        return FisherEncoder(fit_mixture(descriptors, config, generator))
    mean = descriptors.mean(0)
    covariance = (descriptors - mean).T @ (descriptors - mean) / len(descriptors)
    axes = torch.linalg.eigh(covariance.double()).eigenvectors.flip(1)[:, : config.dimensions].to(descriptors)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # the sign of an eigenvector is arbitrary
    return FisherEncoder(fit_mixture((descriptors - mean) @ axes, config, generator), mean, axes)


def fit_mixture(x: Tensor, config: FisherConfig, generator: torch.Generator) -> Mixture:
    """Expectation maximisation from k-means++ means: x (n, D), n at least K. Sums are computed in double precision.
    scikit-learn's ``GaussianMixture`` starts from other means, adds a constant to every variance instead of bounding
    it, and runs on the CPU only: the kept results of table 4.2 would change."""
    variance = x.double().var(0, correction=0)
    least = config.floor * float(variance.mean()) or 1.0  # equal descriptors have no scale
    means = _spread_means(x, config.clusters, generator)
    equal = x.new_full((len(means),), 1 / len(means))
    mixture = Mixture(equal, means, variance.clamp(min=least).to(x).expand_as(means))
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
        share = mass.clamp(min=1e-10)[:, None]  # keeps a Gaussian without descriptors finite
        centre = first / share
        spread = (second / share - centre.square()).clamp(min=least)
        weights = (mass / mass.sum()).clamp(min=1e-10)
        mixture = Mixture((weights / weights.sum()).to(x), centre.to(x), spread.to(x))
        if likelihood / len(x) - before < config.tolerance:
            break
        before = likelihood / len(x)
    return mixture


def _spread_means(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means++: the probability of the next mean is proportional to its squared distance to the nearest mean so far."""
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    nearest = (x - x[chosen[0]]).square().sum(1)
    for _ in range(count - 1):
        totals = nearest.double().cumsum(0)
        at = float(torch.rand((), generator=generator, dtype=torch.float64)) * float(totals[-1])
        chosen.append(min(int(torch.searchsorted(totals, at, right=True)), len(x) - 1))
        nearest = torch.minimum(nearest, (x - x[chosen[-1]]).square().sum(1))
    return x[chosen].clone()
