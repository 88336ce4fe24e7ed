"""Checks of a stem that frames pass in chunks, several times, with the result of passing it all at once."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torchvision.ops import StochasticDepth

from full_video.networks.frames import normalised
from full_video.networks.shift import ShiftedConv2d


def check_stem(stem: nn.Module) -> None:
    """Raise ``ValueError`` if the stem has a known module whose maps depend on the chunk or on chance. :func:`check_mixing` finds
    other kinds that mix frames."""
    for name, module in stem.named_modules():
        reason = _objection(module)
        if reason is not None:
            raise ValueError(f"the stem cannot be passed in chunks: {name or 'it'} ({type(module).__name__}) {reason}")


def _objection(module: nn.Module) -> str | None:
    if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
        return (
            "normalises with the statistics of its batch, and those of a chunk are not those of all frames; freeze it "
            "(NetworkConfig.frozen_norm='stem', or eval mode with running statistics) or use memory='plain'"
        )
    if isinstance(module, _InstanceNorm) and module.training and module.track_running_stats:
        return "would update its running statistics at every pass; put it in eval mode"
    random = (isinstance(module, _DropoutNd | StochasticDepth) and module.p > 0) or isinstance(module, nn.RReLU)
    if random and module.training:
        return "draws other numbers at every pass; switch it off, or use memory='plain'"
    if isinstance(module, ShiftedConv2d):
        return "mixes neighbouring frames; shift only after the cut (stem_shift=False), or use memory='plain'"
    if isinstance(module, nn.RNNBase):
        return "mixes the frames of its input"
    return None


def draw_state(device: torch.device) -> Tensor:
    """State of the random generator that a module on ``device`` draws from."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def check_draws(before: Tensor, device: torch.device) -> None:
    """Raise ``ValueError`` if the stem has drawn random numbers since ``before`` (:func:`draw_state`)."""
    if not torch.equal(before, draw_state(device)):
        raise ValueError("the stem cannot be passed in chunks: it draws random numbers, other ones at every pass")


@torch.no_grad()
def takes_frames(stem: nn.Module, frames: Tensor) -> bool:
    """Whether frames (n, *) enter the stem as they are; False: they are uint8, and it takes them :func:`normalised
    <full_video.networks.frames.normalised>`. Raises ValueError if it fails on one frame or does not make one map of it."""
    error = _refusal(stem, frames[:1])
    if error is None:
        return True
    if frames.dtype == torch.uint8 and frames.dim() == 4 and frames.shape[1] == 3:
        error = _refusal(stem, normalised(frames[:1], floating_dtype(stem)))
        if error is None:
            return False
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    raise ValueError(
        f"the stem does not take a frame {tuple(frames.shape[1:])} of {frames.dtype} ({reason}); expected frames (V, T, *) "
        "where it takes (n, *), for example uint8 or normalised (V, T, 3, H, W)"
    ) from error


@torch.no_grad()
def check_mixing(stem: nn.Module, frames: Tensor) -> bool:
    """Raise ``ValueError`` if the maps of frames (n, *) depend on each other or on chance. Neighbouring frames are alike and
    would hide it: they are rolled and scaled by different amounts. False: they are all 0, and nothing can be told."""
    count, size = max(2, len(frames)), frames[0].numel()
    rolled = [frames[k % len(frames)].flatten().roll(k * size // count).view_as(frames[0]) for k in range(count)]
    unlike = torch.stack([(frame / (k + 1)).to(frames.dtype) for k, frame in enumerate(rolled)])
    if bool((unlike == unlike[0]).all()):
        return False
    state = draw_state(frames.device)
    independent = frames_independent(stem, unlike)
    check_draws(state, frames.device)
    if not independent:
        raise ValueError(
            "the stem cannot be passed in chunks: the map of a frame depends on the other frames (a convolution, norm or "
            "attention over time); stream only layers that take each frame by itself"
        )
    return True


@torch.no_grad()
def frames_independent(stem: nn.Module, frames: Tensor, tolerance: float = 1e-3) -> bool:
    """Whether the map of each of ``frames`` (n, *), n >= 2, is the same alone as among the others, up to ``tolerance``.
    ``tolerance`` is relative to the largest activation, and at least 16 times the rounding of the maps."""
    together = stem(frames.clone())  # a layer may work in place
    alone = torch.cat([stem(frame[None].clone()) for frame in frames])
    if together.shape != alone.shape:
        return False
    eps = torch.finfo(together.dtype).eps if together.is_floating_point() else 0.0
    eps = max(eps, 2.0**-10) if frames.device.type == "cuda" else eps  # TF32
    together, alone = together.float(), alone.float()
    difference, largest = (together - alone).abs().max(), together.abs().max()
    return not bool(difference > max(tolerance, 16 * eps) * largest)  # a NaN is no sign of mixing


def floating_dtype(stem: nn.Module) -> torch.dtype:
    """The dtype of the first floating tensor of the stem; float32 for a stem without any."""
    tensors = (*stem.parameters(), *stem.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)


def _refusal(stem: nn.Module, frame: Tensor) -> Exception | None:
    """Why the stem does not make one map of one frame (1, *); None if it does."""
    try:
        maps = stem(frame.clone())
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return error
    if not isinstance(maps, Tensor):
        return TypeError(f"it returns {type(maps).__name__}, not a tensor")
    return None if maps.dim() > 1 and len(maps) == 1 else ValueError(f"it makes maps {tuple(maps.shape)} of one frame")
