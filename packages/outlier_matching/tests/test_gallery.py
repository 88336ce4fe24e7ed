"""The saved gallery: whole round trips, damage, and two engines with one answer."""

import importlib.util
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from outlier_matching.errors import UsageError, WorkError
from outlier_matching.gallery import Engine, Gallery, load_gallery, save_gallery, search, which_engine
from outlier_matching.ranking import nearest

ENGINES = ["torch", *(["faiss"] if importlib.util.find_spec("faiss") else [])]


def gallery(count: int = 50, length: int = 8) -> Gallery:
    features = torch.randn(count, length, generator=torch.Generator().manual_seed(0))
    names = tuple(f"a/{number:03d}.png" for number in range(count))
    stamps = torch.arange(2 * count).view(count, 2) + 1_700_000_000_000_000_000
    return Gallery(torch.nn.functional.normalize(features, dim=1), names, "/pictures/of mine", "c0ffee", stamps)


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    odd = ("Zürich, 1 & 2.png", os.fsdecode(b"not utf-8 \xff.png"), "sub/line\nbreak.png")
    before = replace(gallery(3), names=odd)
    save_gallery(tmp_path / "index.npz", before)
    after = load_gallery(tmp_path / "index.npz")
    assert torch.equal(before.embeddings, after.embeddings) and torch.equal(before.stamps, after.stamps)
    assert (after.names, after.folder, after.network) == (odd, before.folder, before.network)
    assert os.listdir(tmp_path) == ["index.npz"]


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_find_the_nearest(engine: Engine) -> None:
    found, queries = gallery(), torch.randn(9, 8, generator=torch.Generator().manual_seed(1))
    expected = nearest(queries, found.embeddings, 7)
    ours = search(found, queries, 7, engine=engine)
    assert torch.equal(ours.indices, expected.indices)
    torch.testing.assert_close(ours.distances, expected.distances)
    assert search(found, queries, 99, engine=engine).indices.shape == (9, 50)


@pytest.mark.parametrize("engine", ENGINES)
def test_of_equal_distances_the_first_is_found(engine: Engine) -> None:
    copies = replace(gallery(), embeddings=torch.ones(50, 8))
    assert search(copies, torch.zeros(2, 8), 5, engine=engine).indices.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_the_engine_is_chosen_by_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlier_matching.gallery.find_spec", lambda name: None)
    assert which_engine("auto") == "torch" and which_engine("torch", "cuda") == "torch"
    with pytest.raises(UsageError, match=r"pip install \"outlier_matching\[faiss\]\""):
        which_engine("faiss")
    monkeypatch.setattr("outlier_matching.gallery.find_spec", lambda name: object())
    assert which_engine("auto") == "faiss" and which_engine("auto", "cuda") == "torch"
    with pytest.raises(UsageError, match="auto, faiss or torch"):
        which_engine("annoy")  # type: ignore[arg-type]


def test_features_of_another_length_are_refused() -> None:
    with pytest.raises(UsageError, match=r"features of 8 numbers, the queries' are \(2, 5\)"):
        search(gallery(), torch.zeros(2, 5), 1)
    with pytest.raises(ValueError, match="expected 3 features"):
        replace(gallery(3), names=("a", "b", "c"), embeddings=torch.zeros(2, 8))


def test_unusable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "index.npz"
    with pytest.raises(UsageError, match="no such file; expected a gallery index"):
        load_gallery(path)
    with pytest.raises(UsageError, match="is a folder"):
        load_gallery(tmp_path)
    save_gallery(path, gallery())
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text", whole[:700] + bytes(300) + whole[1000:]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"index\.npz: cannot be read"):
            load_gallery(path)
    np.savez(path, embeddings=np.zeros((2, 3)))
    with pytest.raises(UsageError, match="format"):
        load_gallery(path)
    np.savez(
        path, **{name: np.array([{}]) for name in ("format", "embeddings", "names", "folder", "network", "stamps")}
    )
    with pytest.raises(UsageError, match="cannot be read"):
        load_gallery(path)  # pickled objects are never loaded
    save_gallery(path, replace(gallery(), embeddings=torch.full((50, 8), torch.nan)))
    with pytest.raises(UsageError, match="not finite"):
        load_gallery(path)


def test_a_full_disk_leaves_the_old_index(
    tmp_path: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    save_gallery(tmp_path / "index.npz", gallery(3))
    with file_size_limit(1000), pytest.raises(WorkError, match="cannot be written"):
        save_gallery(tmp_path / "index.npz", gallery(500))
    assert len(load_gallery(tmp_path / "index.npz")) == 3 and os.listdir(tmp_path) == ["index.npz"]
