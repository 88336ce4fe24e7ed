"""Several trainings at once, of one recipe and several seeds: their weights lie in one tensor, and so do their steps.

A network with a batch of a few images leaves most of a device idle. Weights, buffers and momenta of R networks are stacked
along a new first axis and the network is mapped over it (``torch.func``): a convolution becomes one grouped convolution of R
times the channels. Every network sees the images it would see alone, and its numbers are those it would have alone, up to
the rounding of other kernels. That holds with every norm: batch norm's running statistics are stacked too. Dropout draws
other numbers than alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from weight_align.learner import Autocast, Learner, Net, cross_entropy_of, slow_parameters
from weight_align.train_config import Recipe

__all__ = ["StackedLearner", "clip_each"]


class StackedLearner(Learner[Net]):
    """R networks of one kind, trained together; in place of (B, ...) they take (R, B, ...).

    Args:
        networks: on the device they are to be trained on; they get their weights back in :meth:`networks`.
        config: of the training.
        autocast: context of the networks' arithmetic, Fabric's for example.
    """

    def __init__(self, networks: Sequence[Net], config: Recipe, autocast: Autocast) -> None:
        self._networks, self._autocast = list(networks), autocast
        parameters, buffers = stack_module_state(self._networks)
        parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        self._form = copy.deepcopy(self._networks[0]).to("meta").train()
        mapped = vmap(self._one_loss, randomness="different")

        def loss(images: Tensor, targets: Tensor) -> Tensor:
            losses: Tensor = mapped(self._parameters, self._buffers, images, targets)
            return losses

        super().__init__(parameters, buffers, slow_parameters(self._networks[0]), config, loss)

    def _one_loss(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], images: Tensor, targets: Tensor
    ) -> Tensor:
        with self._autocast():
            scores = functional_call(self._form, (dict(parameters), dict(buffers)), (images,))
        return cross_entropy_of(scores, targets)

    def train_mode(self) -> None:
        """Nothing: the form that the weights are put into has been in training mode all the time."""

    def _clip(self) -> None:
        clip_each([value.grad for value in self._parameters.values() if value.grad is not None], self._clip_norm)

    def networks(self) -> list[Net]:
        """The networks it was given, filled."""
        with torch.no_grad():
            for number, network in enumerate(self._networks):
                own = dict(network.named_parameters()) | dict(network.named_buffers())
                for name, value in (self._parameters | self._buffers).items():
                    own[name].copy_(value[number])
        return list(self._networks)


def clip_each(gradients: Sequence[Tensor], max_norm: float) -> None:
    """Scale the gradients of R networks, each (R, ...), down in place so that no network's norm is above ``max_norm``;
    for each as ``torch.nn.utils.clip_grad_norm_`` does for one."""
    squares = [gradient.reshape(len(gradient), -1).square().sum(1) for gradient in gradients]
    norms = torch.stack(squares).sum(0).sqrt()
    factors = (max_norm / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))
