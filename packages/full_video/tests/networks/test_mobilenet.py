"""MobileNetV2: torchvision's names and numbers, the shift where TSM has it, a cut inside a block, weights of other names."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2
from torchvision.models.mobilenetv2 import MobileNetV2

from full_video import NetworkConfig, VideoNetwork, build_network, load_network, predict, save_network
from full_video.data import Augmentation, ClipConfig
from full_video.networks import calibrate_stem
from full_video.networks.shift import ShiftedConv2d, temporal_shift

SHIFTED = (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)
"""Blocks with a residual connection, by hand from table 2 of the paper."""
ENDS = {"layer1": 4, "layer2": 7, "layer3": 14}
"""Block whose expansion ends the stem of each cut."""


def clip(videos: int = 2, frames: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (videos, frames, 3, 32, 32), dtype=torch.uint8, generator=generator)


def normalised(frames: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()
    return (frames.double() / 255 - mean[:, None, None]) / std[:, None, None]


def network(**settings: Any) -> VideoNetwork:
    """A network in double precision whose ReLU6 cuts off at both ends, and whose classifier is not undecided."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = {"classes": 3, "backbone": "mobilenet_v2", "dropout": 0.0, **settings}
        built = build_network(NetworkConfig(**config)).double().eval()
        nn.init.normal_(built.fc.weight, std=0.02)
        norms = [module for module in built.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            nn.init.uniform_(norm.weight, 1.0, 5.0)
            nn.init.normal_(norm.bias)
            norm.train().momentum = None
        with torch.no_grad():
            built(clip())
        for norm in norms:
            norm.momentum = 0.1
    return built.eval()


def torchvision_names(net: VideoNetwork) -> dict[str, Tensor]:
    return {re.sub(r"^fc", "classifier.1", name): value for name, value in net.state_dict().items()}


def twin_of(net: VideoNetwork) -> MobileNetV2:
    twin = mobilenet_v2(num_classes=net.config.classes, width_mult=net.config.width / 64).double().eval()
    twin.load_state_dict(torchvision_names(net))
    return twin


def shift_inputs(twin: MobileNetV2, blocks: Any, frames: int) -> None:
    for at in blocks:
        twin.features[at].conv[0].register_forward_pre_hook(lambda module, inputs: temporal_shift(inputs[0], frames))


def rest(twin: MobileNetV2, end: int, x: Tensor) -> Tensor:
    """Mean logits of maps behind the expansion of block ``end``."""
    for layer in (*twin.features[end].conv[1:], *twin.features[end + 1 :]):
        x = layer(x)
    return twin.classifier(x.mean((2, 3))).mean(0)


def shifted_names(net: VideoNetwork) -> list[str]:
    return [name for name, module in net.named_modules() if isinstance(module, ShiftedConv2d)]


@pytest.mark.parametrize("average", ["after_relu", "before_relu"])
def test_without_shift_it_is_torchvisions(average: Any) -> None:
    net, frames = network(shift=False, average=average), clip(frames=2)
    twin = twin_of(net)  # whose names are those of the network
    torch.testing.assert_close(net(frames[:, :1]), twin(normalised(frames[:, 0])))
    torch.testing.assert_close(net(frames), torch.stack([twin(video).mean(0) for video in normalised(frames)]))


def test_random_weights_are_torchvisions() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        ours = build_network(NetworkConfig(3, "mobilenet_v2")).state_dict()
        torch.manual_seed(1)
        theirs = mobilenet_v2().features.state_dict()
    assert all(torch.equal(value, ours[f"features.{name}"]) for name, value in theirs.items())


def test_tsm_shifts_the_blocks_with_a_residual_connection() -> None:
    net, frames = network(), clip()
    assert shifted_names(net) == [f"features.{at}.conv.0.0" for at in SHIFTED]
    twin = twin_of(net)
    shift_inputs(twin, SHIFTED, frames.shape[1])
    expected = torch.stack([twin(video).mean(0) for video in normalised(frames)])
    torch.testing.assert_close(net(frames), expected)
    torch.testing.assert_close(net(frames[:1]), expected[:1])
    assert not torch.allclose(network(shift=False)(frames), expected)


@pytest.mark.parametrize("cut", ENDS)
def test_the_stem_does_not_shift_if_frames_are_clustered(cut: Any) -> None:
    with torch.device("meta"):
        nets = [
            build_network(NetworkConfig(2, "mobilenet_v2", clusters=4, cut=cut, stem_shift=s)) for s in (None, True)
        ]
    assert shifted_names(nets[0]) == [f"features.{at}.conv.0.0" for at in SHIFTED if at > ENDS[cut]]
    assert shifted_names(nets[1]) == [f"features.{at}.conv.0.0" for at in SHIFTED]
    names = nets[0].stem_names
    assert names[-1] == f"features.{ENDS[cut]}.conv.0" and nets[0].tail_names[0] == f"features.{ENDS[cut]}.conv.1"
    inside = {id(m) for name in (*names, *nets[0].tail_names) for m in nets[0].get_submodule(name).modules()}
    convolutions = [m for m in nets[0].modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 52 and all(id(m) in inside for m in convolutions)


@pytest.mark.parametrize("average", ["after_relu", "before_relu"])
@pytest.mark.parametrize("cut", ENDS)
def test_clustered_network_by_plain_loops(average: Any, cut: Any) -> None:
    net, frames, end = network(clusters=3, average=average, cut=cut), clip(frames=6), ENDS[cut]
    twin = twin_of(net)
    convolution, norm, _ = twin.features[end].conv[0]
    maps = torch.stack([norm(convolution(twin.features[:end](video))) for video in normalised(frames)])
    assert (maps > 6).any() and (maps < 0).any()
    maps = maps if average == "before_relu" else maps.clamp(0, 6)
    torch.testing.assert_close(torch.stack([net.stem(video) for video in frames]), maps)
    out = net.explain(frames)
    assert out.clusters is not None and out.distances is not None
    shift_inputs(twin, [at for at in SHIFTED if at > end], 3)
    for video in range(2):
        signs = maps[video] > 0
        assert out.distances[video].tolist() == [int((signs[t] != signs[t + 1]).sum()) for t in range(5)]
        ids = out.clusters.ids[video]
        rows = torch.stack([maps[video][ids == row].mean(0) for row in range(3)])
        torch.testing.assert_close(out.logits[video], rest(twin, end, rows.clamp(0, 6)))
    assert torch.equal(net.groups(frames).ids, out.clusters.ids)


def test_after_and_before_the_relu_differ_with_clusters_alone() -> None:
    frames = clip(frames=6)
    assert not torch.allclose(network(clusters=2)(frames), network(clusters=2, average="before_relu")(frames))
    torch.testing.assert_close(network(average="before_relu")(frames), network()(frames))


@pytest.mark.parametrize("average", ["after_relu", "before_relu"])
@pytest.mark.parametrize("cut", ENDS)
def test_as_many_clusters_as_frames_are_no_clusters(average: Any, cut: Any) -> None:
    frames = clip()
    clustered = network(clusters=5, cut=cut, average=average)
    whole = build_network(NetworkConfig(3, "mobilenet_v2", cut=cut, stem_shift=False)).double().eval()
    whole.load_state_dict(clustered.state_dict())
    torch.testing.assert_close(clustered(frames), whole(frames))


@pytest.mark.parametrize("settings", [{}, {"average": "before_relu", "cut": "layer2", "grouping": "slope"}])
def test_memories_and_chunks_have_the_numbers_and_gradients_of_one_graph(settings: dict[str, Any]) -> None:
    frames, lengths, labels = clip(2, 7), torch.tensor([7, 5]), torch.tensor([0, 2])
    net = network(width=16, clusters=3, frozen_norm="stem", **settings).train()
    results = []
    for memory, chunk in (("plain", 4), ("checkpointed", 3), ("streamed", 1), ("streamed", 3), ("streamed", 64)):
        trained = copy.deepcopy(net)
        trained.memory, trained.chunk = memory, chunk  # type: ignore[assignment]
        logits = trained(frames, lengths)
        nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in trained.parameters())
        results.append([logits.detach(), *(parameter.grad for parameter in trained.parameters())])
    for result in results[1:]:
        for found, expected in zip(result, results[0], strict=True):
            assert (found - expected).norm() <= 1e-9 * expected.norm()  # type: ignore[operator, union-attr]
    with net.testing(), torch.no_grad():
        assert net.memory == "streamed"
        torch.testing.assert_close(net([frames[0], frames[1, :5]]), net(frames, lengths))


@pytest.mark.parametrize("settings", [{}, {"clusters": 3}, {"clusters": 3, "stem_shift": True}])
def test_padding_never_counts_and_a_batch_of_no_video_reaches_every_weight(settings: dict[str, Any]) -> None:
    net, frames, lengths = network(width=8, **settings), clip(), torch.tensor([5, 2])
    expected = torch.cat([net(frames[:1]), net(frames[1:, :2])])
    torch.testing.assert_close(net(frames, lengths), expected)
    net.train()(frames[:0]).sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in net.parameters())


