"""Training a network: one loop, resumable at any moment, the same bytes every time on the CPU."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW, Optimizer
from tqdm import tqdm

from full_video.checkpoint import read_tensors, save_network, write_tensors
from full_video.clips import Clips
from full_video.errors import BrokenVideo, UsageError, WorkError
from full_video.inputs import Batch, InputConfig, Skipped, batches, check_precision
from full_video.networks import NetworkConfig, VideoNetwork, build_network
from full_video.video_sets import VideoSet

__all__ = ["TrainConfig", "Trained", "batch_order", "learning_rate_at", "train"]

_FORMAT = "full_video.training/1"
_SCHEDULES = ("step", "cosine")
_OPTIMIZERS = ("sgd", "adamw")
_SECONDS_BETWEEN_LINES = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig(InputConfig):
    """Recipe of a training run. The defaults are TSM's for Something-Something, for batches of 16 instead of 64."""

    epochs: int = 50
    """Passes over the videos."""
    optimizer: str = "sgd"
    """``sgd`` (with momentum; TSM and the thesis) or ``adamw``, with which networks from scratch leave chance far sooner."""
    learning_rate: float = 0.0025
    """Learning rate after warm-up."""
    momentum: float = 0.9
    """Momentum of SGD; AdamW has its own (0.9 and 0.999)."""
    weight_decay: float = 5e-4
    """L2 penalty of SGD on every parameter; of AdamW the decoupled decay, on weights alone, not on offsets and norms."""
    warmup: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    schedule: str = "step"
    """How the learning rate falls: ``step``, to a tenth at each milestone, or ``cosine``, half a wave down to zero."""
    milestones: tuple[int, ...] = (20, 40)
    """Epochs after which ``step`` divides by ten."""
    clip_norm: float = 20.0
    """Gradients are scaled down to this norm."""
    seed: int = 0
    """Seed of the initial weights, of the order of the videos, of their sampling and augmentation, and of dropout."""
    checkpoint_every: int = 100
    """Steps between checkpoints; there is one after the last step too. Changes no number."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("schedule", _SCHEDULES), ("optimizer", _OPTIMIZERS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        if list(self.milestones) != sorted(set(self.milestones)) or any(m < 1 for m in self.milestones):
            raise ValueError(f"milestones must be rising epochs from 1 on, got {self.milestones}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("momentum", "weight_decay", "warmup", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("epochs", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Trained:
    """What a finished training leaves."""

    network: VideoNetwork
    """The trained network, in eval mode."""
    losses: tuple[float, ...]
    """Mean cross-entropy of the videos of every epoch, in training mode."""
    seconds_per_epoch: float
    """Wall time of an epoch, waiting for videos included, checkpoints and ``after_epoch`` not."""
    skipped: tuple[Skipped, ...]
    """Videos that could not be read and were left out."""

    @property
    def loss(self) -> float:
        """The last epoch's."""
        return self.losses[-1]


def batch_order(videos: int, batch: int, seed: int, first: int, last: int) -> Iterator[list[tuple[int, int]]]:
    """(video, epoch) of the batches of the steps ``first`` to ``last`` - 1: a pure function, so that a resumed run needs
    no state.

    Videos come in a new random order every epoch; the last batch of an epoch may be smaller than the others.
    """
    steps = math.ceil(videos / batch)
    for step in range(first, last):
        epoch, place = divmod(step, steps)
        order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, epoch))).permutation(videos)
        yield [(int(video), epoch) for video in order[place * batch : (place + 1) * batch]]


