"""Small networks of the peers, and a video for them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from location_anticipation import DetectorConfig
from location_anticipation.peers import PeerConfig, build_peer

DETECTOR = DetectorConfig(
    num_classes=2, horizon=0, backbone="resnet18", channels=32, representation=32, min_size=48, max_size=80,
    proposals_train=50, proposals_test=20, rois_per_image=16, anchor_sizes=(12, 16, 24, 32, 48),
)  # fmt: skip


def peer(method: str, **changes: Any) -> PeerConfig:
    small: dict[str, Any] = {
        "keyframe_step": 3, "window": 2, "references": 3, "flow_width": 0.1, "embedding_width": 0.05, "attention_heads": 4,
    }  # fmt: skip
    return PeerConfig(method, **small | changes)


def build(config: PeerConfig, flow: float = 0.3, fpn: bool = True) -> Any:
    """A network in eval mode that finds things in noise, and whose flow is not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_peer(replace(DETECTOR, fpn=fpn), config).eval()
        nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
        nn.init.normal_(model.roi_heads.box_predictor.bbox_pred.weight, std=0.3)
        if hasattr(model, "flow") and flow:
            nn.init.normal_(model.flow.flow.weight, std=flow)
        if hasattr(model, "scale") and flow:
            nn.init.normal_(model.scale.weight, std=0.1)
    return model


def video(frames: int, size: tuple[int, int] = (48, 64)) -> list[Tensor]:
    """Smooth noise that moves."""
    generator = torch.Generator().manual_seed(1)
    scene = nn.functional.interpolate(torch.rand(1, 3, 20, 40, generator=generator), (160, 320), mode="bicubic")[0]
    return [scene[:, t : t + size[0], 3 * t : 3 * t + size[1]].clamp(0, 1) for t in range(frames)]


@pytest.fixture
def small(one_thread: None) -> SimpleNamespace:
    """The functions ``peer``, ``build`` and ``video`` of this file."""
    return SimpleNamespace(peer=peer, build=build, video=video)
