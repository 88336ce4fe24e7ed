"""Backbones: every name of the list builds, what is frozen is frozen, and weights arrive where they belong."""

from collections.abc import Callable
from typing import Any, get_args
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model, list_models, resnet
from torchvision.models._api import WeightsEnum
from torchvision.ops import FrozenBatchNorm2d

from location_anticipation import DetectorConfig, build_detector
from location_anticipation.model.backbones import C5Backbone, build_backbone, load_backbone_weights
from location_anticipation.model.config import Backbone

pytestmark = pytest.mark.usefixtures("one_thread")
Config = Callable[..., DetectorConfig]
FPN = pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])


@pytest.mark.parametrize(
    ("name", "fpn"),
    [("resnet34", True), ("resnet50", True), ("resnext50_32x4d", True), ("wide_resnet50_2", True), ("resnet50", False),
     ("mobilenet_v2", True), ("mobilenet_v2", False), ("mobilenet_v3_large", True), ("mobilenet_v3_small", True)],
)  # fmt: skip
def test_a_backbone_gives_its_maps(tiny: Config, name: str, fpn: bool) -> None:
    with torch.device("meta"):  # shapes without numbers
        maps = build_backbone(tiny(backbone=name, fpn=fpn, channels=24)).eval()(torch.empty(2, 3, 128, 96))
    strides = {"0": 4, "1": 8, "2": 16, "3": 32, "pool": 64} if fpn else {"0": 32}
    assert {key: tuple(m.shape) for key, m in maps.items()} == {
        key: (2, 24, -(-128 // stride), -(-96 // stride)) for key, stride in strides.items()
    }


def test_every_name_is_a_network_of_torchvision() -> None:
    assert set(get_args(Backbone)) <= set(list_models())


@pytest.mark.parametrize(
    ("name", "indices"), [("mobilenet_v2", [3, 6, 13, 18]), ("mobilenet_v3_large", [3, 6, 12, 16])]
)
def test_the_pyramid_of_a_mobilenet_stands_on_the_last_block_of_each_stride(
    tiny: Config, name: str, indices: list[int]
) -> None:
    backbone = build_backbone(tiny(backbone=name, trainable_stages=2)).eval()
    plain = get_model(name, weights=None).eval()
    load_backbone_weights(backbone, name, plain.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        maps, x = backbone.body(image), image
        for number, block in enumerate(plain.features):
            x = block(x)
            if number in indices:
                torch.testing.assert_close(maps[str(indices.index(number))], x)
    frozen = [
        number
        for number, block in enumerate(backbone.body.children())
        if not all(p.requires_grad for p in block.parameters())
    ]
    assert frozen == list(range(indices[1] + 1))  # strides 2, 4 and 8
    with pytest.raises(ValueError, match="does not fit"):
        load_backbone_weights(backbone, name, {"features.0.0.weight": torch.zeros(1)})


@FPN
def test_forward_has_the_body_of_the_resnet(tiny: Config, fpn: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build_backbone(tiny(fpn=fpn, channels=16)).eval()
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


@pytest.mark.parametrize(("fpn", "stages"), [*((True, stages) for stages in range(6)), (False, 2)])
def test_trainable_stages_count_from_the_last(tiny: Config, fpn: bool, stages: int) -> None:
    with torch.device("meta"):
        backbone = build_backbone(tiny(fpn=fpn, trainable_stages=stages))
    trained = {name.split(".")[0] for name, p in backbone.body.named_parameters() if p.requires_grad}
    expected = [{"layer4"}, {"layer3"}, {"layer2"}, {"layer1"}, {"conv1", "bn1"}][:stages]
    assert trained == set().union(*expected)
    others = [p for name, p in backbone.named_parameters() if not name.startswith("body.")]
    assert others and all(p.requires_grad for p in others)


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("frozen", FrozenBatchNorm2d)])
def test_norms(tiny: Config, norm: str, kind: type[nn.Module]) -> None:
    with torch.device("meta"):
        backbone = build_backbone(tiny(norm=norm))
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


@pytest.mark.parametrize(("fpn", "norm"), [(True, "batch"), (True, "frozen"), (False, "batch")])
def test_pretrained_weights_fill_the_whole_body(tiny: Config, weights: dict[str, Tensor], fpn: bool, norm: str) -> None:
    loaded = build_detector(tiny(fpn=fpn, norm=norm), "IMAGENET1K_V1").backbone.body.state_dict()
    left_out = ("fc.", "num_batches_tracked") if norm == "frozen" else ("fc.",)
    wanted = {name: value for name, value in weights.items() if not any(part in name for part in left_out)}
    assert set(loaded) == set(wanted)
    assert all(torch.equal(loaded[name], value) for name, value in wanted.items())


def test_gaps_in_the_weights_and_unknown_weights_are_refused(tiny: Config, weights: dict[str, Tensor]) -> None:
    del weights["layer3.0.bn1.running_mean"], weights["bn1.num_batches_tracked"]
    backbone = build_backbone(tiny())
    with pytest.raises(ValueError, match=r"IMAGENET1K_V1 of resnet18 lacks \['layer3.0.bn1.running_mean'\]"):
        load_backbone_weights(backbone, "resnet18", "IMAGENET1K_V1")
    with pytest.raises(ValueError, match=r"weights of resnet18 must be one of \('IMAGENET1K_V1',\), got 'COCO'"):
        load_backbone_weights(backbone, "resnet18", "COCO")


@pytest.mark.parametrize(
    "error", [URLError("no route to host"), OSError(28, "No space left on device"), RuntimeError("invalid hash value")]
)
def test_a_download_that_fails_is_one_clear_error(
    tiny: Config, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with torch.device("meta"):
        backbone = build_backbone(tiny())
    with pytest.raises(ConnectionError, match="weights IMAGENET1K_V1 of resnet18 cannot be downloaded") as caught:
        load_backbone_weights(backbone, "resnet18", "IMAGENET1K_V1")
    assert str(error) in str(caught.value)
