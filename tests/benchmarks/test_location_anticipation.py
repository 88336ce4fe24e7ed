"""Speed of chapter 2's parts: the detector on every frame and on keyframes, the head alone, the losses."""

from collections.abc import Callable
from functools import partial
from itertools import cycle

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from efficiency_bench.flops import count_macs
from efficiency_bench.memory import peak_live_bytes, saved_bytes
from location_anticipation import DetectorConfig, TrajectoryHead, build_detector
from location_anticipation.losses import trajectory_loss
from location_anticipation.offsets import CoderSpace, ImageSpace
from location_anticipation.peers import PeerConfig, build_peer, video_method
from location_anticipation.video import VideoDetector

FEATURES, HORIZON, BOXES = 256 * 7 * 7, 8, 100


def timed(benchmark: BenchmarkFixture, work: Callable[[], object], device: torch.device, rounds: int = 20) -> None:
    """Benchmark ``work`` with warm-up, the device synchronised inside every call."""

    def synchronised() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    benchmark.pedantic(synchronised, rounds=rounds, warmup_rounds=3)


@pytest.mark.parametrize("step", [1, 4, 8])
def test_detector(benchmark: BenchmarkFixture, device: torch.device, step: int) -> None:
    """A clip of ``step`` frames, the network on its first: per frame at 1, with anticipation at 4 and 8."""
    torch.manual_seed(0)
    config = DetectorConfig(
        num_classes=10,
        backbone="resnet18",
        horizon=0 if step == 1 else 8,
        min_size=224,
        max_size=224,
        proposals_test=100,
    )
    model = build_detector(config).to(device).eval()
    clip = list(torch.rand(step, 3, 224, 224, device=device))
    detector = VideoDetector(model, step)
    with torch.inference_mode():
        benchmark.extra_info["macs_per_frame"] = count_macs(model, ([clip[0]],)).macs / step
        benchmark.extra_info["peak_live_bytes"] = peak_live_bytes(lambda: model([clip[0]]))
    timed(benchmark, lambda: list(detector(clip)), device, rounds=10)
    assert len(list(detector(clip))) == step


@pytest.mark.parametrize("method", ["key_boxes_copied", "constant_velocity", "dff", "fgfa", "selsa"])
def test_peer(benchmark: BenchmarkFixture, device: torch.device, method: str) -> None:
    """Two frames of an endless stream, in the steady state of each method; small windows and flow networks."""
    torch.manual_seed(0)
    detector = DetectorConfig(
        num_classes=10, backbone="resnet18", horizon=0, min_size=128, max_size=128, proposals_test=100
    )
    config = PeerConfig(
        method, detector, keyframe_step=2, window=1, references=2, flow_width=0.25, embedding_width=0.25
    )
    model = build_peer(config).to(device).eval()
    stream = video_method(config, model)(cycle(torch.rand(4, 3, 128, 128, device=device)))
    benchmark.extra_info["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    timed(benchmark, lambda: [next(stream) for _ in range(2)], device, rounds=10)
    assert next(stream).index % 2 == 0, "two frames a call, none left out"


@pytest.mark.parametrize("formulation", ["fused", "plain"])
def test_trajectory_head(benchmark: BenchmarkFixture, device: torch.device, formulation: str) -> None:
    """The head on as many boxes as a keyframe may have."""
    torch.manual_seed(0)
    head = TrajectoryHead(FEATURES, HORIZON).to(device).eval()
    features, boxes = torch.rand(BOXES, FEATURES, device=device), torch.rand(BOXES, 4, device=device)
    forward = head if formulation == "fused" else head.forward_plain
    with torch.inference_mode():
        benchmark.extra_info["macs"] = count_macs(forward, (features, boxes)).macs
        benchmark.extra_info["peak_live_bytes"] = peak_live_bytes(lambda: forward(features, boxes))
        timed(benchmark, partial(forward, features, boxes), device)
        assert forward(features, boxes).shape == (BOXES, HORIZON, 4)


@pytest.mark.parametrize("space", [ImageSpace(), CoderSpace()], ids=["image", "coder"])
def test_trajectory_loss(benchmark: BenchmarkFixture, device: torch.device, space: ImageSpace | CoderSpace) -> None:
    """Forward and backward of L_traj for the positive proposals of a batch of sixteen images."""
    torch.manual_seed(0)
    objects = 16 * 128
    corner = torch.rand(objects, HORIZON + 1, 2, device=device) * 100
    boxes = torch.cat((corner, corner + 30), dim=-1)
    offsets = torch.zeros(objects, HORIZON, 4, device=device, requires_grad=True)

    def work() -> torch.Tensor:
        offsets.grad = None
        loss = trajectory_loss(boxes, boxes[:, 0], offsets, space=space).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    given = [boxes, offsets]
    benchmark.extra_info["saved_bytes"] = saved_bytes(
        lambda: trajectory_loss(boxes, boxes[:, 0], offsets, space=space).mean(), exclude=given
    ).total
    timed(benchmark, work, device)
    assert torch.isfinite(work())
