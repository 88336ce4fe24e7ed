"""One step of SGD; nothing in it waits for the device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from weight_align import fixup
from weight_align.train_config import Recipe

__all__ = ["FIXUP_SHARE", "Autocast", "Learner", "Net", "SingleLearner", "cross_entropy_of", "slow_parameters"]

FIXUP_SHARE = 0.1
"""Fixup's scalars learn at this part of the learning rate (its authors' release)."""
_IGNORED = 255
Net = TypeVar("Net", bound=nn.Module)
Autocast = Callable[[], AbstractContextManager[Any]]


def slow_parameters(network: nn.Module) -> set[str]:
    """Names of Fixup's scalars."""
    scalars = {id(parameter) for parameter in fixup.scalars(network)}
    return {name for name, parameter in network.named_parameters() if id(parameter) in scalars}


def cross_entropy_of(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of scores (B, C) and classes (B,), or of maps (B, C, H, W) and (B, H, W) without class 255."""
    if targets.dim() > 1:
        total = cross_entropy(scores.float(), targets, ignore_index=_IGNORED, reduction="sum")
        return total / (targets != _IGNORED).sum().clamp(min=1)  # a view of nothing but edges teaches nothing
    return cross_entropy(scores.float(), targets)


class Learner(ABC, Generic[Net]):
    """Weights of R networks, R mostly 1, and their SGD.

    Args:
        parameters: what is trained, by name.
        buffers: what else a step changes (running statistics), by name.
        slow: names of parameters trained with :data:`FIXUP_SHARE` of the learning rate.
        config: momentum, weight decay, clipping, compilation, graphs.
        loss: images, targets -> the loss of each network (R,).
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        slow: set[str],
        config: Recipe,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self._parameters, self._buffers = dict(parameters), dict(buffers)
        self._clip_norm = config.clip_norm
        self._loss = torch.compile(loss, dynamic=False, fullgraph=True) if config.compile else loss
        device = next(iter(self._parameters.values())).device
        groups = []
        self._shares = []
        for share, chosen in ((1.0, set(parameters) - slow), (FIXUP_SHARE, slow)):
            if chosen:
                # A recorded step (CUDA graphs) reads the learning rate from the device.
                rate: float | Tensor = torch.tensor(0.0, device=device) if config.graphs else 0.0
                groups.append({"params": [value for name, value in parameters.items() if name in chosen], "lr": rate})
                self._shares.append(share)
        self.optimizer = SGD(
            groups,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,  # one pass over weights, gradients and momentum
        )
        self._rate = float("nan")

    def set_rate(self, rate: float) -> None:
        """The learning rate of the steps to come."""
        if rate == self._rate:
            return
        self._rate = rate
        for group, share in zip(self.optimizer.param_groups, self._shares, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * share)
            else:
                group["lr"] = rate * share

    def take(self, images: Tensor, targets: Tensor) -> Tensor:
        """One step; returns the losses before it, (R,)."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = self._loss(images, targets)
        losses.sum().backward()
        if self._clip_norm:
            self._clip()
        self.optimizer.step()
        return losses.detach()

    def tensors(self) -> list[Tensor]:
        """All that a step changes, and nothing else."""
        momenta = [
            kept["momentum_buffer"] for kept in self.optimizer.state.values() if kept.get("momentum_buffer") is not None
        ]
        return [*self._parameters.values(), *self._buffers.values(), *momenta]

    def is_finite(self) -> bool:
        """Whether every weight is."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in self._parameters.values())

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        weights = {name: value.detach() for name, value in (self._parameters | self._buffers).items()}
        momenta = [self.optimizer.state[value].get("momentum_buffer") for value in self._parameters.values()]
        return {"weights": weights, "momenta": momenta}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        with torch.no_grad():
            for name, value in (self._parameters | self._buffers).items():
                value.copy_(state["weights"][name])
        for parameter, momentum in zip(self._parameters.values(), state["momenta"], strict=True):
            if momentum is not None:
                # A fused step pairs numbers by their place in memory: in the order that the weight has here.
                self.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)

    @abstractmethod
    def train_mode(self) -> None:
        """Set the networks to training mode, before steps and after anyone else has had them."""

    @abstractmethod
    def _clip(self) -> None:
        """Scale each network's gradients down to ``clip_norm``."""

    @abstractmethod
    def networks(self) -> list[Net]:
        """The R networks with the weights they have now; they may share them with this object."""


class SingleLearner(Learner[Net]):
    """One network.

    Args:
        network: on the device it is to be trained on.
        config: of the training.
        autocast: context of the network's arithmetic, Fabric's for example.
    """

    def __init__(self, network: Net, config: Recipe, autocast: Autocast) -> None:
        self._network, self._autocast = network, autocast
        buffers = dict(network.named_buffers())
        super().__init__(dict(network.named_parameters()), buffers, slow_parameters(network), config, self._one_loss)

    def _one_loss(self, images: Tensor, targets: Tensor) -> Tensor:
        with self._autocast():
            scores = self._network(images)
        return cross_entropy_of(scores, targets).view(1)

    def train_mode(self) -> None:
        """Training mode."""
        self._network.train()

    def _clip(self) -> None:
        nn.utils.clip_grad_norm_(list(self._parameters.values()), self._clip_norm)

    def networks(self) -> list[Net]:
        """The one network itself."""
        return [self._network]
