"""Heads of a small detector and the features that they look at."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from location_anticipation import DetectorConfig, build_detector
from location_anticipation.model.roi_heads import AnticipationRoIHeads


@pytest.fixture
def make_heads(tiny: Callable[..., DetectorConfig]) -> Callable[..., AnticipationRoIHeads]:
    """A function that makes RoI heads of a detector, in eval mode, whose outputs are far from uniform."""

    def make(**changes: object) -> AnticipationRoIHeads:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            heads = build_detector(tiny(**changes)).roi_heads.eval()
            torch.nn.init.normal_(heads.box_predictor.cls_score.weight, std=3)
            torch.nn.init.normal_(heads.box_predictor.bbox_pred.weight, std=2)
            if heads.trajectory_head is not None:
                torch.nn.init.normal_(heads.trajectory_head.fc_out.weight, std=2)
        return heads

    return make


@pytest.fixture
def features() -> Callable[..., dict[str, Tensor]]:
    """A function that makes feature maps of three images, or of another number."""

    def make(images: int = 3) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        sides = {str(level): 24 // 2**level for level in range(4)}
        return {level: torch.rand(images, 32, side, side, generator=generator) for level, side in sides.items()}

    return make
