"""What all image sets share: which index is what, figures, chunks of many samples, the reader and the sheet."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from synthetic_datasets import Field, ImageSetFile, Sample, TrackVideoFile, UsageError
from synthetic_datasets.previews.preview import contact_sheet
from synthetic_datasets.storage.hdf5 import write
from synthetic_datasets.storage.image_set import counts_of, factor, image_fields, place, rounded, separation

LAYOUT = image_fields(6, 9, "a class") | {"factor": factor("<f4", "a number", 2)}


def some_samples(count: int, domains: int = 2) -> Iterator[Sample]:
    """Every fifth is an outlier without a label."""
    for index in range(count):
        strange = index % 5 == 4
        arrays = {
            "image": np.full((6, 9, 3), index % 256, "|u1"), "label": np.array(-1 if strange else index % 3, "<i8"),
            "domain": np.array(domains * index // count, "<i8"), "outlier": np.array(strange, "|b1"),
            "factor": np.array((index, -index), "<f4"),
        }  # fmt: skip
        yield Sample(arrays)


def written(path: Path, count: int = 30, domains: int = 2, names: tuple[str, ...] = ()) -> Path:
    facts = {
        "format": "image-set", "format_version": 1, "name": "Some", "split": "train", "source": "drawn", "config": {"seed": 0},
        "class_names": ["a", "b", "c"], **({"domain_names": list(names)} if names else {}),
    }  # fmt: skip
    write(path, some_samples(count, domains), count, LAYOUT, facts)
    return path


def test_counts_rounding_and_separation() -> None:
    assert [rounded(value) for value in (0.49, 0.5, 1.5, 2.5)] == [0, 1, 2, 3]
    rng = np.random.default_rng(0)
    values, positive = rng.integers(0, 6, 40), rng.random(40) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in values[positive] for b in values[~positive]]
    assert separation(values, positive) == pytest.approx(np.mean(pairs))
    assert separation(positive.astype(float), positive) == 1
    with pytest.raises(ValueError, match="got 0 of 40"):
        separation(values, np.zeros(40, bool))
    arrays = {"domain": np.array([0, 0, 1, 1, 1, 2]), "outlier": np.array([0, 0, 1, 0, 0, 1], bool)}
    assert counts_of(arrays) == {"source_images": 2, "target_images": 3, "further_images": 1, "outliers": 2}


def test_places_of_a_split() -> None:
    counts = (7, 10, 3)
    places = [place(0, "train", index, counts, 0.25) for index in range(20)]
    assert [here.domain for here in places] == [0] * 7 + [1] * 10 + [2] * 3
    assert [here.number for here in places[:7]] == list(range(7))
    for domain, outliers in ((0, 0), (1, 3), (2, 1)):  # 2.5 and 0.75, halves up
        here = [item for item in places if item.domain == domain]
        assert sorted(item.number for item in here if item.outlier) == list(range(outliers))
        assert sorted(item.number for item in here if not item.outlier) == list(range(len(here) - outliers))
    for index in (-1, 20):
        with pytest.raises(IndexError, match=f"sample {index}, but the train split has 20"):
            place(0, "train", index, counts, 0.25)


def test_outliers_are_spread_and_differ_between_splits_and_seeds() -> None:
    def where(seed: int, split: str, share: float) -> list[int]:
        return [index for index in range(1000) if place(seed, split, index, (0, 1000), share).outlier]

    few, more = where(0, "train", 0.1), where(0, "train", 0.4)
    assert len(few) == 100 and len(more) == 400 and set(few) < set(more)
    assert 400 < np.mean(few) < 600 and max(np.diff([0, *few, 1000])) < 100
    assert few != where(0, "test", 0.1) and few != where(1, "train", 0.1)
    assert where(0, "train", 0.0) == [] and where(0, "train", 1.0) == list(range(1000))


@pytest.mark.parametrize("count", [1, 5, 1024, 1029])
def test_numbers_lie_many_to_a_chunk_and_images_one(tmp_path: Path, count: int) -> None:
    path = written(tmp_path / "x.h5", count)
    with h5py.File(path) as file:
        assert file["factor"].chunks == (min(count, 1024), 2) and file["image"].chunks == (1, 6, 9, 3)
        assert np.array_equal(file["factor"][:], np.arange(count)[:, None] * (1, -1))
        assert np.array_equal(file["image"][:, 0, 0, 0], np.arange(count) % 256)
    ImageSetFile(path).verify()


def test_the_digest_does_not_depend_on_chunks(tmp_path: Path) -> None:
    def samples() -> Iterator[Sample]:
        return (Sample({"a": np.array(index, "<i8")}) for index in range(10))

    digests = {
        write(tmp_path / f"{rows}", samples(), 10, {"a": Field((), "<i8", "", rows=rows)}, {}) for rows in (1, 3, 10)
    }
    assert len(digests) == 1


def test_verify_reads_in_blocks_and_notices_any_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthetic_datasets.storage.reader._VERIFY_BYTES", 1000)  # six images
    path = written(tmp_path / "x.h5", 30)
    ImageSetFile(path).verify()
    for index in (0, 6, 29):
        with h5py.File(path, "r+") as file:
            file["image"][index, 5, 8, 2] += 1
        with pytest.raises(UsageError, match="not those that were written"):
            ImageSetFile(path).verify()
        with h5py.File(path, "r+") as file:
            file["image"][index, 5, 8, 2] -= 1


def test_reader_wants_an_image_set(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5")
    file = ImageSetFile(path)
    assert len(file) == 30 and file[4]["outlier"] and file[4]["label"] == -1 and file[29]["domain"] == 1
    with pytest.raises(UsageError, match="not a track-video file"):
        len(TrackVideoFile(path))
    del file  # HDF5 lets nobody write what is open for reading
    with h5py.File(path, "r+") as changed:
        del changed["outlier"]
    with pytest.raises(UsageError, match="'outlier' is missing"):
        len(ImageSetFile(path))


@pytest.mark.parametrize(("count", "domains", "names"), [(30, 2, ()), (30, 3, ("x", "y", "z")), (3, 1, ()), (5, 2, ())])
def test_a_sheet_of_any_domains(tmp_path: Path, count: int, domains: int, names: tuple[str, ...]) -> None:
    """The last has outliers, but in one domain, and classes that a domain has no images of."""
    sheet = contact_sheet(ImageSetFile(written(tmp_path / "x.h5", count, domains, names)))
    assert 800 < sheet.width < 1500 and sheet.height > 3 * 50


def test_a_sheet_of_a_set_with_one_domain_does_not_call_it_source(tmp_path: Path) -> None:
    """Where a set has two domains by its own account, and a file images of one, the sheet says which."""
    strips = {}
    for names in (("only",), ("here", "there")):
        file = ImageSetFile(written(tmp_path / f"{len(names)}.h5", 30, 1, names))
        strips[len(names)] = np.asarray(contact_sheet(file))[16 + 84 - 20 : 16 + 84, 16 + 158 :]
    assert len(np.unique(strips[1])) < len(np.unique(strips[2]))
    assert (strips[1] == strips[1][0, 0]).all()


def test_a_sheet_of_outliers_alone(tmp_path: Path) -> None:
    with h5py.File(written(tmp_path / "x.h5"), "r+") as file:
        file["label"][:], file["outlier"][:] = -1, True
    images = ImageSetFile(tmp_path / "x.h5")
    assert contact_sheet(images).height > 2 * 50


def test_the_sheet_shows_each_image_in_its_row_and_block(tmp_path: Path) -> None:
    file = ImageSetFile(written(tmp_path / "x.h5"))
    sheet = np.asarray(contact_sheet(file))
    left, top, high = 16 + 158, 16 + 84, 57  # margin and names, margin and heading, an image of 6 x 9 px and its line
    for row in range(3):  # images 0, 1, 2 have classes a, b, c
        assert sheet[top + row * high + 20, left + 40].tolist() == [row] * 3
    block = 6 * 85 + 12
    assert sheet[top + 20, left + block + 40].tolist() == [15] * 3  # the first of class a in domain 1
    assert sheet[top + 3 * high + 12 + 20, left + 40].tolist() == [4] * 3  # the first outlier
