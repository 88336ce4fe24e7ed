"""Image-set files: what is read, what is chosen of it, and what is refused."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from outlier_matching.errors import BrokenImage, UsageError
from outlier_matching.image_files import ImageFile
from outlier_matching.image_sets import open_images, pixels, select, stack

Write = Callable[..., Path]


def test_what_was_written_is_read(write_images: Write, two_domains: Callable[..., dict[str, Any]]) -> None:
    images = ImageFile(write_images(source=5, target=7, outliers=2))
    wanted = two_domains(5, 7, 2, 32, 0)
    assert len(images) == 12 and images.facts.class_names == ("bar", "disc", "cross")
    assert images.facts.domain_names == ("source", "target") and images.facts.content_digest == "5-7-2-32-0"
    assert np.array_equal(images.labels, wanted["label"]) and images.labels.dtype == np.int64
    assert np.array_equal(images.domains, wanted["domain"])
    assert np.array_equal(images.outliers, wanted["outlier"]) and images.outliers.dtype == bool
    for i in range(12):
        assert images.image(i).dtype == torch.uint8
        assert np.array_equal(images.image(i).permute(1, 2, 0).numpy(), wanted["image"][i])
    assert images.name(3) == "train/000003"
    with pytest.raises(IndexError):
        images.image(12)


def test_a_file_in_use_goes_to_another_process(write_images: Write) -> None:
    images = ImageFile(write_images())
    images.image(0)
    assert torch.equal(pickle.loads(pickle.dumps(images)).image(1), images.image(1))


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
    images = ImageFile(write_images(attributes={"domain_names": names}))
    assert images.facts.domain_names == ("dslr", "amazon", "webcam")
    assert set(select(images, domain="amazon").domains) == {1}
    with pytest.raises(UsageError, match="Marks has no image in domain webcam"):
        select(images, domain="webcam")


def test_selections(write_images: Write) -> None:
    images = ImageFile(write_images(source=5, target=7, outliers=2))
    inliers = select(images, domain=1, outliers=False)
    assert len(inliers) == 5 and (inliers.domains == 1).all() and not inliers.outliers.any()
    assert (inliers.labels >= 0).all()
    for place, index in enumerate(inliers.indices):
        assert torch.equal(inliers.image(place), images.image(int(index)))
        assert inliers.name(place) == images.name(int(index))
    assert len(select(images, outliers=True)) == 2
    assert len(select(images)) == 12
    assert select(images, indices=[7, 3]).indices.tolist() == [7, 3]
    assert select(images, domain="0", indices=[7, 3]).indices.tolist() == [3]
    again = select(inliers, indices=[1])
    assert torch.equal(again.image(0), inliers.image(1))
    digests = {s.facts.content_digest for s in (images, inliers, again, select(images, indices=[3, 7]))}
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"domain": 2}, "Marks has no domain 2; it has 0 to 1"),
        ({"domain": "photo"}, "Marks has no domain 'photo'; it has source, target"),
        ({"domain": "2"}, "Marks has no domain '2'"),
        ({"domain": 0, "outliers": True}, "Marks has no image in domain source that is an outlier"),
        ({"indices": []}, "Marks has no image"),
    ],
)
def test_selections_of_nothing(write_images: Write, choice: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select(ImageFile(write_images()), **choice)


@pytest.mark.parametrize("threads", [1, 3])
def test_stacking_reads_in_order_whatever_the_threads(write_images: Write, threads: int) -> None:
    images = ImageFile(write_images(source=150, target=150, size=16))
    whole = stack(images, 16, threads=threads)
    assert whole.shape == (300, 3, 16, 16) and whole.dtype == torch.uint8
    assert all(torch.equal(whole[i], images.image(i)) for i in (0, 1, 255, 256, 299))
    some = pixels(images, [7, 7, 299, 0], 8, threads)
    assert some.shape == (4, 3, 8, 8) and torch.equal(some[0], some[1])
    assert not torch.equal(some[0], some[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attributes": {"format": "label-video"}}, "not an image-set file .its attribute 'format' is 'label-video'"),
        ({"attributes": {"class_names": "3"}}, "attribute 'class_names' is not a JSON list"),
        ({"attributes": {"class_names": '["bar"]'}}, "image 1 has label 1, expected -1 to 0"),
        ({"attributes": {"domain_names": '["bar"]'}}, "image 24 has domain 1, expected 0 to 0"),
    ],
)
def test_attributes_that_make_no_sense(write_images: Write, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"train\.h5: {message}"):
        ImageFile(write_images(**change))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("label", None, "array 'label' is missing"),
        ("label", np.zeros(3, dtype=np.int64), r"array 'label' is \(3,\), beside images .* it must be \(48,\)"),
        ("outlier", np.zeros(48), "array 'outlier' has the wrong type, float64"),
        ("image", np.zeros((48, 8, 8), dtype=np.uint8), r"expected images \(S, H, W, 3\), got \(48, 8, 8\)"),
        ("image", np.zeros((48, 8, 8, 3), dtype=np.uint16), "array 'image' has the wrong type, uint16"),
    ],
)
def test_arrays_that_make_no_sense(write_images: Write, name: str, array: Any, message: str) -> None:
    path = write_images()
    with h5py.File(path, "a") as file:
        del file[name]
        if array is not None:
            file[name] = array
    with pytest.raises(UsageError, match=message):
        ImageFile(path)


def test_damage(write_images: Write) -> None:
    path = write_images(size=64)
    whole = path.read_bytes()
    images = ImageFile(path)
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(UsageError, match=r"train\.h5: not a readable HDF5 file"):
        ImageFile(path)
    with pytest.raises(BrokenImage, match=r"train/000003: is damaged in .*train\.h5"):
        images.image(3)


def test_formats_and_options(tmp_path: Path, write_images: Write) -> None:
    with pytest.raises(UsageError, match="format must be one of image-set, office31, pittsburgh, folder, got 'voc'"):
        open_images(tmp_path, "voc", "train")
    with pytest.raises(UsageError, match="format image-set has no option 'size'; it has none"):
        open_images(write_images(), "image-set", "train", size="3")
    with pytest.raises(UsageError, match="format pittsburgh has no option 'size'; it has target, upward"):
        open_images(tmp_path, "pittsburgh", "train", size="3")
