"""Ranking by blocks: against all distances at once, ties, excluded rows, features that lie close together, memory."""

import pytest
import torch
from torch import Tensor

from outlier_matching.retrieval import ranking
from outlier_matching.retrieval.ranking import distance_blocks, nearest, rank_candidates


def features(count: int, length: int, seed: int = 0) -> Tensor:
    return torch.randn(count, length, generator=torch.Generator().manual_seed(seed))


def plain(queries: Tensor, gallery: Tensor, k: int, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One query at a time in float64."""
    indices, distances = [], []
    for number, query in enumerate(queries.double()):
        found = [(float((query - item).norm()), place) for place, item in enumerate(gallery.double())]
        if exclude is not None:
            found = [pair for pair in found if pair[1] != int(exclude[number])]
        found = sorted(found)[:k]
        indices.append([place for _, place in found])
        distances.append([distance for distance, _ in found])
    return torch.tensor(indices), torch.tensor(distances, dtype=torch.float64)


@pytest.mark.parametrize("elements", [1, 180, 2**24])
def test_nearest_is_the_plain_ranking(monkeypatch: pytest.MonkeyPatch, elements: int) -> None:
    """In blocks of one query, of three, and of all."""
    monkeypatch.setattr(ranking, "_ELEMENTS", elements)
    queries, gallery = features(7, 5), features(60, 5, seed=1)
    found = nearest(queries, gallery, 9)
    indices, distances = plain(queries, gallery, 9)
    assert torch.equal(found.indices, indices)
    torch.testing.assert_close(found.distances.double(), distances, rtol=1e-6, atol=1e-6)


def test_ties_keep_the_order_of_indices() -> None:
    gallery = features(4, 3)[[2, 0, 1, 0, 3, 0, 0]]
    found = nearest(features(4, 3)[:1], gallery, 4)
    assert found.indices.tolist() == [[1, 3, 5, 6]]
    assert found.distances.tolist() == [[0.0] * 4]
    gallery = torch.full((100, 4), 2.0)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    gallery[order[:20]], gallery[order[20:40]] = 1.0, 9.0
    copies = order[40:].sort().values
    found = nearest(torch.zeros(3, 4), gallery, 25)
    expected = order[:20].sort().values.tolist() + copies[:5].tolist()
    assert found.indices.tolist() == [expected] * 3


def test_the_query_itself_is_excluded() -> None:
    gallery = features(30, 4)
    exclude = torch.arange(30)
    exclude[3] = -1
    found = nearest(gallery, gallery, 5, exclude=exclude)
    expected, _ = plain(gallery, gallery, 5, exclude)
    assert torch.equal(found.indices, expected)
    assert found.indices[3, 0] == 3 and found.distances[3, 0] == 0
    assert nearest(gallery, gallery, 30, exclude=exclude).indices.shape == (30, 29)


def test_features_that_lie_close_together_keep_their_order() -> None:
    """A network that has collapsed: all features within 1e-3 of a point of length one, whose products round to 1."""
    point = torch.nn.functional.normalize(features(1, 64), dim=1).double()
    gallery = (point + 1e-4 * features(200, 64, seed=1).double()).float()
    queries = (point + 1e-4 * features(20, 64, seed=2).double()).float()
    found = nearest(queries, gallery, 10)
    indices, distances = plain(queries, gallery, 10)
    assert torch.equal(found.indices, indices)
    torch.testing.assert_close(found.distances.double(), distances, rtol=1e-5, atol=0)


def test_blocks_and_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_ELEMENTS", 4 * 11)
    queries, gallery = features(6, 8).double(), features(11, 8, seed=1).double()
    blocks = [values.clone() for _, values, _ in distance_blocks(queries, gallery)]
    assert [len(values) for values in blocks] == [4, 2]
    torch.testing.assert_close(torch.cat(blocks), torch.cdist(queries, gallery).square())
    gallery = features(20, 4)
    assert nearest(gallery.half(), gallery.half(), 3).distances.dtype == torch.float32
    assert nearest(gallery.double(), gallery.double(), 3).distances.dtype == torch.float64


def test_candidates_are_ranked_without_the_rest() -> None:
    gallery = torch.tensor([[0.0], [3.0], [1.0], [2.0]])
    found = rank_candidates(torch.tensor([[0.0]]), gallery, torch.tensor([[3, 1, 0]]), 2)
    assert found.indices.tolist() == [[0, 3]] and found.distances.tolist() == [[0.0, 2.0]]
    found = rank_candidates(torch.tensor([[0.0]]), gallery, torch.tensor([[3, 1, 0]]), 2, exclude=torch.tensor([0]))
    assert found.indices.tolist() == [[3, 1]]


def test_a_large_gallery_is_never_a_whole_matrix() -> None:
    """Blocks hold 2^24 distances at most, in one buffer: 100,000 items and 1,000 queries are ranked 167 queries at a time."""
    queries, gallery = torch.zeros(1000, 1), torch.zeros(100_000, 1)
    found = [(values.numel(), values.data_ptr()) for _, values, _ in distance_blocks(queries, gallery)]
    sizes, places = zip(*found, strict=True)
    assert max(sizes) <= 2**24 and len(sizes) == 6 and len(set(places)) == 1


@pytest.mark.parametrize(("queries", "gallery", "message"), [
    (torch.zeros(2, 3), torch.zeros(2, 4), r"\(2, 3\), \(2, 4\)"),
    (torch.zeros(3), torch.zeros(2, 3), r"\(3,\)"),
    (torch.zeros(2, 3), torch.zeros(0, 3), "gallery is empty"),
])  # fmt: skip
def test_shapes_that_do_not_fit_are_named(queries: Tensor, gallery: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nearest(queries, gallery, 1)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        nearest(torch.zeros(1, 1), torch.zeros(1, 1), 0)
    with pytest.raises(ValueError, match="exclude"):
        nearest(torch.zeros(2, 1), torch.zeros(2, 1), 1, exclude=torch.zeros(3, dtype=torch.int64))
