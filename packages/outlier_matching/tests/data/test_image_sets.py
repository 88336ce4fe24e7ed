"""Image-set files: what is read, what is chosen of it, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from efficiency_core.errors import UsageError
from outlier_matching.data.formats import open_images
from outlier_matching.data.hdf5_set import HDF5ImageSet
from outlier_matching.data.image_set import select
from outlier_matching.data.pixels import pixel_batches, read_pixels
from outlier_matching.networks.network import resized

Write = Callable[..., Path]


def test_what_was_written_is_read(write_images: Write) -> None:
    path = write_images(source=5, target=7, outliers=2)
    images = HDF5ImageSet(path)
    with h5py.File(path) as file:
        wanted = {name: array[:] for name, array in file.items()}
    assert len(images) == 12 and images.info.class_names == ("bar", "disc", "cross")
    assert images.info.domain_names == ("source", "target") and images.info.content_digest == "5-7-2-32-0"
    assert np.array_equal(images.labels, wanted["label"]) and images.labels.dtype == np.int64
    assert np.array_equal(images.domains, wanted["domain"])
    assert np.array_equal(images.outliers, wanted["outlier"]) and images.outliers.dtype == bool
    for i in range(12):
        assert images.image(i).dtype == torch.uint8
        assert np.array_equal(images.image(i).permute(1, 2, 0).numpy(), wanted["image"][i])
    assert images.name(3) == "train/000003"
    with pytest.raises(IndexError):
        images.image(12)


def test_folders_hold_a_file_a_split(tmp_path: Path, write_images: Write) -> None:
    write_images("train.h5", attributes={"split": "train"})
    write_images("test.h5", source=3, attributes={"split": "test"})
    assert len(open_images(tmp_path, "image-set", "test")) == 27
    assert len(open_images(tmp_path / "train.h5", "image-set", "train")) == 48
    with pytest.raises(UsageError, match=r"train\.h5: is the train split, expected test"):
        open_images(tmp_path / "train.h5", "image-set", "test")
    with pytest.raises(UsageError, match=r"val\.h5: no such file"):
        open_images(tmp_path, "image-set", "val")


def test_further_domains_have_names(write_images: Write) -> None:
    names = json.dumps(["dslr", "amazon", "webcam"])
    images = HDF5ImageSet(write_images(attributes={"domain_names": names}))
    assert images.info.domain_names == ("dslr", "amazon", "webcam")
    assert set(select(images, domain="amazon").domains) == {1}
    with pytest.raises(UsageError, match="Marks has no image in domain webcam"):
        select(images, domain="webcam")


def test_selections(write_images: Write) -> None:
    images = HDF5ImageSet(write_images(source=5, target=7, outliers=2))
    inliers = select(images, domain=1, outliers=False)
    assert len(inliers) == 5 and (inliers.domains == 1).all() and not inliers.outliers.any()
    assert (inliers.labels >= 0).all()
    for place, index in enumerate(inliers.indices):
        assert torch.equal(inliers.image(place), images.image(int(index)))
        assert inliers.name(place) == images.name(int(index))
    assert len(select(images, outliers=True)) == 2 and len(select(images)) == 12
    assert select(images, indices=[7, 3]).indices.tolist() == [7, 3]
    assert select(images, domain="0", indices=[7, 3]).indices.tolist() == [3]
    again = select(inliers, indices=[1])
    assert torch.equal(again.image(0), inliers.image(1))
    digests = {s.info.content_digest for s in (images, inliers, again, select(images, indices=[3, 7]))}
    assert len(digests) == 4


@pytest.mark.parametrize(("choice", "message"), [
    ({"domain": 2}, "Marks has no domain 2; it has 0 to 1"),
    ({"domain": "2"}, "Marks has no domain '2'"),
    ({"domain": 0, "outliers": True}, "Marks has no image in domain source that is an outlier"),
    ({"indices": []}, "Marks has no image"),
])  # fmt: skip
def test_selections_of_nothing(write_images: Write, choice: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select(HDF5ImageSet(write_images()), **choice)


@pytest.mark.parametrize("threads", [0, 3])
def test_pixels_come_in_order_whatever_the_threads(write_images: Write, threads: int) -> None:
    images = HDF5ImageSet(write_images(source=150, target=150, size=16))
    some = read_pixels(images, [7, 7, 299, 0], 8, threads)
    assert some.shape == (4, 3, 8, 8) and torch.equal(some[0], some[1])
    assert not torch.equal(some[0], some[2])
    parts = list(pixel_batches(images, 16, 128, range(10, 300)))
    assert [len(part) for part in parts] == [128, 128, 34] and parts[0].dtype == torch.uint8
    assert all(torch.equal(torch.cat(parts)[i - 10], images.image(i)) for i in (10, 11, 255, 256, 299))


def test_resizing_is_antialiased_and_does_nothing_at_the_right_size() -> None:
    square = torch.full((3, 20, 20), 77, dtype=torch.uint8)
    assert resized(square, 20) is square and (resized(square[:, :15], 20) == 77).all()
    # Every other column black and white is grey at half the size.
    stripes = torch.tensor([0, 255], dtype=torch.uint8).repeat(3, 16, 8)
    assert abs(resized(stripes, 8).float().mean() - 127.5) < 2 and resized(stripes, 8).float().std() < 40


@pytest.mark.parametrize(("change", "message"), [
    ({"attributes": {"format": "label-video"}}, "not an image-set file .its attribute 'format' is 'label-video'"),
    ({"attributes": {"class_names": "3"}}, "attribute 'class_names' is not a JSON list"),
    ({"attributes": {"class_names": '["bar"]'}}, "image 1 has label 1, expected -1 to 0"),
    ({"attributes": {"domain_names": '["bar"]'}}, "image 24 has domain 1, expected 0 to 0"),
])  # fmt: skip
def test_attributes_that_make_no_sense(write_images: Write, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"train\.h5: {message}"):
        HDF5ImageSet(write_images(**change))


def test_formats_and_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="format must be one of image-set, office31, pittsburgh, folder, got 'voc'"):
        open_images(tmp_path, "voc", "train")
    with pytest.raises(UsageError, match="format pittsburgh has no option 'size'; it has target, upward"):
        open_images(tmp_path, "pittsburgh", "train", size="3")


@pytest.mark.parametrize("wrong", [
    torch.rand(3, 9, 9), torch.zeros(1, 9, 9, dtype=torch.uint8), torch.zeros(9, 9, dtype=torch.uint8),
    torch.zeros(9, 9, 3, dtype=torch.uint8),
])  # fmt: skip
def test_sets_that_give_other_pixels_are_named(
    write_images: Write, monkeypatch: pytest.MonkeyPatch, wrong: torch.Tensor
) -> None:
    images = HDF5ImageSet(write_images())
    monkeypatch.setattr(images, "image", lambda number: wrong)
    with pytest.raises(ValueError, match="train/000003: images must be uint8"):
        read_pixels(images, [3], 8)
