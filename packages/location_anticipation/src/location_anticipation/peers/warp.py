"""Moving feature maps along optical flow (DFF, arXiv 1611.07715, equations 2 and 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["flow_for", "resize_map", "warp"]


def warp(features: Tensor, flow: Tensor) -> Tensor:
    r"""Bilinear samples of ``features`` where the flow points: f'(p) = \sum_q G(q, p + flow(p)) f(q).

    Positions outside the map take the value of its nearest edge. (The released code of DFF has zeros there, which a
    detector sees as a dark frame around every panning shot.)

    Args:
        features: (B, C, h, w) of the frame that is moved.
        flow: (B, 2, h, w), x then y, in pixels of this grid: from a place in the current frame to the same thing in the
            frame that is moved.

    Returns:
        (B, C, h, w) in the type of ``features``; computed in float32.
    """
    height, width = features.shape[-2:]
    flow = flow.float()
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    return F.grid_sample(features.float(), grid, padding_mode="border", align_corners=False).to(features.dtype)


def resize_map(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) on a grid of ``size``: means where that is coarser, bilinear where it is finer."""
    if values.shape[-2:] == size:
        return values
    if size[0] <= values.shape[-2] and size[1] <= values.shape[-1]:
        return F.adaptive_avg_pool2d(values, size)
    return F.interpolate(values, size, mode="bilinear", align_corners=False)


def flow_for(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Flow (B, 2, h, w) in pixels of its own grid, as flow on a grid of ``size`` in pixels of that one."""
    scale = flow.new_tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]])
    return resize_map(flow, size) * scale[:, None, None]
