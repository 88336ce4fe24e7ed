"""The state of a training: what a checkpoint holds, one step of it, and what is looked at between steps."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weight_align.checkpoint import read_tensors, write_tensors
from weight_align.errors import UsageError, WorkError
from weight_align.feeds import Feed
from weight_align.graphs import Recorded
from weight_align.learner import Learner
from weight_align.train_config import Recipe, rate_at

__all__ = ["STEPS_BETWEEN_CHECKS", "Run", "fingerprint_of"]

STEPS_BETWEEN_CHECKS = 64
"""Steps after which losses are looked at: to look at one is to wait for the device. They are looked at before a checkpoint
is written too, so that none is of a run that has failed."""
_FORMAT = "weight_align.training/1"
_FREE = ("checkpoint_every", "threads")
_log = logging.getLogger(__name__)


class Run:
    """A training of R networks, R mostly 1, between two steps.

    Args:
        learner: the networks and their optimiser.
        feed: the images.
        config: the recipe.
        path: the checkpoint.
        fingerprint: what makes it the same run; a checkpoint with another one is refused.
        device: where it runs.
        runs: R.
    """

    def __init__(
        self,
        learner: Learner[Any],
        feed: Feed,
        config: Recipe,
        path: Path,
        fingerprint: dict[str, Any],
        device: torch.device,
        runs: int = 1,
    ) -> None:
        self.step = 0
        self.seconds = 0.0
        self.epoch_steps = len(feed)
        self.total = config.steps or self.epoch_steps * config.epochs
        self.losses: list[list[float]] = []  # of each epoch that is over: one a run
        self._learner, self._feed, self._config, self._runs = learner, feed, config, runs
        self._path, self._fingerprint = path, json.dumps(fingerprint, sort_keys=True)
        self._sums = [0.0] * runs
        self._recent = torch.zeros(STEPS_BETWEEN_CHECKS, runs, device=device)
        self._unseen = 0
        self._device = device
        self._take = Recorded(self._one_step, learner.tensors, device) if config.graphs else self._one_step

    def _one_step(self, *batch: Tensor) -> Tensor:
        return self._learner.take(*self._feed.prepare(*batch))

    @property
    def ended(self) -> bool:
        """Whether an epoch, or the training, has just ended."""
        return self.step % self.epoch_steps == 0 or self.step == self.total

    def batches(self) -> Iterator[tuple[Tensor, ...]]:
        """The batches left in the epoch at hand."""
        epoch, first = divmod(self.step, self.epoch_steps)
        return self._feed.batches(epoch, first, min(self.epoch_steps, self.total - epoch * self.epoch_steps))

    def take(self, batch: tuple[Tensor, ...]) -> None:
        """One step of gradient descent."""
        self._learner.set_rate(rate_at(self.step, self.total, self._config))
        self._recent[self._unseen] = self._take(*batch)
        self._unseen += 1
        self.step += 1
        if self._unseen == STEPS_BETWEEN_CHECKS:
            self.check()

    def check(self) -> None:
        """Look at the losses since the last time, and wait for the device.

        Raises:
            WorkError: if one is not finite.
        """
        first = self.step - self._unseen
        for number, row in enumerate(self._recent[: self._unseen].tolist()):
            if not all(map(math.isfinite, row)):
                raise self._not_finite(f"the loss is not finite at step {first + number} ({_said(row)})")
            # One after the other, so that sums do not depend on when they are looked at.
            self._sums = [total + loss for total, loss in zip(self._sums, row, strict=True)]
        self._unseen = 0

    def end_epoch(self) -> None:
        """Keep the epoch's mean losses."""
        self.check()
        taken = self.step - len(self.losses) * self.epoch_steps
        self.losses.append([total / taken for total in self._sums])
        self._sums = [0.0] * self._runs

    def _not_finite(self, what: str) -> WorkError:
        kept = f"the checkpoint {self._path} is from before" if self._path.exists() else "no checkpoint yet"
        return WorkError(f"{what}; {kept}. A lower learning_rate, a warmup or a clip_norm usually mends it")

    def log(self) -> None:
        """A line of progress."""
        taken = self.step - len(self.losses) * self.epoch_steps - self._unseen
        rows = self.losses[-1] if self.ended else [total / taken for total in self._sums if taken]
        left = math.ceil((self.total - self.step) * self.seconds / self.step)
        _log.info(
            "epoch %d/%d  step %d/%d  loss %s  (%.1f steps/s, %d s left)",
            (self.step - 1) // self.epoch_steps + 1, math.ceil(self.total / self.epoch_steps), self.step, self.total,
            _said(rows), self.step / self.seconds, left,
        )  # fmt: skip

    def write(self) -> None:
        """Write a checkpoint.

        Raises:
            WorkError: if a loss or a weight is not finite, or the file cannot be written; the old one stays.
        """
        self.check()
        # A gradient that is not finite shows in the weights before it shows in a loss.
        if not self._learner.is_finite():
            raise self._not_finite(f"a weight is not finite after step {self.step - 1}")
        cuda = self._device.type == "cuda"
        content = {
            "format": _FORMAT,
            "fingerprint": self._fingerprint,
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
            "sums": self._sums,
            "learner": self._learner.state(),
            "random": torch.cuda.get_rng_state(self._device) if cuda else torch.get_rng_state(),
        }
        write_tensors(self._path, content)

    def resume(self) -> None:
        """Take over the checkpoint, if there is one.

        Raises:
            UsageError: if it cannot be read or is of another run.
        """
        if not self._path.exists():
            return
        content = read_tensors(self._path, _FORMAT)
        if content["fingerprint"] != self._fingerprint:
            raise UsageError(
                f"{self._path}: belongs to a run with other settings "
                f"({_differences(content['fingerprint'], self._fingerprint)}); choose another folder or delete it"
            )
        self._learner.load(content["learner"])
        self.step, self.seconds = int(content["step"]), float(content["seconds"])
        self.losses, self._sums = content["losses"], content["sums"]
        # Dropout alone draws from it; a checkpoint of the CPU goes on with CUDA, but not with the same draws.
        if self._device.type == "cuda" and len(content["random"]) == len(torch.cuda.get_rng_state(self._device)):
            torch.cuda.set_rng_state(content["random"], self._device)
        elif self._device.type == "cpu" and len(content["random"]) == len(torch.get_rng_state()):
            torch.set_rng_state(content["random"])
        _log.info("continuing from step %d of %s", self.step, self._path)


def fingerprint_of(config: Recipe, **others: Any) -> dict[str, Any]:
    """What makes a run the same: its recipe, without what changes no number, and ``others``."""
    recipe = {name: value for name, value in asdict(config).items() if name not in _FREE}
    return {"train": recipe, **others}


def _said(losses: list[float]) -> str:
    return " ".join(f"{loss:.4f}" for loss in losses)


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
