"""The one training loop: order, learning rate, checkpoints, continuation, validation and records of any task."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from efficiency_core.checkpoint import read_tensors, write_tensors
from efficiency_core.errors import UsageError
from efficiency_core.files import locked
from efficiency_core.loop.accelerator import device_text, map_tensors
from efficiency_core.loop.config import LoopConfig, check_same, fingerprint_text
from efficiency_core.loop.finished import filled
from efficiency_core.loop.loss_history import LossHistory
from efficiency_core.loop.run_log import RunLog
from efficiency_core.loop.task import Task
from efficiency_core.readers.ahead import read_ahead

CHECKPOINT = "training.pt"
"""File name of a training's checkpoint."""
BEST = "best.safetensors"
"""File name of the network with the best validation."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopResult:
    """What a finished training leaves, beside its task."""

    steps: int
    """Steps taken, of all starts together."""
    seconds: float
    """Wall time of the steps, waiting for batches included, without checkpoints, validations and callbacks. Of a training that
    was continued elsewhere: what all steps would have taken at the pace of those taken on ``device``."""
    device: str
    """What ``seconds`` was measured on: ``NVIDIA H200``, or ``cpu of HOST, 2 threads``. The last device of the training, unless
    it had ended before it was loaded there."""
    history: list[list[float]]
    """Losses of every step, float32 values in the order of the task's ``loss_names``."""
    epochs: list[list[float]]
    """Mean losses of every epoch; the last one may be part of an epoch."""
    ended: bool
    """Whether the task has ended the training before its last step."""
    best: tuple[int, float] | None
    """Steps and measure of the best validation; None where there was none."""


