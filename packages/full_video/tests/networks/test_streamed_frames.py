"""Frames that enter a streamed stem: bytes, other shapes, and stems whose maps depend on other frames."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.video import r3d_18
from torchvision.transforms.functional import normalize

from full_video.clustering import TemporalAggregation
from full_video.networks import NetworkConfig, StreamedStem, build_network, stream_distances

README = Path(__file__).parents[2] / "README.md"


def video(*shape: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return frames if dtype == torch.uint8 else frames.to(dtype) / 255


def stem(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    return layers.to(dtype).eval()


class FromBytes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float() / 100


class OverTime(nn.Module):
    """A module that takes videos (V, C, T, H, W), for frames (n, C, H, W)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.module(x.transpose(0, 1)[None])
        return maps[0].transpose(0, 1)


class LessMean(nn.Module):
    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(self.axes, keepdim=True)


def test_the_example_of_the_readme_takes_bytes() -> None:
    (example,) = (
        block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "StreamedStem(" in block
    )
    net = resnet18()
    tail = nn.Sequential(net.layer2, net.layer3, net.layer4, net.avgpool, nn.Flatten(), nn.Linear(512, 8))
    names: dict[str, Any] = {"nn": nn, "net": net, "frames": video(2, 9, 3, 32, 32)}
    names |= {
        "rest": lambda rows: tail(rows).view(2, -1),
        "labels": torch.tensor([0, 1]),
        "criterion": nn.CrossEntropyLoss(),
    }
    exec(example, names)
    assert names["rows"].shape == (2, 8, 64, 8, 8)
    assert net.conv1.weight.grad is not None and net.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunk", [1, 4])
def test_bytes_are_normalised_for_a_stem_that_does_not_take_them(dtype: torch.dtype, chunk: int) -> None:
    frames, layers = video(2, 7, 3, 12, 12), stem(dtype)
    real = normalize(frames.to(dtype) / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    streamed = StreamedStem(layers, 3, chunk=chunk)
    expected = TemporalAggregation(3)(layers(real.flatten(0, 1)).unflatten(0, (2, 7)))
    for given in (frames, real, list(frames), frames):  # bytes and others in turn
        rows = streamed(given)
        torch.testing.assert_close(rows, expected)
        gradients = [
            torch.autograd.grad(one.square().sum(), layers[0].weight, retain_graph=True)[0] for one in (rows, expected)
        ]
        torch.testing.assert_close(*gradients)
    assert torch.equal(stream_distances(layers, frames)[0], streamed.explain(frames).distances)


def test_a_stem_that_takes_bytes_gets_them() -> None:
    layers, frames = nn.Sequential(FromBytes(), *stem()), video(1, 9, 3, 12, 12)
    rows = StreamedStem(layers, 4)(frames)
    torch.testing.assert_close(rows, TemporalAggregation(4)(layers(frames[0])[None]))


@pytest.mark.parametrize(("frames", "message"), [
    (video(6, 3, 12, 12), r"a frame \(12, 12\) of torch.uint8"),
    (video(6, 3, 12, 12, dtype=torch.float32), r"a frame \(12, 12\) of torch.float32"),
    (video(1, 3, 6, 12, 12, dtype=torch.float32), r"a frame \(6, 12, 12\) .*to have 3 channels"),
    (video(1, 6, 12, 12, 3), r"a frame \(12, 12, 3\) of torch.uint8"),
    (video(2, 6, 1, 12, 12), r"a frame \(1, 12, 12\)"),
    (video(2, 6, 10), r"a frame \(10,\)"),
    (video(1, 2, 6, 3, 12, 12), r"a frame \(6, 3, 12, 12\)"),
    ([video(6, 12, 12, 3)], r"a frame \(12, 12, 3\)"),
    (video(1, 6, 3, 12, 12, dtype=torch.float64), r"a frame \(3, 12, 12\) of torch.float64"),
])  # fmt: skip
def test_other_shapes_are_refused_with_the_one_that_is_expected(frames: Any, message: str) -> None:
    for call in (StreamedStem(stem(), 2), lambda frames: stream_distances(stem(), frames)):
        with pytest.raises(ValueError, match=f"the stem does not take {message}.*expected frames \\(V, T, \\*\\)"):
            call(frames)


def test_no_tensor_and_no_list_of_sources() -> None:
    for frames in (video(1, 6, 3, 12, 12).numpy(), iter([video(6, 3, 12, 12)])):
        with pytest.raises(
            ValueError, match=r"expected a tensor of frames \(V, T, \*\) or a list of sources, one a video"
        ):
            StreamedStem(stem(), 2)(frames)
    streamed = build_network(NetworkConfig(2, width=8, clusters=2)).eval()
    streamed.memory = "streamed"
    for shape in ((6, 3, 32, 32), (1, 3, 6, 32, 32), (1, 6, 32, 32, 3), (1, 0, 3, 32, 32), (0, 3, 32, 32)):
        for call in (streamed, streamed.groups):
            with pytest.raises(
                ValueError, match=r"expected uint8 or floating frames \(V, T, 3, H, W\), got torch.uint8 \("
            ):
                call(video(*shape))
    with pytest.raises(ValueError, match=r"expected frames \(n, 3, H, W\), got torch.uint8 \(4, 32, 32, 3\)"):
        streamed([video(6, 32, 32, 3)])


@pytest.mark.parametrize("module", [
    OverTime(r3d_18().stem.eval()),
    OverTime(nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0))),
    OverTime(nn.MaxPool3d((3, 1, 1), 1, (1, 0, 0))),
    LessMean(0),
    LessMean(0, 1, 2, 3),
    nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), LessMean(0)),
    nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 8), nn.TransformerEncoderLayer(8, 2, 8, 0.0)),
])  # fmt: skip
@pytest.mark.parametrize("chunk", [1, 4])
def test_a_stem_that_mixes_frames_is_refused(module: nn.Module, chunk: int) -> None:
    frames = video(1, 9, 3, 24, 24, dtype=torch.float32) * 0.001 + video(
        1, 1, 3, 24, 24, dtype=torch.float32
    )  # hardly move
    frames[:, :5] = 0  # and nothing is seen at first
    for call in (
        StreamedStem(module.eval(), 2, chunk=chunk),
        lambda frames: stream_distances(module, frames, chunk=chunk),
    ):
        with pytest.raises(ValueError, match="the map of a frame depends on the other frames"):
            call(frames)


def test_a_clip_as_one_frame_is_no_mixing() -> None:
    """The frames of the stem may be clips: 3-D networks that are passed clip by clip."""
    layers, clips = r3d_18().stem.eval(), video(1, 5, 3, 4, 16, 16, dtype=torch.float32)
    torch.testing.assert_close(StreamedStem(layers, 2)(clips), TemporalAggregation(2)(layers(clips[0])[None]))


def test_a_stem_is_tried_once_and_again_in_training_mode() -> None:
    layers, passed = nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), []
    layers.register_forward_hook(lambda module, inputs, output: passed.append(len(output)))
    streamed, frames = StreamedStem(layers, 2), video(2, 4, 3, 8, 8, dtype=torch.float32)
    counts = []
    for mode in (False, False, True, True, False):
        passed.clear()
        with torch.no_grad():
            streamed.train(mode)(frames)
        counts.append(sum(passed))
    assert counts == [8 + 9, 8, 8 + 9, 8, 8]  # one frame, four alone and together
    black = torch.zeros(1, 6, 3, 8, 8)
    assert streamed.eval()(black).shape == (1, 2, 4, 6, 6)
