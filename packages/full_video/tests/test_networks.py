"""Networks: torchvision's names and numbers, the shift where TSM has it, padding that never counts, weights from files."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet
from torchvision.models._api import WeightsEnum

from full_video.aggregation import TemporalAggregation
from full_video.calibration import calibrate_stem
from full_video.errors import UsageError, WorkError
from full_video.networks import NetworkConfig, VideoNetwork, build_network
from full_video.shift import ShiftedConv2d, temporal_shift

pytestmark = pytest.mark.usefixtures("one_thread")


def network(seed: int = 0, **settings: Any) -> VideoNetwork:
    """A network in double precision whose classifier says something."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = build_network(NetworkConfig(**{"classes": 3, **settings}))
        nn.init.normal_(built.fc.weight, std=0.2)
    return built.double().eval()


def clip(videos: int = 2, frames: int = 6, side: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, frames, 3, side, side), dtype=torch.uint8, generator=generator)


def normalised(frames: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()
    return (frames.double() / 255 - mean[:, None, None]) / std[:, None, None]


def torchvision_twin(net: VideoNetwork) -> resnet.ResNet:
    twin: resnet.ResNet = getattr(resnet, net.config.backbone)(num_classes=net.config.classes).double().eval()
    twin.load_state_dict(net.state_dict())
    return twin


def shift_inputs(twin: resnet.ResNet, stages: tuple[str, ...], frames: int) -> None:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        return temporal_shift(inputs[0], frames)

    for stage in stages:
        for block in getattr(twin, stage):
            block.conv1.register_forward_pre_hook(hook)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_width_changes_every_layer_by_the_same_factor_and_no_name(backbone: str) -> None:
    thin, whole = (build_network(NetworkConfig(classes=3, backbone=backbone, width=width)) for width in (16, 64))
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (thin, whole)]
    assert shapes[0].keys() == shapes[1].keys()
    for name, shape in shapes[1].items():
        kept = {0} if name.startswith("fc.") else set()  # as many classes
        kept |= {1} if name == "conv1.weight" else set()  # as many colours
        narrowed = [
            side if at in kept or at >= 2 else side // 4 for at, side in enumerate(shape)
        ]  # sides of a kernel stay
        assert list(shapes[0][name]) == narrowed, name
    assert thin(clip()).shape == (2, 3)


def test_a_thin_network_is_drawn_like_a_whole_one() -> None:
    """He's variance for the outputs, as torchvision draws."""
    torch.manual_seed(0)
    thin = build_network(NetworkConfig(classes=3, width=32))
    for name, weight in thin.named_parameters():
        if name.endswith("conv1.weight") or name.endswith("conv2.weight"):
            fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3]
            assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name


@pytest.mark.parametrize("width", [4, 20])
def test_a_width_of_which_no_eighth_can_be_shifted_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"width must be a multiple of 8, got {width}"):
        NetworkConfig(classes=3, width=width)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_names_and_shapes_are_torchvisions(backbone: str) -> None:
    with torch.device("meta"):
        ours = build_network(NetworkConfig(7, backbone)).state_dict()  # type: ignore[arg-type]
        theirs = getattr(resnet, backbone)(num_classes=7).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_tsn_is_the_mean_over_frames_and_tsm_shifts_every_block(backbone: str) -> None:
    tsn = network(backbone=backbone, shift=False)
    frames = clip()
    twin = torchvision_twin(tsn)
    expected = torch.stack([twin(video).mean(0) for video in normalised(frames)])
    torch.testing.assert_close(tsn(frames), expected)
    torch.testing.assert_close(tsn(normalised(frames)), expected)

    tsm = network(backbone=backbone)
    assert sum(isinstance(m, ShiftedConv2d) for m in tsm.modules()) == {"resnet18": 8, "resnet50": 16}[backbone]
    shift_inputs(twin, ("layer1", "layer2", "layer3", "layer4"), frames.shape[1])
    expected = torch.stack([twin(video).mean(0) for video in normalised(frames)])
    torch.testing.assert_close(tsm(frames), expected)
    torch.testing.assert_close(tsm(frames[:1]), expected[:1])  # one video is shifted as many are


def test_deep_networks_shift_every_second_block() -> None:
    with torch.device("meta"):
        net = build_network(NetworkConfig(2, "resnet101"))
    shifted = [[isinstance(block.conv1, ShiftedConv2d) for block in getattr(net, f"layer{i}")] for i in range(1, 5)]
    assert shifted[0] == [True, False, True] and shifted[2] == [i % 2 == 0 for i in range(23)]


@pytest.mark.parametrize(
    ("settings", "stem", "tail"),
    [
        ({}, True, True),
        ({"shift": False}, False, False),
        ({"clusters": 4}, False, True),
        ({"clusters": 4, "stem_shift": True}, True, True),
        ({"stem_shift": False}, False, True),
        ({"clusters": 4, "shift": False, "stem_shift": True}, False, False),
    ],
)
@pytest.mark.parametrize("cut", ["layer1", "layer2", "layer3"])
def test_where_the_shift_is(settings: dict[str, Any], stem: bool, tail: bool, cut: Any) -> None:
    with torch.device("meta"):
        net = build_network(NetworkConfig(2, cut=cut, **settings))
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        expected = stem if stage <= cut else tail
        assert all(isinstance(block.conv1, ShiftedConv2d) == expected for block in getattr(net, stage))
    assert net.config.streams == (net.config.clusters > 0 and not stem)


