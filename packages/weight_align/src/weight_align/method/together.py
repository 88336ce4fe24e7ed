"""Alignment of all weights of a network before its first layer runs. On one core of a server CPU this saves about 20
microseconds a layer, forward and backward: a tenth of a training step of a ResNet-18 of width 8 at batch size 1,
nothing from width 64 on."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from weight_align.method.fused import align_together, can_fuse
from weight_align.method.parametrization import WeightAlignment, alignment_of, original_of

PAYS_BELOW = 2**22
"""Number of aligned weights below which it is faster, as measured (README, "What it costs")."""


def pays(model: nn.Module) -> bool:
    """Whether aligning all weights at once is faster: the network has few aligned weights."""
    return sum(original_of(layer).numel() for layer, _ in _aligned(model)) < PAYS_BELOW


def install(model: nn.Module) -> None:
    """Align all weights of the network when ``model`` itself is called. A layer that is called alone aligns its own
    weight. Earlier hooks of this function in ``model`` or its parts are replaced. Under ``torch.compile``,
    ``torch.export`` and ``torch.func`` each layer aligns its own weight. Do not use this for networks that recompute
    activations in the backward pass (``torch.utils.checkpoint``): they would not recompute the same operations."""
    uninstall(model)
    hooks = _Together([layer for layer, alignment in _aligned(model) if alignment.centre and alignment.variance])
    model.register_forward_pre_hook(hooks.before)
    # Also after an error, so that no weight outlives its call.
    model.register_forward_hook(hooks.after, always_call=True)


def uninstall(model: nn.Module) -> None:
    """Remove the hooks of :func:`install` from ``model`` and all its parts."""
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
                weight = original_of(layer)
                if weight.dtype in (torch.float32, torch.float64) and not weight.is_meta:
                    alignments.append(alignment)
                    weights.append(weight)
        if not weights:
            return
        scales = [alignment.scale for alignment in alignments]
        aligned = align_together(weights, scales, [alignment.settings for alignment in alignments])
        for alignment, ready in zip(alignments, aligned, strict=True):
            alignment.ready = ready
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
