"""Weights from files, by name and as a state; statistics of the stem from frames."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models._api import WeightsEnum

from full_video.networks import NetworkConfig, build_network, calibrate_stem


@pytest.fixture
def state() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return dict(resnet.resnet18(num_classes=5).state_dict())


def test_weights_from_files(state: dict[str, Tensor], tmp_path: Path) -> None:
    plain, published, own = tmp_path / "plain.pth", tmp_path / "tsm.pth.tar", tmp_path / "own.pt"
    torch.save(state, plain)
    renamed = {}
    for name, value in state.items():
        name = name.replace(".conv1.weight", ".conv1.net.weight") if name.startswith("layer") else name
        renamed[f"module.new_{name}" if name.startswith("fc.") else f"module.base_model.{name}"] = value
    torch.save({"epoch": 3, "arch": "resnet18", "state_dict": renamed, "best_prec1": torch.tensor(1.0)}, published)
    torch.save({"format": "any", "model": state, "class_names": ["a"]}, own)
    for path in (plain, published, own):
        same = build_network(NetworkConfig(5), str(path)).state_dict()
        assert all(torch.equal(same[name], state[name]) for name in state)
        other = build_network(NetworkConfig(4, clusters=2), str(path)).state_dict()  # other classes: a new classifier
        assert all(torch.equal(other[name], state[name]) for name in state if not name.startswith("fc."))
        assert other["fc.weight"].shape == (4, 512)
    same = build_network(NetworkConfig(5), renamed).state_dict()
    assert all(torch.equal(same[name], state[name]) for name in state)


def test_weights_that_do_not_fit(state: dict[str, Tensor], tmp_path: Path) -> None:
    path, less = tmp_path / "weights.pth", {k: v for k, v in state.items() if k != "layer3.0.conv2.weight"}
    for write, message in (
        (lambda: None, "no such file"),
        (lambda: path.write_bytes(b"nothing of the kind"), r"not readable weights \(not a file of tensors\)"),
        (lambda: torch.save([1, 2], path), "expected a dictionary of tensors, got list"),
        (lambda: torch.save(less, path), r"lacks 'layer3.0.conv2.weight' \(1 such"),
    ):
        write()
        with pytest.raises(ValueError, match=message):
            build_network(NetworkConfig(5), str(path))
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"weights.pth: does not fit resnet50"):
        build_network(NetworkConfig(5, "resnet50"), str(path))
    with pytest.raises(ValueError, match=r"the state does not fit resnet18; it has another shape of 'conv1.weight'"):
        build_network(NetworkConfig(5, width=8), state)
    with pytest.raises(ValueError, match="IMAGENET1K_V1, got 'BEST'"):
        build_network(NetworkConfig(5), "BEST")


def test_weights_by_name(state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, *args, **options: state)
    loaded = build_network(NetworkConfig(4), "IMAGENET1K_V1").state_dict()
    assert torch.equal(loaded["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])

    def offline(self: WeightsEnum, *args: Any, **options: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", offline)
    with pytest.raises(ConnectionError, match="cannot be downloaded"):
        build_network(NetworkConfig(4), "IMAGENET1K_V1")


def test_calibration_gives_the_statistics_of_the_frames() -> None:
    net = build_network(NetworkConfig(3, width=16, clusters=2, frozen_norm="stem")).double().train()
    frames = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert calibrate_stem(net, [frames]) == 12
    first = net.conv1((frames.double() / 255 - net.pixel_mean) / net.pixel_std)
    torch.testing.assert_close(net.bn1.running_mean, first.mean((0, 2, 3)))
    torch.testing.assert_close(net.bn1.running_var, first.transpose(0, 1).flatten(1).var(1))
    norms = [m for m in (net.bn1, *net.layer1.modules()) if isinstance(m, nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms) and all(norm.momentum == 0.1 for norm in norms)
    inside: list[Tensor] = []
    net.layer1[1].bn2.register_forward_hook(lambda module, inputs, output: inside.append(output.clone()))
    net.stem(frames)
    torch.testing.assert_close(inside[0].mean((0, 2, 3)), torch.zeros(16).double(), atol=0.01, rtol=0)
    assert calibrate_stem(net, [frames[:4], frames[4:8], frames[8:]]) == 12

    state = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="needs frames, got none"):
        calibrate_stem(net, [])
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    with pytest.raises(ValueError, match="shifts over time"):
        calibrate_stem(build_network(NetworkConfig(3, width=8)), [frames])
