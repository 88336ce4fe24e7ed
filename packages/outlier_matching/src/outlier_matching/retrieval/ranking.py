"""Exact Euclidean ranking of gallery features for queries, one block of queries at a time, on any device. Distances are
computed in float64. Those that differ by no more than its rounding are equal."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Number of distances in a block: 128 MiB of float64.
_ELEMENTS = 2**24
# Number of gallery features that are centred at a time: 16 MiB of float64, which stay in a cache.
_TILE = 2**21
# The search by inner products rounds. This number of further candidates is measured again exactly.
_SPARE = 16
# Largest relative difference of equal distances, 256 units of the last place of float64.
_ROUNDING = 2.0**-44


@dataclass(frozen=True)
class Nearest:
    """The nearest gallery features of every query, nearest first; of equal distances, the lower index is first."""

    indices: Tensor
    """int64 (Q, k): rows of the gallery."""
    distances: Tensor
    """(Q, k): Euclidean distances in the dtype of the features, at least float32."""


def distance_blocks(
    queries: Tensor, gallery: Tensor, exclude: Tensor | None = None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Squared Euclidean distances in float64, one block of queries at a time with the norms of the centred
    queries. The distances are
    |g - c|^2 - 2 (q - c)'(g - c) + |q - c|^2 with the gallery's mean c. Subtracting the mean does not change distances
    and keeps their digits if all features lie close together. Raises ValueError if the shapes do not fit or the gallery
    is empty.

    Args:
        queries: (Q, d), on any device.
        gallery: (N, d); its device computes.
        exclude: int64 (Q,): gallery row of the query itself, -1 for none. Its value is infinite.

    Yields:
        The queries of the block as a slice; squared distances float64 (rows, N) on the gallery's device, which the caller
        may overwrite, and which the next block overwrites; and |q - c|^2 float64 (rows, 1), for :func:`equal_up_to`."""
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"expected queries (Q, d) and gallery (N, d), got {tuple(queries.shape)}, {tuple(gallery.shape)}"
        )
    if len(gallery) == 0:
        raise ValueError("the gallery is empty")
    if exclude is not None and exclude.shape != queries.shape[:1]:
        raise ValueError(f"expected one gallery row to exclude a query, ({len(queries)},), got {tuple(exclude.shape)}")
    device, center = gallery.device, gallery.mean(dim=0, dtype=_floating(gallery)).double()
    width = gallery.shape[1]
    rows, columns = max(1, _ELEMENTS // len(gallery)), max(1, _TILE // (width + 2))
    # One matrix product for all three terms: (-2 (q - c), 1, |q - c|^2)'(g - c, |g - c|^2, 1).
    whole = torch.ones(min(columns, len(gallery)), width + 2, dtype=torch.float64, device=device)
    buffer = torch.empty(min(rows, len(queries)), len(gallery), dtype=torch.float64, device=device)
    for first in range(0, len(queries), rows):
        block = queries[first : first + rows].to(device, torch.float64) - center
        norms = block.square().sum(dim=1, keepdim=True)
        block = torch.cat((-2 * block, torch.ones_like(norms), norms), dim=1)
        squares = buffer[: len(block)]
        for start in range(0, len(gallery), columns):
            part = whole[: min(columns, len(gallery) - start)]
            torch.sub(gallery[start : start + columns], center, out=part[:, :width])
            torch.linalg.vector_norm(part[:, :width], dim=1, out=part[:, width]).square_()
            torch.mm(block, part.T, out=squares[:, start : start + columns])
        if exclude is not None:
            own = exclude[first : first + rows].to(device)
            present = (own >= 0).nonzero().squeeze(1)
            squares[present, own[present]] = torch.inf
        yield slice(first, first + len(block)), squares, norms


def equal_up_to(squares: Tensor, norms: Tensor) -> Tensor:
    """The largest value of :func:`distance_blocks` that is equal to each of ``squares`` up to rounding. ``norms``: the
    block's |q - c|^2."""
    return squares + _ROUNDING * (squares.abs() + norms)


def nearest(queries: Tensor, gallery: Tensor, k: int, *, exclude: Tensor | None = None) -> Nearest:
    """The ``k`` nearest gallery features of every query, exactly, without the whole distance matrix; a smaller
    gallery gives fewer. Returns the matches, on the device of the queries. Arguments and errors are those of
    :func:`distance_blocks`, and ValueError for ``k`` below 1. If any query excludes a row, every query gets at
    most N - 1 matches."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    k = min(k, len(gallery) - int(exclude is not None and bool((exclude >= 0).any())))
    indices = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    distances = torch.empty(len(queries), k, dtype=_floating(gallery), device=queries.device)
    for block, squares, norms in distance_blocks(queries, gallery, exclude):
        wanted = min(k + _SPARE, squares.shape[1])
        lowest, found = squares.topk(wanted, dim=1, largest=False)
        # If more distances equal the last than places are left, topk takes any. The order of the gallery decides here.
        last = lowest[:, max(k, 1) - 1, None]
        limit = equal_up_to(last, norms)
        crowded = (squares <= limit).sum(dim=1) > wanted
        if crowded.any():
            level = torch.where((squares - last).abs() <= limit - last, last, squares)[crowded]
            found[crowded] = level.sort(dim=1, stable=True).indices[:, :wanted]
        own = None if exclude is None else exclude[block]
        ranked = rank_candidates(queries[block], gallery, found, k, exclude=own)
        indices[block], distances[block] = ranked.indices.to(indices), ranked.distances.to(distances)
    return Nearest(indices, distances)


def rank_candidates(
    queries: Tensor, gallery: Tensor, candidates: Tensor, k: int, *, exclude: Tensor | None = None
) -> Nearest:
    """The ``k`` nearest of some candidates by differences instead of inner products, so equal features have distance 0.
    ``candidates``: int64 (Q, c), different rows of the gallery, c at least ``k`` (one more with ``exclude``)."""
    candidates = candidates.sort(dim=1).values.to(gallery.device)
    distances = torch.empty(candidates.shape, dtype=torch.float64, device=gallery.device)
    # (rows, c, d) differences at a time, limited to the same number of elements.
    rows = max(1, _ELEMENTS // max(1, candidates.shape[1] * gallery.shape[1]))
    for first in range(0, len(queries), rows):
        block = slice(first, first + rows)
        difference = gallery[candidates[block]].double() - queries[block].to(gallery.device, torch.float64)[:, None]
        distances[block] = torch.linalg.vector_norm(difference, dim=2)
    if exclude is not None:
        distances = distances.masked_fill(candidates == exclude.to(gallery.device)[:, None], torch.inf)
    distances, order = distances.sort(dim=1)
    # Candidates whose distances are equal up to rounding have one level, in which they keep the order of the gallery.
    higher = distances[:, 1:] > distances[:, :-1] * (1 + _ROUNDING)
    level = torch.nn.functional.pad(higher.cumsum(dim=1), (1, 0))
    count = candidates.shape[1]
    order = (level * count + order).sort(dim=1).values % max(1, count)
    return Nearest(candidates.gather(1, order)[:, :k], distances[:, :k].to(_floating(gallery)))


def _floating(features: Tensor) -> torch.dtype:
    """The dtype of distances: float32, or float64 for features of it."""
    return torch.float64 if features.dtype == torch.float64 else torch.float32
