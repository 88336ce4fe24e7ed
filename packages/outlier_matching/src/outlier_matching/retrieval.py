"""Retrieval metrics of rankings: average precision whole and cut at K, precision against recall.

Every ranking is by ascending distance. Equal distances are one step of a whole ranking, as in scikit-learn's
``average_precision_score``; in a list cut at K they follow one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "AUTHOR",
    "FULL",
    "Denominator",
    "Protocol",
    "average_precision",
    "average_precision_at",
    "interpolated_precision",
    "precision_at",
    "recall_at",
    "relevant_precision",
    "sorted_rows",
]

Denominator = Literal["relevant", "possible", "found", "constant"]


@dataclass(frozen=True)
class Protocol:
    """How much of a ranking counts, and what its average precision is divided by."""

    k: int | None = None
    """Matches of a query that are looked at; None is the whole ranking."""
    denominator: Denominator = "relevant"
    """See :func:`average_precision_at`; a whole ranking has no other than ``relevant``."""
    constant: float | None = None
    """The divisor of ``constant``."""

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        if self.k is None and self.denominator != "relevant":
            raise ValueError(f"denominator {self.denominator!r} is for a ranking cut at k, and k is None")
        if self.denominator not in ("relevant", "possible", "found", "constant"):
            raise ValueError(f"denominator must be relevant, possible, found or constant, got {self.denominator!r}")
        if (self.denominator == "constant") != (self.constant is not None):
            raise ValueError(f"denominator {self.denominator!r} does not go with constant {self.constant}")
        if self.constant is not None and not self.constant > 0:
            raise ValueError(f"constant must be above 0, got {self.constant}")

    @property
    def counts_all(self) -> bool:
        """Whether a query without a relevant item counts, as 0: with a constant divisor there is nothing undefined."""
        return self.denominator == "constant"


FULL = Protocol()
"""Mean average precision as it is commonly defined, over the whole ranking (what the thesis's "standard MAP" says)."""
AUTHOR = Protocol(50, "constant", 5.0)
"""The author's test script as it is released for Pitts-CycleGAN: 50 matches, precisions summed and divided by 5."""


def sorted_rows(values: Tensor) -> Tensor:
    """The rows of ``values``, ascending; the tensor itself may be overwritten.

    On the CPU numpy sorts: torch's sort carries indices along, which nothing here wants, and takes ten times as long.
    """
    if values.device.type == "cpu":
        values.numpy().sort(axis=1)
        return values
    return values.sort(dim=1).values


def relevant_precision(ascending: Tensor, relevant: Tensor) -> Tensor:
    """Precision of the ranking down to each relevant item, items at the same distance included.

    Args:
        ascending: (Q, N): distances of all items, sorted in each row.
        relevant: (Q, R): distances of the relevant ones among them, sorted in each row, then infinities.

    Returns:
        float64 (Q, R): of the items at most as far, the share that is relevant; 0 where ``relevant`` is infinite.
    """
    position = torch.searchsorted(ascending, relevant, right=True)
    found = torch.searchsorted(relevant, relevant, right=True)
    return (found.double() / position.clamp(min=1)).masked_fill(relevant == torch.inf, 0.0)


def average_precision(distances: Tensor, matching: Tensor) -> Tensor:
    """Average precision of whole rankings: the mean, over the relevant items, of the precision down to each.

    Equals scikit-learn's ``average_precision_score(matching, -distances)`` row by row, ties included.

    Args:
        distances: (Q, N), finite.
        matching: bool (Q, N): which items are relevant.

    Returns:
        float64 (Q,); NaN for a query without a relevant item.

    Raises:
        ValueError: if the shapes differ.
    """
    if distances.shape != matching.shape or distances.ndim != 2:
        raise ValueError(
            f"expected distances and matching (Q, N), got {tuple(distances.shape)}, {tuple(matching.shape)}"
        )
    count = matching.sum(dim=1)
    relevant = sorted_rows(distances.masked_fill(~matching, torch.inf))[:, : int(count.max()) if len(count) else 0]
    return relevant_precision(sorted_rows(distances.clone()), relevant.contiguous()).sum(dim=1) / count


def average_precision_at(
    hits: Tensor, relevant: Tensor, denominator: Denominator = "relevant", constant: float | None = None
) -> Tensor:
    """AP at K: precisions at the places of the hits among the first K matches, summed and divided by one of four numbers.

    ========== ======================================== ===========================================
    name       divisor                                  in use at
    ========== ======================================== ===========================================
    relevant   R, relevant items in the gallery         most papers; below 1 where R > K
    possible   min(R, K)                                Kaggle's MAP@K
    found      hits among the K                         torchmetrics' ``RetrievalMAP(top_k=K)``
    constant   ``constant``, the same for every query   the author's script (5 for Pitts-CycleGAN)
    ========== ======================================== ===========================================

    Args:
        hits: bool (Q, K): whether each of the nearest matches is relevant, nearest first.
        relevant: (Q,): R of every query.
        denominator: which divisor.
        constant: of ``constant``.

    Returns:
        float64 (Q,). NaN for a query with R = 0, except with ``constant``, where it is 0 as in the script; 0 where
        nothing is found.
    """
    protocol = Protocol(max(1, hits.shape[1]), denominator, constant)
    hits = hits.double()
    total = (hits * hits.cumsum(dim=1) / _places(hits)).sum(dim=1)
    relevant = relevant.to(total)
    if protocol.constant is not None:
        return total / protocol.constant
    divisor = {"relevant": relevant, "possible": relevant.clamp(max=hits.shape[1]), "found": hits.sum(dim=1)}
    answer = total / divisor[protocol.denominator].clamp(min=1)
    return answer.masked_fill(relevant == 0, torch.nan)


def precision_at(hits: Tensor) -> Tensor:
    """Share of hits among the first 1, 2, ... K matches: (Q, K) bool to float64 (Q, K).

    Its mean over the queries is the curve the author's script writes.
    """
    return hits.double().cumsum(dim=1) / _places(hits)


def recall_at(hits: Tensor, relevant: Tensor) -> Tensor:
    """Share of the R relevant items that is among the first 1, 2, ... K matches: float64 (Q, K), NaN where R = 0."""
    return hits.double().cumsum(dim=1) / relevant.to(hits.device)[:, None]


def interpolated_precision(precision: Tensor, relevant: Tensor, recalls: Tensor) -> Tensor:
    """Interpolated precision: at recall r the highest precision at any recall of r or more; at r = 0 the highest of all.

    Args:
        precision: (Q, R): precision down to each relevant item, nearest first, from :func:`relevant_precision`.
        relevant: int64 (Q,): how many relevant items each query has, at least 1.
        recalls: (P,) in [0, 1].

    Returns:
        float64 (Q, P).
    """
    precision = precision.double()
    envelope = precision.flip(1).cummax(dim=1).values.flip(1)
    # 0.3 * 10 is 3.0000000000000004 and must still be the third item.
    item = (recalls.to(precision)[None] * relevant.to(precision)[:, None] - 1e-9).ceil().long()
    return envelope.gather(1, (item - 1).clamp(min=0))


def _places(hits: Tensor) -> Tensor:
    return torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=hits.device)
