"""Random views of pictures and their masks."""

from collections.abc import Callable

import numpy as np
import torch

from weight_align.data import MaskTensor
from weight_align.training import SegmentationConfig
from weight_align.training.views import random_view


def test_views_move_picture_and_mask_alike(scenes: Callable[..., MaskTensor]) -> None:
    whole = scenes(12)
    config = SegmentationConfig(crop=24, zoom=(0.5, 2.0))
    rng = np.random.default_rng(0)
    shares, outside = [], 0
    for _ in range(40):
        image, mask = random_view(*whole.pair(int(rng.integers(12))), config, (9, 9, 9), rng)
        assert image.shape == (3, 24, 24) and mask.shape == (24, 24)
        beyond = (image == 9).all(dim=0) & (mask == 255)
        outside += int(beyond.any(dim=1).all() or beyond.any(dim=0).all())
        # Only borders are averaged, when the picture is scaled.
        light = image.max(dim=0).values >= 105
        marked = (mask > 0) & (mask < 255)
        shares.append(float((light == marked)[mask < 255].float().mean()))
    assert min(shares) > 0.75 and np.mean(shares) > 0.9 and 0 < outside < 40


def test_a_view_without_chance_is_the_picture(scenes: Callable[..., MaskTensor]) -> None:
    image, mask = scenes(3).pair(1)
    config = SegmentationConfig(crop=40, zoom=(1.0, 1.0), flip=False)
    seen, classes = random_view(image, mask, config, (1, 2, 3), np.random.default_rng(0))
    assert torch.equal(seen[:, :32, :32], image) and torch.equal(classes[:32, :32], mask)
    assert (classes[32:] == 255).all() and (classes[:, 32:] == 255).all()
    assert [int(seen[k, 35, 35]) for k in range(3)] == [1, 2, 3]
    twice = SegmentationConfig(crop=64, zoom=(2.0, 2.0), flip=False)
    _, classes = random_view(image, mask, twice, (0, 0, 0), np.random.default_rng(0))
    assert torch.equal(classes[::2, ::2], mask) and torch.equal(classes[1::2, 1::2], mask)
