"""Crops, mirror images and erasing of whole batches against plain loops, and what is drawn for an epoch."""

from typing import Any

import pytest
import torch
from torch import Tensor

from weight_align.training import IMAGENET, Normalisation
from weight_align.training.augmentation import crops, epoch_plan, erase, padded


def plan(count: int = 50, seed: int = 0, epoch: int = 0, **changes: Any) -> Tensor:
    options: dict[str, Any] = {"size": (10, 12), "padding": 3, "flip": True, "erasing": 0.5}
    return epoch_plan(count, seed, epoch, **options | changes)


def pictures(count: int = 50) -> Tensor:
    return torch.randint(1, 256, (count, 3, 10, 12), generator=torch.Generator().manual_seed(0)).byte()


def test_crops_are_those_of_a_loop() -> None:
    images, rows = pictures(), plan()
    found = crops(padded(images, 3), rows, (10, 12))
    assert found.dtype == torch.uint8 and found.is_contiguous(memory_format=torch.channels_last)
    for place, (index, top, left, mirrored, *_) in enumerate(rows.tolist()):
        black = torch.zeros(3, 16, 18, dtype=torch.uint8)
        black[:, 3:13, 3:15] = images[index]
        wanted = black[:, top : top + 10, left : left + 12]
        assert torch.equal(found[place], wanted.flip(-1) if mirrored else wanted)
    images = pictures()
    rows = plan(padding=0, flip=False, erasing=0.0)
    assert torch.equal(crops(padded(images, 0), rows, (10, 12)), images[rows[:, 0]])
    assert not rows[:, 1:].any()


def test_erasing_is_that_of_a_loop() -> None:
    images, rows = torch.ones(50, 3, 10, 12), plan()
    erase(images, rows)
    for image, (*_, top, left, height, width) in zip(images, rows.tolist(), strict=True):
        wanted = torch.ones(3, 10, 12)
        wanted[:, top : top + height, left : left + width] = 0
        assert torch.equal(image, wanted)


def test_an_epoch_is_a_pure_function_of_seed_and_epoch() -> None:
    torch.rand(3)
    before = torch.get_rng_state()
    assert torch.equal(plan(), plan()) and torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(plan(), plan(epoch=1)) and not torch.equal(plan(), plan(seed=1))
    # What is switched off does not change the rest.
    assert torch.equal(plan()[:, :3], plan(flip=False, erasing=0.0)[:, :3])


def test_what_is_drawn_has_the_right_chances() -> None:
    rows = epoch_plan(20_000, 0, 0, size=(32, 32), padding=4, flip=True, erasing=0.5)
    assert torch.equal(rows[:, 0].sort().values, torch.arange(20_000))
    for column in (1, 2):
        counts = torch.bincount(rows[:, column])
        assert len(counts) == 9 and counts.min() > 2000 and counts.max() < 2450
    assert 0.48 < rows[:, 3].float().mean() < 0.52
    top, left, height, width = rows[:, 4:].unbind(1)
    erased = height > 0
    assert 0.48 < erased.float().mean() < 0.52 and torch.equal(erased, width > 0)
    area, ratio = (height * width)[erased] / 32**2, (height / width)[erased]
    assert area.min() > 0.015 and area.max() < 0.42 and 0.15 < area.mean() < 0.25
    assert 0.2 < ratio.min() < 0.35 and 2.8 < ratio.max() < 4.5
    assert (top + height <= 32).all() and (left + width <= 32).all()
    assert top[erased].min() == 0 and (top + height)[erased].max() == 32
    few, all_of_them = (
        (epoch_plan(1000, 0, 0, size=(32, 32), padding=0, flip=False, erasing=p)[:, 6] > 0).float().mean()
        for p in (0.1, 1.0)
    )
    assert 0.06 < few < 0.14 and all_of_them == 1


def test_normalisation_of_a_set() -> None:
    images = pictures()
    found = Normalisation.of(images)
    values = images.double() / 255
    assert found.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), rel=1e-12)
    assert found.std == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), rel=1e-12)
    seen = found.apply(images)
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_normalisation_of_pixels() -> None:
    images = pictures(2).contiguous(memory_format=torch.channels_last)
    before = images.clone()
    found = IMAGENET.apply(images)
    wanted = (images.float() / 255 - torch.tensor(IMAGENET.mean).view(3, 1, 1)) / torch.tensor(IMAGENET.std).view(
        3, 1, 1
    )
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last) and torch.equal(images, before)
    assert Normalisation.of(torch.full((2, 3, 4, 4), 51, dtype=torch.uint8)).std == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="std must be positive"):
        Normalisation((0.0, 0.0, 0.0), (1.0, 0.0, 1.0))
