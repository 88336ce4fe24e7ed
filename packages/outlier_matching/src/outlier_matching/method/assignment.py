"""Probabilities that a target sample resembles the source (0), the pseudo inliers (1) or the pseudo outliers (2):
equations 4.7 to 4.9."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from outlier_matching.method.config import Decision, check_choice
from outlier_matching.method.kernels import in_single_precision

SOURCE, INLIER, OUTLIER = range(3)
"""Columns of the probabilities."""


def class_probabilities(target: Tensor, references: Sequence[Tensor], chunk: int | None = None) -> Tensor:
    """Equation 4.7: ``p_ic = sum_k exp(<u_i, u_k^c>) / sum_c sum_k exp(<u_i, u_k^c>)``, by log-sum-exp, which does not
    overflow. The thesis has K references in every class. If the classes have different sizes, each class contributes
    the mean of its exponentials instead of their sum, so that a larger class is not more probable. The release draws
    the same number from each class, which has the same effect. With equal K both are the same. Returns (n, 3); rows sum
    to 1. Raises ValueError for other shapes, or a class without references.

    Args:
        target: floating (n, d). The release normalises features to length one, so its inner products lie in [-1, 1] and
            its probabilities are soft.
        references: floating (K_c, d) of the source, the pseudo inliers and the pseudo outliers; none is empty. A sample
            may be its own reference, as in the release.
        chunk: number of target samples computed at a time. None computes all n x K inner products at once; without
            gradients, a chunk holds chunk x K of them."""
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
    """Equation 4.8: ``-1/n sum_i sum_c p_ic log p_ic`` in nats. It is 0 if every sample has one class with probability
    1. A probability of 0 contributes 0 and has the gradient 0 (``0 log 0 = 0``). The release adds 1e-8 inside the
    logarithm instead. Returns (), between 0 and log C. Raises ValueError for another shape. ``probabilities``: floating
    (n, C), n at least 1."""
    if probabilities.dim() != 2 or not len(probabilities):
        raise ValueError(f"probabilities must be (n, C), n at least 1, got {tuple(probabilities.shape)}")
    p = in_single_precision(probabilities)
    return -(p * torch.where(p > 0, p, 1).log()).sum(1).mean()


class EntropyLoss(nn.Module):
    """:func:`entropy_loss` of :func:`class_probabilities`. Gradients reach target and references, as in the release."""

    def forward(self, target: Tensor, references: Sequence[Tensor]) -> Tensor:
        """target (n, d), references three of (K_c, d) -> ()."""
        return entropy_loss(class_probabilities(target, references))


def classify(probabilities: Tensor) -> Tensor:
    """The most probable class of each sample: (n, 3) -> int64 (n,). Of equal probabilities the first class wins."""
    _check(probabilities)
    source, inlier, outlier = probabilities.unbind(1)
    others = torch.where(inlier >= outlier, INLIER, OUTLIER)
    return torch.where((source >= inlier) & (source >= outlier), SOURCE, others)


def inlier_weights(probabilities: Tensor) -> Tensor:
    """Equation 4.9: ``p_1 + p_2`` for a sample classified as source, ``p_2`` for others, divided by ``p_1 + p_2 +
    p_3``. Returns (n,) in [0, 1], without gradient: weights are constant during an epoch. Raises ValueError for another
    shape. ``probabilities``: (n, 3)."""
    p = probabilities.detach()
    is_source = classify(p) == SOURCE
    return (torch.where(is_source, p[:, SOURCE], 0) + p[:, INLIER]) / p.sum(1)


def is_outlier(probabilities: Tensor, decision: Decision = "largest") -> Tensor:
    """Whether the method classifies each sample as an outlier: (n, 3) -> bool (n,).

    ``"largest"``: p_3 is the largest of the three probabilities. ``"majority"``: ``p_3 > p_1 + p_2``. Inliers are spread
    over two classes, source and pseudo inliers, so with ``"largest"`` a p_3 just above 1/3 can make an outlier. Algorithm
    1 starts with a pseudo outlier set that is mostly inliers, and with ``"largest"`` few of them ever leave it.

    This decision drops queries (thesis 4.5.5) and gives the F1 score (figure 4.5). The thesis does not name one; its
    equation 4.9 and the release classify by the largest probability. A threshold on the weight w cannot replace it:
    with soft probabilities near 1/3, an inlier that is not classified as source has a w near 1/3 too. Raises ValueError
    for another shape or decision.
    """
    check_choice("decision", decision, Decision)
    if decision == "largest":
        return classify(probabilities) == OUTLIER
    _check(probabilities)
    return probabilities[:, OUTLIER] > probabilities[:, SOURCE] + probabilities[:, INLIER]


def _check(probabilities: Tensor) -> None:
    if probabilities.dim() != 2 or probabilities.shape[1] != 3:
        raise ValueError(f"probabilities must be (n, 3): source, inlier, outlier; got {tuple(probabilities.shape)}")
