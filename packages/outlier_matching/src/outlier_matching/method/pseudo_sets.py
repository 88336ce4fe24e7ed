"""Pseudo inliers and pseudo outliers of the target domain, and their update after each epoch (thesis algorithm 1)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from outlier_matching.method.assignment import (
    INLIER,
    OUTLIER,
    SOURCE,
    class_probabilities,
    classify,
    inlier_weights,
    is_outlier,
)
from outlier_matching.method.config import Decision, Rule, check_choice

_START = (0.7, 0.3)  # algorithm 1, step 1


@dataclass(frozen=True)
class PseudoSets:
    """The state of algorithm 1 between epochs; all tensors are on one device."""

    inliers: Tensor
    """int64 (I,) indices into the target: the pseudo inliers."""
    outliers: Tensor
    """int64 (O,) indices of the pseudo outliers. No index is in both sets; with the author's rule some are in neither."""
    weights: Tensor
    """float (n,): w_i of every target sample, in [0, 1]."""

    def __post_init__(self) -> None:
        for name, index in (("inliers", self.inliers), ("outliers", self.outliers)):
            if index.dim() != 1 or index.dtype != torch.int64:
                raise ValueError(f"{name} must be int64 indices (m,), got {index.dtype} {tuple(index.shape)}")
        if self.weights.dim() != 1 or not self.weights.is_floating_point():
            raise ValueError(f"weights must be floating (n,), got {self.weights.dtype} {tuple(self.weights.shape)}")


def initial_sets(target: Tensor, source: Tensor, chunk: int = 1024, nearest: int | None = None) -> PseudoSets:
    """Step 1: the half of the target with the smaller mean distance to the source is inlier (w = 0.7), the other half
    outlier (w = 0.3). Returns the two halves, nearest first; equal distances keep the order of their indices. Weights
    are float32. Raises ValueError for other shapes.

    Args:
        target: floating (n, d), n at least 2; for an odd n the middle sample is an inlier.
        source: floating (m, d), m at least 1.
        chunk: chunk x chunk distances are held at a time; other memory is O(n + m).
        nearest: number of nearest source samples over which the distance is averaged; None (thesis): all. If source
            classes lie far apart in feature space, the mean over all mostly depends on the class of a sample, and the
            two halves separate classes instead of inliers from outliers."""
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
    """The mean Euclidean distance of each target sample to its ``count`` nearest source samples (or all, if there are
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
    target: Tensor, source: Tensor, sets: PseudoSets, rule: Rule = "thesis", references: int | None = None,
    chunk: int = 1024, decision: Decision = "largest",
) -> PseudoSets:  # fmt: skip
    """Steps 6 and 7: weights by equations 4.7 and 4.9 from this epoch's features, then two new sets.

    ``"thesis"``: a sample that ``decision`` classifies as outlier joins the outliers, every other sample the inliers.
    ``"author"``: samples classified as source are inliers, together with a third of those classified as inlier: the
    third with the largest weights. The others of these are in neither set. If no sample is classified as outlier, the
    last sixth of them is the outlier set (of fewer than six, all that did not join the inliers; in the release also
    those that did). If a set is still empty, for which thesis and release have no rule, it gets the sixth of the target
    (at least one sample) with the highest probability of belonging to it. Returns the new sets with ascending indices,
    and weights of all target samples, float32. Raises ValueError for shapes, a rule or a number that do not fit.

    Args:
        target: floating (n, d) features of every target sample as the retrieval uses them (L2-normalised, dropout off).
        source: floating (m, d).
        sets: sets of the last epoch, the references of the two target classes.
        rule: one of the two rules above.
        references: see :func:`reference_features`.
        chunk: number of target samples at a time; chunk x K inner products are held.
        decision: which samples are outliers, see :func:`~outlier_matching.method.assignment.is_outlier`. With
            ``"majority"``, the author's rule leaves a sample in neither set if outlier is its most probable class but p_3
            is not above 1/2."""
    check_choice("rule", rule, Rule)
    p = class_probabilities(target, reference_features(target, source, sets, references), chunk)
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
    target: Tensor, source: Tensor, sets: PseudoSets, references: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Features of the three classes of equation 4.7. A checkpoint keeps them to classify new queries. Raises ValueError
    for shapes that do not fit or K below 1.

    Args:
        target: (n, d) features of every target sample, n at least 2.
        source: (m, d), m at least 1.
        sets: pseudo sets of these n samples.
        references: K of each class, evenly spread over it; None: all samples of each. The release draws half the number of
            source images with replacement."""
    _check_features(target, source)
    if len(sets.weights) != len(target):
        raise ValueError(f"sets of {len(sets.weights)} target samples do not fit features {tuple(target.shape)}")
    if references is not None and references < 1:
        raise ValueError(f"references must be at least 1, got {references}")
    classes = (source, target[sets.inliers], target[sets.outliers])
    if references is None:
        return classes
    first, second, third = (part[torch.arange(references) * len(part) // references] for part in classes)
    return first, second, third


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
