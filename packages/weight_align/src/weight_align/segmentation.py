"""Training DeepLabv3 on pictures with a class for every pixel, and scoring it by mean intersection over union."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from weight_align.deeplab import DeepLab, HeadConfig, build_deeplab, save_deeplab
from weight_align.errors import UsageError, WorkError
from weight_align.facts import Facts
from weight_align.graphs import check_graphs
from weight_align.image_reading import mapped
from weight_align.learner import SingleLearner
from weight_align.masks import IGNORED, MaskSet, MaskTensor
from weight_align.network_config import NetworkConfig
from weight_align.normalisation import IMAGENET, Normalisation
from weight_align.segmentation_feed import MaskFeed, SegmentationConfig
from weight_align.training import check_folder, network_facts
from weight_align.training_loop import Trained, loop, start_seed
from weight_align.training_run import Run, fingerprint_of

__all__ = ["MaskScores", "SegmentationConfig", "evaluate_segmentation", "scores_of", "train_segmentation"]


def train_segmentation(
    images: MaskSet,
    network: NetworkConfig,
    config: SegmentationConfig,
    folder: str | Path,
    device: str = "cpu",
    weights: str | Path | None = None,
    *,
    head: HeadConfig | None = None,
    after_epoch: Callable[[int, DeepLab], None] | None = None,
) -> Trained[DeepLab]:
    """Train a DeepLabv3, or go on with the training that ``folder`` holds; all promises are those of
    :func:`~weight_align.training.train`.

    Args:
        images: pictures and masks.
        network: the ResNet; ``classes`` are those of the pixels.
        config: the recipe.
        folder: where ``training.pt`` and, at the end, ``network.pt`` go.
        device: ``cpu`` or ``cuda``.
        weights: of a trained classifier, for the ResNet; None is random.
        head: what follows the ResNet.
        after_epoch: called with 0 and the untrained network (eval mode), and with e after e epochs.

    Raises:
        UsageError, WorkError: as :func:`~weight_align.training.train`.
    """
    folder, head = Path(folder), head or HeadConfig()
    check_folder(folder)
    check_graphs(config.graphs, device)
    facts = images.facts
    if len(facts.class_names) != network.classes:
        raise UsageError(
            f"{facts.name} has {len(facts.class_names)} classes, the network is asked for {network.classes}"
        )
    if config.images > len(images):
        raise UsageError(f"{facts.name} has {len(images)} images, {config.images} are asked for")
    chosen: MaskSet = _First(images, config.images) if config.images else images
    if len(chosen) < config.batch_size:
        raise UsageError(f"{facts.name} has {len(chosen)} images to train on, a batch needs {config.batch_size}")
    if network.norm == "bn" and config.batch_size == 1:
        raise UsageError(
            "norm=bn cannot train on one picture at a time: the mean over it has no deviation; take batch_size=2"
        )
    normalisation = IMAGENET
    if config.normalisation == "data":
        if not isinstance(images, MaskTensor):
            raise UsageError(
                f"{facts.name}: pictures that are read on demand have no mean colour; set normalisation=imagenet"
            )
        normalisation = Normalisation.of(images.images[: len(chosen)])
    fabric = Fabric(accelerator=device, devices=1, precision=config.precision)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device == "cuda" else []):
        torch.manual_seed(start_seed(config.seed))
        model = build_deeplab(network, head, weights).to(fabric.device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        learner = SingleLearner(model, config, fabric.autocast)
        feed = MaskFeed(chosen, config, normalisation, fabric.device)
        fingerprint = fingerprint_of(
            config,
            network=asdict(network),
            head={name: list(value) if isinstance(value, tuple) else value for name, value in asdict(head).items()},
            weights=None if weights is None else str(weights),
            data=[facts.name, facts.content_digest, list(facts.class_names), len(chosen)],
        )
        run = Run(learner, feed, config, folder / "training.pt", fingerprint, fabric.device)
        look = None if after_epoch is None else lambda epoch, networks: after_epoch(epoch, networks[0])
        loop(run, learner, config.checkpoint_every, look)
    save_deeplab(folder / "network.pt", model.eval(), network_facts(facts.name, facts.class_names, normalisation))
    return Trained.of(model, normalisation, run)


class _First:
    """The first pictures of a set."""

    def __init__(self, images: MaskSet, count: int) -> None:
        self._images, self._count = images, count

    @property
    def facts(self) -> Facts:
        return self._images.facts

    def __len__(self) -> int:
        return self._count

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        return self._images.pair(index)


@dataclass(frozen=True)
class MaskScores:
    """Agreement of masks over all pixels of a set, in percent."""

    mean_iou: float
    """Mean over the classes that occur, in the masks or in what was said, of intersection over union."""
    per_class: tuple[float, ...]
    """Intersection over union of each class; NaN of one that does not occur."""
    pixel_accuracy: float
    """Part of the pixels, those of class 255 left out, whose class is right."""
    images: int
    """How many pictures there are."""


def evaluate_segmentation(
    network: nn.Module,
    images: MaskSet,
    *,
    normalisation: Normalisation,
    batch_size: int = 4,
    device: str = "cpu",
    threads: int = 4,
) -> MaskScores:
    """Score a network on whole pictures at their own size, from one confusion matrix over all of them (VOC's way).

    Args:
        network: turns normalised pictures (B, 3, H, W) into scores (B, C, H, W); it is moved to ``device`` and set to eval
            mode.
        images: pictures and masks.
        normalisation: of the colours, as the network was trained with.
        batch_size: pictures of one size at a time.
        device: ``cpu`` or ``cuda``.
        threads: threads that read pictures.

    Raises:
        UsageError: if the network has another number of classes than the masks.
        WorkError: if a score is not finite, or a picture cannot be read.
    """
    classes = len(images.facts.class_names)
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    finite = torch.ones((), dtype=torch.bool, device=device)
    with torch.inference_mode():
        for pixels, masks in _batches(images, batch_size, threads):
            ordered = pixels.to(device).contiguous(memory_format=torch.channels_last)
            scores = network(normalisation.apply(ordered))
            if scores.shape[1] != classes:
                raise UsageError(f"the network has {scores.shape[1]} classes, {images.facts.name} has {classes}")
            finite &= scores.isfinite().all()
            said, truth = scores.argmax(dim=1), masks.to(device).long()
            counted = truth != IGNORED
            pairs = truth[counted] * classes + said[counted]
            confusion += torch.bincount(pairs, minlength=classes**2).view(classes, classes)
    if not finite:
        raise WorkError(f"scores of {images.facts.name} are not finite; the network is unusable")
    return scores_of(confusion, len(images))


def scores_of(confusion: Tensor, images: int) -> MaskScores:
    """Scores from a confusion matrix (classes, classes), int64: rows are the truth, columns what was said."""
    right = confusion.diagonal().double()
    union = (confusion.sum(0) + confusion.sum(1)).double() - right
    each = 100 * right / union  # 0/0 is NaN
    accuracy = 100 * float(right.sum() / confusion.sum())
    return MaskScores(float(each.nanmean()), tuple(each.tolist()), accuracy, images)


def _batches(images: MaskSet, size: int, threads: int) -> Iterator[tuple[Tensor, Tensor]]:
    def stacked(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return torch.stack([image for image, _ in pairs]), torch.stack([mask for _, mask in pairs])

    waiting: list[tuple[Tensor, Tensor]] = []
    shown = tqdm(range(len(images)), unit="image", disable=not sys.stderr.isatty(), leave=False, delay=2)
    for pair in mapped(images.pair, shown, threads):
        if waiting and (len(waiting) == size or waiting[0][1].shape != pair[1].shape):
            yield stacked(waiting)
            waiting = []
        waiting.append(pair)
    if waiting:
        yield stacked(waiting)
