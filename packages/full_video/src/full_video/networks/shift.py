"""The temporal shift of TSM (Lin, Gan and Han, ICCV 2019, https://arxiv.org/abs/1811.08383). A convolution after the
shift sees three frames without additional multiplications."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def temporal_shift(x: Tensor, num_frames: int, fold_div: int = 8, lengths: Sequence[int] | None = None) -> Tensor:
    """Shift part of the channels by one frame, within each video.

    With fold = C // fold_div, frame t of the result has channels [0, fold) of frame t + 1, channels [fold, 2 fold) of
    frame t - 1 and its own in [2 fold, C). Frames outside the video are zero. A batch of one video is shifted like any
    other (the author's release leaves it unshifted, so that its result depends on the batch size). Raises ValueError if
    the number of frames does not fit, or the fold is wider than half of the channels.

    Args:
        x: (V * num_frames, C, ...) the frames of V videos, one video after another.
        num_frames: frames of every video.
        fold_div: C // fold_div channels are taken from either side.
        lengths: frames of each video if they differ; x then has sum(lengths) frames, without padding."""
    if x.dim() < 2:
        raise ValueError(f"expected frames (V * {num_frames}, C, ...), got the shape {tuple(x.shape)}")
    if fold_div < 2:
        raise ValueError(f"fold_div must be at least 2, got {fold_div}")
    if lengths is None:
        if num_frames < 1 or x.shape[0] % num_frames:
            raise ValueError(f"{x.shape[0]} frames are no whole number of videos of {num_frames} frames")
        lengths = (num_frames,) * (x.shape[0] // num_frames)
    elif sum(lengths) != x.shape[0] or min(lengths, default=0) < 1:
        raise ValueError(f"{x.shape[0]} frames are not those of videos of {list(lengths)} frames")
    fold = x.shape[1] // fold_div
    if torch.is_grad_enabled() and x.requires_grad:
        return _Shift.apply(x, fold, tuple(lengths))
    return _shift(x, fold, tuple(lengths), back=False)


class ShiftedConv2d(nn.Conv2d):
    """A convolution of the shifted frames; its parameters have the names and shapes of ``nn.Conv2d``. The network sets
    ``num_frames`` and ``lengths``, as of :func:`temporal_shift`, before each forward pass."""

    num_frames: int = 1
    lengths: tuple[int, ...] | None = None

    @classmethod
    def around(cls, conv: nn.Conv2d) -> ShiftedConv2d:
        """``conv`` with the shift before it; the parameters stay the same objects."""
        with torch.device("meta"):
            shifted = cls(
                conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,  # type: ignore[arg-type]
                conv.dilation, conv.groups, conv.bias is not None, conv.padding_mode,  # type: ignore[arg-type]
            )  # fmt: skip
        shifted.weight, shifted.bias = conv.weight, conv.bias
        return shifted

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(temporal_shift(input, self.num_frames, lengths=self.lengths))


class _Shift(torch.autograd.Function):
    """The shift saves nothing for its backward pass, which is the shift in the other direction."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fold: int, lengths: tuple[int, ...]) -> Tensor:
        ctx.fold, ctx.lengths = fold, lengths
        return _shift(x, fold, lengths, back=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _shift(gradient, ctx.fold, ctx.lengths, back=True), None, None


def _shift(x: Tensor, fold: int, lengths: tuple[int, ...], *, back: bool) -> Tensor:
    out = torch.empty_like(x)
    out[:, 2 * fold :] = x[:, 2 * fold :]
    from_next, from_previous = (slice(0, fold), slice(fold, 2 * fold))[:: -1 if back else 1]
    start = 0
    for frames, run in groupby(lengths):  # one step for all videos where they are equally long
        count = len(list(run))
        stop = start + count * frames
        source = x[start:stop].view(count, frames, *x.shape[1:])
        target = out[start:stop].view(count, frames, *x.shape[1:])
        target[:, :-1, from_next] = source[:, 1:, from_next]
        target[:, -1:, from_next] = 0
        target[:, 1:, from_previous] = source[:, :-1, from_previous]
        target[:, :1, from_previous] = 0
        start = stop
    return out
