"""Errors against plain loops."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from weight_align.errors import UsageError, WorkError
from weight_align.evaluation import evaluate
from weight_align.facts import Facts
from weight_align.image_sets import ImageTensor, open_images
from weight_align.normalisation import IMAGENET, Normalisation

SAME = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Says(nn.Module):
    """Class scores by the first pixel of the image, which is its number."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)
        self.drop = nn.Dropout(0.9)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.drop(self.scores[(255 * images[:, 0, 0, 0]).round().long()])
        return out


@pytest.fixture
def numbered() -> ImageTensor:
    images = torch.zeros(50, 3, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(50, dtype=torch.uint8)
    names = tuple(f"c{k}" for k in range(8))
    return ImageTensor(images, torch.arange(50) % 7, Facts("Numbers", "", names))


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_errors_are_those_of_a_loop(numbered: ImageTensor, batch_size: int) -> None:
    scores = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    found = evaluate(Says(scores).train(), numbered, normalisation=SAME, batch_size=batch_size)
    wrong, wrong5, each = 0, 0, [[0, 0] for _ in range(8)]
    for row, label in zip(scores.tolist(), numbered.labels.tolist(), strict=True):
        rank = sum(score > row[label] for score in row)
        wrong, wrong5 = wrong + (rank > 0), wrong5 + (rank > 4)
        each[label][0] += rank > 0
        each[label][1] += 1
    assert 0 < wrong5 < wrong < 50 and found.images == 50
    assert found.top1_error == 2 * wrong and found.top5_error == 2 * wrong5
    assert found.per_class[:7] == pytest.approx([100 * bad / count for bad, count in each[:7]], rel=1e-6)
    assert math.isnan(found.per_class[7])  # no image has this class


def test_images_are_shown_as_in_training(make_images: Callable[..., ImageTensor]) -> None:
    images = make_images(4)

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, pixels: Tensor) -> Tensor:
            self.seen = pixels
            return torch.zeros(len(pixels), 3)

    network = Keeps()
    scores = evaluate(network, images, normalisation=IMAGENET)
    torch.testing.assert_close(network.seen, IMAGENET.apply(images.images))
    assert scores.top5_error == 0  # of three classes


def test_files_show_their_middle(write_folder: Callable[..., Path]) -> None:
    files = open_images(write_folder("val", size=40), "imagenet", "val", size=16)
    middles = ImageTensor(
        torch.stack([files.for_testing(k) for k in range(24)]),
        files.labels,
        files.facts,  # type: ignore[union-attr]
    )
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    both = [evaluate(network, images, normalisation=IMAGENET, batch_size=5) for images in (files, middles)]
    assert both[0] == both[1] and 0 < both[0].top1_error < 100


def test_what_cannot_be_scored(numbered: ImageTensor) -> None:
    with pytest.raises(UsageError, match="the network has 5 classes, Numbers has 8"):
        evaluate(Says(torch.zeros(50, 5)), numbered, normalisation=SAME)
    scores = torch.zeros(50, 8)
    scores[20, 1] = float("nan")
    with pytest.raises(WorkError, match="class scores of Numbers are not finite"):
        evaluate(Says(scores), numbered, normalisation=SAME)
    with pytest.raises(UsageError, match="batch_size must be at least 1, got 0"):
        evaluate(Says(scores), numbered, normalisation=SAME, batch_size=0)
