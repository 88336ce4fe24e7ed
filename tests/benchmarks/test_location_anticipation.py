"""Chapter 2: the detector on every frame and on keyframes, other methods, the trajectory head, the losses."""

from collections.abc import Callable
from functools import partial
from itertools import cycle

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from efficiency_bench.measure.counters import count
from location_anticipation import AnticipationRCNN, DetectorConfig, TrajectoryHead, VideoDetector, build_detector
from location_anticipation.model import CoderSpace, ImageSpace, trajectory_loss
from location_anticipation.peers import PeerConfig, build_peer, video_method

Gate = Callable[[dict[str, int]], None]
Timed = Ratio = Callable[..., None]
FEATURES, HORIZON, BOXES = 256 * 7 * 7, 8, 100
# Small, so that all benchmarks together take a minute; the head alone has the size of the thesis.
detector_config = partial(
    DetectorConfig, num_classes=10, backbone="resnet18", channels=64, representation=256, proposals_test=BOXES,
    min_size=128, max_size=128,
)  # fmt: skip


def keep_every_box(model: AnticipationRCNN) -> AnticipationRCNN:
    """How many boxes NMS drops depends on the rounding of their corners, and on it the multiply-adds of the heads."""
    model.rpn.nms_thresh = model.roi_heads.nms_thresh = 1.0
    model.roi_heads.score_thresh = 0.0
    return model.eval()


def rpn_maps(model: AnticipationRCNN, images: Tensor) -> Tensor:
    """Objectness at every place of the feature maps: the part of a detector whose size does not depend on its weights."""
    return torch.cat([level.flatten() for level in model.rpn.head(list(model.backbone(images).values()))[0]])


@pytest.mark.parametrize("step", [1, 4, 8])
def test_detector(gate: Gate, timed: Timed, device: torch.device, step: int) -> None:
    """A clip of ``step`` frames, the network on its first: per frame at 1, with anticipation at 4 and 8."""
    torch.manual_seed(0)
    model = keep_every_box(build_detector(detector_config(horizon=0 if step == 1 else 8)))
    clip = torch.rand(step, 3, 128, 128)
    maps = partial(rpn_maps, model, clip[:1])
    gate(count(lambda: list(VideoDetector(model, step)(clip)), forward=maps, network=model))
    detector, frames = VideoDetector(model.to(device), step), list(clip.to(device))
    timed(lambda: list(detector(frames)))
    assert len(list(detector(frames))) == step


@pytest.mark.parametrize("method", ["key_boxes_copied", "constant_velocity", "dff", "fgfa", "selsa"])
def test_peer(gate: Gate, timed: Timed, device: torch.device, method: str) -> None:
    """Two frames of an endless stream, in the steady state of each method; small windows and flow networks."""
    torch.manual_seed(0)
    detector = detector_config(horizon=0)
    config = PeerConfig(method, keyframe_step=2, window=1, references=2, flow_width=0.25, embedding_width=0.25)  # type: ignore[arg-type]
    model = keep_every_box(build_peer(detector, config))
    frames = torch.rand(4, 3, 128, 128)
    counted = video_method(config, model)(cycle(frames))
    for _ in range(4):
        next(counted)
    gate(count(lambda: [next(counted) for _ in range(2)], network=model))
    stream = video_method(config, model.to(device))(cycle(frames.to(device)))
    timed(lambda: [next(stream) for _ in range(2)])
    assert next(stream).index % 2 == 0, "two frames a call, none left out"


def head_and_boxes(device: torch.device | str) -> tuple[TrajectoryHead, Tensor, Tensor]:
    """The head, and the features and boxes of a keyframe with as many boxes as it may have."""
    torch.manual_seed(0)
    head = TrajectoryHead(FEATURES, HORIZON)
    return head.to(device), torch.rand(BOXES, FEATURES).to(device), torch.rand(BOXES, 4).to(device)


