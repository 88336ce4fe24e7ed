"""Sets of images from folders, HDF5 files, Office-31 and ImageNet's layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from efficiency_core.errors import BrokenFile, UsageError
from weight_align.data import DatasetInfo, ImageFiles, ImageTensor, first_images, open_dataset
from weight_align.data.dataset import first_of_each_class
from weight_align.data.imagenet import random_part
from weight_align.data.office31 import held_out

Folder = Callable[..., Path]


def test_parts_of_a_set(make_images: Callable[..., ImageTensor]) -> None:
    labels = torch.tensor([2, 0, 1, 0, 2, 1, 0, 2])
    assert first_of_each_class(labels, 3, 3).tolist() == [0, 1, 2]
    assert first_of_each_class(labels, 5, 3).tolist() == [0, 1, 2, 3, 5]  # the first two classes give one more
    for count in range(1, 8):
        fewer, more = (set(first_of_each_class(labels, k, 3).tolist()) for k in (count - 1, count))
        assert len(more) == count and fewer < more
    with pytest.raises(UsageError, match="8 images of 3 classes need 3 of class 1, which has 2"):
        first_of_each_class(labels, 8, 3)
    images = make_images(12)
    assert first_images(images, 0) is images
    part = first_images(images, 6)
    assert torch.equal(part.labels, images.labels[:6]) and part.info != images.info
    with pytest.raises(UsageError, match="Marks has 12 images, 13 are asked for"):
        first_images(images, 13)
    images = make_images(12)
    part = images.chosen(torch.tensor([5, 2]))
    assert torch.equal(part.images[0], images.images[5]) and part.labels.tolist() == [2, 2]
    digests = {images.info.content_digest, part.info.content_digest, make_images(12, seed=1).info.content_digest}
    assert len(digests) == 3 and images.info.content_digest == make_images(12).info.content_digest


def test_sets_that_make_no_sense() -> None:
    info, labels = DatasetInfo("Odd", "", ("a", "b")), torch.tensor([0, 1])
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    for images, numbers, message in (
        (pixels.float(), labels, r"expected images uint8 \(N, 3, H, W\), got torch.float32"),
        (pixels[:, :1], labels, r"got torch.uint8 \(2, 1, 4, 4\)"),
        (pixels[:0], labels[:0], "Odd: has no image"),
        (pixels, labels[:1], r"expected labels int64 \(2,\), got torch.int64 \(1,\)"),
        (pixels, labels - 1, "image 0 has label -1, expected 0 to 1"),
    ):
        with pytest.raises(UsageError, match=message):
            ImageTensor(images, numbers, info)


def test_image_folder(write_folder: Folder, make_images: Callable[..., ImageTensor]) -> None:
    root = write_folder(suffix=".png")
    images = open_dataset(root, "image-folder", "train")
    assert isinstance(images, ImageTensor) and images.info.name == "marks"
    assert images.info.class_names == ("bar", "cross", "disc")  # in the order of their names
    drawn = make_images(24)
    assert torch.equal(images.images[images.labels == 2], drawn.images[drawn.labels == 1])
    assert open_dataset(root, "image-folder", "train", size=8, name="Mine").size == (8, 8)
    with pytest.raises(UsageError, match=r"test: no such folder; .* there is train"):
        open_dataset(root, "image-folder", "test")
    with pytest.raises(UsageError, match="option size: expected a whole number of 1 or more, got '0'"):
        open_dataset(root, "image-folder", "train", size=0)
    (root / "empty").mkdir()
    with pytest.raises(UsageError, match="empty: has no folder of a class"):
        open_dataset(root, "image-folder", "empty")


def test_a_cache_is_used_while_it_fits(tmp_path: Path, write_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = write_folder(), tmp_path / "cache" / "train.pt"
    first = open_dataset(root, "image-folder", "train", cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr("weight_align.data.image_folder.read_all", lambda *_: pytest.fail("the cache fits"))
        again = open_dataset(root, "image-folder", "train", cache=cache)
    assert isinstance(first, ImageTensor) and isinstance(again, ImageTensor)
    assert torch.equal(first.images, again.images) and first.info == again.info
    changed = root / "train" / "bar" / "0000.jpg"
    Image.new("RGB", (16, 16), "blue").save(changed)
    third = open_dataset(root, "image-folder", "train", cache=cache)
    assert isinstance(third, ImageTensor) and third.info != first.info and third.images[0, 2].min() > 200
    assert open_dataset(root, "image-folder", "train", cache=cache, size=8).size == (8, 8)
    cache.write_bytes(b"something else")
    with pytest.raises(UsageError, match=r"train\.pt: not a readable checkpoint"):
        open_dataset(root, "image-folder", "train", cache=cache)


def test_hdf5_images(write_hdf5: Folder, draw: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    pixels, labels = draw(12)
    domains = np.arange(12) // 6
    arrays = {"image": pixels, "label": labels, "domain": domains, "outlier": labels == 7}
    path = write_hdf5("data/train.h5", arrays, split="train", domain_names='["dslr", "amazon"]')
    whole = open_dataset(path.parent, "image-set", "train")
    assert isinstance(whole, ImageTensor) and len(whole) == 12 and whole.info.name == "Marks"
    assert np.array_equal(whole.images.permute(0, 2, 3, 1).numpy(), pixels) and whole.images.is_contiguous()
    part = open_dataset(path, "image-set", "train", domain="amazon")
    assert isinstance(part, ImageTensor) and part.info.name == "Marks amazon"
    assert torch.equal(part.images, whole.images[6:]) and torch.equal(part.labels, whole.labels[6:])
    assert open_dataset(path, "image-set", "train", domain=0).labels.tolist() == labels[:6].tolist()
    with pytest.raises(UsageError, match="has no domain 'webcam'; it has dslr, amazon"):
        open_dataset(path, "image-set", "train", domain="webcam")
    with pytest.raises(UsageError, match="is the train split, expected test"):
        open_dataset(path, "image-set", "test")
    with pytest.raises(UsageError, match=r"test\.h5: no such file; expected an image-set file"):
        open_dataset(path.parent, "image-set", "test")


def test_hdf5_that_makes_no_sense(write_hdf5: Folder, draw: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    pixels, labels = draw(12)
    labels[[3, 4]] = -1
    path = write_hdf5("train.h5", {"image": pixels, "label": labels})
    with pytest.raises(UsageError, match=r"2 of 12 images have no label \(-1\); the option unlabelled=left_out"):
        open_dataset(path, "image-set", "train")
    images = open_dataset(path, "image-set", "train", unlabelled="left_out")
    assert images.labels.tolist() == np.delete(labels, [3, 4]).tolist()
    with pytest.raises(UsageError, match="has no domains, but domain '0' is asked for"):
        open_dataset(path, "image-set", "train", domain=0)
    pixels, labels = draw(6)
    good = {"image": pixels, "label": labels}
    for change, attributes, message in (
        ({}, {"format": "label-video"}, "not an image-set file .its attribute 'format' is 'label-video'"),
        ({}, {"class_names": '["bar"]'}, "image 1 has label 1, expected 0 to 0"),
        ({"label": labels[:3]}, {}, r"array 'label' has shape \(3,\), expected \(6\)"),
        ({"image": pixels.astype(np.uint16)}, {}, "array 'image' has type uint16"),
    ):
        with pytest.raises(UsageError, match=message):
            open_dataset(write_hdf5("train.h5", good | change, **attributes), "image-set", "train")


@pytest.mark.parametrize(("domain", "whole", "part"), [("amazon", 2817, 415), ("dslr", 498, 73), ("webcam", 795, 130)])
def test_the_thesis_held_out_numbers(domain: str, whole: int, part: int) -> None:
    chosen = held_out(domain, whole)
    assert int(chosen.sum()) == part
    places = chosen.nonzero().flatten()
    gaps = places.diff()
    assert int(gaps.max() - gaps.min()) <= 1  # spread evenly over the images, so also over the classes
    assert int(held_out(domain, 10).sum()) in (1, 2)


def test_office31(tmp_path: Path) -> None:
    for domain, below in (("amazon", "images/"), ("dslr", "")):
        for name in ("mug", "pen"):
            for number in range(7):
                path = tmp_path / domain / f"{below}{name}" / f"frame_{number:04d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (30 + number, 20), (20 * number, 0, 200 if name == "pen" else 0)).save(path)
    whole = open_dataset(tmp_path, "office31", "all", domain="amazon", size=16)
    assert len(whole) == 14 and whole.size == (16, 16) and whole.info.class_names == ("mug", "pen")
    parts = [open_dataset(tmp_path, "office31", split, domain="amazon", size=16) for split in ("train", "test")]
    assert [len(part) for part in parts] == [12, 2] and parts[1].labels.tolist() == [0, 1]
    together = torch.cat([part.images for part in parts if isinstance(part, ImageTensor)])
    assert isinstance(whole, ImageTensor)
    assert sorted(map(bytes, together.numpy())) == sorted(map(bytes, whole.images.numpy()))
    assert len(open_dataset(tmp_path, "office31", "all", domain="dslr")) == 14
    for options, split, message in (
        ({}, "all", "office31 needs the option domain, one of amazon, dslr, webcam, got ''"),
        ({"domain": "caltech"}, "all", "got 'caltech'"),
        ({"domain": "webcam"}, "all", "webcam: no such folder; expected Office-31 as"),
        ({"domain": "dslr"}, "val", "split must be one of train, test, all, got 'val'"),
    ):
        with pytest.raises(UsageError, match=message):
            open_dataset(tmp_path, "office31", split, **options)


def test_imagenet(write_folder: Folder) -> None:
    root = write_folder("val", size=40, suffix=".JPEG")
    images = open_dataset(root, "imagenet", "val", size=16)
    assert isinstance(images, ImageFiles) and len(images) == 24 and images.size == (16, 16)
    assert images.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8 and images.info.name == "ImageNet"
    assert images.image(3).shape == (3, 40, 40) and images.for_testing(3).shape == (3, 16, 16)
    rngs = [np.random.default_rng(seed) for seed in (0, 0, 1)]
    first, again, other = (images.for_training(3, rng) for rng in rngs)
    assert first.shape == (3, 16, 16) and torch.equal(first, again) and not torch.equal(first, other)
    part = images.chosen(torch.tensor([20, 1]))
    assert torch.equal(part.image(0), images.image(20)) and part.labels.tolist() == [2, 0]
    assert part.info.content_digest != images.info.content_digest
    (root / "val" / "bar" / "0000.JPEG").write_bytes(b"\xff\xd8\xffnothing")
    with pytest.raises(BrokenFile, match=r"^val/bar/0000\.JPEG: is no image"):
        images.image(0)


def test_the_middle_of_an_image_is_tested(tmp_path: Path) -> None:
    image = np.zeros((256, 384, 3), dtype=np.uint8)
    image[16:240, 80:304] = 200  # the middle square of 224 pixels, where no resizing is needed
    path = tmp_path / "val" / "a" / "1.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(image).save(path)
    images = open_dataset(tmp_path, "imagenet", "val")
    assert isinstance(images, ImageFiles) and (images.for_testing(0) == 200).all()


def test_random_parts_lie_inside_and_have_the_areas_they_should() -> None:
    rng = np.random.default_rng(0)
    areas, ratios = [], []
    for _ in range(2000):
        top, left, height, width = random_part(400, 400, rng)
        assert 0 <= top <= 400 - height and 0 <= left <= 400 - width and min(height, width) > 0
        areas.append(height * width / 400**2)
        ratios.append(width / height)
    assert 0.075 < min(areas) < 0.1 and 0.9 < max(areas) <= 1 and 0.4 < np.mean(areas) < 0.56
    assert min(ratios) > 0.74 and max(ratios) < 1.35 and abs(np.mean(np.log(ratios))) < 0.02
    # No part of such an image has a shape between 3:4 and 4:3 and 8 % of its area: the middle is taken.
    assert random_part(10, 1000, rng) == (0, 493, 10, 13)


def test_formats_and_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"format must be one of image-set, image-folder, cifar10, .*, got 'mnist'"):
        open_dataset(tmp_path, "mnist", "train")
    with pytest.raises(UsageError, match="format office31 has no option 'width'; it has domain, size"):
        open_dataset(tmp_path, "office31", "all", width=3)
    with pytest.raises(UsageError, match="format cifar10 has no option 'size'; it has none"):
        open_dataset(tmp_path, "cifar10", "train", size=3)
