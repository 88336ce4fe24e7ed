"""Stems whose maps depend on the chunk or on chance are refused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from full_video.networks import NetworkConfig, ShiftedConv2d, StreamedStem, VideoNetwork, check_stem, frames_independent


class Draws(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class Mixes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


@pytest.mark.parametrize(("module", "reason"), [
    (nn.BatchNorm2d(3), r"0 \(BatchNorm2d\) normalises with the statistics of its batch.*frozen_norm='stem'"),
    (nn.BatchNorm2d(3, track_running_stats=False).eval(), "normalises with the statistics of its batch"),
    (nn.SyncBatchNorm(3), "normalises with the statistics of its batch"),
    (nn.InstanceNorm2d(3, track_running_stats=True), "running statistics"),
    (nn.Dropout(0.5), "draws other numbers"),
    (StochasticDepth(0.2, "row"), "draws other numbers"),
    (nn.RReLU(), "draws other numbers"),
    (ShiftedConv2d(3, 3, 1), "mixes neighbouring frames"),
    (nn.GRU(3, 3), "mixes the frames"),
    (Draws(), "draws random numbers"),
])  # fmt: skip
def test_stems_that_are_refused(module: nn.Module, reason: str) -> None:
    layers = nn.Sequential(module, nn.Conv2d(3, 2, 3))
    with pytest.raises(ValueError, match=reason):
        StreamedStem(layers, 2)(torch.rand(1, 6, 3, 12, 12))


def test_stems_that_are_fine() -> None:
    check_stem(nn.Sequential(nn.BatchNorm2d(3).eval(), nn.Dropout(0.0), nn.Dropout().eval(), nn.GroupNorm(1, 3)))
    frames = torch.rand(6, 3, 12, 12)
    assert frames_independent(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval()), frames)
    assert not frames_independent(Mixes(), frames)


@pytest.mark.parametrize("memory", ["checkpointed", "streamed"])
def test_networks_that_are_refused(memory: Any) -> None:
    frames = torch.zeros(1, 5, 3, 32, 32)

    def build(**settings: Any) -> VideoNetwork:
        return VideoNetwork(NetworkConfig(2, width=8, **settings), memory).train()

    with pytest.raises(ValueError, match=r"bn1 \(BatchNorm2d\).*frozen_norm='stem'.*memory='plain'"):
        build(clusters=2)(frames)
    with pytest.raises(ValueError, match=r"shift over time.*memory='plain'.*stem_shift=False"):
        build(clusters=2, stem_shift=True, frozen_norm="stem")(frames)
    with pytest.raises(ValueError, match="needs clusters" if memory == "streamed" else "shift over time"):
        build(frozen_norm="all")(frames)
    assert build(clusters=2).eval()(frames).shape == (1, 2)
