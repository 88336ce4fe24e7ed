"""Top-1 and top-5 of a network on a set of videos, one clip each, and what it confuses."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass

import torch
from lightning.fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from full_video.clips import Clips
from full_video.errors import BrokenVideo, UsageError, WorkError
from full_video.inputs import InputConfig, Skipped, batches, check_precision
from full_video.networks import VideoNetwork
from full_video.video_sets import VideoSet

__all__ = ["Answer", "Scores", "evaluate", "label_ranks"]

_SECONDS_BETWEEN_LINES = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What the network says about one video."""

    name: str
    """Which video, as its set names it."""
    label: int
    """Its class."""
    predicted: int
    """The class with the highest score."""
    rank: int
    """Place of the video's class among the network's scores, from 0."""
    probability: float
    """Softmax of the highest score."""


@dataclass(frozen=True)
class Scores:
    """Figures of one network on one set of videos, in [0, 1]. Videos that cannot be read count nowhere."""

    top1: float
    """Share of the videos whose class has the highest score."""
    top5: float
    """Share of the videos whose class is among the five highest scores."""
    per_class: tuple[float, ...]
    """Top-1 of the videos of every class; NaN for a class without videos."""
    confusion: Tensor
    """int64 (classes, classes): videos by class (row) and predicted class (column)."""
    videos: int
    """Videos scored."""
    answers: tuple[Answer, ...]
    """Every video's, in the order of the set."""
    skipped: tuple[Skipped, ...]
    """Videos that could not be read."""


def label_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Place of each label among its video's scores, from 0; of equal scores the lower class comes first.

    Args:
        logits: (V, classes).
        labels: int64 (V,).

    Returns:
        int64 (V,).
    """
    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(dim=1)


@torch.no_grad()
def evaluate(network: VideoNetwork, videos: VideoSet, config: InputConfig, device: str = "cpu") -> Scores:
    """Score ``network`` on ``videos``: one clip a video, sampled and cropped by the rules for tests.

    Args:
        network: the network; it is moved to ``device``.
        videos: labelled videos.
        config: sampling, sizes, batch, precision; a :class:`~full_video.training.TrainConfig` will do. ``memory`` has no
            say: whatever can be streamed is, as it costs nothing where no gradient is wanted.
        device: ``cpu`` or ``cuda``.

    Raises:
        UsageError: if the network has other classes than the videos, there is no video, or the device lacks the precision.
        WorkError: if a score is not finite, or no video can be read.
    """
    names = videos.facts.class_names
    if len(names) != network.config.classes:
        raise UsageError(f"{videos.facts.name} has {len(names)} classes, the network {network.config.classes}")
    if len(videos) == 0:
        raise UsageError(f"{videos.facts.name} has no videos to evaluate on")
    check_precision(config.precision, device)
    clips = Clips(
        videos,
        sampling=config.sampling,
        augmentation=config.augmentation,
        seed=0,
        training=False,
        max_frames=config.max_frames,
    )
    order = [
        [(video, 0) for video in range(first, min(first + config.batch_size, len(videos)))]
        for first in range(0, len(videos), config.batch_size)
    ]
    fabric = Fabric(accelerator=device, devices=1, precision=config.precision)  # type: ignore[arg-type]
    was = network.training, network.memory, network.chunk
    # Without gradients the streamed form costs nothing and holds a chunk of the stem's maps instead of all of them.
    streams = network.config.streams
    wrapped = fabric.setup_module(network)
    answers: list[Answer] = []
    broken: list[BrokenVideo] = []
    said = time.perf_counter()
    try:
        network.eval()
        network.memory, network.chunk = "streamed" if streams else "plain", config.chunk
        loaded = batches(clips, order, config.workers, pin=device == "cuda")
        for batch in tqdm(
            loaded, total=len(order), unit="batch", desc="evaluate", disable=not sys.stderr.isatty(), leave=False
        ):
            broken += batch.broken
            if not sys.stderr.isatty() and time.perf_counter() - said > _SECONDS_BETWEEN_LINES:
                said = time.perf_counter()
                _log.info("evaluated %d of %d videos", len(answers), len(videos))
            if len(batch.labels) == 0:
                continue
            frames = batch.frames if streams else batch.frames.to(fabric.device)
            logits = wrapped(frames, batch.lengths).float().cpu()
            answers += _answers(logits, batch.labels, [videos.name(i) for i in batch.indices])
    finally:
        network.train(was[0])
        network.memory, network.chunk = was[1:]
    for error in broken:
        _log.warning("skipping %s", error)
    if not answers:
        raise WorkError(f"none of the {len(videos)} videos can be read; the first: {broken[0]}")
    return _scores(answers, broken, len(names))


def _answers(logits: Tensor, labels: Tensor, names: list[str]) -> list[Answer]:
    for name, finite in zip(names, logits.isfinite().all(dim=1).tolist(), strict=True):
        if not finite:
            raise WorkError(
                f"{name}: the network's scores are not finite; its weights are damaged or its training failed"
            )
    predicted, ranks = logits.argmax(dim=1), label_ranks(logits, labels)
    highest = logits.softmax(dim=1).amax(dim=1)
    columns = (labels.tolist(), predicted.tolist(), ranks.tolist(), highest.tolist())
    return [Answer(*row) for row in zip(names, *columns, strict=True)]


def _scores(answers: list[Answer], broken: list[BrokenVideo], classes: int) -> Scores:
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    for answer in answers:
        confusion[answer.label, answer.predicted] += 1
    right, total = confusion.diagonal().double(), confusion.sum(dim=1)
    return Scores(
        top1=int(confusion.trace()) / len(answers),
        top5=sum(answer.rank < 5 for answer in answers) / len(answers),
        per_class=tuple((right / total).tolist()),
        confusion=confusion,
        videos=len(answers),
        answers=tuple(answers),
        skipped=tuple(Skipped(error.name, error.why, 1) for error in broken),
    )
