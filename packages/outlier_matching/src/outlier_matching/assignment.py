"""Whether a target sample is like the source, the pseudo inliers or the pseudo outliers (thesis equations 4.7 to 4.9).

The three classes of reference data stand in this order everywhere: 0 source, 1 pseudo inlier, 2 pseudo outlier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from outlier_matching.kernels import in_single_precision

SOURCE, INLIER, OUTLIER = range(3)

Decision = Literal["largest", "majority"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
"""When a sample is an outlier: see :func:`is_outlier`."""


def class_probabilities(target: Tensor, references: Sequence[Tensor], chunk: int | None = None) -> Tensor:
    """Equation 4.7: ``p_ic = sum_k exp(<u_i, u_k^c>) / sum_c sum_k exp(<u_i, u_k^c>)``, through log-sum-exp: no
    overflow.

    The thesis has K references in every class. Where their numbers differ, each class counts by its mean instead of
    its sum: as if the same number had been drawn from each (so draws the release), so that a class is not likelier for
    being larger. With equal K both are the same.

    Args:
        target: floating (n, d); L2-normalised in the release, so that inner products lie in [-1, 1] and probabilities
            are soft.
        references: floating (K_c, d) of the source, the pseudo inliers and the pseudo outliers, none of them empty. A
            sample may be its own reference, as in the release.
        chunk: how many target samples at a time: n x K inner products are held at once, without gradients only chunk x
            K.

    Returns:
        (n, 3); rows sum to 1.

    Raises:
        ValueError: for other shapes, or a class without references.
    """
    if (
        target.dim() != 2
        or len(references) != 3
        or any(r.dim() != 2 or r.shape[1] != target.shape[1] for r in references)
    ):
        got = f"{tuple(target.shape)} and {[tuple(r.shape) for r in references]}"
        raise ValueError(f"a target (n, d) and three classes of references (K, d) are needed, got {got}")
    if not all(len(r) for r in references):
        names = ("source", "pseudo inlier", "pseudo outlier")
        empty = [name for name, r in zip(names, references, strict=True) if not len(r)]
        raise ValueError(f"every class needs a reference, got none of: {', '.join(empty)}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    with torch.autocast(target.device.type, enabled=False):
        classes = [in_single_precision(r).T for r in references]
        parts = [
            torch.stack([(part @ r).logsumexp(1) - math.log(r.shape[1]) for r in classes], 1)
            for part in torch.split(in_single_precision(target), chunk or max(1, len(target)))
        ]
        return torch.cat(parts).softmax(1)


def entropy_loss(probabilities: Tensor) -> Tensor:
    """Equation 4.8: ``-1/n sum_i sum_c p_ic log p_ic`` in nats, 0 where every sample is surely of one class.

    A probability of 0 counts as 0 with the gradient 0 (``0 log 0 = 0``). The release adds 1e-8 inside the logarithm
    instead.

    Args:
        probabilities: floating (n, C), n at least 1.

    Returns:
        (), between 0 and log C.

    Raises:
        ValueError: for another shape.
    """
    if probabilities.dim() != 2 or not len(probabilities):
        raise ValueError(f"probabilities must be (n, C), n at least 1, got {tuple(probabilities.shape)}")
    p = in_single_precision(probabilities)
    return -(p * torch.where(p > 0, p, 1).log()).sum(1).mean()


class EntropyLoss(nn.Module):
    """:func:`entropy_loss` of :func:`class_probabilities`; gradients reach the target and the references, as in the
    release."""

    def forward(self, target: Tensor, references: Sequence[Tensor]) -> Tensor:
        """target (n, d), references three of (K_c, d) -> ()."""
        return entropy_loss(class_probabilities(target, references))


def classify(probabilities: Tensor) -> Tensor:
    """The likeliest class of each sample: (n, 3) -> int64 (n,), of equal ones the first, on every device."""
    _check(probabilities)
    source, inlier, outlier = probabilities.unbind(1)
    others = torch.where(inlier >= outlier, INLIER, OUTLIER)
    return torch.where((source >= inlier) & (source >= outlier), SOURCE, others)


def inlier_weights(probabilities: Tensor) -> Tensor:
    """Equation 4.9: ``p_1 + p_2`` where the sample is classified as source, ``p_2`` elsewhere, each over ``p_1 + p_2 +
    p_3``.

    Args:
        probabilities: (n, 3).

    Returns:
        (n,) in [0, 1], detached: weights are constants of an epoch.

    Raises:
        ValueError: for another shape.
    """
    p = probabilities.detach()
    is_source = classify(p) == SOURCE
    return (torch.where(is_source, p[:, SOURCE], 0) + p[:, INLIER]) / p.sum(1)


def is_outlier(probabilities: Tensor, decision: Decision = "largest") -> Tensor:
    """Which samples the method takes for outliers. (n, 3) -> bool (n,).

    ``"largest"``: those whose likeliest class is the pseudo outliers'. ``"majority"``: those that are likelier outliers
    than anything else, ``p_3 > p_1 + p_2``. The inliers are two classes of three, source and pseudo inliers: where a
    sample is as likely in either, the largest probability finds an outlier from 1/3 on, and of pseudo outliers that are
    mostly inliers, as Algorithm 1 starts with, few ever leave.

    This rule drops queries (thesis 4.5.5) and gives the F1 score (figure 4.5). The thesis does not name one; its
    equation 4.9 and the release classify by the largest probability. No threshold on the weight w stands in for it:
    soft probabilities near 1/3 give an inlier that is not "source" a w near 1/3 as well.

    Raises:
        ValueError: for another shape or decision.
    """
    if decision not in DECISIONS:
        raise ValueError(f"decision must be one of {', '.join(DECISIONS)}, got {decision!r}")
    if decision == "largest":
        return classify(probabilities) == OUTLIER
    _check(probabilities)
    return probabilities[:, OUTLIER] > probabilities[:, SOURCE] + probabilities[:, INLIER]


def _check(probabilities: Tensor) -> None:
    if probabilities.dim() != 2 or probabilities.shape[1] != 3:
        raise ValueError(f"probabilities must be (n, 3): source, inlier, outlier; got {tuple(probabilities.shape)}")
