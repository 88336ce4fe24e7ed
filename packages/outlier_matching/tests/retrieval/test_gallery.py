"""The saved gallery: whole round trips, damage, and two engines with one answer."""

import errno
import importlib.util
import io
import os
import pickle
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from efficiency_core.errors import UsageError, WorkError
from outlier_matching.retrieval.gallery import Engine, Gallery, load_gallery, save_gallery, search, which_engine
from outlier_matching.retrieval.ranking import nearest

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


def test_engines_and_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlier_matching.retrieval.gallery.find_spec", lambda name: None)
    assert which_engine("auto") == "torch" and which_engine("torch", "cuda") == "torch"
    with pytest.raises(UsageError, match=r"pip install \"outlier_matching\[faiss\]\""):
        which_engine("faiss")
    monkeypatch.setattr("outlier_matching.retrieval.gallery.find_spec", lambda name: object())
    assert which_engine("auto") == "faiss" and which_engine("auto", "cuda") == "torch"
    with pytest.raises(UsageError, match="auto, faiss or torch"):
        which_engine("annoy")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"features of length 8, those of the queries are \(2, 5\)"):
        search(gallery(), torch.zeros(2, 5), 1)
    with pytest.raises(ValueError, match="expected 3 features"):
        replace(gallery(3), names=("a", "b", "c"), embeddings=torch.zeros(2, 8))


def damaged(path: Path, **changes: Any) -> Path:
    """An index with some arrays changed, or left out where None."""
    save_gallery(path, gallery())
    with np.load(path) as file:
        arrays = dict(file) | changes
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_gallery(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value)


def test_unusable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "index.npz"
    assert "no such file; expected a gallery index" in refused(path)
    assert "is a folder" in refused(tmp_path)
    save_gallery(path, gallery())
    whole = path.read_bytes()
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    for content in (whole[: len(whole) // 2], whole[:-1], b"", b"text", pickle.dumps({}), buffer.getvalue()):
        path.write_bytes(content)
        assert "no whole .npz file" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "text")
    assert "lacks the arrays format, embeddings, names, folder, network, stamps" in refused(path)


@pytest.mark.parametrize(("changes", "message"), [
    *(({name: None}, f"lacks the arrays {name}") for name in ("format", "embeddings", "names", "folder", "network", "stamps")),
    ({"embeddings": np.zeros(50, np.float32)}, r"expected 50 features .*\(50,\)"),
    ({"embeddings": np.zeros((50, 2, 4), np.float32)}, r"expected 50 features .*\(50, 2, 4\)"),
    ({"embeddings": np.zeros((50, 0), np.float32)}, "no features"), ({"embeddings": np.float32(3)}, "expected 50 features"),
    ({"embeddings": np.zeros((50, 8), np.complex64)}, "embeddings are complex64"),
    ({"embeddings": np.full((50, 8), np.nan, np.float32)}, "not finite"), ({"embeddings": np.array([{}])}, "Object arrays"),
    ({"stamps": np.zeros((50, 3), np.int64)}, "stamps"), ({"stamps": np.zeros((50, 2))}, "stamps are float64"),
    ({"names": np.zeros(3, np.uint8)}, "expected 4 features"), ({"names": np.array(["a"])}, "names are <U1"),
    ({"format": np.frombuffer(b"faces 1", np.uint8)}, "its format is .'faces 1'"),
])  # fmt: skip
def test_arrays_of_another_kind_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert re.search(message, refused(damaged(tmp_path / "index.npz", **changes)))


def test_whatever_is_damaged_ends_with_one_line(tmp_path: Path) -> None:
    path, rng = damaged(tmp_path / "index.npz"), np.random.default_rng(0)
    whole = path.read_bytes()
    broken = 0
    for _ in range(400):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            assert len(load_gallery(path)) == 50
        except UsageError as error:
            broken += 1
            assert "\n" not in str(error)
    assert broken > 200


def test_a_full_disk_leaves_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(file: Any, **arrays: Any) -> None:
        file.write(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    save_gallery(tmp_path / "index.npz", gallery(3))
    monkeypatch.setattr(np, "savez", fill)
    with pytest.raises(WorkError, match="cannot be written"):
        save_gallery(tmp_path / "index.npz", gallery(500))
    assert len(load_gallery(tmp_path / "index.npz")) == 3 and os.listdir(tmp_path) == ["index.npz"]