def learning_rate_at(step: int, steps: int, config: TrainConfig) -> float:
    """Linear warm-up; beside it a tenth at each milestone (``step``), or half a cosine wave (``cosine``).

    Args:
        step: from 0.
        steps: steps of an epoch.
        config: the recipe.
    """
    rate = config.learning_rate * min(1.0, (step + 1) / max(config.warmup, 1))
    if config.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / (steps * config.epochs)))
    return rate * 0.1 ** sum(step // steps >= milestone for milestone in config.milestones)


def train(
    videos: VideoSet,
    network: NetworkConfig,
    config: TrainConfig,
    folder: str | Path,
    device: str = "cpu",
    weights: str | None = None,
    *,
    after_epoch: Callable[[int, VideoNetwork], None] | None = None,
) -> Trained:
    """Train a network, or go on with the training that ``folder`` holds.

    ``folder/training.pt`` is written every ``checkpoint_every`` steps and ``folder/network.pt`` at the end. The same
    call on a folder whose run was stopped at any moment continues from its last checkpoint and ends with the same
    weights as an uninterrupted run (bit-equal on the CPU with the same number of threads, whatever the workers).

    A video that cannot be read is left out of its batch, named in the log once, and counted in the result.

    Args:
        videos: the training videos.
        network: the model.
        config: the recipe.
        folder: where checkpoints go.
        device: ``cpu`` or ``cuda``.
        weights: where the network starts, as :func:`~full_video.networks.build_network` takes it; None is random.
        after_epoch: called with 0 and the untrained network (eval mode), and with e after e epochs. A run that is killed
            and continued calls it again for the epochs since its last checkpoint; none is left out.

    Raises:
        UsageError: if ``folder`` holds a run with other settings or other data, if the data does not fit the network,
            or if the network cannot be built or trained as asked.
        WorkError: if the loss or the gradient is not finite, a checkpoint cannot be written (the last one stays), or no
            video of an epoch can be read.
    """
    folder = Path(folder)
    _check_fit(videos, network, folder)
    check_precision(config.precision, device)
    fingerprint = _fingerprint(videos, network, config, weights)
    clips = Clips(
        videos,
        sampling=config.sampling,
        augmentation=config.augmentation,
        seed=config.seed,
        training=True,
        max_frames=config.max_frames,
    )
    fabric = Fabric(accelerator=device, devices=1, precision=config.precision)  # type: ignore[arg-type]
    steps = math.ceil(len(videos) / config.batch_size)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device == "cuda" else []):
        torch.manual_seed(_torch_seed(config.seed, 0))
        model = build_network(network, weights)
        if device == "cpu" or config.precision != "32-true":  # where convolutions are faster so: up to a tenth on a CPU
            model = model.to(memory_format=torch.channels_last)
        model.memory, model.chunk = config.memory, config.chunk  # type: ignore[assignment]
        run = _Run(fabric, model, config, folder / "training.pt", fingerprint)
        run.resume()
        if after_epoch is not None and run.step == 0:
            after_epoch(0, model.eval())
        order = batch_order(len(videos), config.batch_size, config.seed, run.step, steps * config.epochs)
        bar = tqdm(
            total=steps * config.epochs, initial=run.step, unit="step", disable=not sys.stderr.isatty(), leave=False
        )
        said = started = time.perf_counter()
        with bar:
            for batch in batches(clips, order, config.workers, pin=device == "cuda"):
                model.train()
                run.take(batch, learning_rate_at(run.step, steps, config))
                run.seconds += time.perf_counter() - started
                bar.update()
                ended = run.step % steps == 0
                if ended:
                    run.check_epoch(steps, len(videos))
                if ended and after_epoch is not None:
                    after_epoch(run.step // steps, model.eval())
                if run.step % config.checkpoint_every == 0 or run.step == steps * config.epochs:
                    run.write()
                if ended or time.perf_counter() - said > _SECONDS_BETWEEN_LINES:
                    said = time.perf_counter()
                    run.log(steps)
                started = time.perf_counter()
        save_network(folder / "network.pt", model, videos.facts.class_names, config)
    losses = tuple(run.epoch_loss(epoch, steps) for epoch in range(config.epochs))
    skipped = tuple(Skipped(name, why, times) for name, (why, times) in sorted(run.skipped.items()))
    if skipped:
        _log.warning("%d of %d videos could not be read and were skipped", len(skipped), len(videos))
    return Trained(model.eval(), losses, run.seconds / config.epochs, skipped)


class _Run:
    """The state of a training: what a checkpoint holds, and one step of it."""

    def __init__(self, fabric: Fabric, model: VideoNetwork, config: TrainConfig, path: Path, fingerprint: str) -> None:
        self.model = model
        self.wrapped, self.optimizer = fabric.setup(model, _optimizer(model, config))
        self.step = 0
        self.seconds = 0.0
        self.history: list[tuple[float, int]] = []  # of each step: mean loss, videos
        self.skipped: dict[str, tuple[str, int]] = {}
        self._fabric, self._config, self._path, self._fingerprint = fabric, config, path, fingerprint

    def take(self, batch: Batch, rate: float) -> None:
        """One step of gradient descent; none where no video of the batch could be read."""
        for error in batch.broken:
            self._skip(error)
        loss = self._learn(batch, rate) if len(batch.labels) else 0.0
        self.history.append((loss, len(batch.labels)))
        self.step += 1

    def _skip(self, error: BrokenVideo) -> None:
        why, times = self.skipped.get(error.name, (error.why, 0))
        if not times:
            _log.warning("skipping %s: %s", error.name, why)
        self.skipped[error.name] = (why, times + 1)

    def _learn(self, batch: Batch, rate: float) -> float:
        device, config = self._fabric.device, self._config
        torch.manual_seed(_torch_seed(config.seed, self.step + 1))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # A streamed stem fetches the frames itself, chunk by chunk, so that they need not fit on the device.
        frames = batch.frames if config.memory == "streamed" else batch.frames.to(device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        logits: Tensor = self.wrapped(frames, batch.lengths)
        loss = cross_entropy(logits.float(), batch.labels.to(device, non_blocking=True))
        if not torch.isfinite(loss):
            raise self._not_finite("loss", loss.item())
        self._fabric.backward(loss)
        norm = self._fabric.clip_gradients(
            self.wrapped, self.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
        )
        # With float16 an overflow is part of the method: the scaler leaves the step out and scales less.
        if config.precision != "16-mixed" and norm is not None and not torch.isfinite(norm):
            raise self._not_finite("gradient", norm.item())
        self.optimizer.step()
        return loss.item()

    def _not_finite(self, what: str, value: float) -> WorkError:
        kept = f"the checkpoint {self._path} is from before" if self._path.exists() else "no checkpoint yet"
        return WorkError(
            f"{what} is not finite at step {self.step} ({value}); {kept}. "
            "A lower learning_rate or a longer warmup usually mends it"
        )

    def epoch_loss(self, epoch: int, steps: int) -> float:
        """Mean loss over the videos of an epoch, as far as it went; NaN where none could be read."""
        rows = self.history[epoch * steps : (epoch + 1) * steps]
        videos = sum(videos for _, videos in rows)
        return sum(loss * videos for loss, videos in rows) / videos if videos else math.nan

    def check_epoch(self, steps: int, videos: int) -> None:
        if not any(count for _, count in self.history[-steps:]):
            name, (why, _) = min(self.skipped.items())
            raise WorkError(f"none of the {videos} videos can be read; the first: {name}: {why}")

    def log(self, steps: int) -> None:
        total = steps * self._config.epochs
        epoch = (self.step - 1) // steps
        remaining = math.ceil((total - self.step) * self.seconds / self.step)
        _log.info(
            "epoch %d/%d  step %d/%d  loss %.4f  (%.2f s/step, %d s left)",
            epoch + 1, self._config.epochs, self.step, total, self.epoch_loss(epoch, steps), self.seconds / self.step,
            remaining,
        )  # fmt: skip

    def write(self) -> None:
        """Write a checkpoint."""
        content = {
            "format": _FORMAT,
            "fingerprint": self._fingerprint,
            "step": self.step,
            "seconds": self.seconds,
            "history": torch.tensor(self.history, dtype=torch.float64),
            "skipped": [[name, why, times] for name, (why, times) in self.skipped.items()],
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self._fabric.strategy.precision.state_dict(),
        }
        write_tensors(self._path, content)

    def resume(self) -> None:
        """Take over the checkpoint, if there is one."""
        if not self._path.exists():
            return
        content = read_tensors(self._path, _FORMAT)
        if content["fingerprint"] != self._fingerprint:
            raise UsageError(
                f"{self._path}: belongs to a run with other settings "
                f"({_differences(content['fingerprint'], self._fingerprint)}); choose another folder or delete it"
            )
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        # A fused step pairs numbers by their place in memory, and weights on another device may have lain in another order.
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter).copy_(value)
        self._fabric.strategy.precision.load_state_dict(content["precision"])
        self.step, self.seconds = int(content["step"]), float(content["seconds"])
        self.history = [(loss, int(videos)) for loss, videos in content["history"].tolist()]
        self.skipped = {name: (why, times) for name, why, times in content["skipped"]}
        _log.info("continuing from step %d of %s", self.step, self._path)


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


def _check_fit(videos: VideoSet, network: NetworkConfig, folder: Path) -> None:
    if len(videos) == 0:
        raise UsageError(f"{videos.facts.name} has no videos to train on")
    classes = len(videos.facts.class_names)
    if classes != network.classes:
        raise UsageError(f"{videos.facts.name} has {classes} classes, the network is asked for {network.classes}")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; checkpoints need a folder")


def _torch_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(1, step)).generate_state(1, np.uint64)[0] >> 1)


def _fingerprint(videos: VideoSet, network: NetworkConfig, config: TrainConfig, weights: str | None) -> str:
    recipe = asdict(config)
    inputs = {part: recipe.pop(part) for part in ("sampling", "augmentation")}
    for name in ("checkpoint_every", "workers"):  # may change from one start to the next: they change no number
        del recipe[name]
    facts = videos.facts
    everything: dict[str, Any] = {
        "network": asdict(network),
        "train": recipe,
        **inputs,
        "weights": weights,
        "data": [facts.name, facts.content_digest, list(facts.class_names), len(videos)],
    }
    return json.dumps(everything, sort_keys=True)


def _differences(before: str, after: str) -> str:
    was, now = json.loads(before), json.loads(after)
    odd = []
    for part, value in now.items():
        old = was.get(part)
        if isinstance(value, dict) and isinstance(old, dict):
            odd += [f"{part}.{key}" for key in sorted(value | old) if value.get(key) != old.get(key)]
        elif value != old:
            odd.append(part)
    return ", ".join(odd) or "another version"
