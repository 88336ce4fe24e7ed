"""Error rates of classifiers and mean intersection over union of segmentation networks."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from efficiency_core.devices import convolution_layout
from efficiency_core.errors import UsageError, WorkError
from efficiency_core.readers import mapped
from weight_align.data import IGNORED, ImageSet, ImageTensor, MaskSet
from weight_align.training.normalisation import Normalisation

_THREADS = 4


@dataclass(frozen=True)
class ErrorRates:
    """Errors over the images of a data set, in percent."""

    top1_error: float
    """Images whose class is not the one with the highest score."""
    top5_error: float
    """Images whose class is not among the five with the highest scores; 0 for five or fewer classes."""
    per_class: tuple[float, ...]
    """Top-1 error of each class; NaN for a class without images."""
    images: int
    """Number of images."""
    loss: float
    """Mean cross-entropy, in nats."""


@dataclass(frozen=True)
class SegmentationScores:
    """Agreement of masks over all pixels of a data set, in percent; pixels of class 255 do not count."""

    mean_iou: float
    """Intersection over union, mean over the classes that occur in the masks or in the predictions."""
    per_class: tuple[float, ...]
    """Intersection over union of each class; NaN for a class that does not occur."""
    pixel_accuracy: float
    """Pixels with the right class."""
    images: int
    """Number of pictures."""


def evaluate(
    network: nn.Module, images: ImageSet, *, normalisation: Normalisation, batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> ErrorRates:  # fmt: skip
    """Error rates on labelled images: on whole images in memory, on the middle of images in files. Raises UsageError if
    the network has another number of classes than the images; WorkError if a class score is not finite, or an image
    cannot be read.

    Args:
        network: from normalised images (B, 3, H, W) to class scores (B, C); it is moved to ``device`` and set to eval mode.
        normalisation: of the colours, as in the training of the network.
        batch_size: images at a time. Changes the results by rounding alone."""
    classes = len(images.info.class_names)
    wrong, wrong5, count = (torch.zeros(classes, dtype=torch.int64, device=device) for _ in range(3))
    loss = torch.zeros((), dtype=torch.float64, device=device)
    for scores, labels in _scored(network, _image_batches, images, normalisation, batch_size, device):
        hits = scores.topk(min(5, classes), dim=1).indices == labels[:, None]
        count += torch.bincount(labels, minlength=classes)
        wrong += torch.bincount(labels[~hits[:, 0]], minlength=classes)
        wrong5 += torch.bincount(labels[~hits.any(dim=1)], minlength=classes)
        loss += cross_entropy(scores.float(), labels, reduction="sum")
    each = (100 * wrong / count).tolist()  # 0/0 is NaN
    total = int(count.sum())
    errors = (100 * int(wrong.sum()) / total, 100 * int(wrong5.sum()) / total)
    return ErrorRates(*errors, tuple(each), total, float(loss) / total)


def evaluate_segmentation(
    network: nn.Module, images: MaskSet, *, normalisation: Normalisation, batch_size: int = 4,
    device: str | torch.device = "cpu",
) -> SegmentationScores:  # fmt: skip
    """Scores on whole pictures in their own size, from one confusion matrix over all of them (the protocol of VOC).
    Raises UsageError if the network has another number of classes than the masks; WorkError if a score is not finite,
    or a picture cannot be read.

    Args:
        network: from normalised pictures (B, 3, H, W) to scores (B, C, H, W); it is moved to ``device`` and set to eval mode.
        normalisation: of the colours, as in the training of the network.
        batch_size: pictures of one size at a time."""
    classes = len(images.info.class_names)
    confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    for scores, masks in _scored(network, _mask_batches, images, normalisation, batch_size, device):
        predicted, truth = scores.argmax(dim=1), masks.long()
        counted = truth != IGNORED
        pairs = truth[counted] * classes + predicted[counted]
        confusion += torch.bincount(pairs, minlength=classes**2).view(classes, classes)
    return scores_of(confusion, len(images))


def scores_of(confusion: Tensor, images: int) -> SegmentationScores:
    """Scores from a confusion matrix (classes, classes), int64: rows are true classes, columns predicted ones."""
    right = confusion.diagonal().double()
    union = (confusion.sum(0) + confusion.sum(1)).double() - right
    each = 100 * right / union  # 0/0 is NaN
    accuracy = 100 * float(right.sum() / confusion.sum())
    return SegmentationScores(float(each.nanmean()), tuple(each.tolist()), accuracy, images)


def _scored(
    network: nn.Module, read: Callable[[Any, int], Iterator[tuple[Tensor, Tensor]]], images: ImageSet | MaskSet,
    normalisation: Normalisation, size: int, device: str | torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """Scores and targets of all images, batch by batch, on the device."""
    name, classes = images.info.name, len(images.info.class_names)
    if size < 1:
        raise UsageError(f"batch_size must be at least 1, got {size}")
    layout = convolution_layout(network, str(device))
    network = network.to(device, memory_format=layout).eval()  # type: ignore[call-overload]
    finite = torch.ones((), dtype=torch.bool, device=device)
    for pixels, targets in read(images, size):
        with torch.inference_mode():
            ordered = pixels.to(device).contiguous(memory_format=layout)
            scores = network(normalisation.apply(ordered))
            if scores.shape[1] != classes:
                raise UsageError(f"the network has {scores.shape[1]} classes, {name} has {classes}")
            finite &= scores.isfinite().all()
        yield scores, targets.to(device)
    if not finite:
        raise WorkError(f"class scores of {name} are not finite; the network is unusable")


def _image_batches(images: ImageSet, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    def read(first: int) -> tuple[Tensor, Tensor]:
        last = min(first + size, len(images))
        if isinstance(images, ImageTensor):
            return images.images[first:last], images.labels[first:last]
        return torch.stack([images.for_testing(index) for index in range(first, last)]), images.labels[first:last]

    starts = _shown(range(0, len(images), size), "batch")
    yield from mapped(read, starts, 0 if isinstance(images, ImageTensor) else _THREADS)


def _mask_batches(images: MaskSet, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    def stacked(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return torch.stack([image for image, _ in pairs]), torch.stack([mask for _, mask in pairs])

    waiting: list[tuple[Tensor, Tensor]] = []
    for pair in mapped(images.pair, _shown(range(len(images)), "image"), _THREADS):
        if waiting and (len(waiting) == size or waiting[0][1].shape != pair[1].shape):
            yield stacked(waiting)
            waiting = []
        waiting.append(pair)
    if waiting:
        yield stacked(waiting)


def _shown(numbers: range, unit: str) -> Iterator[int]:
    """The numbers, with a progress bar where stderr is a terminal."""
    yield from tqdm(numbers, unit=unit, disable=not sys.stderr.isatty(), leave=False, delay=2)
