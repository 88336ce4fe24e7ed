"""Pseudo inliers and pseudo outliers of the target domain, and their refresh after each epoch (thesis algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from outlier_matching.assignment import (
    INLIER,
    OUTLIER,
    SOURCE,
    Decision,
    class_probabilities,
    classify,
    inlier_weights,
    is_outlier,
)

Rule = Literal["thesis", "author"]
RULES: tuple[Rule, ...] = ("thesis", "author")
_START = (0.7, 0.3)  # algorithm 1, step 1


@dataclass(frozen=True)
class PseudoSets:
    """What algorithm 1 holds between epochs, all on one device.

    Attributes:
        inliers: int64 (I,) indices into the target, the pseudo inlier class.
        outliers: int64 (O,), the pseudo outlier class. No index is in both; with the author's rule some are in
            neither.
        weights: float (n,), w_i of every target sample, in [0, 1].
    """

    inliers: Tensor
    outliers: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        for name, index in (("inliers", self.inliers), ("outliers", self.outliers)):
            if index.dim() != 1 or index.dtype != torch.int64:
                raise ValueError(f"{name} must be int64 indices (m,), got {index.dtype} {tuple(index.shape)}")
        if self.weights.dim() != 1 or not self.weights.is_floating_point():
            raise ValueError(f"weights must be floating (n,), got {self.weights.dtype} {tuple(self.weights.shape)}")


def initial_sets(target: Tensor, source: Tensor, chunk: int = 1024, nearest: int | None = None) -> PseudoSets:
    """Step 1: the half of the target that is nearer to the source on average is inlier (w = 0.7), the other outlier (w
    = 0.3).

    Args:
        target: floating (n, d), n at least 2; of an odd n the middle sample is an inlier.
        source: floating (m, d), m at least 1.
        chunk: distances are held for chunk x chunk pairs at a time: beyond these, memory is O(n + m).
        nearest: only so many source samples, the nearest of each target sample, are averaged over; None, as the thesis:
            all. Where features of source classes lie far apart, the average over all says which class a sample is
            near, and the halves are halves of the classes.

    Returns:
        the two halves, nearest first, equal distances in the order of their indices. Weights are float32.

    Raises:
        ValueError: for other shapes.
    """
    _check_features(target, source)
    distances = (
        mean_distances(target, source, chunk) if nearest is None else nearest_distances(target, source, nearest, chunk)
    )
    order = distances.sort(stable=True).indices
    half = (len(target) + 1) // 2
    weights = torch.full((len(target),), _START[1], device=target.device)
    weights[order[:half]] = _START[0]
    return PseudoSets(order[:half], order[half:], weights)


@torch.no_grad()
def mean_distances(target: Tensor, source: Tensor, chunk: int = 1024) -> Tensor:
    """The mean Euclidean distance of each target sample to all source samples: (n, d), (m, d) -> float64 (n,)."""
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    sums = torch.zeros(len(target), dtype=torch.float64, device=target.device)
    for rows, total in zip(torch.split(target, chunk), torch.split(sums, chunk), strict=True):
        for columns in torch.split(source, chunk):
            total += torch.cdist(rows, columns).sum(1, dtype=torch.float64)
    return sums / len(source)


@torch.no_grad()
def nearest_distances(target: Tensor, source: Tensor, count: int, chunk: int = 1024) -> Tensor:
    """The mean Euclidean distance of each target sample to its ``count`` nearest source samples (all, where there are
    fewer): (n, d), (m, d) -> float64 (n,)."""
    if chunk < 1 or count < 1:
        raise ValueError(f"chunk and the number of nearest samples must be at least 1, got {chunk} and {count}")
    means = []
    for rows in torch.split(target, chunk):
        best = rows.new_empty(len(rows), 0)
        for columns in torch.split(source, chunk):
            every = torch.cat((best, torch.cdist(rows, columns)), 1)
            best = every.topk(min(count, every.shape[1]), largest=False).values
        means.append(best.mean(1, dtype=torch.float64))
    return torch.cat(means)


@torch.no_grad()
def refreshed_sets(
    target: Tensor,
    source: Tensor,
    sets: PseudoSets,
    rule: Rule = "thesis",
    references: int | None = None,
    generator: torch.Generator | None = None,
    chunk: int = 1024,
    decision: Decision = "largest",
) -> PseudoSets:
    """Steps 6 and 7: weights by equations 4.7 and 4.9 from this epoch's features, then the two sets anew.

    ``"thesis"``: each target sample goes where it is likeliest (``decision``), to the inliers as "source" or "inlier",
    else to the outliers. ``"author"``: those classified as source are inliers, and of those classified as inlier the third with
    the largest weights; the rest of these is in neither set. If no sample is classified as outlier, their last sixth
    is the outlier set (of fewer than six, all that did not join the inliers; in the release also those that did). A
    set that is empty even so (thesis and release are silent) gets the sixth of the target, at least one, that is
    likeliest to be in it.

    Args:
        target: floating (n, d) features of every target sample, as the retrieval uses them (L2-normalised, dropout
            off).
        source: floating (m, d).
        sets: those of the last epoch: the references of the two target classes.
        rule: which of the two.
        references: see :func:`reference_features`.
        generator: see :func:`reference_features`.
        chunk: target samples at a time; chunk x K inner products are held.
        decision: which samples are outliers, see :func:`~outlier_matching.assignment.is_outlier`; with ``"majority"``
            the author's rule leaves those in neither set that are likeliest outliers, but not likelier than not.

    Returns:
        the new sets, indices rising; weights of all target samples, float32.

    Raises:
        ValueError: for shapes, a rule or a number that do not fit.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    p = class_probabilities(target, reference_features(target, source, sets, references, generator), chunk)
    weights, classes = inlier_weights(p), classify(p)
    outlier = is_outlier(p, decision)
    inlier = ~outlier
    if rule == "author":
        inlier = classes == SOURCE
        candidates = (classes == INLIER).nonzero().flatten()
        candidates = candidates[weights[candidates].sort(descending=True, stable=True).indices]
        inlier[candidates[: len(candidates) // 3]] = True
        if not outlier.any():
            outlier[candidates[len(candidates) // 6 * 5 :]] = True
            outlier &= ~inlier
    order = p[:, OUTLIER].sort(descending=True, stable=True).indices
    sixth = max(1, len(target) // 6)
    if not outlier.any():
        outlier[order[:sixth]] = True
        inlier &= ~outlier
    if not inlier.any():
        inlier[order[-sixth:]] = True
        outlier &= ~inlier
    return PseudoSets(inlier.nonzero().flatten(), outlier.nonzero().flatten(), weights.float())


def reference_features(
    target: Tensor,
    source: Tensor,
    sets: PseudoSets,
    references: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The features of equation 4.7's three classes: what a checkpoint keeps to judge new queries by.

    Args:
        target: (n, d) features of every target sample, n at least 2.
        source: (m, d), m at least 1.
        sets: of these n samples.
        references: K of each class; None: all samples of each (:func:`class_probabilities` takes each class's mean).
            The release takes half the number of source images, the target's drawn with replacement.
        generator: what draws the K with replacement, on the CPU. None: no drawing, K evenly spread over each class.

    Raises:
        ValueError: for shapes that do not fit or K below 1.
    """
    _check_features(target, source)
    if len(sets.weights) != len(target):
        raise ValueError(f"sets of {len(sets.weights)} target samples do not fit features {tuple(target.shape)}")
    if references is not None and references < 1:
        raise ValueError(f"references must be at least 1, got {references}")
    classes = (source, target[sets.inliers], target[sets.outliers])
    if references is None:
        return classes
    first, second, third = (features[_drawn(len(features), references, generator)] for features in classes)
    return first, second, third


def _drawn(size: int, count: int, generator: torch.Generator | None) -> Tensor:
    if generator is not None:
        return torch.randint(size, (count,), generator=generator)
    return torch.arange(count) * size // count


def _check_features(target: Tensor, source: Tensor) -> None:
    if (
        target.dim() != 2
        or source.dim() != 2
        or target.shape[1] != source.shape[1]
        or len(target) < 2
        or not len(source)
    ):
        got = f"{tuple(target.shape)} and {tuple(source.shape)}"
        raise ValueError(f"a target (n, d), n at least 2, and a source (m, d), m at least 1, are needed, got {got}")
