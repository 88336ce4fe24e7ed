"""Batches: the images that seed and epoch say, wherever they lie and however many threads read them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from weight_align.augmentation import crops, epoch_plan, erase, padded
from weight_align.feeds import Feed, FileFeed, ResidentFeed
from weight_align.image_sets import ImageFiles, ImageTensor, open_images
from weight_align.normalisation import IMAGENET, Normalisation
from weight_align.train_config import TrainConfig

CPU = torch.device("cpu")
Make = Callable[..., ImageTensor]


def all_of(feed: Feed, epoch: int, first: int = 0) -> list[tuple[Tensor, Tensor]]:
    return [feed.prepare(*batch) for batch in feed.batches(epoch, first, len(feed))]


def same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) for first, second in pairs for a, b in zip(first, second, strict=True))


def test_resident_batches_are_the_plan_in_order(make_images: Make) -> None:
    images, config = make_images(26), TrainConfig(batch_size=8, erasing=0.5, padding=2)
    feed = ResidentFeed(images, config, IMAGENET, (5,), CPU)
    found = all_of(feed, epoch=3)
    assert len(feed) == len(found) == 3  # two images are left over
    rows = epoch_plan(26, 5, 3, size=(16, 16), padding=2, flip=True, erasing=0.5)
    for number, (pixels, labels) in enumerate(found):
        part = rows[8 * number : 8 * number + 8]
        wanted = erase(IMAGENET.apply(crops(padded(images.images, 2), part, (16, 16))), part)
        assert torch.equal(pixels, wanted) and pixels.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(labels, images.labels[part[:, 0]])
    assert same(all_of(feed, 3, first=1), found[1:])
    assert not same(all_of(feed, 4), found)


def test_several_seeds_see_what_each_would_alone(make_images: Make) -> None:
    images, config = make_images(20), TrainConfig(batch_size=4, erasing=0.5)
    normalisation = Normalisation.of(images.images)
    stacked = all_of(ResidentFeed(images, config, normalisation, (0, 7), CPU, stacked=True), 1)
    for place, seed in enumerate((0, 7)):
        alone = all_of(ResidentFeed(images, config, normalisation, (seed,), CPU), 1)
        assert same([(pixels[place], labels[place]) for pixels, labels in stacked], alone)


def test_files_do_not_depend_on_threads(write_folder: Callable[..., Path]) -> None:
    images = open_images(write_folder("train", size=40), "imagenet", "train", size=16)
    assert isinstance(images, ImageFiles)
    feeds = [FileFeed(images, TrainConfig(batch_size=5, threads=n, seed=2), IMAGENET, CPU) for n in (1, 3)]
    one, three = (all_of(feed, 1) for feed in feeds)
    assert len(feeds[0]) == 4 and same(one, three)
    assert same(all_of(feeds[0], 1, first=2), one[2:]) and not same(all_of(feeds[0], 0), one)
    pixels, labels = one[0]
    assert pixels.shape == (5, 3, 16, 16) and pixels.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64
    seen = torch.cat([labels for _, labels in one])
    assert len(seen) == 20 and torch.bincount(seen).max() <= 8  # every image once at most


def test_mirror_images_of_files(write_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    images = open_images(write_folder("train", size=40), "imagenet", "train", size=16)
    assert isinstance(images, ImageFiles)
    monkeypatch.setattr(ImageFiles, "for_training", lambda self, index, _: self.for_testing(index))
    plain, flipped = (
        torch.cat([p for p, _ in all_of(FileFeed(images, TrainConfig(batch_size=6, flip=flip), IMAGENET, CPU), 0)])
        for flip in (False, True)
    )
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(plain, flipped, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(plain, flipped, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True)) and 4 < sum(mirrored) < 20
