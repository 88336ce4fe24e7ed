"""Losses of every step, read from the device as seldom as may be."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from efficiency_core.errors import WorkError
from efficiency_core.loop.task import Task, weighted_means

_STEPS_BETWEEN_LOOKS = 64


class LossHistory:
    """The losses of the steps taken, and a check that they are finite.

    On a CPU every row is looked at when it comes, on a GPU after 64 steps, at the end of an epoch and before a checkpoint:
    to look is to wait for the device. The path of the checkpoint is for the message of an error.
    """

    def __init__(self, task: Task[Any], checkpoint: Path) -> None:
        device = task.accelerator.device
        self.rows: list[list[float]] = []  # of the steps looked at: float32 values
        self.weights: list[float] = []  # of all steps, those not looked at too
        self._task, self._checkpoint = task, checkpoint
        steps = 1 if device.type == "cpu" else _STEPS_BETWEEN_LOOKS
        self._recent = torch.zeros(steps, len(task.loss_names) + 1, device=device)  # losses, norm of the gradients

    def add(self, row: Tensor | None, weight: float, norm: Tensor | None) -> None:
        """Keep a step's losses (zeros where None) and weight, and the norm of its gradients where it is to be finite.

        Raises:
            WorkError: if a loss or a norm is not finite; on a GPU possibly some steps late.
        """
        place = self._recent[len(self.weights) - len(self.rows)].zero_()
        if row is not None:
            place[:-1].copy_(row)
        if norm is not None:
            place[-1].copy_(norm)
        self.weights.append(weight)
        if len(self.weights) - len(self.rows) == len(self._recent):
            self.look()

    def look(self) -> None:
        """Read what has not been looked at. Raises :class:`WorkError` if a loss or a norm is not finite."""
        for *row, norm in self._recent[: len(self.weights) - len(self.rows)].tolist():
            if not all(map(math.isfinite, row)):
                raise self.not_finite(f"the loss is not finite at step {len(self.rows)} ({self.text(row)})")
            if not math.isfinite(norm):
                raise self.not_finite(f"the gradient is not finite at step {len(self.rows)} (norm {norm:.4g})")
            self.rows.append(row)

    def not_finite(self, what: str) -> WorkError:
        path = self._checkpoint
        kept = f"the checkpoint {path} is from before" if path.exists() else "no checkpoint yet"
        return WorkError(f"{what}; {kept}. A lower learning_rate, a longer warmup or a clip_norm usually mends it")

    def mean(self, first: int, last: int) -> list[float]:
        """Mean losses of the steps ``first`` to ``last`` - 1."""
        return weighted_means(self.rows[first:last], self.weights[first:last])

    def epoch(self, number: int) -> list[float]:
        """Mean losses of an epoch, as far as it has been looked at."""
        part = slice(number * self._task.epoch_steps, min((number + 1) * self._task.epoch_steps, len(self.rows)))
        return self._task.summary(self.rows[part], self.weights[part])

    def text(self, losses: list[float]) -> str:
        """Losses with their names: ``loss 0.1234``."""
        return " ".join(f"{name} {loss:.4f}" for name, loss in zip(self._task.loss_names, losses, strict=True))

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint, once all is looked at."""
        rows = torch.tensor(self.rows, dtype=torch.float32).view(-1, len(self._task.loss_names))
        return {"losses": rows, "weights": torch.tensor(self.weights, dtype=torch.float64)}

    def load(self, state: dict[str, Tensor]) -> None:
        self.rows, self.weights = state["losses"].tolist(), state["weights"].tolist()