def run(task: Task[Any], config: LoopConfig, folder: str | Path, fingerprint: dict[str, Any]) -> LoopResult:
    """Train, or continue the training that ``folder`` holds; to be called inside the task's accelerator.

    ``folder/training.pt`` is written every ``checkpoint_every`` steps and at the end; ``folder/metrics.csv`` and
    ``folder/tensorboard`` hold the losses, ``folder/best.safetensors`` the network with the best validation. The same call
    on a folder whose training was stopped at any moment ends with the numbers of an uninterrupted one (bit-equal on the CPU
    with the same number of threads). A finished training can be made longer; a warning says where the learning rates of the
    steps already taken depend on the length. ``fingerprint``: plain values that make it the same training, without its
    length; a checkpoint with others is refused.

    Raises:
        UsageError: if ``folder`` is a file, holds another or a longer training, or another process trains in it; or if a
            batch has fewer samples than devices.
        WorkError: if a loss, a gradient or a weight is not finite (the last checkpoint stays), a file cannot be written, or
            a worker process dies.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; checkpoints need a folder")
    if task.accelerator.world > task.batch_size:
        raise UsageError(f"a batch of {task.batch_size} cannot be divided among {task.accelerator.world} devices")
    with locked(folder) if task.accelerator.main else nullcontext():
        return _Run(task, config, folder, fingerprint_text(fingerprint)).go()


class _Run:
    def __init__(self, task: Task[Any], config: LoopConfig, folder: Path, fingerprint: str) -> None:
        self._task, self._config, self._folder, self._fingerprint = task, config, folder, fingerprint
        self._accelerator = task.accelerator
        self._random: Any = torch.cuda if task.accelerator.device.type == "cuda" else torch
        self._path = folder / CHECKPOINT
        self._format = f"{task.name}.training/2"
        self._step = 0
        self._seconds = 0.0
        self._device = device_text(task.accelerator.device, task.accelerator.world)
        self._pace: dict[str, list[float]] = {}  # device -> steps taken on it, and their seconds
        self._ended = False
        self._best: tuple[int, float] | None = None
        self._losses = LossHistory(task, self._path)
        self._log: RunLog | None = None  # of process 0

    def go(self) -> LoopResult:
        task, main = self._task, self._accelerator.main
        self._accelerator.prepare(task.model)
        continued = self._path.exists()
        if continued:
            self._resume()
        elif main:
            with self._accelerator.apart():
                task.after_epoch(0)
            task.after_step(0)
        with ExitStack() as stack:
            if main and not self._over:
                self._log = RunLog(self._folder, task, self._config, self._losses, self._step if continued else None)
                stack.enter_context(closing(self._log))
            batches: Iterator[Any] | None = None
            while not self._over:
                started = time.perf_counter()
                epoch = self._step // task.epoch_steps
                task.begin_epoch(epoch)
                task.train_mode()
                last = min(task.total, (epoch + 1) * task.epoch_steps)
                if batches is None or not task.ahead_over_epochs:
                    batches = self._batches(task.total if task.ahead_over_epochs else last)
                    stack.enter_context(closing(batches))  # type: ignore[type-var]
                for batch in islice(batches, last - self._step):
                    self._take(batch)
                    self._between(started)
                    started = time.perf_counter()
        epochs = [self._losses.epoch(number) for number in range(math.ceil(self._step / task.epoch_steps))]
        device = self._device
        if self._pace and device not in self._pace:  # it had ended elsewhere
            device = max(self._pace, key=lambda name: self._pace[name][0])
        steps, seconds = self._pace.get(device, [0, 0.0])
        seconds = seconds if steps == self._step else seconds / steps * self._step
        return LoopResult(self._step, seconds, device, self._losses.rows, epochs, self._ended, self._best)

    @property
    def _over(self) -> bool:
        return self._ended or self._step == self._task.total

    def _batches(self, last: int) -> Iterator[Any]:
        task, here = self._task, self._task.reading == "here"
        pins = self._accelerator.device.type == "cuda" and not here
        return read_ahead(
            task.batch,
            range(self._step, last),
            0 if here else self._config.workers,
            processes=task.reading == "processes",
            after=(lambda batch: map_tensors(Tensor.pin_memory, batch)) if pins else None,
        )

    def _take(self, batch: Any) -> None:
        task, accelerator = self._task, self._accelerator
        task.arrived(batch, self._step)
        weight = task.weight(batch)
        whole = accelerator.total(weight)
        row = accelerator.norm = None
        if whole:
            accelerator.share = weight / whole
            if task.reseeds or accelerator.world > 1:
                accelerator.seed(self._config.seed, self._step + 1)
            task.set_rate(task.rate(self._step, task.total))
            row = accelerator.mean(task.take(batch, self._step))
        self._step += 1
        self._losses.add(row, whole, accelerator.norm)

    def _between(self, started: float) -> None:
        task, config, step = self._task, self._config, self._step
        over = step % task.epoch_steps == 0
        if over:
            self._losses.look()
            epoch = step // task.epoch_steps - 1
            self._ended = self._accelerator.everyone(task.end_epoch(epoch, self._losses.epoch(epoch)))[0]
        seconds = time.perf_counter() - started
        self._seconds += seconds
        pace = self._pace.setdefault(self._device, [0, 0.0])
        pace[0] += 1
        pace[1] += seconds
        better, measure = False, None
        if task.validation and (self._over or step % (config.validate_every or task.epoch_steps) == 0):
            better, measure = self._validate()
        if self._log is not None:
            self._log.took(step, self._seconds, measure, self._over)
            if over or self._over:
                with self._accelerator.apart():
                    task.after_epoch(math.ceil(step / task.epoch_steps))
            task.after_step(step)
        if self._over or better or step % config.checkpoint_every == 0:
            self._write()
            # After the checkpoint: a training that is killed in between makes up for it when it is continued.
            if better and self._log is not None:
                task.save(self._folder / BEST)

    def _validate(self) -> tuple[bool, float]:
        """Whether the network is the best so far, and its measure."""
        task, measure = self._task, math.nan
        self._losses.look()
        if self._accelerator.main:
            with self._accelerator.apart():
                measure = task.validate()
        measure = self._accelerator.everyone(measure)[0]
        task.train_mode()
        sign = -1 if task.smaller_is_better else 1
        better = not math.isnan(measure) and (self._best is None or sign * measure > sign * self._best[1])
        if better:
            self._best = (self._step, measure)
        return better, measure

    def _write(self) -> None:
        self._losses.look()
        state = self._task.state()
        if not self._accelerator.main:
            return
        # A gradient that is not finite shows in the weights before it shows in a loss.
        if not self._task.finite():
            raise self._losses.not_finite(f"a weight is not finite after step {self._step - 1}")
        if self._log is not None:
            self._log.flush()
        content = {
            "format": self._format,
            "fingerprint": self._fingerprint,
            "step": self._step,
            "total": self._task.total,
            "seconds": self._seconds,
            "pace": self._pace,
            "ended": self._ended,
            "best": self._best,
            "history": self._losses.state(),
            "random": self._random.get_rng_state(),
            "scaler": scaler.state_dict() if (scaler := self._accelerator.scaler) else {},
            "task": state,
        }
        write_tensors(self._path, content)

    def _resume(self) -> None:
        task, accelerator = self._task, self._accelerator
        content = read_tensors(self._path, self._format)
        check_same(self._path, content["fingerprint"], self._fingerprint)
        self._step, before = int(content["step"]), int(content["total"])
        if self._step > task.total:
            raise UsageError(
                f"{self._path}: has taken {self._step} steps, {task.total} are asked for; choose another folder or delete it"
            )
        longer = before != task.total
        if longer and any(task.rate(step, before) != task.rate(step, task.total) for step in range(self._step)):
            _log.warning(
                "the learning rate depends on the length of the training: the first %d steps had the rates of %d steps, the "
                "others get those of %d",
                self._step, before, task.total,
            )  # fmt: skip
        self._seconds, self._ended = float(content["seconds"]), bool(content["ended"])
        self._pace = content.get("pace") or {"another device": [self._step, self._seconds]}  # it was not noted at first
        self._best = content["best"]
        self._losses.load(content["history"])
        task.load(filled(self._path, content, task.total, task.optimizers))
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(content["scaler"])
        # Of another length where a checkpoint of a CPU continues on a GPU, with other draws.
        if len(content["random"]) == len(self._random.get_rng_state()):
            self._random.set_rng_state(content["random"])
        if accelerator.main:
            _log.info("continuing from step %d of %s", self._step, self._path)
            if self._device not in self._pace:
                times = "its times are those of there" if self._over else f"times will be those of {self._device}"
                _log.warning("steps were taken on %s: %s", ", ".join(self._pace), times)
            if self._best is not None and self._best[0] == self._step:
                task.save(self._folder / BEST)
