"""Batches: the images that seed and epoch say, wherever they lie and however many threads read them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from efficiency_core.loop import Accelerator
from weight_align.data import ImageFiles, ImageTensor, open_dataset
from weight_align.training import IMAGENET, Normalisation, TrainConfig
from weight_align.training.augmentation import crops, epoch_plan, erase, padded
from weight_align.training.batches import Batches, FileBatches, ResidentBatches

CPU = Accelerator("cpu", TrainConfig())
Make = Callable[..., ImageTensor]


def all_of(batches: Batches, epoch: int, first: int = 0) -> list[tuple[Tensor, Tensor]]:
    numbers = range(epoch * len(batches) + first, (epoch + 1) * len(batches))
    return [batches.prepare(*batches.batch(step)) for step in numbers]


def same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) for first, second in pairs for a, b in zip(first, second, strict=True))


def test_resident_batches_are_the_plan_in_order(make_images: Make) -> None:
    images, config = make_images(26), TrainConfig(batch_size=8, erasing=0.5, padding=2)
    feed = ResidentBatches(images, config, IMAGENET, (5,), CPU)
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
    stacked = all_of(ResidentBatches(images, config, normalisation, (0, 7), CPU, stacked=True), 1)
    for place, seed in enumerate((0, 7)):
        alone = all_of(ResidentBatches(images, config, normalisation, (seed,), CPU), 1)
        assert same([(pixels[place], labels[place]) for pixels, labels in stacked], alone)


def test_files_are_a_function_of_the_step(write_folder: Callable[..., Path]) -> None:
    images = open_dataset(write_folder("train", size=40), "imagenet", "train", size=16)
    assert isinstance(images, ImageFiles)
    one, other = (FileBatches(images, TrainConfig(batch_size=5, seed=2), IMAGENET, CPU) for _ in range(2))
    found = all_of(one, 1)
    assert len(one) == 4 and same(all_of(other, 1, first=2), found[2:]) and not same(all_of(other, 0), found)
    pixels, labels = found[0]
    assert pixels.shape == (5, 3, 16, 16) and pixels.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64
    seen = torch.cat([labels for _, labels in found])
    assert len(seen) == 20 and torch.bincount(seen).max() <= 8  # every image once at most


def test_mirror_images_of_files(write_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    images = open_dataset(write_folder("train", size=40), "imagenet", "train", size=16)
    assert isinstance(images, ImageFiles)
    monkeypatch.setattr(ImageFiles, "for_training", lambda self, index, _: self.for_testing(index))
    plain, flipped = (
        torch.cat([p for p, _ in all_of(FileBatches(images, TrainConfig(batch_size=6, flip=flip), IMAGENET, CPU), 0)])
        for flip in (False, True)
    )
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(plain, flipped, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(plain, flipped, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True)) and 4 < sum(mirrored) < 20
