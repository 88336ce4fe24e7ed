"""All weights of a network aligned at once, before its first layer runs: less overhead where layers are small.

On a core of a server CPU aligning a layer by itself costs some 20 microseconds more, forward and backward, than in one step
with the others. That is a tenth of a training step of a ResNet-18 of width 8 at batch size 1, and nothing to be seen from
width 64 on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from weight_align.fused import align_together, can_fuse
from weight_align.parametrization import WeightAlignment, alignment_of

__all__ = ["PAYS_BELOW", "install", "pays", "uninstall"]

PAYS_BELOW = 2**22
"""Aligned weights of a network up to which it pays, as measured (README, "What it costs")."""


def pays(model: nn.Module) -> bool:
    """Whether the network's aligned weights are few enough."""
    return sum(_original(layer).numel() for layer, _ in _aligned(model)) < PAYS_BELOW


def install(model: nn.Module) -> None:
    """Align all of the network's weights when ``model`` itself is called; where a layer is called alone, it aligns its own.
    Hooks that ``model`` or a part of it has already are replaced.

    ``torch.compile``, ``torch.export`` and ``torch.func`` see each layer align its own weight. Not for networks that
    recompute activations in the backward pass (``torch.utils.checkpoint``): what they recompute would not be what they did.
    """
    uninstall(model)
    hooks = _Together([layer for layer, alignment in _aligned(model) if alignment.centre and alignment.variance])
    model.register_forward_pre_hook(hooks.before)
    # Also after an error, so that no weight outlives the call that it was made for.
    model.register_forward_hook(hooks.after, always_call=True)


def uninstall(model: nn.Module) -> None:
    """Take the hooks of :func:`install` off ``model`` and all that is in it, where there are any."""
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key in [key for key, hook in hooks.items() if isinstance(getattr(hook, "__self__", None), _Together)]:
                del hooks[key]
                module._forward_hooks_always_called.pop(key, None)


class _Together:
    def __init__(self, layers: list[nn.Module]) -> None:
        self.layers = layers
        self.filled: list[WeightAlignment] = []

    def before(self, module: nn.Module, inputs: Any) -> None:
        if not can_fuse():
            return
        alignments, weights = [], []
        for layer in self.layers:
            alignment = alignment_of(layer)
            if alignment is not None:  # it may have been folded by itself
                weight = _original(layer)
                if weight.dtype in (torch.float32, torch.float64) and not weight.is_meta:
                    alignments.append(alignment)
                    weights.append(weight)
        if not weights:
            return
        scales = [alignment.scale for alignment in alignments]
        aligned = align_together(weights, scales, [alignment.recipe for alignment in alignments])
        for alignment, weight in zip(alignments, aligned, strict=True):
            alignment.ready = weight
        self.filled = alignments

    def after(self, module: nn.Module, inputs: Any, output: Any) -> None:
        for alignment in self.filled:
            alignment.ready = None
        self.filled = []


def _aligned(model: nn.Module) -> Iterator[tuple[nn.Module, WeightAlignment]]:
    for layer in model.modules():
        alignment = alignment_of(layer)
        if alignment is not None:
            yield layer, alignment


def _original(layer: nn.Module) -> Tensor:
    original: Tensor = layer.parametrizations.weight.original  # type: ignore[union-attr, assignment]
    return original