def test_frozen_norm() -> None:
    fixed = {"none": range(0), "stem": range(10), "partial": range(1, 52), "all": range(52)}
    for frozen, expected in fixed.items():
        net = build_network(NetworkConfig(2, "mobilenet_v2", width=8, frozen_norm=frozen)).train()  # type: ignore[arg-type]
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        assert [at for at, norm in enumerate(norms) if not norm.training] == list(expected)
        learned = [at for at, norm in enumerate(norms) if norm.weight.requires_grad and norm.bias.requires_grad]
        assert learned == [at for at in range(52) if frozen == "stem" or at not in expected]
    net = build_network(NetworkConfig(2, "mobilenet_v2", width=8, clusters=2, frozen_norm="stem"))
    assert calibrate_stem(net, [clip()[0]]) == 5
    moved = [name for name, value in net.named_buffers() if name.endswith("running_mean") and value.any()]
    assert len(moved) == 10 and moved[-1] == "features.4.conv.0.1.running_mean"


@pytest.mark.parametrize("width", [8, 32, 128])
def test_width_is_torchvisions_multiplier(width: int) -> None:
    with torch.device("meta"):
        net = build_network(NetworkConfig(1000, "mobilenet_v2", width=width))
        theirs = mobilenet_v2(width_mult=width / 64).state_dict()
    assert {k: v.shape for k, v in torchvision_names(net).items()} == {k: v.shape for k, v in theirs.items()}
    assert all(m.out_channels % 8 == 0 for m in net.modules() if isinstance(m, nn.Conv2d))
    assert "features.1.conv.0.0" not in shifted_names(net)  # no expansion, whatever its residual connection
    if width == 32:
        trained = network(width=32, clusters=2)
        assert trained.explain(clip()).logits.shape == (2, 3) and trained.fc.in_features == 1280


