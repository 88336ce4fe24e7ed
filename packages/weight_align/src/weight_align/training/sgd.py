"""Training by SGD as a task of the training loop; no operation of a step waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from efficiency_core.devices import convolution_layout
from efficiency_core.errors import UsageError
from efficiency_core.loop import Accelerator, LoopResult, Task, rate_at
from weight_align.data import IGNORED
from weight_align.networks import fixup_scalars
from weight_align.training.augmentation import generator
from weight_align.training.batches import Batch, Batches
from weight_align.training.config import SgdConfig
from weight_align.training.graphs import Recorded
from weight_align.training.normalisation import Normalisation

FIXUP_SHARE = 0.1
"""Factor of the learning rate for Fixup's scalars (its authors' code)."""
NETWORK = "network.safetensors"
"""File name of the trained network."""
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Trained(Generic[Net]):
    """A finished training."""

    network: Net
    """The trained network, in eval mode."""
    normalisation: Normalisation
    """Normalisation of the colours in the training."""
    losses: tuple[float, ...]
    """Mean loss of every epoch, in training mode."""
    seconds_per_epoch: float
    """Wall time of an epoch, without checkpoints and ``after_epoch``; of all seeds together where they are trained at once."""
    steps_per_second: float
    """Training steps per second, without checkpoints and ``after_epoch``."""
    best: tuple[int, float] | None
    """Steps and error of the best validation; None without validation set."""

    @classmethod
    def of(
        cls, network: Net, normalisation: Normalisation, result: LoopResult, epoch_steps: int, number: int = 0
    ) -> Trained[Net]:
        """Network ``number`` of a training that has ended."""
        per_step = result.seconds / result.steps
        losses = tuple(row[number] for row in result.epochs)
        return cls(network.eval(), normalisation, losses, per_step * epoch_steps, 1 / per_step, result.best)


def start_seed(seed: int) -> int:
    """Seed of torch's generator for the initial weights."""
    return generator(seed, 1).initial_seed()


def slow_parameters(network: nn.Module) -> set[str]:
    """Names of Fixup's scalars."""
    scalars = {id(parameter) for parameter in fixup_scalars(network)}
    return {name for name, parameter in network.named_parameters() if id(parameter) in scalars}


