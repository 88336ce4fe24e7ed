"""Training a network: its batches, its step, and what a training leaves."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW, Optimizer

from efficiency_core.devices import convolution_layout
from efficiency_core.errors import UsageError, WorkError, checking
from efficiency_core.loop import Accelerator, Task, epoch_order, rate_at, recipe, resolved, run
from efficiency_core.settings import to_json
from full_video.checkpoint import NETWORK, save_network, starting_network
from full_video.data.augmentation import check_horizontal
from full_video.data.batches import Batch, Skipped, batch_of
from full_video.data.clips import Clips
from full_video.data.video_set import VideoSet, with_classes
from full_video.evaluation import evaluate
from full_video.networks.config import NetworkConfig
from full_video.networks.network import VideoNetwork
from full_video.train_config import TrainConfig

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """Result of a finished training."""

    network: VideoNetwork
    """The trained network, in eval mode."""
    losses: tuple[float, ...]
    """Mean cross-entropy of the videos of every epoch, in training mode."""
    seconds_per_epoch: float
    """Wall time of an epoch with the wait for videos, without checkpoints, validations and ``after_epoch``."""
    skipped: tuple[Skipped, ...]
    """Videos that could not be read and were left out."""
    best: tuple[int, float] | None
    """Steps and top-1 of the best network on the validation set; None without one."""

    @property
    def loss(self) -> float:
        """Loss of the last epoch."""
        return self.losses[-1]


def train(
    videos: VideoSet, network: NetworkConfig, config: TrainConfig, folder: str | Path, device: str = "cpu",
    weights: str | None = None, *, validation: VideoSet | None = None, balanced: bool = False,
    after_epoch: Callable[[int, VideoNetwork], None] | None = None,
) -> Trained:  # fmt: skip
    """Train a network, or continue the training that ``folder`` holds (:func:`efficiency_core.loop.runner.run`).

    The network is written to ``folder/network.safetensors`` at the end. A video that cannot be read is left out of its
    batch, named in the log once, and counted in the result. Raises UsageError if ``folder`` holds a run with other
    settings or other data, if the data does not fit the network or ``flip``, or if the network cannot be built or trained
    as asked; WorkError if the loss or the gradient is not finite, a file cannot be written (the last checkpoint stays), or no
    video of an epoch can be read.

    Args:
        network: with ``classes`` 0 it gets those of the videos.
        weights: start of the network: None is random; torchvision's name of ImageNet weights; a file that ``torch.save``
            wrote in torchvision's or TSM's names; or a network file of an earlier training.
        validation: videos of these classes or some of them, whose top-1 decides the best network, which is kept in
            ``folder/best.safetensors``.
        balanced: whether every class counts the same in the loss, whatever its number of videos; otherwise every video does.
        after_epoch: called with 0 and the untrained network (eval mode), and with e after e epochs. A continued training
            calls it again for the epochs since its last checkpoint."""
    network = _fitting(network, videos)
    if config.augmentation.flip == "horizontal":
        check_horizontal(videos.info.class_names)
    if validation is not None:
        names = (videos.info.name, f"{validation.info.name} (validation)")
        validation = with_classes(validation, videos.info.class_names, *names)
        _fitting(network, validation)
    config = resolved(config, device)
    with Accelerator(device, config) as accelerator:
        accelerator.seed(config.seed, 0)
        model = starting_network(network, weights)
        task = _Recognition(accelerator, model, videos, config, validation, after_epoch, balanced)
        info = videos.info
        fingerprint = {
            "network": to_json(network),
            "training": recipe(config, "epochs") | ({"balanced": True} if balanced else {}),
            "weights": weights,
            "data": [info.name, info.content_digest, list(info.class_names), len(videos)],
        }
        result = run(task, config, folder, fingerprint)
        skipped = task.all_skipped()
        if accelerator.main:
            save_network(Path(folder) / NETWORK, model, info.class_names, config.clips)
    if skipped:
        _log.warning("%d of %d videos could not be read and were skipped", len(skipped), len(videos))
    losses = tuple(loss for (loss,) in result.epochs)
    return Trained(model.eval(), losses, result.seconds / config.epochs, tuple(skipped), result.best)


class _Recognition(Task[Batch]):
    """A step is the cross-entropy of a batch of videos of any length."""

    name = "full_video"
    reading = "processes"
    loss_names = ("loss",)

    def __init__(
        self, accelerator: Accelerator, model: VideoNetwork, videos: VideoSet, config: TrainConfig,
        validation: VideoSet | None, after_epoch: Callable[[int, VideoNetwork], None] | None,
        balanced: bool,
    ) -> None:  # fmt: skip
        self.accelerator, self._config = accelerator, config
        self._validation, self._after_epoch = validation, after_epoch
        self._clips = Clips(videos, config, config.seed, training=True)
        self._weights = video_weights(videos).to(accelerator.device) if balanced else None
        self.validation = None if validation is None else "top1"
        self.clip_norm, self.batch_size = config.clip_norm, config.batch_size
        self.epoch_steps = math.ceil(len(videos) / config.batch_size)
        self.total = self.epoch_steps * config.epochs
        model.memory, model.chunk = config.memory, config.chunk
        with checking():
            model.train().check_memory()
        # Convolutions are faster so: by up to a tenth on a CPU.
        if accelerator.device.type == "cpu" or config.precision != "32-true":
            model = model.to(memory_format=convolution_layout(model, accelerator.device.type))
        self.model: VideoNetwork = model.to(accelerator.device)
        self.optimizers = (_optimizer(model, config),)
        self._skipped: dict[str, Skipped] = {}

    def batch(self, step: int) -> Batch:
        epoch, place = divmod(step, self.epoch_steps)
        order = epoch_order(len(self._clips), self._config.seed, epoch)
        videos = order[place * self.batch_size : (place + 1) * self.batch_size].tolist()
        return batch_of(self._clips, [(video, epoch) for video in self.accelerator.part(videos)])

    def rate(self, step: int, total: int) -> float:
        config = self._config
        drops = [epoch * self.epoch_steps for epoch in config.milestones]
        return rate_at(step, total, config.learning_rate, warmup=config.warmup, schedule=config.schedule, drops=drops)

    def weight(self, batch: Batch) -> float:
        return len(batch.labels)

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        device = self.accelerator.device
        if not len(batch.labels):  # other devices have videos, and batch norm is over all of them
            frames = torch.zeros(0, 1, 3, 32, 32, device=device)
            return {"loss": self.accelerator.forward(self.model, frames).sum()}
        # A streamed stem fetches the frames itself, chunk by chunk, so that they need not fit on the device.
        frames = batch.frames if self._config.memory == "streamed" else batch.frames.to(device, non_blocking=True)
        logits = self.accelerator.forward(self.model, frames, batch.lengths)
        labels = batch.labels.to(device, non_blocking=True)
        if self._weights is None:
            return {"loss": cross_entropy(logits, labels)}
        return {"loss": (cross_entropy(logits, labels, reduction="none") * self._weights[list(batch.videos)]).mean()}

    def arrived(self, batch: Batch, step: int) -> None:
        for error in batch.broken:
            known = self._skipped.get(error.name)
            if known is None:
                _log.warning("skipping %s: %s", error.name, error.why)
            self._skipped[error.name] = Skipped(error.name, error.why, 1 + (known.times if known else 0))

    def all_skipped(self) -> list[Skipped]:
        """The videos that any device could not read, by name; every process calls this."""
        found: dict[str, Skipped] = {}
        for one in [one for process in self.accelerator.everyone(self._skipped) for one in process.values()]:
            found[one.name] = replace(one, times=one.times + (found[one.name].times if one.name in found else 0))
        return [found[name] for name in sorted(found)]

    def end_epoch(self, epoch: int, losses: list[float]) -> bool:
        if math.isnan(losses[0]):
            first = self.all_skipped()[0]
            raise WorkError(f"none of the {len(self._clips)} videos can be read; the first: {first.name}: {first.why}")
        return False

    def after_epoch(self, epochs: int) -> None:
        if self._after_epoch is not None:
            self._after_epoch(epochs, self.model.eval())

    def validate(self) -> float:
        assert self._validation is not None
        config = self._config
        found = evaluate(
            self.model, self._validation, config, self.accelerator.device.type, batch_size=config.batch_size,
            chunk=config.chunk, precision=config.precision, workers=config.workers,
        )  # fmt: skip
        return found.top1

    def save(self, path: Path) -> None:
        save_network(path, self.model, self._clips.videos.info.class_names, self._config.clips)

    def state(self) -> dict[str, Any]:
        skipped = [[one.name, one.why, one.times] for one in self.all_skipped()]
        return super().state() | {"skipped": skipped}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        if self.accelerator.main:  # the other processes add theirs
            self._skipped = {name: Skipped(name, why, times) for name, why, times in state["skipped"]}


def video_weights(videos: VideoSet) -> Tensor:
    """Weight of each video, (len(videos),), in a loss where every class counts the same: N / (classes * videos of its class),
    whose mean is 1. A class without videos does not count; a mirrored video keeps the weight of its own class."""
    labels = torch.tensor([videos.label(video) for video in range(len(videos))])
    counts = labels.bincount()
    return len(labels) / (counts.count_nonzero() * counts[labels])


def _optimizer(model: VideoNetwork, config: TrainConfig) -> Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    # One pass over weights, gradients and moments; a gradient scaler cannot clip what it would unscale itself.
    fused = config.precision != "16-mixed"
    if config.optimizer == "sgd":
        return SGD(parameters, config.learning_rate, config.momentum, weight_decay=config.weight_decay, fused=fused)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, config.learning_rate, fused=fused)


def _fitting(network: NetworkConfig, videos: VideoSet) -> NetworkConfig:
    """``network`` with the classes of the videos; a ``UsageError`` if it has others, or there is no video."""
    name, classes = videos.info.name, len(videos.info.class_names)
    if len(videos) == 0:
        raise UsageError(f"{name} has no videos to train on")
    if network.classes not in (0, classes):
        raise UsageError(f"{name} has {classes} classes, the network is asked for {network.classes}")
    return replace(network, classes=classes)
