"""Optical flow: FlowNet-S estimates it from two frames, ``warp`` moves feature maps along it.

FlowNet-S: Dosovitskiy et al., ICCV 2015, figure 2. Warping: Deep Feature Flow, arXiv 1611.07715, equations 2 and 3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# An output of 1 is 20 pixels of the input, as in the paper's training, and the output grid has stride 4.
_UNIT = 20 / 4


class FlowNetS(nn.Module):
    """Flow between two frames, at a quarter of their resolution.

    The contracting part halves the frames six times. The expanding part doubles them four times, each time together with
    the features of that size and the flow so far. Frames of any size work: where a side cannot be halved without rest, the
    convolutions pad it and the result is cropped.

    At width 1 it has 38.68 million parameters: 38,676,506 (other implementations count 38,676,504 or 38,676,514, with
    biases on fewer or more of the layers that make flow). The last convolution starts at zero: features that are not
    moved are a better start than features moved anywhere when no flow weights are there to start from.

    Args:
        width: number of channels as a multiple of the paper's.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        c64, c128, c256, c512, c1024 = (max(1, round(width * channels)) for channels in (64, 128, 256, 512, 1024))
        self.conv1 = _convolution(6, c64, 7, 2)
        self.conv2 = _convolution(c64, c128, 5, 2)
        self.conv3 = nn.Sequential(_convolution(c128, c256, 5, 2), _convolution(c256, c256, 3, 1))
        self.conv4 = nn.Sequential(_convolution(c256, c512, 3, 2), _convolution(c512, c512, 3, 1))
        self.conv5 = nn.Sequential(_convolution(c512, c512, 3, 2), _convolution(c512, c512, 3, 1))
        self.conv6 = nn.Sequential(_convolution(c512, c1024, 3, 2), _convolution(c1024, c1024, 3, 1))
        skips, known = (c512, c512, c256, c128), c1024
        self.flows, self.up, self.up_flow = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for skip, more in zip(skips, (c512, c256, c128, c64), strict=True):
            self.flows.append(nn.Conv2d(known, 2, 3, padding=1))
            self.up.append(nn.Sequential(nn.ConvTranspose2d(known, more, 4, stride=2, padding=1), nn.LeakyReLU(0.1)))
            self.up_flow.append(nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1, bias=False))
            known = skip + more + 2
        self.flow = nn.Conv2d(known, 2, 3, padding=1)
        self.out_channels = known
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=0.1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.flow.weight)

    def forward(self, current: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Flow from places in ``current`` to the same things in ``other``.

        Args:
            current, other: (B, 3, H, W) normalised frames.

        Returns:
            the flow (B, 2, ceil(H/4), ceil(W/4)), x then y, in pixels of that grid, and the features (B, out_channels,
            ceil(H/4), ceil(W/4)) it was read from.
        """
        c2 = self.conv2(self.conv1(torch.cat((current, other), dim=1)))
        c3 = self.conv3(c2)
        c4 = self.conv4(c3)
        c5 = self.conv5(c4)
        features = self.conv6(c5)
        for skip, flow, up, up_flow in zip((c5, c4, c3, c2), self.flows, self.up, self.up_flow, strict=True):
            height, width = skip.shape[-2:]
            parts = (skip, up(features)[..., :height, :width], up_flow(flow(features))[..., :height, :width])
            features = torch.cat(parts, dim=1)
        return self.flow(features).float() * _UNIT, features


def half_size(images: Tensor) -> Tensor:
    """(B, 3, H, W) at half resolution, as DFF and FGFA give frames to the flow network."""
    return F.avg_pool2d(images, 2, ceil_mode=True)


class _Convolution(nn.Conv2d):
    """A convolution that strides over a map of a single row or column in float32, under autocast as well.

    On the CPU, torch 2.15 leaves whatever memory held in the bfloat16 gradient of those weights that never meet such a map
    (conv6 has one place for frames of 64 pixels). They do not matter, but the norm that gradients are clipped to does.
    """

    def forward(self, input: Tensor) -> Tensor:
        if max(self.stride) > 1 and min(input.shape[-2:]) == 1:
            with torch.autocast(input.device.type, enabled=False):
                return super().forward(input.float())
        return super().forward(input)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_Convolution(inputs, outputs, kernel, stride, padding=kernel // 2), nn.LeakyReLU(0.1))


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