def tsm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of TSM's code, in whose blocks convolution, norm and ReLU6 follow each other in one row."""
    renamed = {}
    for name, value in state.items():
        if found := re.fullmatch(r"features\.(\d+)\.conv\.(.*)\.(\w+)", name):
            one = found[1] == "1"
            rows = ["0.0", "0.1", "", "1", "2"] if one else ["0.0", "0.1", "", "1.0", "1.1", "", "2", "3"]
            net = "net." if int(found[1]) in SHIFTED and found[2] == "0.0" else ""
            name = f"features.{found[1]}.conv.{rows.index(found[2])}.{net}{found[3]}"
        own = name.startswith("classifier")
        renamed[name.replace("classifier.1", "module.new_fc") if own else f"module.base_model.{name}"] = value
    return renamed


def test_weights_of_torchvision_and_of_tsm(tmp_path: Path) -> None:
    state = mobilenet_v2(num_classes=5).state_dict()
    bare = {name: value for name, value in state.items() if name.startswith("features.")}
    torch.save(state, tmp_path / "torchvision.pth")
    torch.save({"state_dict": tsm_names(state)}, tmp_path / "tsm.pth.tar")
    assert "module.base_model.features.3.conv.0.net.weight" in tsm_names(state)
    for weights in (state, str(tmp_path / "torchvision.pth"), str(tmp_path / "tsm.pth.tar")):
        net = build_network(NetworkConfig(5, "mobilenet_v2"), weights)
        assert all(torch.equal(value, state[name]) for name, value in torchvision_names(net).items())
    for weights, classes in ((bare, 5), (state, 4)):
        net = build_network(NetworkConfig(classes, "mobilenet_v2", clusters=2), weights)
        assert all(torch.equal(net.state_dict()[name], value) for name, value in bare.items())
        assert net.fc.weight.shape == (classes, 1280) and not net.fc.bias.any()
    del bare["features.4.conv.0.1.running_var"]
    with pytest.raises(ValueError, match=r"mobilenet_v2; it lacks 'features\.4\.conv\.0\.1\.running_var' \(1 such"):
        build_network(NetworkConfig(5, "mobilenet_v2"), bare)
    with pytest.raises(ValueError, match=r"weights of mobilenet_v2 must be .* IMAGENET1K_V1"):
        build_network(NetworkConfig(5, "mobilenet_v2"), "BEST")


def test_a_file_keeps_the_network(tmp_path: Path) -> None:
    net = network(width=8, clusters=2, average="before_relu").float()
    clips = ClipConfig(augmentation=Augmentation(size=32, resize=32))
    save_network(tmp_path / "network.safetensors", net, ["wave", "jump", "run"], clips)
    saved = load_network(tmp_path / "network.safetensors")
    assert saved.network.config == net.config
    for net in (saved.network, network(width=8).float()):  # the frames of the other pass in windows
        found = {guess.label: guess.probability for guess in predict(net, clip()[0], clips=clips, window=2).guesses}
        with torch.no_grad():
            expected = net(clip()[:1])[0].softmax(0).tolist()
        assert [found[label] for label in range(3)] == pytest.approx(expected, rel=1e-3)