@pytest.mark.parametrize("formulation", ["fused", "plain"])
def test_trajectory_head(gate: Gate, timed: Timed, device: torch.device, formulation: str) -> None:
    """The head in inference; the saved bytes are those of training."""
    head, features, boxes = head_and_boxes("cpu")
    forward = head if formulation == "fused" else head.forward_plain
    with torch.no_grad():
        gate(count(partial(forward, features, boxes), forward=partial(forward, features, boxes), network=head))
    head, features, boxes = head_and_boxes(device)
    forward = head if formulation == "fused" else head.forward_plain
    with torch.inference_mode():
        timed(partial(forward, features, boxes))
        assert forward(features, boxes).shape == (BOXES, HORIZON, 4)


@pytest.mark.parametrize("space", [ImageSpace(), CoderSpace()], ids=["image", "coder"])
def test_trajectory_loss(gate: Gate, timed: Timed, device: torch.device, space: ImageSpace | CoderSpace) -> None:
    """Forward and backward of L_traj for the positive proposals of a batch of sixteen images."""

    def given(device: torch.device | str) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        corner = torch.rand(16 * 128, HORIZON + 1, 2, device=device) * 100
        return torch.cat((corner, corner + 30), dim=-1), torch.zeros(
            len(corner), HORIZON, 4, device=device, requires_grad=True
        )

    def loss(boxes: Tensor, offsets: Tensor) -> Tensor:
        return trajectory_loss(boxes, boxes[:, 0], offsets, space=space).mean()

    def work(boxes: Tensor, offsets: Tensor) -> Tensor:
        offsets.grad = None
        value = loss(boxes, offsets)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    tensors = given("cpu")
    gate(count(partial(work, *tensors), forward=partial(loss, *tensors), given=tensors))
    tensors = given(device)
    timed(partial(work, *tensors))
    assert torch.isfinite(work(*tensors))


def test_head_and_its_products(ratio: Ratio, device: torch.device) -> None:
    """The head against its matrix products alone: what it does besides is cheap."""
    head, features, boxes = head_and_boxes(device)
    third = head.fc_time.out_features
    weight_time, weight_box = head.fc_middle.weight.split((third, head.fc_middle.in_features - third), dim=1)
    per_box = torch.rand(BOXES, weight_box.shape[1], device=device)
    per_step = torch.rand(HORIZON, third, device=device)
    middle = torch.rand(BOXES * HORIZON, head.fc_middle.out_features, device=device)

    def products() -> list[Tensor]:
        pairs = [
            (features, head.fc_feature.weight),
            (boxes, head.fc_box.weight),
            (per_step[:, :1], head.fc_time.weight),
        ]
        pairs += [(per_box, weight_box), (per_step, weight_time), (middle, head.fc_out.weight)]
        return [linear(values, weight) for values, weight in pairs]

    with torch.inference_mode():
        ratio({"the trajectory head": partial(head, features, boxes), "its matrix products": products}, most=1.7)


def test_fused_head_and_plain_head(ratio: Ratio, device: torch.device) -> None:
    """The head in the thesis's formulation computes every box once per step."""
    head, features, boxes = head_and_boxes(device)
    plain = partial(head.forward_plain, features, boxes)
    with torch.inference_mode():
        ratio({"the fused head": partial(head, features, boxes), "the plain head": plain}, most=0.3, rounds=5)


def test_head_and_keyframe(ratio: Ratio, device: torch.device) -> None:
    """The head against backbone, pyramid and RPN of a keyframe of 224 pixels."""
    head, features, boxes = head_and_boxes(device)
    model = build_detector(detector_config(horizon=0, channels=256)).to(device).eval()
    keyframe = partial(rpn_maps, model, torch.rand(1, 3, 224, 224, device=device))
    with torch.inference_mode():
        works = {"the trajectory head": partial(head, features, boxes), "the convolutions of a keyframe": keyframe}
        ratio(works, most=0.5, rounds=5)


def test_keyframes_and_every_frame(ratio: Ratio, device: torch.device) -> None:
    """Eight frames with one keyframe, against the network on each of them."""
    torch.manual_seed(0)
    frames = list(torch.rand(8, 3, 128, 128, device=device))
    every = VideoDetector(build_detector(detector_config(horizon=0)).to(device).eval(), 1)
    keyed = VideoDetector(build_detector(detector_config(horizon=8)).to(device).eval(), 8)
    works = {"one keyframe of eight": lambda: list(keyed(frames)), "every frame of eight": lambda: list(every(frames))}
    ratio(works, most=0.4, rounds=5)
