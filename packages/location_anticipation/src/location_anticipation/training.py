"""Training a detector: one loop, resumable at any moment, the same bytes every time on the CPU."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim import SGD
from tqdm import tqdm

from location_anticipation.checkpoint import read_tensors, save_detector, write_tensors
from location_anticipation.data import Keyframes, collate
from location_anticipation.detector import AnticipationRCNN, DetectorConfig, build_detector
from location_anticipation.errors import UsageError, WorkError
from location_anticipation.peers import KEY_BOX_METHODS, Clips, PeerConfig, build_peer

__all__ = ["TrainConfig", "TrainResult", "batch_indices", "learning_rate_at", "train"]

_FORMAT = "location_anticipation.training/1"
_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
_SCHEDULES = ("step", "cosine")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """Recipe of a training run."""

    iterations: int = 1250
    """Gradient steps."""
    batch_size: int = 8
    """Keyframes per step and device."""
    learning_rate: float = 0.02
    """Learning rate of SGD after warm-up."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """L2 penalty."""
    warmup: int = 100
    """Steps over which the learning rate rises linearly from zero."""
    schedule: str = "step"
    """How the learning rate falls: ``step``, divided by ten once (thesis), or ``cosine``, half a wave down to zero."""
    decay_from: float = 2 / 3
    """Share of the iterations after which ``step`` divides (80k of 120k in the thesis)."""
    clip_norm: float = 10.0
    """Gradients are scaled down to this norm."""
    seed: int = 0
    """Seed of the initial weights, of the order of the data and of proposal sampling."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    precision: str = "32-true"
    """Fabric's precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``."""

    def __post_init__(self) -> None:
        if self.precision not in _PRECISIONS:
            raise ValueError(f"precision must be one of {_PRECISIONS}, got {self.precision!r}")
        if self.schedule not in _SCHEDULES:
            raise ValueError(f"schedule must be one of {_SCHEDULES}, got {self.schedule!r}")
        if not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, got {self.clip_norm}")
        for name in ("momentum", "weight_decay", "warmup", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("iterations", "batch_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


@dataclass(frozen=True)
class TrainResult:
    """What a finished training leaves."""

    model: AnticipationRCNN
    """The trained detector, in eval mode."""
    seconds_per_keyframe: float
    """Wall time of the training steps, divided by the keyframes they saw; checkpoints not counted."""
    losses: dict[str, float]
    """Each loss, averaged over the last tenth of the run (at least ten steps where there are as many)."""


def batch_indices(size: int, batch: int, iteration: int, seed: int) -> list[int]:
    """Which of ``size`` samples make batch ``iteration``: a pure function, so that a resumed run needs no state.

    Samples come in a new random order every epoch; a batch may reach over the end of one.
    """
    wanted = range(iteration * batch, (iteration + 1) * batch)
    orders = {
        epoch: np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, epoch))).permutation(size)
        for epoch in {position // size for position in wanted}
    }
    return [int(orders[position // size][position % size]) for position in wanted]


def learning_rate_at(iteration: int, config: TrainConfig) -> float:
    """Linear warm-up; beside it constant and then a tenth (``step``), or half a cosine wave (``cosine``)."""
    rate = config.learning_rate * min(1.0, (iteration + 1) / max(config.warmup, 1))
    if config.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * iteration / config.iterations))
    return rate * (0.1 if iteration >= config.decay_from * config.iterations else 1.0)


def train(
    data: Keyframes,
    detector: DetectorConfig | PeerConfig,
    config: TrainConfig,
    folder: str | Path,
    *,
    device: str = "cpu",
    devices: int = 1,
    backbone_weights: str | None = None,
) -> TrainResult:
    """Train a detector, or go on with the training that ``folder`` holds.

    ``folder/training.pt`` is written every ``checkpoint_every`` steps and ``folder/detector.pt`` at the end. The same
    call on a folder whose run was stopped at any moment continues from its last checkpoint and ends with the same
    weights as an uninterrupted run (bit-equal on the CPU with the same number of threads).

    Args:
        data: the keyframes; for a peer what :func:`location_anticipation.peers.training_data` makes of the videos.
        detector: the model. The key box methods among the peers train the plain detector, so that one folder serves all
            of them.
        config: the recipe.
        folder: where checkpoints go.
        device: ``cpu`` or ``cuda``.
        devices: how many of them; batches are split over them by Fabric's data-parallel strategy.
        backbone_weights: torchvision weights for the backbone, or None.

    Raises:
        UsageError: if ``folder`` holds a run with other settings or other data, if the data does not fit the model, or
            if the model cannot be built as asked.
        WorkError: if a loss or a gradient is not finite, or a checkpoint cannot be written; the last one stays.
    """
    folder = Path(folder)
    if isinstance(detector, PeerConfig) and detector.method in KEY_BOX_METHODS:
        detector = detector.detector
    class_names = data.videos.facts.class_names
    _check_fit(data, detector, folder)
    fingerprint = _fingerprint(data, detector, config, devices, backbone_weights)
    fabric = Fabric(accelerator=device, devices=devices, precision=config.precision)  # type: ignore[arg-type]
    if devices > 1:
        fabric.launch()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device == "cuda" else []):
        torch.manual_seed(_torch_seed(config.seed, 0))
        try:
            model = _build(detector, backbone_weights)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if device == "cpu":
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        parameters = [p for p in model.parameters() if p.requires_grad]
        # Fused: one pass over weights, gradients and momentum. For a small batch the optimizer is half of a step.
        optimizer = SGD(parameters, config.learning_rate, config.momentum, weight_decay=config.weight_decay, fused=True)
        wrapped, optimizer = fabric.setup(model, optimizer)
        wrapped.train()
        first, seconds, history = _resume(folder / "training.pt", fingerprint, model, optimizer)
        steps = tqdm(
            range(first, config.iterations), initial=first, total=config.iterations, unit="step",
            disable=not sys.stderr.isatty() or fabric.global_rank != 0,
        )  # fmt: skip
        for iteration in steps:
            started = time.perf_counter()
            torch.manual_seed(_torch_seed(config.seed, iteration + 1 + config.iterations * fabric.global_rank))
            images, targets = _batch(data, config, iteration, fabric)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(iteration, config)
            optimizer.zero_grad(set_to_none=True)
            losses: dict[str, Tensor] = wrapped(images, targets)
            total = torch.stack(list(losses.values())).sum()
            if not torch.isfinite(total):
                parts = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
                raise _not_finite("loss", iteration, parts, folder)
            fabric.backward(total)
            norm = fabric.clip_gradients(wrapped, optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
            # With float16 an overflow is part of the method: the scaler leaves the step out and scales less.
            if config.precision != "16-mixed" and norm is not None and not torch.isfinite(norm):
                raise _not_finite("gradient", iteration, f"norm {norm.item():.4g}", folder)
            optimizer.step()
            history.append([value.item() for value in losses.values()])
            seconds += time.perf_counter() - started
            done = iteration + 1
            if done % config.checkpoint_every == 0 or done == config.iterations:
                _log_progress(done, config, losses, seconds)
                if fabric.global_rank == 0:
                    _checkpoint(folder / "training.pt", fingerprint, model, optimizer, done, seconds, history)
        if fabric.global_rank == 0:
            save_detector(folder / "detector.pt", model, class_names)
    keyframes = config.iterations * config.batch_size * devices
    tail = history[-max(config.iterations // 10, min(10, config.iterations)) :]
    averages = np.mean(np.asarray(tail), axis=0)
    return TrainResult(
        model.eval(), seconds / keyframes, dict(zip(_loss_names(model.horizon), averages.tolist(), strict=True))
    )


def _build(detector: DetectorConfig | PeerConfig, backbone_weights: str | None) -> AnticipationRCNN:
    if isinstance(detector, PeerConfig):
        return build_peer(detector, backbone_weights)
    return build_detector(detector, backbone_weights)


def _check_fit(data: Keyframes, model: DetectorConfig | PeerConfig, folder: Path) -> None:
    if (data.peer if isinstance(data, Clips) else None) != (model if isinstance(model, PeerConfig) else None):
        raise UsageError("the data and the model belong to different methods; make the data of a peer by training_data")
    detector = model.detector if isinstance(model, PeerConfig) else model
    classes = len(data.videos.facts.class_names)
    if classes != detector.num_classes:
        raise UsageError(f"{data.videos.path} has {classes} classes, the detector is asked for {detector.num_classes}")
    if data.horizon != detector.horizon:
        raise UsageError(
            f"the data has trajectories of {data.horizon} steps, the detector's horizon is {detector.horizon}"
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; checkpoints need a folder")


def _not_finite(what: str, iteration: int, parts: str, folder: Path) -> WorkError:
    kept = f"the checkpoint in {folder} is from before" if (folder / "training.pt").exists() else "no checkpoint yet"
    return WorkError(
        f"{what} is not finite at step {iteration} ({parts}); {kept}. "
        "A lower learning_rate or a longer warmup usually mends it"
    )


def _loss_names(horizon: int) -> list[str]:
    """Names of the losses in the order torchvision's detector returns them."""
    names = ["loss_classifier", "loss_box_reg"]
    names += ["loss_trajectory"] if horizon else []
    return [*names, "loss_objectness", "loss_rpn_box_reg"]


def _torch_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(1, step)).generate_state(1, np.uint64)[0] >> 1)


def _batch(
    data: Keyframes, config: TrainConfig, iteration: int, fabric: Fabric
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    everywhere = batch_indices(len(data), config.batch_size * fabric.world_size, iteration, config.seed)
    images, targets = collate([data[i] for i in everywhere[fabric.global_rank :: fabric.world_size]])
    images = [image.to(fabric.device) for image in images]
    return images, [{name: value.to(fabric.device) for name, value in target.items()} for target in targets]


def _fingerprint(
    data: Keyframes,
    detector: DetectorConfig | PeerConfig,
    config: TrainConfig,
    devices: int,
    backbone_weights: str | None,
) -> str:
    settings = asdict(config)
    del settings["checkpoint_every"]  # may change from one start to the next: it changes no number
    facts = {
        "detector": asdict(detector),
        "train": settings,
        "devices": devices,
        "backbone_weights": backbone_weights,
        "data": [
            data.videos.facts.content_digest,
            data.motion,
            data.horizon,
            data.seed,
            data.index[0][0],
            len(data),
            *([data.keyframe_step] if data.keyframe_step != 1 else []),  # (left out where older runs know none)
        ],
    }
    return json.dumps(facts, sort_keys=True, default=int)


def _checkpoint(
    path: Path,
    fingerprint: str,
    model: AnticipationRCNN,
    optimizer: torch.optim.Optimizer,
    done: int,
    seconds: float,
    history: list[list[float]],
) -> None:
    content = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "iteration": done,
        "seconds": seconds,
        "history": torch.tensor(history, dtype=torch.float64),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    write_tensors(path, content)


def _resume(
    path: Path, fingerprint: str, model: AnticipationRCNN, optimizer: torch.optim.Optimizer
) -> tuple[int, float, list[list[float]]]:
    if not path.exists():
        return 0, 0.0, []
    content = read_tensors(path, _FORMAT)
    if content["fingerprint"] != fingerprint:
        was, now = json.loads(content["fingerprint"]), json.loads(fingerprint)
        odd = [
            f"{part}.{key}"
            for part in ("detector", "train")
            for key in now[part]
            if was[part].get(key) != now[part][key]
        ]
        if ("method" in was["detector"]) != ("method" in now["detector"]):  # a peer and a detector share no setting
            odd = ["method"]
        odd += [part for part in ("data", "devices", "backbone_weights") if was[part] != now[part]]
        raise UsageError(
            f"{path}: belongs to a run with other settings ({', '.join(odd) or 'another version'}); "
            "choose another folder or delete it"
        )
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    _log.info("continuing from step %d of %s", content["iteration"], path)
    return int(content["iteration"]), float(content["seconds"]), content["history"].tolist()


def _log_progress(done: int, config: TrainConfig, losses: dict[str, Tensor], seconds: float) -> None:
    parts = " ".join(f"{name.removeprefix('loss_')} {value.item():.3f}" for name, value in losses.items())
    remaining = math.ceil((config.iterations - done) * seconds / max(done, 1))
    _log.info("step %d/%d  %s  (%.2f s/step, %d s left)", done, config.iterations, parts, seconds / done, remaining)
