"""Several trainings at once that differ in their seed alone: weights, buffers and momenta of R networks are stacked along a new
first axis and the network is mapped over it (``torch.func``), which fills a device that one small batch leaves idle. Every
network sees its own images; its numbers are those of a training alone up to rounding, with every norm. Only dropout differs."""

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from efficiency_core.loop import Accelerator
from weight_align.training.batches import Batches
from weight_align.training.config import SgdConfig
from weight_align.training.sgd import Net, SgdTask, cross_entropy_of, slow_parameters


class StackedTask(SgdTask[Net]):
    """SGD of R networks of one kind; batches are (R, B, ...) instead of (B, ...).

    Args:
        networks: the networks, on the device; :meth:`networks` writes their trained weights into them.
        seeds: their seeds, for the names of their losses.
        after_epoch: called with the number of finished epochs and the networks in eval mode; first with 0."""

    def __init__(
        self, networks: Sequence[Net], seeds: Sequence[int], config: SgdConfig, batches: Batches,
        accelerator: Accelerator, after_epoch: Callable[[int, list[Net]], None] | None = None,
    ) -> None:  # fmt: skip
        self._networks, self._after_epoch = list(networks), after_epoch
        self.model = nn.ModuleList(self._networks)
        self.loss_names = tuple(f"loss seed-{seed}" for seed in seeds)
        parameters, buffers = stack_module_state(self._networks)
        parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        self._form = copy.deepcopy(self._networks[0]).to("meta").train()
        mapped = vmap(self._one_loss, randomness="different")

        def loss(images: Tensor, targets: Tensor) -> Tensor:
            return mapped(self._parameters, self._buffers, images, targets)

        slow = slow_parameters(self._networks[0])
        super().__init__(parameters, buffers, slow, config, batches, accelerator, loss)

    def _one_loss(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], images: Tensor, targets: Tensor
    ) -> Tensor:
        with self.accelerator.autocast():
            scores = functional_call(self._form, (dict(parameters), dict(buffers)), (images,))
        return cross_entropy_of(scores, targets)

    def descend(self) -> None:
        if self.clip_norm:
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.unscale_(self.optimizer)
            gradients = [value.grad for value in self._parameters.values() if value.grad is not None]
            clip_each(gradients, self.clip_norm)
        self.accelerator.step(self.optimizer)

    def train_mode(self) -> None:
        """Do nothing: the module that the weights are put into is always in training mode."""

    def after_epoch(self, epochs: int) -> None:
        if self._after_epoch is not None:
            self._after_epoch(epochs, [network.eval() for network in self.networks()])

    def networks(self) -> list[Net]:
        with torch.no_grad():
            for number, network in enumerate(self._networks):
                own = dict(network.named_parameters()) | dict(network.named_buffers())
                for name, value in (self._parameters | self._buffers).items():
                    own[name].copy_(value[number])
        return list(self._networks)


def clip_each(gradients: Sequence[Tensor], max_norm: float) -> None:
    """Scale the gradients of R networks, each (R, ...), in place so that the norm of no network exceeds ``max_norm``.
    For each network this is ``torch.nn.utils.clip_grad_norm_``."""
    squares = [gradient.reshape(len(gradient), -1).square().sum(1) for gradient in gradients]
    norms = torch.stack(squares).sum(0).sqrt()
    factors = (max_norm / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))
