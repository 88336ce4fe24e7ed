"""Backbones: every name of the list builds, what is frozen is frozen, and weights arrive where they belong."""

from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models._api import WeightsEnum
from torchvision.ops import FrozenBatchNorm2d

from location_anticipation.backbones import BACKBONES, C5Backbone, build_backbone, load_backbone_weights
from location_anticipation.errors import WorkError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_builds_and_gives_its_maps(name: str, fpn: bool) -> None:
    with torch.device("meta"):  # shapes without numbers
        backbone = build_backbone(name, fpn=fpn, out_channels=24).eval()
        maps = backbone(torch.empty(2, 3, 128, 96))
    strides = {"0": 4, "1": 8, "2": 16, "3": 32, "pool": 64} if fpn else {"0": 32}
    assert {key: tuple(m.shape) for key, m in maps.items()} == {
        key: (2, 24, -(-128 // stride), -(-96 // stride)) for key, stride in strides.items()
    }


@pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])
def test_forward_has_the_body_of_the_resnet(fpn: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build_backbone("resnet18", fpn=fpn, out_channels=16).eval()
        plain = resnet.resnet18(weights=None).eval()
    plain.load_state_dict(backbone.body.state_dict(), strict=False)
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = backbone(image)
        x = plain.maxpool(plain.relu(plain.bn1(plain.conv1(image))))
        c5 = plain.layer4(plain.layer3(plain.layer2(plain.layer1(x))))
    if isinstance(backbone, C5Backbone):
        assert backbone.out_channels == 16
        torch.testing.assert_close(maps["0"], backbone.smooth(backbone.reduce(c5)))
    else:
        top = backbone.fpn.layer_blocks[3](backbone.fpn.inner_blocks[3](c5))
        torch.testing.assert_close(maps["3"], top)
    assert all(m.shape[1] == 16 and m.isfinite().all() for m in maps.values())


@pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])
@pytest.mark.parametrize("stages", range(6))
def test_trainable_stages_count_from_the_last(fpn: bool, stages: int) -> None:
    with torch.device("meta"):
        backbone = build_backbone("resnet18", fpn=fpn, out_channels=8, trainable_stages=stages)
    trained = {name.split(".")[0] for name, p in backbone.body.named_parameters() if p.requires_grad}
    expected = [{"layer4"}, {"layer3"}, {"layer2"}, {"layer1"}, {"conv1", "bn1"}][:stages]
    assert trained == set().union(*expected)
    others = [p for name, p in backbone.named_parameters() if not name.startswith("body.")]
    assert others and all(p.requires_grad for p in others)


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("frozen", FrozenBatchNorm2d)])
def test_norms(norm: str, kind: type[nn.Module]) -> None:
    with torch.device("meta"):
        backbone = build_backbone("resnet18", fpn=True, out_channels=8, norm=norm)
    norms = [m for m in backbone.body.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)]
    assert len(norms) == 20 and all(isinstance(m, kind) for m in norms)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """What the download gives: a ResNet-18's state, with statistics that are not those of a fresh network."""
    generator = torch.Generator().manual_seed(7)
    state = {
        name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value + 3
        for name, value in resnet.resnet18(weights=None).state_dict().items()
    }
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, *args, **options: state)
    return state


@pytest.mark.parametrize("norm", ["batch", "frozen"])
@pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])
def test_pretrained_weights_fill_the_whole_body(weights: dict[str, Tensor], fpn: bool, norm: str) -> None:
    backbone = build_backbone("resnet18", fpn=fpn, out_channels=8, norm=norm)
    load_backbone_weights(backbone, "resnet18", "IMAGENET1K_V1")
    loaded = backbone.body.state_dict()
    wanted = {k: v for k, v in weights.items() if not k.startswith("fc.")}
    if norm == "frozen":
        wanted = {k: v for k, v in wanted.items() if not k.endswith("num_batches_tracked")}
    assert set(loaded) == set(wanted)
    assert all(torch.equal(loaded[name], value) for name, value in wanted.items())


def test_gaps_in_the_weights_are_refused(weights: dict[str, Tensor]) -> None:
    del weights["layer3.0.bn1.running_mean"], weights["bn1.num_batches_tracked"]
    backbone = build_backbone("resnet18", fpn=True, out_channels=8)
    with pytest.raises(ValueError, match=r"IMAGENET1K_V1 of resnet18 lacks \['layer3.0.bn1.running_mean'\]"):
        load_backbone_weights(backbone, "resnet18", "IMAGENET1K_V1")


def test_unknown_weights_are_refused() -> None:
    with torch.device("meta"):
        backbone = build_backbone("resnet18", fpn=True, out_channels=8)
    with pytest.raises(ValueError, match=r"weights of resnet18 must be one of \('IMAGENET1K_V1',\), got 'COCO'"):
        load_backbone_weights(backbone, "resnet18", "COCO")


@pytest.mark.parametrize(
    "error", [URLError("no route to host"), OSError(28, "No space left on device"), RuntimeError("invalid hash value")]
)
def test_a_download_that_fails_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with torch.device("meta"):
        backbone = build_backbone("resnet18", fpn=True, out_channels=8)
    with pytest.raises(WorkError, match="weights IMAGENET1K_V1 of resnet18 cannot be downloaded") as caught:
        load_backbone_weights(backbone, "resnet18", "IMAGENET1K_V1")
    assert str(error) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "vgg16"}, "backbone must be one of .*, got 'vgg16'"),
        ({"norm": "layer"}, r"norm must be one of \('batch', 'frozen'\), got 'layer'"),
        ({"trainable_stages": 6}, "trainable_stages must be 0 to 5, got 6"),
        ({"trainable_stages": -1}, "trainable_stages must be 0 to 5, got -1"),
    ],
)
def test_what_does_not_exist_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone(**{"name": "resnet18", "fpn": True, "out_channels": 8} | change)
