"""Folders looked up in folders: what is described, kept and left out, and what a query finds."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from efficiency_core.errors import UsageError, WorkError
from outlier_matching.method.assignment import class_probabilities
from outlier_matching.networks.network import MatchingNetwork
from outlier_matching.retrieval.gallery import load_gallery, save_gallery
from outlier_matching.retrieval.lookup import describe_folder, match, network_digest, open_gallery

Write = Callable[..., Path]


@pytest.fixture
def pictures(tmp_path: Path, write_pictures: Write) -> Path:
    write_pictures(tmp_path / "gallery" / "sub", 4, seed=1)
    return write_pictures(tmp_path / "gallery", 6)


def test_a_folder_is_described_image_by_image(network: MatchingNetwork, pictures: Path) -> None:
    told = []
    found = describe_folder(network, pictures, batch=4, progress=lambda done, total: told.append((done, total)))
    assert found.gallery.names == (*(f"{n}.png" for n in range(6)), *(f"sub/{n}.png" for n in range(4)))
    assert told == [(4, 10), (8, 10), (10, 10)] and found.broken == ()
    assert found.gallery.folder == str(pictures) and found.gallery.network == network_digest(network)
    for name, feature in zip(found.gallery.names, found.gallery.embeddings, strict=True):
        image = torch.from_numpy(np.array(Image.open(pictures / name))).permute(2, 0, 1)
        with torch.no_grad():
            torch.testing.assert_close(feature, network(image[None]).embedding[0], rtol=1e-4, atol=1e-5)


def test_grey_and_transparent_images_are_described_and_broken_ones_named(
    network: MatchingNetwork, pictures: Path
) -> None:
    Image.new("L", (20, 20), 90).save(pictures / "grey.png")
    Image.new("RGBA", (20, 20), (9, 9, 9, 30)).save(pictures / "clear.png")
    (pictures / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:80])
    (pictures / "text.jpg").write_text("not a picture")
    found = describe_folder(network, pictures)
    assert {"grey.png", "clear.png"} <= set(found.gallery.names) and len(found.gallery) == 12
    assert [error.name for error in found.broken] == ["cut.png", "text.jpg"]
    assert "is no image" in found.broken[1].why


def test_only_new_and_changed_images_are_read_again(
    network: MatchingNetwork, pictures: Path, tmp_path: Path, write_pictures: Write
) -> None:
    index = tmp_path / "index.npz"
    told: list[tuple[int, int]] = []

    def again() -> int:
        """How many images were read."""
        told.clear()
        open_gallery(network, pictures, index=index, progress=lambda done, total: told.append((done, total)))
        return told[-1][1] if told else 0

    assert again() == 10
    first = load_gallery(index)
    written = index.stat().st_mtime_ns
    assert again() == 0 and index.stat().st_mtime_ns == written
    Image.new("RGB", (50, 50), (200, 0, 0)).save(pictures / "0.png")
    (pictures / "1.png").unlink()
    write_pictures(pictures / "later", 2, seed=5)
    assert again() == 3
    second = load_gallery(index)
    assert "1.png" not in second.names and "later/1.png" in second.names
    fresh = describe_folder(network, pictures).gallery
    assert second.names == fresh.names
    torch.testing.assert_close(second.embeddings, fresh.embeddings)
    changed, kept = second.names.index("0.png"), second.names.index("5.png")
    assert not torch.allclose(second.embeddings[changed], first.embeddings[0])
    assert torch.equal(second.embeddings[kept], first.embeddings[5])


def test_an_index_stands_in_for_its_folder(network: MatchingNetwork, pictures: Path, tmp_path: Path) -> None:
    made = open_gallery(network, pictures, index=tmp_path / "index.npz").gallery
    pictures.rename(tmp_path / "elsewhere")
    found = open_gallery(network, tmp_path / "index.npz").gallery
    assert torch.equal(found.embeddings, made.embeddings) and found.names == made.names
    with pytest.raises(UsageError, match="is an index already"):
        open_gallery(network, tmp_path / "index.npz", index=tmp_path / "other.npz")


def test_an_index_of_another_network_is_refused(network: MatchingNetwork, pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "index.npz"
    open_gallery(network, pictures, index=index)
    with torch.no_grad():
        network.fc8.bias[0] += 1
    for gallery, kept in ((index, None), (pictures, index)):
        with pytest.raises(UsageError, match=r"index\.npz: was made by another network"):
            open_gallery(network, gallery, index=kept)
    found = describe_folder(network, pictures).gallery
    save_gallery(index, replace(found, embeddings=found.embeddings[:, :7]))
    with pytest.raises(UsageError, match="features of length 7, its network gives 16"):
        open_gallery(network, pictures, index=index)


def test_a_query_finds_the_plain_ranking_and_the_probability_of_equation_4_7(
    network: MatchingNetwork, pictures: Path, tmp_path: Path, write_pictures: Write
) -> None:
    queries = describe_folder(network, write_pictures(tmp_path / "queries", 5, seed=9)).gallery
    gallery = describe_folder(network, pictures).gallery
    found = match(queries, gallery, 4)
    for row, feature in zip(found, queries.embeddings, strict=True):
        distance = (gallery.embeddings.double() - feature.double()).norm(dim=1)
        order = distance.argsort()[:4]
        assert row.names == tuple(gallery.names[place] for place in order.tolist())
        assert row.distances == pytest.approx(distance[order].tolist(), abs=1e-6)
        assert row.outlier_probability is None and row.outlier is None
    assert [row.query for row in found] == list(queries.names)
    assert len(match(queries, gallery, 99)[0].names) == 10
    references = (gallery.embeddings[:3], gallery.embeddings[3:6], queries.embeddings[:2])
    found = match(queries, gallery, 1, references=references)
    p = class_probabilities(queries.embeddings, references)
    assert [row.outlier_probability for row in found] == pytest.approx(p[:, 2].tolist())
    assert [row.outlier for row in found] == (p.argmax(dim=1) == 2).tolist()


def test_a_file_does_not_find_itself(network: MatchingNetwork, pictures: Path, tmp_path: Path) -> None:
    """Also not through a link, while a copy of it is found."""
    described = describe_folder(network, pictures).gallery
    for row in match(described, described, 3):
        assert row.query not in row.names and len(row.names) == 3
    (tmp_path / "queries").mkdir()
    os.symlink(pictures / "2.png", tmp_path / "queries" / "link.png")
    (tmp_path / "queries" / "copy.png").write_bytes((pictures / "3.png").read_bytes())
    copy, link = match(describe_folder(network, tmp_path / "queries").gallery, described, 10)
    assert copy.names[0] == "3.png" and copy.distances[0] < 1e-3 and len(copy.names) == 10
    assert "2.png" not in link.names and len(link.names) == 9


def test_what_cannot_be_matched_is_named(network: MatchingNetwork, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty: holds no image"):
        describe_folder(network, tmp_path / "empty")
    (tmp_path / "empty" / "bad.png").write_text("bad")
    with pytest.raises(WorkError, match=r"none of the 1 images can be read; the first: bad\.png"):
        describe_folder(network, tmp_path / "empty")
    gallery = describe_folder(network, pictures).gallery
    with pytest.raises(UsageError, match="at least 1, got 0"):
        match(gallery, gallery, 0)
    with pytest.raises(UsageError, match="described by another network"):
        match(replace(gallery, network="c0ffee"), gallery, 1)
