"""What a training is, seen from the loop: its batches, its step, and what it keeps between steps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from efficiency_core.checkpoint import load_optimizer
from efficiency_core.loop.accelerator import Accelerator

B = TypeVar("B")


class Task(ABC, Generic[B]):
    """A training, as :func:`~efficiency_core.loop.runner.run` takes it. Steps and epochs are counted from 0.

    A subclass sets the attributes without a value, and implements :meth:`batch`, :meth:`rate` and :meth:`losses`, or in
    place of the last :meth:`take`. On several devices every process has a task and calls the same methods, unless a method
    says otherwise; batches are each process's ``accelerator.part`` of the whole batch.
    """

    name: ClassVar[str]
    """Of the method; opens the format of its checkpoints."""
    reading: Literal["here", "threads", "processes"] = "threads"
    """Where batches are made: between the steps, or ahead by ``workers`` threads or processes."""
    ahead_over_epochs: bool = True
    """Whether batches follow from the step alone. False: they depend on what the end of the epoch before has set, and are
    read ahead inside an epoch only."""
    reseeds: bool = True
    """Whether torch is seeded before every step. False: its random state is part of the checkpoint."""
    smaller_is_better: bool = False
    """How validations compare."""
    validation: str | None = None
    """What :meth:`validate` measures, ``accuracy`` for example; None where there is no validation set."""
    clip_norm: float = 0.0
    """Largest norm of the gradients; 0 leaves them as they are."""

    accelerator: Accelerator
    model: nn.Module
    """All that is trained."""
    optimizers: Sequence[Optimizer] = ()
    loss_names: tuple[str, ...]
    """Of the entries of a row of losses."""
    epoch_steps: int
    """Steps of an epoch."""
    total: int
    """Steps of the whole training."""
    batch_size: int
    """Of all devices together."""

    @abstractmethod
    def batch(self, step: int) -> B:
        """The batch of a step, on the CPU unless ``reading`` is ``here``.

        It must follow from the step (and from what :meth:`begin_epoch` has set) alone, and draw nothing from torch's global
        random state. Several threads, or copies of this process, call it at a time. On a GPU, tensors in tuples, lists and
        dicts come back page-locked, for ``to(device, non_blocking=True)``.
        """

    @abstractmethod
    def rate(self, step: int, total: int) -> float:
        """Learning rate of a step of a training of ``total`` steps."""

    def losses(self, batch: B, step: int) -> dict[str, Tensor]:
        """The loss terms () of a batch, in the order of ``loss_names``: means over this process's share of the batch."""
        raise NotImplementedError

    def objective(self, losses: dict[str, Tensor]) -> Tensor:
        """What is minimised, (); the sum of the terms unless a method says otherwise."""
        return torch.stack(list(losses.values())).sum()

    def take(self, batch: B, step: int) -> Tensor:
        """One step of gradient descent that does not wait for a GPU; the detached losses before it, (``loss_names``,)."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        losses = self.losses(batch, step)
        self.accelerator.backward(self.objective(losses))
        for optimizer in self.optimizers:
            self.accelerator.step(optimizer, self.clip_norm)
        return torch.stack([loss.detach().float() for loss in losses.values()])

    def set_rate(self, rate: float) -> None:
        """Set the optimisers' learning rate, before every step. A parameter group may have a ``share`` of it."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("share", 1.0)

    def weight(self, batch: B) -> float:
        """What this process's batch counts for in means; a step whose weight is 0 in all processes is not taken."""
        return len(self.accelerator.part(range(self.batch_size))) / self.batch_size

    def arrived(self, batch: B, step: int) -> None:
        """Called with every batch before its step, in order."""

    def train_mode(self) -> None:
        """Set the model to training mode; called at the start of every epoch, and in it after a validation."""
        self.model.train()

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first batch of an epoch is made (where ``ahead_over_epochs``, before its first step), and again
        where a training is continued inside it."""

    def end_epoch(self, epoch: int, losses: list[float]) -> bool:
        """Called after the last step of an epoch with its mean losses; True ends the training."""
        return False

    def summary(self, rows: list[list[float]], weights: list[float]) -> list[float]:
        """Mean losses of the steps of an epoch, from the losses and the weight of every step."""
        return weighted_means(rows, weights)

    def note(self) -> str:
        """What a line of the log adds to the losses."""
        return ""

    def after_step(self, steps: int) -> None:
        """Called in process 0 when so many steps are done, 0 included; a continued training calls it again for the steps since
        its checkpoint."""

    def after_epoch(self, epochs: int) -> None:
        """Called in process 0 when so many epochs are done, 0 included, with the model in any mode; again as
        :meth:`after_step`."""

    def validate(self) -> float:
        """The measure named ``validation``, of the model as it is. Called in process 0; may change the model's mode."""
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """Write the network to hand on; called in process 0 for the best network of a training with a validation set."""
        raise NotImplementedError

    def finite(self) -> bool:
        return bool(torch.stack([torch.isfinite(value).all() for value in self.model.parameters()]).all())

    def state(self) -> dict[str, Any]:
        """Tensors and plain values that :meth:`load` continues from; called in every process, that of process 0 is kept."""
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        return {"model": self.model.state_dict(), "optimizers": optimizers}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state, whose tensors are on the CPU."""
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            load_optimizer(optimizer, kept)


def weighted_means(rows: list[list[float]], weights: list[float]) -> list[float]:
    """Means of the columns of ``rows``, added up in order; NaN where all weights are 0."""
    sums = [0.0] * len(rows[0])
    for row, weight in zip(rows, weights, strict=True):
        sums = [total + value * weight for total, value in zip(sums, row, strict=True)]
    whole = sum(weights)
    return [total / whole if whole else float("nan") for total in sums]
