"""Mean average precision and precision-recall curve of queries in a gallery, from features and labels. Rankings are by
ascending distance, whole or cut after K matches. Distances that differ by no more
than the rounding of float64 are equal. In a whole ranking, items at equal distances form one step, as in scikit-learn; in a
list of K matches, separate steps."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from outlier_matching.method.config import check_choice, check_choices
from outlier_matching.retrieval.ranking import distance_blocks, equal_up_to, nearest

Denominator = Literal["relevant", "possible", "found", "constant"]
Recalls = Literal["eleven", "all"]


@dataclass(frozen=True)
class RankingProtocol:
    """Length of the ranking and divisor of its average precision."""

    k: int | None = None
    """Number of matches per query; None is the whole ranking."""
    denominator: Denominator = "relevant"
    """See :func:`average_precision_at`; a whole ranking takes only ``relevant``."""
    constant: float | None = None
    """Divisor for ``constant``."""

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        check_choices(self)
        if self.k is None and self.denominator != "relevant":
            raise ValueError(f"denominator {self.denominator!r} is for a ranking cut at k, and k is None")
        if (self.denominator == "constant") != (self.constant is not None):
            raise ValueError(f"denominator {self.denominator!r} does not go with constant {self.constant}")
        if self.constant is not None and not self.constant > 0:
            raise ValueError(f"constant must be above 0, got {self.constant}")

    @property
    def counts_all(self) -> bool:
        """Whether a query without relevant items counts as 0. With a constant divisor its score is defined."""
        return self.denominator == "constant"


FULL = RankingProtocol()
"""Standard mean average precision over the whole ranking (the thesis's "standard MAP")."""
AUTHOR = RankingProtocol(50, "constant", 5.0)
"""The author's released test script for Pitts-CycleGAN: precisions of 50 matches, summed and divided by 5."""


@dataclass(frozen=True)
class PrecisionRecall:
    """Mean precision over the queries at equal recall, or at equal length for lists of K matches."""

    recall: Tensor
    """float64 (P,), ascending."""
    precision: Tensor
    """float64 (P,)."""


@dataclass(frozen=True)
class Retrieval:
    """Scores of the rankings of all queries."""

    average_precision: Tensor
    """float64 (Q,) in [0, 1], or above 1 with a constant divisor; NaN for a query without relevant items."""
    relevant: Tensor
    """int64 (Q,): number of relevant items of each query in the gallery."""
    curve: PrecisionRecall | None
    """Mean over the queries with relevant items (with a constant divisor, precision is over all); None if no query has any."""

    @property
    def mean_average_precision(self) -> float:
        """MAP over the queries with relevant items; NaN if there is none."""
        return float(self.average_precision.nanmean())


def retrieve(
    queries: Tensor, gallery: Tensor, query_labels: Tensor, gallery_labels: Tensor, *, exclude: Tensor | None = None,
    protocol: RankingProtocol = FULL, recalls: Recalls = "eleven",
) -> Retrieval:  # fmt: skip
    """Rank the gallery for every query by Euclidean distance and score the rankings. An item is relevant to a query if
    their labels are equal and not negative. Only the sorted distances and the positions of relevant items among them
    are computed, for one block of queries at a time. Returns the scores, on the CPU. Raises ValueError if shapes do not
    fit, features are not finite or the gallery is empty.

    Args:
        queries: (Q, d) features; the thesis's ranking (4.5.2) needs L2-normalised ones.
        gallery: (N, d); its device computes.
        query_labels: int64 (Q,).
        gallery_labels: int64 (N,).
        exclude: int64 (Q,): gallery row of the query itself, which is left out, -1 for none.
        protocol: the whole ranking, or the first K matches.
        recalls: recalls of the interpolated curve: ``eleven`` (0, 0.1, ... 1) or ``all`` (0 and every recall that a query
            reaches, which describes the curves completely). The curve of the first K matches is the mean
            precision against the mean recall at 1, 2, ... K, as in the author's script, whatever ``recalls`` is."""
    for what, features, labels in (("query", queries, query_labels), ("gallery", gallery, gallery_labels)):
        if labels.shape != features.shape[:1]:
            raise ValueError(f"expected one label a {what}, ({len(features)},), got {tuple(labels.shape)}")
        if features.numel() and not torch.stack(features.aminmax()).isfinite().all():  # one pass, without a copy
            raise ValueError(f"the {what} features are not finite")
    query_labels, gallery_labels = query_labels.to(gallery.device), gallery_labels.to(gallery.device)
    own = None if exclude is None else exclude.to(gallery.device)
    ascending, order = gallery_labels.sort(stable=True)
    first, end = (torch.searchsorted(ascending, query_labels, right=right) for right in (False, True))
    relevant = end - first
    if own is not None:
        relevant -= ((own >= 0) & (gallery_labels[own.clamp(min=0)] == query_labels)).to(relevant)
    relevant = relevant.masked_fill(query_labels < 0, 0)
    if protocol.k is not None:
        found = nearest(queries, gallery, protocol.k, exclude=own).indices.to(gallery.device)
        hits = (gallery_labels[found] == query_labels[:, None]) & (query_labels >= 0)[:, None]
        return _first_matches(hits, relevant, protocol)
    # In a gallery sorted by label, the relevant items of a query are consecutive columns.
    if own is not None:
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        own = torch.where(own >= 0, place[own.clamp(min=0)], own)
    end = torch.where(relevant > 0, end, first)
    return _whole_rankings(queries, gallery[order], own, first, end, relevant, _grid(recalls, relevant))


def _whole_rankings(
    queries: Tensor, gallery: Tensor, own: Tensor | None, first: Tensor, end: Tensor, relevant: Tensor, grid: Tensor
) -> Retrieval:
    """Items ``first`` to ``end`` - 1 of the gallery are relevant to a query."""
    scores = torch.full((len(queries),), torch.nan, dtype=torch.float64)
    total = torch.zeros_like(grid)
    for block, distances, norms in distance_blocks(queries, gallery, own):
        width = int((end[block] - first[block]).max())
        columns = first[block, None] + torch.arange(width, device=gallery.device)
        inside = columns < end[block, None]
        items = distances.gather(1, columns.clamp(max=len(gallery) - 1)).masked_fill(~inside, torch.inf)
        items = sorted_rows(items)
        precision = relevant_precision(sorted_rows(distances), items, equal_up_to(items, norms))
        scores[block] = (precision.sum(dim=1) / relevant[block]).cpu()
        answered = relevant[block] > 0
        if answered.any():
            total += interpolated_precision(precision[answered], relevant[block][answered], grid).sum(dim=0)
    counted = int((relevant > 0).sum())
    curve = PrecisionRecall(grid.cpu(), (total / counted).cpu()) if counted else None
    return Retrieval(scores, relevant.cpu(), curve)


def _first_matches(hits: Tensor, relevant: Tensor, protocol: RankingProtocol) -> Retrieval:
    scores = average_precision_at(hits, relevant, protocol.denominator, protocol.constant).cpu()
    answered, curve = relevant > 0, None
    if answered.any():
        recall = (hits[answered].double().cumsum(dim=1) / relevant[answered, None]).mean(dim=0)
        precision = precision_at(hits if protocol.counts_all else hits[answered]).mean(dim=0)
        curve = PrecisionRecall(recall.cpu(), precision.cpu())
    return Retrieval(scores, relevant.cpu(), curve)


def _grid(recalls: Recalls, relevant: Tensor) -> Tensor:
    check_choice("recalls", recalls, Recalls)
    if recalls == "eleven":
        return torch.arange(11, dtype=torch.float64, device=relevant.device) / 10
    counts = np.unique(relevant.cpu().numpy())
    steps = [np.arange(count + 1) / count for count in counts[counts > 0].tolist()]
    return torch.from_numpy(np.unique(np.concatenate([np.zeros(1), *steps]))).to(relevant.device)


def sorted_rows(values: Tensor) -> Tensor:
    """The rows of ``values`` in ascending order; the tensor itself may be overwritten. numpy sorts on the CPU, in as many
    threads as torch has: torch's sort also computes indices, which are not needed, and takes ten times as long."""
    if values.device.type == "cpu":
        parts = np.array_split(values.numpy(), torch.get_num_threads())
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(lambda part: part.sort(axis=1), parts))
        return values
    return values.sort(dim=1).values


