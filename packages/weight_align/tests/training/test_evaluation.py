"""Error rates and mean intersection over union against plain loops."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from efficiency_core.errors import UsageError, WorkError
from weight_align.data import DatasetInfo, ImageTensor, MaskTensor, open_dataset
from weight_align.training import IMAGENET, Normalisation, evaluate, evaluate_segmentation
from weight_align.training.evaluation import scores_of

SAME = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Says(nn.Module):
    """Class scores by the first pixel of the image, which is its number."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)
        self.drop = nn.Dropout(0.9)

    def forward(self, images: Tensor) -> Tensor:
        return self.drop(self.scores[(255 * images[:, 0, 0, 0]).round().long()])


@pytest.fixture
def numbered() -> ImageTensor:
    images = torch.zeros(50, 3, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(50, dtype=torch.uint8)
    names = tuple(f"c{k}" for k in range(8))
    return ImageTensor(images, torch.arange(50) % 7, DatasetInfo("Numbers", "", names))


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
    surprise = [
        math.log(sum(math.exp(score - row[label]) for score in row))
        for row, label in zip(scores.tolist(), numbered.labels.tolist(), strict=True)
    ]
    assert found.loss == pytest.approx(sum(surprise) / 50, rel=1e-6)
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
    files = open_dataset(write_folder("val", size=40), "imagenet", "val", size=16)
    pixels = torch.stack([files.for_testing(k) for k in range(24)])  # type: ignore[union-attr]
    middles = ImageTensor(pixels, files.labels, files.info)
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


class Guesses(nn.Module):
    """Says the classes it was given, in order."""

    def __init__(self, said: Tensor, classes: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(nn.functional.one_hot(said.long(), classes).permute(0, 3, 1, 2).float())
        self.first = 0

    def forward(self, images: Tensor) -> Tensor:
        self.first += len(images)
        return self.scores[self.first - len(images) : self.first]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_mean_iou_is_that_of_a_loop(scenes: Callable[..., MaskTensor], batch_size: int) -> None:
    whole = scenes(12, size=16)
    said = whole.masks.clone()
    said[said == 255] = 0
    draw = torch.Generator().manual_seed(0)
    wrong = torch.rand(said.shape, generator=draw) < 0.3
    said[wrong] = torch.randint(0, 3, said.shape, generator=draw).byte()[wrong]
    found = evaluate_segmentation(Guesses(said, 4), whole, normalisation=IMAGENET, batch_size=batch_size)
    both, either, right, count = [0] * 4, [0] * 4, 0, 0
    for truth, guess in zip(whole.masks.flatten().tolist(), said.flatten().tolist(), strict=True):
        if truth == 255:
            continue
        count += 1
        right += truth == guess
        both[truth] += truth == guess
        for label in {truth, guess}:
            either[label] += 1
    wanted = [100 * b / e for b, e in zip(both, either, strict=True)]
    assert found.per_class == pytest.approx(wanted) and found.mean_iou == pytest.approx(np.mean(wanted))
    assert found.pixel_accuracy == pytest.approx(100 * right / count) and found.images == 12
    assert 10 < found.mean_iou < 90


def test_classes_that_do_not_occur_count_for_nothing() -> None:
    confusion = torch.tensor([[6, 2, 0], [0, 4, 0], [0, 0, 0]])
    scores = scores_of(confusion, 1)
    assert scores.per_class[:2] == pytest.approx((75.0, 100 * 4 / 6)) and math.isnan(scores.per_class[2])
    assert scores.mean_iou == pytest.approx((75 + 100 * 4 / 6) / 2)
    assert scores.pixel_accuracy == pytest.approx(100 * 10 / 12)