def cross_entropy_of(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of scores (B, C) and classes (B,), or of maps (B, C, H, W) and (B, H, W) without class 255."""
    if targets.dim() > 1:
        total = cross_entropy(scores.float(), targets, ignore_index=IGNORED, reduction="sum")
        return total / (targets != IGNORED).sum().clamp(min=1)  # a crop outside the picture has no valid pixel
    return cross_entropy(scores.float(), targets)


class SgdTask(Task[Batch], Generic[Net]):
    """SGD of R networks, R mostly 1. Raises UsageError for CUDA graphs on another device, on several devices, or in
    float16.

    Args:
        buffers: other tensors that a step changes (running statistics), by name.
        slow: names of the parameters that learn at :data:`FIXUP_SHARE` of the learning rate.
        loss: inputs, targets -> the loss of each network (R,)."""

    name = "weight_align"
    reseeds = False

    def __init__(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], slow: set[str], config: SgdConfig,
        batches: Batches, accelerator: Accelerator, loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:  # fmt: skip
        if config.graphs and accelerator.device.type != "cuda":
            raise UsageError(
                f"graphs=true records CUDA graphs, but the device is {accelerator.device}; "
                "use --device cuda or graphs=false"
            )
        if config.graphs and (accelerator.world > 1 or accelerator.scaler is not None):
            raise UsageError("graphs=true goes with devices=1 and with precision=32-true or bf16-mixed")
        self._parameters, self._buffers = dict(parameters), dict(buffers)
        self.config, self.batches, self.accelerator = config, batches, accelerator
        self.reading = "here" if batches.resident else "threads"
        self.clip_norm, self.batch_size = config.clip_norm, config.batch_size
        self.epoch_steps = len(batches)
        self.total = config.steps or self.epoch_steps * config.epochs
        self._loss = torch.compile(loss, dynamic=False, fullgraph=True) if config.compile else loss
        groups = []
        for share, chosen in ((1.0, set(parameters) - slow), (FIXUP_SHARE, slow)):
            if chosen:
                # A recorded step (CUDA graphs) reads the learning rate from the device.
                rate: float | Tensor = torch.tensor(0.0, device=accelerator.device) if config.graphs else 0.0
                values = [value for name, value in parameters.items() if name in chosen]
                groups.append({"params": values, "lr": rate, "share": share})
        # Fused: one pass over weights, gradients and momentum.
        self.optimizer = SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)
        self._rate = float("nan")
        self._step = Recorded(self._one_step, self.tensors) if config.graphs else self._one_step

    def batch(self, step: int) -> Batch:
        return self.batches.batch(step)

    def rate(self, step: int, total: int) -> float:
        config = self.config
        return rate_at(
            step, total, config.learning_rate, warmup=round(config.warmup_share * total), schedule=config.schedule,
            drops=[round(milestone * total) for milestone in config.milestones], power=config.power,
        )  # fmt: skip

    def set_rate(self, rate: float) -> None:
        if rate == self._rate:
            return
        self._rate = rate
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * group["share"])
            else:
                group["lr"] = rate * group["share"]

    def take(self, batch: Batch, step: int = 0) -> Tensor:
        """One step; returns the losses before it, (R,)."""
        return self._step(*(part.to(self.accelerator.device, non_blocking=True) for part in batch))

    def _one_step(self, *batch: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        losses = self._loss(*self.batches.prepare(*batch))
        self.accelerator.backward(losses.sum())
        self.descend()
        return losses.detach()

    def descend(self) -> None:
        self.accelerator.step(self.optimizer, self.clip_norm)

    def weight(self, batch: Batch) -> float:
        """This process's part of the batch; 1 on one device, so that means of an epoch are plain means of its steps."""
        return len(batch[0]) / self.batch_size if self.accelerator.world > 1 else 1.0

    def tensors(self) -> list[Tensor]:
        momenta = [
            kept["momentum_buffer"] for kept in self.optimizer.state.values() if kept.get("momentum_buffer") is not None
        ]
        return [*self._parameters.values(), *self._buffers.values(), *momenta]

    def finite(self) -> bool:
        return all(bool(torch.isfinite(parameter).all()) for parameter in self._parameters.values())

    def state(self) -> dict[str, Any]:
        weights = {name: value.detach() for name, value in (self._parameters | self._buffers).items()}
        momenta = [self.optimizer.state[value].get("momentum_buffer") for value in self._parameters.values()]
        return {"weights": weights, "momenta": momenta}

    def load(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, value in (self._parameters | self._buffers).items():
                value.copy_(state["weights"][name])
        for parameter, momentum in zip(self._parameters.values(), state["momenta"], strict=True):
            if momentum is not None:
                # A fused step pairs numbers by their place in memory, so momenta need the memory format of the weights.
                self.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)

    def networks(self) -> list[Net]:
        """The R networks with their present weights, which they may share with this task."""
        raise NotImplementedError


class SingleTask(SgdTask[Net]):
    """SGD of one network.

    Args:
        after_epoch: called with the number of finished epochs and the network in eval mode; first with 0.
        validation: name of the error on the validation set, and a function that measures it; None without validation set.
        save: writes the network to a file."""

    smaller_is_better = True
    loss_names = ("loss",)

    def __init__(
        self, network: Net, config: SgdConfig, batches: Batches, accelerator: Accelerator, *,
        after_epoch: Callable[[int, Net], None] | None = None,
        validation: tuple[str, Callable[[Net], float]] | None = None, save: Callable[[Path, Net], None] | None = None,
    ) -> None:  # fmt: skip
        self._layout = convolution_layout(network, accelerator.device.type)
        self.model = self.network = network.to(memory_format=self._layout)  # type: ignore[call-overload]
        self._after_epoch, self._save = after_epoch, save
        self._measure: Callable[[Net], float] | None
        self.validation, self._measure = validation or (None, None)
        super().__init__(
            dict(network.named_parameters()), dict(network.named_buffers()), slow_parameters(network), config, batches,
            accelerator, self._one_loss,
        )  # fmt: skip

    def _one_loss(self, images: Tensor, targets: Tensor) -> Tensor:
        with self.accelerator.autocast():
            scores = self.network(images.contiguous(memory_format=self._layout))
        return cross_entropy_of(scores, targets).view(1)

    def networks(self) -> list[Net]:
        return [self.network]

    def after_epoch(self, epochs: int) -> None:
        if self._after_epoch is not None:
            self._after_epoch(epochs, self.network.eval())

    def validate(self) -> float:
        assert self._measure is not None
        return self._measure(self.network)

    def save(self, path: Path) -> None:
        assert self._save is not None
        self._save(path, self.network)