@pytest.mark.parametrize("average", ["after_relu", "before_relu"])
@pytest.mark.parametrize(("backbone", "cut"), [("resnet18", "layer1"), ("resnet50", "layer1"), ("resnet18", "layer3")])
def test_clustered_network_is_stem_aggregation_tail(average: Any, backbone: str, cut: Any) -> None:
    net = network(backbone=backbone, clusters=3, average=average, cut=cut)
    frames = clip(frames=9)
    twin = torchvision_twin(net)
    last = list(getattr(twin, cut))[-1]
    if average == "before_relu":  # the input of the block's last ReLU: the last but one call of the shared module
        seen: list[Tensor] = []
        last.relu.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    maps = []
    stages = [f"layer{i}" for i in range(1, 5)]
    after = stages.index(cut) + 1
    for video in normalised(frames):
        x = twin.maxpool(twin.relu(twin.bn1(twin.conv1(video))))
        for stage in stages[:after]:
            x = getattr(twin, stage)(x)
        maps.append(seen[-1] if average == "before_relu" else x)
    grouping = TemporalAggregation(3, "cumulative")
    rows = grouping(torch.stack(maps))
    torch.testing.assert_close(torch.stack([net.stem(video) for video in frames]), torch.stack(maps))
    shift_inputs(twin, tuple(stages[after:]), 3)
    logits = []
    for x in rows.relu():
        for stage in stages[after:]:
            x = getattr(twin, stage)(x)
        logits.append(twin.fc(twin.avgpool(x).flatten(1)).mean(0))
    out = net.explain(frames)
    torch.testing.assert_close(out.logits, torch.stack(logits))
    torch.testing.assert_close(net.tail(rows), torch.stack(logits))
    clusters = grouping.group(torch.stack(maps))
    assert out.clusters is not None and torch.equal(out.clusters.ids, clusters.ids)
    assert torch.equal(net.groups(frames).ids, clusters.ids)
    bits = torch.stack(maps) > 0
    assert out.distances is not None
    assert out.distances.tolist() == (bits[:, 1:] != bits[:, :-1]).flatten(2).sum(2).tolist()


def test_after_and_before_the_relu_differ() -> None:
    frames = clip(frames=9)
    assert not torch.allclose(network(clusters=3)(frames), network(clusters=3, average="before_relu")(frames))


@pytest.mark.parametrize("settings", [{}, {"shift": False}, {"clusters": 3}, {"clusters": 3, "stem_shift": True}])
@pytest.mark.parametrize("training", [False, True])
def test_padding_never_counts(settings: dict[str, Any], training: bool) -> None:
    net = network(dropout=0.0, **settings).train(training)
    frames, lengths = clip(videos=3, frames=7), torch.tensor([7, 2, 4])
    other = frames.clone()
    for video, n in enumerate(lengths):
        other[video, n:] = 255 - other[video, n:]
    first, second = copy.deepcopy(net).explain(frames, lengths), copy.deepcopy(net).explain(other, lengths)
    assert torch.equal(first.logits, second.logits)
    if not training:  # in training, batch norm makes videos of one batch see each other, as it should
        for video, n in enumerate(lengths.tolist()):
            torch.testing.assert_close(net(frames[video : video + 1, :n])[0], first.logits[video])
    if first.clusters is not None:
        assert all((first.clusters.ids[v, n:] == -1).all() for v, n in enumerate(lengths.tolist()))


def test_equal_lengths_say_nothing_new() -> None:
    net, frames = network(clusters=3), clip()
    assert torch.equal(net(frames, torch.tensor([6, 6])), net(frames))
    assert torch.equal(net(frames, torch.tensor([4, 4])), net(frames[:, :4]))


@pytest.mark.parametrize(
    ("frozen", "eval_norms", "fixed"),
    [
        ("none", [], 0),
        ("stem", ["bn1", "layer1"], 0),
        ("partial", ["layer1", "layer2", "layer3", "layer4"], 19),
        ("all", None, 20),
    ],
)
def test_frozen_norm(frozen: Any, eval_norms: list[str] | None, fixed: int) -> None:
    net = build_network(NetworkConfig(2, frozen_norm=frozen)).train()
    norms = {name: m for name, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert len(norms) == 20
    for name, norm in norms.items():
        assert norm.training == (eval_norms is not None and name.split(".")[0] not in eval_norms)
    assert sum(not norm.weight.requires_grad and not norm.bias.requires_grad for norm in norms.values()) == fixed
    assert all(p.requires_grad for name, p in net.named_parameters() if "conv" in name or "fc" in name)
    assert not any(norm.training for norm in net.eval().modules())


@pytest.mark.parametrize(
    ("frames", "clusters", "printed"),
    [(8, 0, 14.56), (16, 0, 29.12), (32, 0, 58.24), (32, 8, 28.61), (32, 16, 38.51)],
)
def test_flops_of_table_3_1(frames: int, clusters: int, printed: float) -> None:
    with torch.device("meta"), torch.no_grad():  # counts need no numbers
        net = build_network(NetworkConfig(4, clusters=clusters)).eval()
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, frames, 3, 224, 224))
    # Without batch norm, of which fvcore counts 2 per activation: 0.2 to 0.4 % more.
    assert counter.get_total_flops() / 2e9 == pytest.approx(printed, rel=0.0061)


