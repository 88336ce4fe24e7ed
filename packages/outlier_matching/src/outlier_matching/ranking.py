"""Which gallery features lie nearest to a query: exact Euclidean ranking, a few queries at a time, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Nearest", "distance_blocks", "nearest", "rank_candidates", "ranks"]

# Distances held at once where the caller does not say how many queries: 64 MiB of float32.
_ELEMENTS = 2**24
# The search by inner products rounds; so many more than asked for are measured again, one by one.
_SPARE = 16


@dataclass(frozen=True)
class Nearest:
    """The nearest gallery features of every query, nearest first; of equal distances the lower index first."""

    indices: Tensor
    """int64 (Q, k): rows of the gallery."""
    distances: Tensor
    """(Q, k): Euclidean distances, in the features' floating type (at least float32)."""


def distance_blocks(
    queries: Tensor, gallery: Tensor, *, exclude: Tensor | None = None, rows: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """The distances of all queries to all gallery features, a block of queries at a time.

    What is yielded orders a query's gallery as its Euclidean distances do, but is not the distance: it is
    |g - c|^2 - 2 (q - c)'(g - c) with c the gallery's mean, that is the squared distance less |q - c|^2. Taking the mean
    away leaves distances as they are and keeps their digits where all features lie close together.

    Args:
        queries: (Q, d), on any device.
        gallery: (N, d); the work is done on its device.
        exclude: int64 (Q,): the gallery row that is the query itself, -1 for none. It is put at infinity.
        rows: queries in a block; by default as many as make 2^24 numbers.

    Yields:
        The block's queries as a slice, and (rows, N) on the gallery's device; the caller may overwrite it.

    Raises:
        ValueError: if the shapes do not fit, the gallery is empty, or ``rows`` is below 1.
    """
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"expected queries (Q, d) and gallery (N, d), got {tuple(queries.shape)}, {tuple(gallery.shape)}"
        )
    if len(gallery) == 0:
        raise ValueError("the gallery is empty")
    if exclude is not None and exclude.shape != queries.shape[:1]:
        raise ValueError(f"expected one gallery row to exclude a query, ({len(queries)},), got {tuple(exclude.shape)}")
    rows = max(1, _ELEMENTS // len(gallery)) if rows is None else rows
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    gallery = _floating(gallery)
    center = gallery.mean(dim=0)
    centered = gallery - center
    norms = centered.square().sum(dim=1)
    for first in range(0, len(queries), rows):
        block = queries[first : first + rows].to(gallery) - center
        distances = torch.addmm(norms, block, centered.T, alpha=-2.0)
        if exclude is not None:
            own = exclude[first : first + rows].to(gallery.device)
            present = (own >= 0).nonzero().squeeze(1)
            distances[present, own[present]] = torch.inf
        yield slice(first, first + len(block)), distances


def nearest(
    queries: Tensor, gallery: Tensor, k: int, *, exclude: Tensor | None = None, rows: int | None = None
) -> Nearest:
    """The ``k`` nearest gallery features of every query, exactly, without the whole distance matrix.

    Args:
        queries: (Q, d).
        gallery: (N, d); the work is done on its device.
        k: how many; fewer are returned where the gallery holds fewer.
        exclude: int64 (Q,): the gallery row a query must not find (itself), -1 for none. Given for one query, every
            query gets one match less at most: ``k`` is at most N - 1 then.
        rows: queries worked on at a time, see :func:`distance_blocks`.

    Returns:
        The matches, on the queries' device.

    Raises:
        ValueError: for ``k`` below 1, and see :func:`distance_blocks`.
    """
    k = _at_most(k, gallery, exclude)
    indices = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    distances = torch.empty(len(queries), k, dtype=_floating(gallery[:1]).dtype, device=queries.device)
    for block, values in distance_blocks(queries, gallery, exclude=exclude, rows=rows):
        wanted = min(k + _SPARE, values.shape[1])
        highest, found = values.topk(wanted, dim=1, largest=False, sorted=False)
        # Of more equal values than there is room for, topk takes any; the order of the gallery is to decide.
        tied = (values <= highest.amax(dim=1, keepdim=True)).sum(dim=1) > wanted
        if tied.any():
            found[tied] = values[tied].sort(dim=1, stable=True).indices[:, :wanted]
        own = None if exclude is None else exclude[block]
        ranked = rank_candidates(queries[block], gallery, found, k, exclude=own)
        indices[block], distances[block] = ranked.indices.to(indices), ranked.distances.to(distances)
    return Nearest(indices, distances)


def rank_candidates(
    queries: Tensor, gallery: Tensor, candidates: Tensor, k: int, *, exclude: Tensor | None = None
) -> Nearest:
    """The ``k`` nearest of some candidates, by differences instead of inner products: equal features have distance 0.

    Args:
        queries: (Q, d).
        gallery: (N, d).
        candidates: int64 (Q, c): rows of the gallery, without repetition, c at least ``k`` (one more with ``exclude``).
        k: how many to keep.
        exclude: as in :func:`nearest`.
    """
    candidates = candidates.sort(dim=1).values.to(gallery.device)
    features = _floating(gallery)
    distances = torch.empty(candidates.shape, dtype=features.dtype, device=gallery.device)
    # (rows, c, d) differences at once: as many rows as keep within the same number of elements.
    rows = max(1, _ELEMENTS // max(1, candidates.shape[1] * gallery.shape[1]))
    for first in range(0, len(queries), rows):
        block = slice(first, first + rows)
        difference = features[candidates[block]] - queries[block].to(features)[:, None]
        distances[block] = torch.linalg.vector_norm(difference, dim=2)
    if exclude is not None:
        distances = distances.masked_fill(candidates == exclude.to(gallery.device)[:, None], torch.inf)
    distances, order = distances.sort(dim=1, stable=True)
    return Nearest(candidates.gather(1, order)[:, :k], distances[:, :k])


def ranks(queries: Tensor, gallery: Tensor, items: Tensor, *, rows: int | None = None) -> Tensor:
    """Place of given gallery features in every query's ranking, from 0; of equal distances the lower index first.

    Args:
        queries: (Q, d).
        gallery: (N, d); the work is done on its device.
        items: int64 (Q, r): rows of the gallery.
        rows: queries worked on at a time, see :func:`distance_blocks`.

    Returns:
        int64 (Q, r), on the queries' device.

    Raises:
        ValueError: see :func:`distance_blocks`.
    """
    places = torch.empty(items.shape, dtype=torch.int64, device=queries.device)
    number = torch.arange(len(gallery), device=gallery.device)
    for block, values in distance_blocks(queries, gallery, rows=rows):
        for column in range(items.shape[1]):
            item = items[block, column, None].to(gallery.device)
            own = values.gather(1, item)
            before = (values < own) | ((values == own) & (number < item))
            places[block, column] = before.sum(dim=1).to(places.device)
    return places


def _at_most(k: int, gallery: Tensor, exclude: Tensor | None) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    excluding = exclude is not None and bool((exclude >= 0).any())
    return min(k, len(gallery) - 1 if excluding else len(gallery))


def _floating(features: Tensor) -> Tensor:
    """Features as float32, or float64 if that is what they are: halves are for storing."""
    return features if features.dtype == torch.float64 else features.float()
