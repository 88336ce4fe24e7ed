"""Mean average precision and precision-recall curve of queries in a gallery, from their features and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from outlier_matching.ranking import distance_blocks, nearest
from outlier_matching.retrieval import (
    FULL,
    Protocol,
    average_precision_at,
    interpolated_precision,
    precision_at,
    recall_at,
    relevant_precision,
    sorted_rows,
)

__all__ = ["PrecisionRecall", "Retrieval", "retrieve"]

Recalls = Literal["eleven", "all"] | Sequence[float]


@dataclass(frozen=True)
class PrecisionRecall:
    """Mean precision over the queries at the same recall, or of a list cut at K at the same length."""

    recall: Tensor
    """float64 (P,), ascending."""
    precision: Tensor
    """float64 (P,)."""

    @property
    def average(self) -> float:
        """Mean of the precisions: the 11-point average precision, where these are the eleven points."""
        return float(self.precision.mean())


@dataclass(frozen=True)
class Retrieval:
    """What a ranking of every query is worth."""

    average_precision: Tensor
    """float64 (Q,) in [0, 1] (above 1 possible with a constant divisor); NaN for a query without a relevant item."""
    relevant: Tensor
    """int64 (Q,): relevant items each query has in the gallery."""
    curve: PrecisionRecall | None
    """Mean over the queries with a relevant item (precision with a constant divisor: over all); None where none has one."""

    @property
    def mean_average_precision(self) -> float:
        """MAP over the queries that have one; NaN where none has."""
        return float(self.average_precision.nanmean())

    @property
    def counted(self) -> int:
        """Queries the MAP is over."""
        return int(self.average_precision.isfinite().sum())


def retrieve(
    queries: Tensor,
    gallery: Tensor,
    query_labels: Tensor,
    gallery_labels: Tensor,
    *,
    exclude: Tensor | None = None,
    protocol: Protocol = FULL,
    recalls: Recalls = "eleven",
    rows: int | None = None,
) -> Retrieval:
    """Rank the gallery for every query by Euclidean distance and score the rankings.

    An item is relevant to a query of the same label, if that is 0 or more. Of each query only the sorted distances and
    the places of its relevant items among them are computed; a block of queries at a time is held.

    Args:
        queries: (Q, d) features, L2-normalised where the thesis's ranking is wanted (4.5.2).
        gallery: (N, d); the work is done on its device.
        query_labels: int64 (Q,).
        gallery_labels: int64 (N,).
        exclude: int64 (Q,): the gallery row that is the query itself and counts nowhere, -1 for none.
        protocol: the whole ranking, or a list cut at K.
        recalls: where the interpolated curve is computed: ``eleven`` (0, 0.1, ... 1), ``all`` (0 and every recall that a
            query reaches: between two of them no query's curve changes) or numbers. A list cut at K has no say: its
            curve is the mean precision against the mean recall at 1, 2, ... K, as the author's script has it.
        rows: queries worked on at a time, see :func:`~outlier_matching.ranking.distance_blocks`.

    Returns:
        The scores, on the CPU.

    Raises:
        ValueError: if shapes do not fit, features are not finite, the gallery is empty or a recall is outside [0, 1].
    """
    for what, features, labels in (("query", queries, query_labels), ("gallery", gallery, gallery_labels)):
        if labels.shape != features.shape[:1]:
            raise ValueError(f"expected one label a {what}, ({len(features)},), got {tuple(labels.shape)}")
        if not features.isfinite().all():
            raise ValueError(f"the {what} features are not finite")
    query_labels, gallery_labels = query_labels.to(gallery.device), gallery_labels.to(gallery.device)
    own = None if exclude is None else exclude.to(gallery.device)
    relevant = _relevant_counts(query_labels, gallery_labels, own)
    if protocol.k is not None:
        return _cut(queries, gallery, query_labels, gallery_labels, relevant, own, protocol, rows)
    return _whole(queries, gallery, query_labels, gallery_labels, relevant, own, _grid(recalls, relevant), rows)


def _relevant_counts(query_labels: Tensor, gallery_labels: Tensor, own: Tensor | None) -> Tensor:
    ascending = gallery_labels.sort().values
    count = torch.searchsorted(ascending, query_labels, right=True) - torch.searchsorted(ascending, query_labels)
    if own is not None:
        count -= ((own >= 0) & (gallery_labels[own.clamp(min=0)] == query_labels)).to(count)
    return count.masked_fill(query_labels < 0, 0)


def _grid(recalls: Recalls, relevant: Tensor) -> Tensor:
    if recalls == "eleven":
        return torch.arange(11, dtype=torch.float64) / 10
    if recalls == "all":
        counts = np.unique(relevant.cpu().numpy())
        steps = [np.arange(count + 1) / count for count in counts[counts > 0].tolist()]
        return torch.from_numpy(np.unique(np.concatenate([np.zeros(1), *steps])))
    if isinstance(recalls, str):
        raise ValueError(f"recalls must be eleven, all or numbers, got {recalls!r}")
    grid = np.unique(np.asarray(recalls, dtype=np.float64))
    if len(grid) == 0 or grid[0] < 0 or grid[-1] > 1:
        raise ValueError(f"recalls must lie in [0, 1], got {list(recalls)}")
    return torch.from_numpy(grid)


def _whole(
    queries: Tensor,
    gallery: Tensor,
    query_labels: Tensor,
    gallery_labels: Tensor,
    relevant: Tensor,
    own: Tensor | None,
    grid: Tensor,
    rows: int | None,
) -> Retrieval:
    # With the gallery in order of its labels, the relevant items of a query are one run of columns.
    gallery_labels, order = gallery_labels.sort(stable=True)
    gallery = gallery[order]
    if own is not None:
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        own = torch.where(own >= 0, place[own.clamp(min=0)], own)
    first = torch.searchsorted(gallery_labels, query_labels)
    end = torch.searchsorted(gallery_labels, query_labels, right=True)
    end = torch.where(relevant > 0, end, first)
    scores = torch.full((len(queries),), torch.nan, dtype=torch.float64)
    grid = grid.to(gallery.device)
    total = torch.zeros_like(grid)
    for block, distances in distance_blocks(queries, gallery, exclude=own, rows=rows):
        width = int((end[block] - first[block]).max())
        columns = first[block, None] + torch.arange(width, device=gallery.device)
        inside = columns < end[block, None]
        items = distances.gather(1, columns.clamp(max=len(gallery) - 1)).masked_fill(~inside, torch.inf)
        precision = relevant_precision(sorted_rows(distances), sorted_rows(items))
        scores[block] = (precision.sum(dim=1) / relevant[block]).cpu()
        answered = relevant[block] > 0
        if answered.any():
            total += interpolated_precision(precision[answered], relevant[block][answered], grid).sum(dim=0)
    counted = int((relevant > 0).sum())
    curve = PrecisionRecall(grid.cpu(), (total / counted).cpu()) if counted else None
    return Retrieval(scores, relevant.cpu(), curve)


def _cut(
    queries: Tensor,
    gallery: Tensor,
    query_labels: Tensor,
    gallery_labels: Tensor,
    relevant: Tensor,
    own: Tensor | None,
    protocol: Protocol,
    rows: int | None,
) -> Retrieval:
    assert protocol.k is not None
    found = nearest(queries, gallery, protocol.k, exclude=own, rows=rows).indices.to(gallery.device)
    hits = (gallery_labels[found] == query_labels[:, None]) & (query_labels >= 0)[:, None]
    scores = average_precision_at(hits, relevant, protocol.denominator, protocol.constant).cpu()
    answered = relevant > 0
    curve = None
    if answered.any():
        recall = recall_at(hits[answered], relevant[answered]).mean(dim=0)
        counted = hits if protocol.counts_all else hits[answered]
        curve = PrecisionRecall(recall.cpu(), precision_at(counted).mean(dim=0).cpu())
    return Retrieval(scores, relevant.cpu(), curve)