def test_copies_and_devices_take_the_whole_network() -> None:
    net = network(clusters=3, frozen_norm="stem")
    twin = copy.deepcopy(net)
    frames = clip()
    nn.init.zeros_(net.conv1.weight)
    assert not torch.equal(net(frames), twin(frames))
    twin.memory = "streamed"
    torch.testing.assert_close(twin(frames), copy.deepcopy(twin)(frames))
    assert net.float()(frames).dtype == torch.float32


def test_what_a_configuration_refuses() -> None:
    for settings in (
        {"backbone": "vgg"},
        {"grouping": "kmeans"},
        {"average": "never"},
        {"cut": "layer4"},
        {"frozen_norm": "some"},
        {"classes": 0},
        {"clusters": -1},
        {"dropout": 1.0},
    ):
        with pytest.raises(ValueError, match=next(iter(settings))):
            NetworkConfig(**{"classes": 2, **settings})  # type: ignore[arg-type]


def test_what_a_network_refuses() -> None:
    net, frames = network(), clip()
    with pytest.raises(ValueError, match=r"\(V, T, 3, H, W\)"):
        net(frames[0])
    for lengths in (torch.tensor([6]), torch.tensor([6, 7]), torch.tensor([0, 6])):
        with pytest.raises(ValueError, match="2 numbers from 1 to 6"):
            net(frames, lengths)
    with pytest.raises(UsageError, match="sources of frames need memory='streamed'"):
        net([frames[0], frames[1]])
    with pytest.raises(UsageError, match="no clusters"):
        net.groups(frames)


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


def test_weights_that_do_not_fit(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(UsageError, match="no such file"):
        build_network(NetworkConfig(5), str(path))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match="not readable weights"):
        build_network(NetworkConfig(5), str(path))
    torch.save([1, 2], path)
    with pytest.raises(UsageError, match="expected a dictionary of tensors, got list"):
        build_network(NetworkConfig(5), str(path))
    torch.save({k: v for k, v in state.items() if k != "layer3.0.conv2.weight"}, path)
    with pytest.raises(UsageError, match=r"lacks 'layer3.0.conv2.weight' \(1 such"):
        build_network(NetworkConfig(5), str(path))
    torch.save(state, path)
    with pytest.raises(UsageError, match="does not fit resnet50"):
        build_network(NetworkConfig(5, "resnet50"), str(path))
    with pytest.raises(UsageError, match="IMAGENET1K_V1, got 'BEST'"):
        build_network(NetworkConfig(5), "BEST")


def test_weights_by_name(state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, *args, **options: state)
    loaded = build_network(NetworkConfig(4), "IMAGENET1K_V1").state_dict()
    assert torch.equal(loaded["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])

    def offline(self: WeightsEnum, *args: Any, **options: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", offline)
    with pytest.raises(WorkError, match="cannot be downloaded"):
        build_network(NetworkConfig(4), "IMAGENET1K_V1")


def test_configurations_are_values() -> None:
    config = NetworkConfig(3, clusters=2)
    assert replace(config, clusters=4).clusters == 4 and config == NetworkConfig(3, clusters=2)


def test_calibration_gives_the_statistics_of_the_frames() -> None:
    net = network(clusters=2, frozen_norm="stem").train()
    frames = clip(videos=1, frames=12)[0]
    assert calibrate_stem(net, [frames]) == 12
    first = net.conv1(normalised(frames))
    torch.testing.assert_close(net.bn1.running_mean, first.mean((0, 2, 3)))
    torch.testing.assert_close(net.bn1.running_var, first.transpose(0, 1).flatten(1).var(1))
    norms = [m for m in (net.bn1, *net.layer1.modules()) if isinstance(m, nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms) and all(norm.momentum == 0.1 for norm in norms)
    inside: list[Tensor] = []
    net.layer1[1].bn2.register_forward_hook(lambda module, inputs, output: inside.append(output.clone()))
    net.stem(frames)
    torch.testing.assert_close(inside[0].mean((0, 2, 3)), torch.zeros(64).double(), atol=0.01, rtol=0)
    assert calibrate_stem(net, [frames[:4], frames[4:8], frames[8:]]) == 12

    state = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(UsageError, match="needs frames, got none"):
        calibrate_stem(net, [])
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    with pytest.raises(UsageError, match="shifts over time"):
        calibrate_stem(network(), [frames])


def test_without_clusters_the_place_of_the_average_does_not_matter() -> None:
    frames = clip()
    torch.testing.assert_close(network(average="before_relu")(frames), network(average="after_relu")(frames))