def relevant_precision(ascending: Tensor, relevant: Tensor, limit: Tensor) -> Tensor:
    """Precision of the ranking down to each relevant item, including other items at the same distance. Returns float64
    (Q, R): share of relevant items among all items that are not farther; 0 where ``relevant`` is infinite.
    ``ascending``: (Q, N): distances of all items, sorted in each row; ``relevant``: (Q, R): distances of the relevant
    items, sorted in each row, padded with infinity; ``limit``: (Q, R): largest distance that is equal to each up to rounding."""
    position = torch.searchsorted(ascending, limit, right=True)
    found = torch.searchsorted(relevant, limit, right=True)
    return (found.double() / position.clamp(min=1)).masked_fill(relevant == torch.inf, 0.0)


def average_precision_at(
    hits: Tensor, relevant: Tensor, denominator: Denominator = "relevant", constant: float | None = None
) -> Tensor:
    """AP at K: the sum of the precisions at every hit among the first K matches, divided by one of four numbers.

    ========== ======================================== ===========================================
    name       divisor                                  used by
    ========== ======================================== ===========================================
    relevant   R, relevant items in the gallery         most papers; below 1 where R > K
    possible   min(R, K)                                Kaggle's MAP@K
    found      hits among the K                         torchmetrics' ``RetrievalMAP(top_k=K)``
    constant   ``constant``, the same for every query   the author's script (5 for Pitts-CycleGAN)
    ========== ======================================== ===========================================

    Args:
        hits: bool (Q, K): whether each match is relevant, nearest first.
        relevant: (Q,): R of every query.

    Returns:
        float64 (Q,). A query without hits has 0. A query with R = 0 has NaN, or with ``constant`` 0 as in the script.
    """
    protocol = RankingProtocol(max(1, hits.shape[1]), denominator, constant)
    total = (hits * precision_at(hits)).sum(dim=1)
    relevant = relevant.to(total)
    if protocol.constant is not None:
        return total / protocol.constant
    divisor = {"relevant": relevant, "possible": relevant.clamp(max=hits.shape[1]), "found": hits.double().sum(dim=1)}
    answer = total / divisor[protocol.denominator].clamp(min=1)
    return answer.masked_fill(relevant == 0, torch.nan)


def precision_at(hits: Tensor) -> Tensor:
    """Share of hits among the first 1, 2, ... K matches: (Q, K) bool -> float64 (Q, K). Its mean over queries is the
    curve of the author's script."""
    return hits.double().cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=hits.device)


def interpolated_precision(precision: Tensor, relevant: Tensor, recalls: Tensor) -> Tensor:
    """Interpolated precision at recall r: the highest precision at any recall of r or more. Returns float64 (Q, P).

    Args:
        precision: (Q, R): precision down to each relevant item, nearest first, from :func:`relevant_precision`.
        relevant: int64 (Q,): number of relevant items of each query, at least 1.
        recalls: (P,) in [0, 1]."""
    precision = precision.double()
    envelope = precision.flip(1).cummax(dim=1).values.flip(1)
    # 0.3 * 10 is 3.0000000000000004 but means the third item.
    item = (recalls.to(precision)[None] * relevant.to(precision)[:, None] - 1e-9).ceil().long()
    return envelope.gather(1, (item - 1).clamp(min=0))
