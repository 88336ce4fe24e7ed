"""Top-1 and top-5 of a network on a set of videos, one clip per video, and its confusion matrix."""

import logging
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from efficiency_core.command import reporting
from efficiency_core.errors import BrokenFile, UsageError, WorkError
from efficiency_core.loop import Accelerator, LoopConfig, Precision, map_tensors
from efficiency_core.readers import read_ahead
from full_video.data.batches import Skipped, batch_of
from full_video.data.clip_config import ClipConfig
from full_video.data.clips import Clips
from full_video.data.video_set import VideoSet
from full_video.networks.network import VideoNetwork

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """Answer of the network for one video."""

    name: str
    """Name of the video in its set."""
    label: int
    """Its class."""
    predicted: int
    """Class with the highest logit."""
    rank: int
    """Rank of the video's class among the logits, from 0."""
    probability: float
    """Softmax of the highest logit."""


@dataclass(frozen=True)
class Evaluation:
    """Results of one network on one set of videos, in [0, 1]. Videos that cannot be read are left out."""

    top1: float
    """Share of the videos whose class has the highest logit."""
    top5: float
    """Share of the videos whose class is among the five highest logits."""
    per_class: tuple[float, ...]
    """Top-1 of the videos of every class; NaN for a class without videos."""
    confusion: Tensor
    """int64 (classes, classes): number of videos by class (row) and predicted class (column)."""
    videos: int
    """Number of videos evaluated."""
    answers: tuple[Answer, ...]
    """Answers for all videos, in the order of the set."""
    skipped: tuple[Skipped, ...]
    """Videos that could not be read."""


def label_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """int64 (V,) rank of each of ``labels``, int64 (V,), among the logits (V, classes) of its video, from 0. Of equal
    logits the lower class comes first."""
    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(dim=1)


@torch.no_grad()
def evaluate(
    network: VideoNetwork, videos: VideoSet, clips: ClipConfig, device: str = "cpu", *, batch_size: int = 16,
    chunk: int = 4, precision: Precision = "32-true", workers: int = 0,
) -> Evaluation:  # fmt: skip
    """Evaluate ``network`` on ``videos``: one clip per video, sampled and cropped by the rules for tests. Raises
    UsageError if the network has other classes than the videos, there is no video, or the device lacks the precision;
    WorkError if a logit is not finite, or no video can be read.

    Args:
        network: it is moved to ``device``, ``cpu`` or ``cuda``. Its stem is streamed if it can be, with any ``network.memory``:
            without gradients this costs nothing.
        clips: what the network is shown of a video; a :class:`~full_video.train_config.TrainConfig` is one.
        batch_size: videos at once.
        chunk, precision, workers: as in :class:`~full_video.train_config.TrainConfig`."""
    names = videos.info.class_names
    if len(names) != network.config.classes:
        raise UsageError(f"{videos.info.name} has {len(names)} classes, the network {network.config.classes}")
    if len(videos) == 0:
        raise UsageError(f"{videos.info.name} has no videos to evaluate on")
    accelerator = Accelerator(device, LoopConfig(precision=precision))
    tests = Clips(videos, clips)
    order = [[(video, 0) for video in part.tolist()] for part in torch.arange(len(videos)).split(batch_size)]
    network.to(accelerator.device)
    answers: list[Answer] = []
    broken: list[BrokenFile] = []
    pin = (lambda batch: map_tensors(Tensor.pin_memory, batch)) if device == "cuda" else None
    batches = read_ahead(lambda part: batch_of(tests, part), order, workers, processes=True, after=pin)
    showing = reporting(len(videos), "video", "evaluating")
    with network.testing(chunk), closing(batches), showing as advance:  # type: ignore[type-var]
        for batch in batches:
            advance(len(batch.videos) + len(batch.broken))
            broken += batch.broken
            if len(batch.labels) == 0:
                continue
            frames = batch.frames if network.config.streams else batch.frames.to(accelerator.device)
            logits = accelerator.forward(network, frames, batch.lengths).cpu()
            answers += _answers(logits, batch.labels, [videos.name(video) for video in batch.videos])
    for error in broken:
        _log.warning("skipping %s", error)
    if not answers:
        raise WorkError(f"none of the {len(videos)} videos can be read; the first: {broken[0]}")
    return _summary(answers, broken, len(names))


def _answers(logits: Tensor, labels: Tensor, names: list[str]) -> list[Answer]:
    for name, finite in zip(names, logits.isfinite().all(dim=1).tolist(), strict=True):
        if not finite:
            raise WorkError(f"{name}: the network's logits are not finite: damaged weights or a failed training")
    predicted, ranks = logits.argmax(dim=1), label_ranks(logits, labels)
    highest = logits.softmax(dim=1).amax(dim=1)
    columns = (labels.tolist(), predicted.tolist(), ranks.tolist(), highest.tolist())
    return [Answer(*row) for row in zip(names, *columns, strict=True)]


def _summary(answers: list[Answer], broken: list[BrokenFile], classes: int) -> Evaluation:
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    for answer in answers:
        confusion[answer.label, answer.predicted] += 1
    right, total = confusion.diagonal().double(), confusion.sum(dim=1)
    return Evaluation(
        top1=int(confusion.trace()) / len(answers),
        top5=sum(answer.rank < 5 for answer in answers) / len(answers),
        per_class=tuple((right / total).tolist()),
        confusion=confusion,
        videos=len(answers),
        answers=tuple(answers),
        skipped=tuple(Skipped(error.name, error.why, 1) for error in broken),
    )
