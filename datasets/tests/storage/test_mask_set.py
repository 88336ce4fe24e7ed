"""What all sets of masks share: which pixel has which class, the reader and the sheet."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from synthetic_datasets import ImageSetFile, MaskSetFile, Sample, UsageError
from synthetic_datasets.previews.image_sheets import palette
from synthetic_datasets.previews.preview import contact_sheet
from synthetic_datasets.storage.hdf5 import write
from synthetic_datasets.storage.image_set import EDGE, WHOLE, label_map, mask_fields, seen_parts

LAYOUT = mask_fields(6, 9, 2)


def some_samples(count: int) -> Iterator[Sample]:
    for index in range(count):
        mask = np.full((6, 9), index % 3, "|u1")
        mask[0] = EDGE
        labels = np.array((index % 3 or -1, -1), "<i8")
        yield Sample({"image": np.full((6, 9, 3), 8 * index, "|u1"), "mask": mask, "labels": labels})


def written(path: Path, count: int = 30) -> Path:
    facts = {
        "format": "mask-set", "format_version": 1, "name": "Some", "split": "train", "source": "drawn", "config": {"seed": 0},
        "class_names": ["background", "a", "b"],
    }  # fmt: skip
    write(path, some_samples(count), count, LAYOUT, facts)
    return path


def test_parts_and_labels() -> None:
    rng = np.random.default_rng(0)
    covers = [rng.random((4, 4), np.float32) for _ in range(3)]
    parts = seen_parts(covers, 4)
    for row, column in itertools.product(range(4), range(4)):
        here = [float(covered[row, column]) for covered in covers]
        expected = [math.prod(1 - c for c in here)]
        expected += [c * math.prod(1 - over for over in here[number + 1 :]) for number, c in enumerate(here)]
        assert [float(part[row, column]) for part in parts] == pytest.approx(expected, abs=1e-6)
    assert np.allclose(sum(parts), 1, atol=1e-6)
    whole, nothing = np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)
    cases = [([], [], 0), ([whole], [3], 3), ([whole, whole], [3, 5], 5), ([whole, nothing], [3, 5], 3)]
    for covers, labels, expected in cases:
        assert (label_map(seen_parts(covers, 2), labels) == expected).all()
    covered = np.array([[0, 0.01, 0.03, 0.5, 0.97, 0.99, 1]], np.float32)
    assert 0.97 < WHOLE < 0.99
    assert label_map([1 - covered, covered], [4]).tolist() == [[0, 0, EDGE, EDGE, EDGE, 4, 4]]
    half = np.full((1, 1), 0.5, np.float32)
    assert label_map([0 * half, half, half], [4, 4]).tolist() == [[EDGE]]  # nor one of two things of one class


def test_reader_wants_a_mask_set(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5")
    file = MaskSetFile(path)
    file.verify()
    assert len(file) == 30 and file[4]["mask"].tolist() == [[EDGE] * 9, *[[1] * 9] * 5]
    assert file[4]["labels"].tolist() == [1, -1] and file[29]["image"][0, 0, 0] == 232
    with file.stored() as arrays:
        assert arrays["mask"].chunks == (1, 6, 9) and arrays["labels"].chunks == (30, 2)
    with pytest.raises(UsageError, match="not an image-set file"):
        len(ImageSetFile(path))
    del file  # HDF5 lets nobody write what is open for reading
    with h5py.File(path, "r+") as changed:
        del changed["mask"]
    with pytest.raises(UsageError, match="'mask' is missing"):
        len(MaskSetFile(path))


@pytest.mark.parametrize("classes", [2, 11, 21, 255])
def test_classes_of_the_sheet_differ(classes: int) -> None:
    colours = palette(classes)
    assert len(np.unique(colours[[*range(classes), EDGE]], axis=0)) == classes + 1
    steps = np.abs(np.diff(colours[:classes].astype(int), axis=0)).sum(axis=1)
    assert steps.min() > 40


@pytest.mark.parametrize("count", [1, 5, 30])
def test_the_sheet_shows_each_image_and_its_mask(tmp_path: Path, count: int) -> None:
    file = MaskSetFile(written(tmp_path / "x.h5", count))
    sheet = np.asarray(contact_sheet(file))
    left, top, wide, high = 16 + 118, 16 + 84, 2 * 128 + 2 * 6, 85 + 6
    colours = palette(3)
    for number in range(min(count, 24)):
        x, y = left + number % 4 * wide, top + number // 4 * high
        assert sheet[y + 42, x + 64].tolist() == [8 * number] * 3
        assert sheet[y + 42, x + 129 + 64].tolist() == colours[number % 3].tolist()
        assert sheet[y + 5, x + 129 + 64].tolist() == [255] * 3  # the edge
    assert sheet.shape[0] > top + 4 * 22  # the legend fits beside a single row


def test_more_shapes_than_a_row_of_the_sheet_are_no_wider(tmp_path: Path) -> None:
    four, many = (MaskSetFile(written(tmp_path / f"{count}.h5", count)) for count in (4, 30))
    assert contact_sheet(four).width == contact_sheet(many).width
