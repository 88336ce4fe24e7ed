"""Networks: torchvision's names and numbers, the shift where TSM has it, padding that never counts, weights from files."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet

from full_video.clustering.aggregation import TemporalAggregation
from full_video.networks import NetworkConfig, VideoNetwork, build_network
from full_video.networks.shift import ShiftedConv2d, temporal_shift


def network(seed: int = 0, **settings: Any) -> VideoNetwork:
    """A network in double precision whose classifier is not undecided."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = build_network(NetworkConfig(**{"classes": 3, "width": 16, **settings}))
        nn.init.normal_(built.fc.weight, std=0.2)
    return built.double().eval()


def clip(videos: int = 2, frames: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (videos, frames, 3, 32, 32), dtype=torch.uint8, generator=generator)


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
    thin, whole = (build_network(NetworkConfig(classes=3, backbone=backbone, width=width)) for width in (8, 32))
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (thin, whole)]
    assert shapes[0].keys() == shapes[1].keys()
    for name, shape in shapes[1].items():
        kept = {0} if name.startswith("fc.") else set()  # as many classes
        kept |= {1} if name == "conv1.weight" else set()  # as many colours
        narrowed = [side if at in kept or at >= 2 else side // 4 for at, side in enumerate(shape)]  # kernels stay
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


@pytest.mark.parametrize("backbone", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_tsn_is_the_mean_over_frames_and_tsm_shifts_every_block(backbone: str) -> None:
    tsn = network(backbone=backbone, width=64, shift=False)
    frames = clip(frames=3)
    twin = torchvision_twin(tsn)
    expected = torch.stack([twin(video).mean(0) for video in normalised(frames)])
    torch.testing.assert_close(tsn(frames), expected)

    tsm = network(backbone=backbone, width=64)
    assert sum(isinstance(m, ShiftedConv2d) for m in tsm.modules()) == {"resnet18": 8, "resnet50": 16}[backbone]
    shift_inputs(twin, ("layer1", "layer2", "layer3", "layer4"), frames.shape[1])
    expected = torch.stack([twin(video).mean(0) for video in normalised(frames)])
    torch.testing.assert_close(tsm(frames), expected)
    torch.testing.assert_close(tsm(frames[:1]), expected[:1])  # one video is shifted as many are


def test_deep_networks_have_torchvisions_shapes_and_shift_every_second_block() -> None:
    with torch.device("meta"):
        net = build_network(NetworkConfig(2, "resnet101"))
        theirs = resnet.resnet101(num_classes=2).state_dict()
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in theirs.items()}
    shifted = [[isinstance(block.conv1, ShiftedConv2d) for block in getattr(net, f"layer{i}")] for i in range(1, 5)]
    assert shifted[0] == [True, False, True] and shifted[2] == [i % 2 == 0 for i in range(23)]


@pytest.mark.parametrize(("settings", "stem", "tail"), [
    ({}, True, True), ({"shift": False}, False, False), ({"clusters": 4}, False, True),
    ({"clusters": 4, "stem_shift": True}, True, True), ({"stem_shift": False}, False, True),
    ({"clusters": 4, "shift": False, "stem_shift": True}, False, False),
])  # fmt: skip
@pytest.mark.parametrize("cut", ["layer1", "layer2", "layer3"])
def test_where_the_shift_is(settings: dict[str, Any], stem: bool, tail: bool, cut: Any) -> None:
    with torch.device("meta"):
        net = build_network(NetworkConfig(2, cut=cut, **settings))
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        expected = stem if stage <= cut else tail
        assert all(isinstance(block.conv1, ShiftedConv2d) == expected for block in getattr(net, stage))
    assert net.config.streams == (net.config.clusters > 0 and not stem)


@pytest.mark.parametrize("average", ["after_relu", "before_relu"])
@pytest.mark.parametrize(
    ("backbone", "cut"),
    [("resnet18", "layer1"), ("resnet18", "layer3"), pytest.param("resnet50", "layer1", marks=pytest.mark.slow)],
)
def test_clustered_network_is_stem_aggregation_tail(average: Any, backbone: str, cut: Any) -> None:
    net = network(backbone=backbone, width=64, clusters=3, average=average, cut=cut)
    frames = clip(frames=7)
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


def test_after_and_before_the_relu_differ_with_clusters_alone() -> None:
    frames = clip(frames=9)
    assert not torch.allclose(network(clusters=3)(frames), network(clusters=3, average="before_relu")(frames))
    torch.testing.assert_close(network(average="before_relu")(frames), network(average="after_relu")(frames))


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


@pytest.mark.parametrize("settings", [{}, {"clusters": 3}, {"clusters": 3, "stem_shift": True}])
def test_a_batch_of_no_video_reaches_every_weight(settings: dict[str, Any]) -> None:
    """As on a device that has no video of a small batch, where others wait for its part of batch norm."""
    net = network(**settings).train()
    net(clip(videos=3, frames=4), torch.tensor([4, 1, 2]))  # lengths of another batch
    logits = net(clip()[:0])
    assert logits.shape == (0, 3)
    logits.sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())


def test_equal_lengths_say_nothing_new() -> None:
    net, frames = network(clusters=3), clip()
    assert torch.equal(net(frames, torch.tensor([6, 6])), net(frames))
    assert torch.equal(net(frames, torch.tensor([4, 4])), net(frames[:, :4]))


@pytest.mark.parametrize(
    ("frozen", "eval_norms", "fixed"),
    [("none", [], 0), ("stem", ["bn1", "layer1"], 0), ("partial", [f"layer{i}" for i in range(1, 5)], 19), ("all", None, 20)],
)  # fmt: skip
def test_frozen_norm(frozen: Any, eval_norms: list[str] | None, fixed: int) -> None:
    net = build_network(NetworkConfig(2, width=8, frozen_norm=frozen)).train()
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
    # Without batch norm, which fvcore counts as 2 per activation: 0.2 to 0.4 % more.
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
        {"width": 4}, {"width": 20}, {"backbone": "vgg"}, {"grouping": "kmeans"}, {"average": "never"}, {"cut": "layer4"},
        {"frozen_norm": "some"}, {"classes": -1}, {"clusters": -1}, {"dropout": 1.0},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(settings))):
            NetworkConfig(**{"classes": 2, **settings})  # type: ignore[arg-type]


def test_what_a_network_refuses() -> None:
    net, frames = network(), clip()
    for call, message in (
        (lambda: net(frames[0]), r"\(V, T, 3, H, W\)"),
        (lambda: net(frames, torch.tensor([6])), "2 numbers from 1 to 6"),
        (lambda: net(frames, torch.tensor([6, 7])), "2 numbers from 1 to 6"),
        (lambda: net(frames, torch.tensor([0, 6])), "2 numbers from 1 to 6"),
        (lambda: build_network(NetworkConfig()), "classes = 0"),
        (lambda: net([frames[0], frames[1]]), "sources of frames need memory='streamed'"),
        (lambda: net.groups(frames), "no clusters"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
