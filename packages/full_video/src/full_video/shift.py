"""The temporal shift of TSM (Lin, Gan and Han, ICCV 2019, https://arxiv.org/abs/1811.08383): neighbours see each other.

Of the C channels of a map, the first C // fold_div come from the next frame, as many again from the frame before, and
the rest stay: a convolution after it looks three frames far at no extra multiplication.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["ShiftedConv2d", "temporal_shift"]


def temporal_shift(x: Tensor, num_frames: int, fold_div: int = 8, lengths: Sequence[int] | None = None) -> Tensor:
    """Shift part of the channels by one frame, within each video.

    With fold = C // fold_div, frame t of the result has channels [0, fold) of frame t + 1, channels [fold, 2 fold) of
    frame t - 1 and its own in [2 fold, C). Outside the video there is zero. A batch of one video is shifted as any other
    (the author's release leaves it unshifted, so that its result depends on the size of the batch).

    Args:
        x: (V * num_frames, C, ...) the frames of V videos, one video after another.
        num_frames: frames of every video.
        fold_div: C // fold_div channels are taken from either side.
        lengths: where the videos differ in length: the frames of each, in place of ``num_frames``; x then has
            sum(lengths) frames, and none of them is padding.

    Returns:
        A new tensor of the shape of ``x``.

    Raises:
        ValueError: if the frames of ``x`` do not divide so, or the fold is wider than half of the channels.
    """
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
        shifted: Tensor = _Shift.apply(x, fold, tuple(lengths))
        return shifted
    return _shift(x, fold, tuple(lengths), back=False)


class ShiftedConv2d(nn.Conv2d):
    """A convolution that sees the shifted frames; its parameters keep the names and shapes of ``nn.Conv2d``.

    The network says before each forward pass which frames belong together.

    Attributes:
        num_frames: frames of every video in the batch.
        lengths: frames of each video where they differ, else None.
        fold_div: see :func:`temporal_shift`.
    """

    num_frames: int = 1
    lengths: tuple[int, ...] | None = None
    fold_div: int = 8

    @classmethod
    def around(cls, conv: nn.Conv2d, fold_div: int = 8) -> ShiftedConv2d:
        """``conv`` with the shift before it; the parameters are the same objects."""
        with torch.device("meta"):
            shifted = cls(
                conv.in_channels,
                conv.out_channels,
                conv.kernel_size,  # type: ignore[arg-type]
                conv.stride,  # type: ignore[arg-type]
                conv.padding,  # type: ignore[arg-type]
                conv.dilation,  # type: ignore[arg-type]
                conv.groups,
                conv.bias is not None,
                conv.padding_mode,
            )
        shifted.weight, shifted.bias = conv.weight, conv.bias
        shifted.fold_div = fold_div
        return shifted

    def forward(self, input: Tensor) -> Tensor:
        """(V * num_frames, C, H, W) to the convolution of the shifted frames."""
        return super().forward(temporal_shift(input, self.num_frames, self.fold_div, self.lengths))


class _Shift(torch.autograd.Function):
    """The shift saves nothing for its backward pass, which is the shift the other way round."""

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
    from_next, from_previous = slice(0, fold), slice(fold, 2 * fold)
    if back:
        from_next, from_previous = from_previous, from_next
    start = 0
    for count, frames in _runs(lengths):  # one step for all videos where they are equally long
        stop = start + count * frames
        source = x[start:stop].view(count, frames, *x.shape[1:])
        target = out[start:stop].view(count, frames, *x.shape[1:])
        target[:, :-1, from_next] = source[:, 1:, from_next]
        target[:, -1:, from_next] = 0
        target[:, 1:, from_previous] = source[:, :-1, from_previous]
        target[:, :1, from_previous] = 0
        start = stop
    return out


def _runs(lengths: tuple[int, ...]) -> list[tuple[int, int]]:
    """(how many, frames) of each run of equally long videos."""
    runs: list[tuple[int, int]] = []
    for frames in lengths:
        if runs and runs[-1][1] == frames:
            runs[-1] = (runs[-1][0] + 1, frames)
        else:
            runs.append((1, frames))
    return runs
