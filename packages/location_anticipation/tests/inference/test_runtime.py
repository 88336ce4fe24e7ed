"""Precision, memory layout and compilation: the same boxes, within what the arithmetic allows."""

import shutil
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from location_anticipation import AnticipationRCNN, DetectorConfig, build_detector
from location_anticipation.inference.runtime import Inference
from location_anticipation.inference.stream import FrameDetections, VideoDetector
from location_anticipation.peers import PeerConfig, build_peer, video_method

pytestmark = pytest.mark.usefixtures("one_thread")
Config = Callable[..., DetectorConfig]


@pytest.fixture
def model(tiny: Config) -> AnticipationRCNN:
    torch.manual_seed(0)
    made = build_detector(tiny(detections_per_image=10))
    with torch.no_grad():  # some confident boxes, and trajectories that move
        made.roi_heads.box_predictor.cls_score.weight.mul_(50)
        head = made.roi_heads.trajectory_head
        assert head is not None
        head.fc_out.weight.normal_(std=0.05)
    return made.eval()


def run(model: AnticipationRCNN, inference: Inference | None) -> list[FrameDetections]:
    frames = torch.rand(2, 3, 60, 80, generator=torch.Generator().manual_seed(1))
    return list(VideoDetector(model, 2, inference=inference, score_threshold=0.4)(frames.repeat_interleave(2, dim=0)))


def test_channels_last_gives_the_same_boxes(model: AnticipationRCNN) -> None:
    expected = run(model, None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    results = run(model, Inference(channels_last=True))
    weight = model.backbone.body.conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for result, reference in zip(results, expected, strict=True):
        torch.testing.assert_close(result.boxes, reference.boxes, atol=1e-2, rtol=0)
        torch.testing.assert_close(result.scores, reference.scores, atol=1e-4, rtol=0)


def test_bfloat16_boxes_are_close_and_float32(model: AnticipationRCNN) -> None:
    expected = run(model, None)
    kinds: list[torch.dtype] = []
    model.backbone.body.layer4.register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    results = run(model, Inference(precision="bf16"))
    assert kinds == [torch.bfloat16] * 2
    assert not torch.is_autocast_enabled("cpu")
    for result in results:
        assert result.boxes.dtype == result.scores.dtype == torch.float32
        # Decoded in bfloat16, coordinates from 32 on would be multiples of a quarter.
        assert not torch.equal(result.boxes, (4 * result.boxes).round() / 4)
    for result, reference in zip(results, expected, strict=True):
        best, best_reference = result.scores.argmax(), reference.scores.argmax()
        torch.testing.assert_close(result.boxes[best], reference.boxes[best_reference], atol=0.5, rtol=0)
        torch.testing.assert_close(result.scores[best], reference.scores[best_reference], atol=0.02, rtol=0)


class Tiny(nn.Module):
    """One convolution that is called a backbone; its largest output is the one box."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        boxes = [torch.tensor([[0.0, 0, 1, 1]]) + self.backbone(image[None]).max() for image in images]
        return [{"boxes": b, "labels": torch.ones(1, dtype=torch.int64), "scores": torch.ones(1)} for b in boxes]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_gives_the_same_boxes() -> None:
    torch.manual_seed(0)
    tiny = Tiny()
    frames = torch.rand(3, 3, 16, 16)
    expected = list(VideoDetector(tiny, 1)(frames))
    names = list(tiny.state_dict())
    results = list(VideoDetector(tiny, 1, inference=Inference(compile=True))(frames))
    assert list(tiny.state_dict()) == names
    for result, reference in zip(results, expected, strict=True):
        torch.testing.assert_close(result.boxes, reference.boxes)


def test_a_model_without_known_parts_is_compiled_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    other = nn.Conv2d(3, 3, 1)
    assert Inference(compile=True).prepare(other) is other
    assert compiled == [other]


@pytest.mark.parametrize(
    ("method", "names"),
    [("interpolation", ()), ("dff", ("flow", "scale")), ("fgfa", ("flow", "embedding")), ("selsa", ())],
)
def test_parts_of_the_peers_that_are_compiled(
    tiny: Config, monkeypatch: pytest.MonkeyPatch, method: str, names: tuple[str, ...]
) -> None:
    """They are there, and run as modules: a compiled module whose methods are called past it is not compiled."""
    config = PeerConfig(method, 2, window=1, references=2, flow_width=0.1, embedding_width=0.05, attention_heads=4)
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    made = build_peer(tiny(horizon=0), config)
    stream = video_method(config, made, inference=Inference(compile=True))
    assert [id(part) for part in compiled] == [
        id(made.get_submodule(name)) for name in ("backbone", "rpn.head", *names)
    ]
    ran: set[nn.Module] = set()
    for part in compiled:
        part.register_forward_hook(lambda module, inputs, output: ran.add(module))
    assert len(list(stream(torch.rand(3, 3, 48, 64)))) == 3
    assert ran == set(compiled)


@pytest.mark.parametrize("fpn", [False, True])
def test_openvino_gives_the_same_boxes(tiny: Config, fpn: bool) -> None:
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    made = build_detector(tiny(detections_per_image=10, fpn=fpn)).eval()
    with torch.no_grad():
        made.roi_heads.box_predictor.cls_score.weight.mul_(50)
    expected = run(made, None)
    weights = list(made.state_dict())
    results = run(made, Inference(runtime="openvino"))
    assert list(made.state_dict()) == weights
    assert sum(len(result.boxes) for result in results) > 0
    for result, reference in zip(results, expected, strict=True):
        torch.testing.assert_close(result.boxes, reference.boxes, atol=1e-2, rtol=0)
        torch.testing.assert_close(result.scores, reference.scores, atol=1e-4, rtol=0)
    parts = [made.get_submodule(name).forward for name in ("backbone", "rpn.head", "roi_heads.box_head")]
    assert [len(part._compiled) for part in parts] == [1, 1, 1], "compiled once for all frames of a size"
    list(VideoDetector(made, 1)([torch.rand(3, 96, 64)]))
    assert [len(part._compiled) for part in parts] == [2, 2, 1], (
        "and again for another size, whatever the number of boxes"
    )
    bfloat16 = run(build_like(made), Inference(precision="bf16", runtime="openvino"))
    assert all(result.boxes.dtype == torch.float32 for result in bfloat16)


def build_like(model: AnticipationRCNN) -> AnticipationRCNN:
    other = build_detector(model.config)
    other.load_state_dict(model.state_dict())
    return other.eval()


def test_a_part_run_by_openvino_still_trains(model: AnticipationRCNN) -> None:
    pytest.importorskip("openvino")
    Inference(runtime="openvino").prepare(model)
    features = model.backbone(torch.rand(1, 3, 64, 64))
    sum(value.sum() for value in features.values()).backward()
    assert all(weight.grad is not None for weight in model.backbone.fpn.parameters() if weight.requires_grad)


def test_openvino_refuses_what_it_cannot_run(model: AnticipationRCNN, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="compile goes with the runtime torch"):
        Inference(compile=True, runtime="openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModuleNotFoundError, match="openvino"):
        Inference(runtime="openvino").prepare(model)
    with pytest.raises(
        ValueError, match=r"takes detectors with backbone or rpn\.head or roi_heads\.box_head; this one has none"
    ):
        Inference(runtime="openvino").prepare(nn.Conv2d(3, 3, 1))


def test_refuses_a_precision_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="precision must be one of 32, bf16, got 'fp16'"):
        Inference(precision="fp16")
