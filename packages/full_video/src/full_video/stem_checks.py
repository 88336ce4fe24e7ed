"""What a stem must not do if its frames are to pass it in chunks, several times, with the result of passing it at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torchvision.ops import StochasticDepth

from full_video.errors import UsageError
from full_video.shift import ShiftedConv2d

__all__ = ["check_draws", "check_stem", "draw_state", "frames_independent"]


def check_stem(stem: nn.Module) -> None:
    """Refuse a stem whose frames depend on their chunk or on chance.

    Seen are batch norm that uses the statistics of its batch (in training mode, or without running statistics), instance
    norm that updates its own, dropout, stochastic depth and ``RReLU`` that are on, the temporal shift and recurrent
    layers. A module of another kind that mixes frames is not seen here; :func:`frames_independent` finds it.

    Raises:
        UsageError: naming the module, the reason and what would mend it.
    """
    for name, module in stem.named_modules():
        reason = _objection(module)
        if reason is not None:
            raise UsageError(f"the stem cannot be passed in chunks: {name or 'it'} ({type(module).__name__}) {reason}")


def _objection(module: nn.Module) -> str | None:
    if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
        return (
            "normalises with the statistics of its batch, and those of a chunk are not those of all frames; freeze it "
            "(NetworkConfig.frozen_norm='stem', or eval mode with running statistics) or use memory='plain'"
        )
    if isinstance(module, _InstanceNorm) and module.training and module.track_running_stats:
        return "would update its running statistics at every look; put it in eval mode"
    random = (isinstance(module, _DropoutNd | StochasticDepth) and module.p > 0) or isinstance(module, nn.RReLU)
    if random and module.training:
        return "draws other numbers at every look; switch it off, or use memory='plain'"
    if isinstance(module, ShiftedConv2d):
        return "mixes neighbouring frames; shift only after the cut (stem_shift=False), or use memory='plain'"
    if isinstance(module, nn.RNNBase):
        return "mixes the frames of its input"
    return None


def draw_state(device: torch.device) -> Tensor:
    """The state of the random numbers that a module on ``device`` would draw."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def check_draws(before: Tensor, device: torch.device) -> None:
    """Refuse a stem that has drawn random numbers since ``before`` (:func:`draw_state`).

    Raises:
        UsageError: if it has.
    """
    if not torch.equal(before, draw_state(device)):
        raise UsageError("the stem cannot be passed in chunks: it draws random numbers, other ones at every look")


@torch.no_grad()
def frames_independent(stem: nn.Module, frames: Tensor, tolerance: float = 1e-3) -> bool:
    """Whether each frame's map is the same alone as among the others: try it once on a stem of your own.

    Args:
        stem: frames (n, *) to maps (n, *).
        frames: (n, *) on the stem's device, n >= 2, that differ.
        tolerance: largest difference, relative to the largest activation, that counts as rounding.
    """
    together = stem(frames)
    alone = torch.cat([stem(frame[None]) for frame in frames])
    return together.shape == alone.shape and bool((together - alone).abs().max() <= tolerance * together.abs().max())
