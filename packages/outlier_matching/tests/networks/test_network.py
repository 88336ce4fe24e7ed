"""The network: its layers are AlexNet's, its branches share weights, and what is frozen stays as it was."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from outlier_matching.method.objective import Features
from outlier_matching.networks.backbones import StackedLayers
from outlier_matching.networks.config import NetworkConfig
from outlier_matching.networks.network import MatchingNetwork, embed
from outlier_matching.networks.weights import build_network, own_names


def small(**changes: object) -> NetworkConfig:
    settings = {"backbone": "small", "embedding": 5, "width": 7, "trained": "all", "size": 32} | changes
    return NetworkConfig(**settings)  # type: ignore[arg-type]


def built(config: NetworkConfig, weights: Mapping[str, Tensor] | None = None, seed: int = 0) -> MatchingNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network(config, weights)


def images(count: int, size: int = 32, low: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(low, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def convolutions(network: MatchingNetwork) -> dict[int, nn.Conv2d]:
    """Place among the layers -> convolution."""
    layers = network.backbone.get_submodule("features").named_children()
    return {int(place): layer for place, layer in layers if isinstance(layer, nn.Conv2d)}


@pytest.mark.slow
def test_alexnet_has_torchvisions_layers() -> None:
    network = build_network(NetworkConfig())
    shapes = [tuple(layer.weight.shape[:2]) for layer in convolutions(network).values()]
    assert shapes == [(64, 3), (192, 64), (384, 192), (256, 384), (256, 256)]
    assert network.fc6.in_features == 9216 and network.fc8.out_features == 1000
    assert sum(p.numel() for p in network.parameters()) == 61_100_840  # torchvision's AlexNet
    # conv4, conv5, fc6, fc7, fc8 by hand: weights and biases.
    by_hand = 256 * 384 * 9 + 256 + 256 * 256 * 9 + 256 + 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == by_hand


@pytest.mark.slow
def test_alexnet_computes_what_torchvisions_does() -> None:
    """With its weights, in eval mode: the same 1000 numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = torchvision.models.alexnet(weights=None).eval()
    network = build_network(NetworkConfig(size=127)).eval()
    network.load_state_dict(own_names(reference.state_dict()))
    x = network.prepare(images(2, 127))
    with torch.no_grad():
        torch.testing.assert_close(network(x).fc8, reference(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("backbone", "size", "length"), [
    ("small", 32, 1536), ("small_bn", 64, 1536), ("resnet18", 64, 512), ("mobilenet_v3_small", 64, 576),
])  # fmt: skip
def test_any_classifier_of_torchvision_can_be_the_backbone(backbone: str, size: int, length: int) -> None:
    network = built(small(backbone=backbone, size=size, trained="fc")).eval()
    assert network.fc6.in_features == length
    assert network(images(2, size)).fc8.shape == (2, 5)


def test_features_are_what_the_layers_say() -> None:
    network = built(small(dropout=0.5)).eval()
    x = images(3)
    features = network(x)
    assert isinstance(features, Features)
    fc6 = network.fc6(network.backbone(network.prepare(x))).relu()
    fc7 = network.fc7(fc6).relu()
    torch.testing.assert_close(features.fc6, fc6)
    torch.testing.assert_close(features.fc7, fc7)
    torch.testing.assert_close(features.fc8, network.fc8(fc7))
    torch.testing.assert_close(features.embedding.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(features.embedding * features.fc8.norm(dim=1, keepdim=True), features.fc8)


def test_branches_and_preparation() -> None:
    network = built(small(dropout=0.0))
    x = images(6)
    apart = torch.cat([network(part).fc8 for part in (x[:2], x[2:4], x[4:])])
    torch.testing.assert_close(network(x).fc8, apart, rtol=1e-4, atol=1e-6)
    network = built(small())
    white = torch.full((1, 3, 50, 70), 255, dtype=torch.uint8)
    prepared = network.prepare(white)
    assert prepared.shape == (1, 3, 32, 32)
    wanted = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(prepared[0, :, 3, 4], wanted)
    network.eval()
    torch.testing.assert_close(network(white).fc8, network(prepared).fc8)


def test_dropout_follows_relu_and_acts_in_training_alone() -> None:
    network = built(small(width=1000, dropout=0.5))
    x = images(4)
    features = network.eval()(x)
    dropped = network.train()(x)
    live = features.fc6 > 0
    kept = dropped.fc6[live] != 0
    assert 0.45 < kept.float().mean() < 0.55
    torch.testing.assert_close(dropped.fc6[live][kept], 2 * features.fc6[live][kept])
    assert (dropped.fc6 >= 0).all() and (dropped.fc7 >= 0).all()


@pytest.mark.parametrize(("trained", "frozen"), [("all", []), ("thesis", [0, 3, 6]), ("fc", [0, 3, 6, 8, 10])])
def test_frozen_layers(trained: str, frozen: list[int]) -> None:
    network = built(small(trained=trained))
    names = {f"backbone.features.{k}.{what}" for k in frozen for what in ("weight", "bias")}
    assert {name for name, p in network.named_parameters() if not p.requires_grad} == names
    assert {name for name in network.state_dict() if not network.trains(name)} == names
    assert network.config.frozen == (trained != "all")


def test_frozen_layers_keep_their_statistics() -> None:
    network = built(small(backbone="small_bn", trained="thesis")).train()
    names = {f"backbone.features.{k}.{what}" for k in (0, 1, 4, 5, 8, 9) for what in ("weight", "bias")}
    assert {name for name, p in network.named_parameters() if not p.requires_grad} == names
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    network(images(4)).fc8.sum().backward()
    moved = {name for name, value in network.backbone.state_dict().items() if not torch.equal(value, before[name])}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert moved == {f"features.{k}.{what}" for k in (12, 15) for what in statistics}
    network = built(small(backbone="resnet18", trained="fc", size=32)).train()
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    network(images(4)).fc8.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.backbone.state_dict().items())
    assert network.training and not network.backbone.training
    assert all(p.grad is None for p in network.backbone.parameters())


def test_starts() -> None:
    one, two, other = built(small()), built(small()), built(small(), seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.fc6.weight, other.fc6.weight)
    bound = (6 / (1536 + 7)) ** 0.5  # Glorot
    assert one.fc6.weight.abs().max() <= bound and one.fc6.weight.abs().max() > 0.95 * bound
    assert not one.fc6.bias.any()
    copy = built(small(embedding=6), one.state_dict(), seed=1)
    assert torch.equal(copy.fc6.weight, one.fc6.weight) and copy.fc8.out_features == 6
    assert torch.equal(convolutions(copy)[0].weight, convolutions(one)[0].weight)


@pytest.fixture(scope="module")
def alexnet_state() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return torchvision.models.alexnet(weights=None).state_dict()


@pytest.mark.slow
def test_pretrained_alexnet_fills_every_layer_that_fits(alexnet_state: dict[str, Tensor]) -> None:
    network = built(NetworkConfig(embedding=9), alexnet_state)
    for number in (0, 6, 8, 10):
        assert torch.equal(convolutions(network)[number].weight, alexnet_state[f"features.{number}.weight"])
    assert torch.equal(network.fc6.weight, alexnet_state["classifier.1.weight"])
    assert torch.equal(network.fc7.bias, alexnet_state["classifier.4.bias"])
    assert network.fc8.weight.shape == (9, 4096)


@pytest.mark.slow
def test_the_authors_start_takes_frozen_layers_alone(alexnet_state: dict[str, Tensor]) -> None:
    network = built(NetworkConfig(start="random_heads"), alexnet_state)
    for number in (0, 3, 6):
        assert torch.equal(convolutions(network)[number].weight, alexnet_state[f"features.{number}.weight"])
    for number in (8, 10):
        layer = convolutions(network)[number]
        assert not torch.equal(layer.weight, alexnet_state[f"features.{number}.weight"])
        assert layer.bias is not None and not layer.bias.any()
    assert not torch.equal(network.fc6.weight, alexnet_state["classifier.1.weight"]) and not network.fc6.bias.any()


@pytest.mark.parametrize(("config", "weights", "message"), [
    (small(), "IMAGENET1K_V1", "weights of small must be a file"),
    (small(backbone="resnet18"), "IMAGENET", "weights of resnet18 must be a file or one of IMAGENET1K_V1"),
    (small(start="random_heads"), {}, "start=random_heads with trained=all takes nothing"),
    (small(), {}, r"does not fit small: it lacks 'backbone\.features\.0\.weight' \(10 such entries\)"),
    (small(backbone="alex"), None, "backbone must be small, small_bn, small_dbn or a classifier of torchvision"),
    (small(backbone="alexnet"), None, "backbone alexnet cannot take images of 32 pixels"),
    (small(backbone="googlenet", size=64), None, "googlenet cannot take images of 64 pixels .it gives more than one"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::FutureWarning")  # googlenet's
def test_weights_and_backbones_that_do_not_fit(config: NetworkConfig, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_network(config, weights)


@pytest.mark.parametrize(("changes", "message"), [
    ({"embedding": 0}, "embedding must be 1 or more, got 0"),
    ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ({"size": 15}, "size must be 16 pixels or more, got 15"),
    ({"trained": "some"}, "trained must be one of .*, got 'some'"),
    ({"backbone": "resnet18", "trained": "thesis"}, "names conv4 and conv5, which resnet18 does not have"),
])  # fmt: skip
def test_configurations_that_make_no_sense(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_embeddings() -> None:
    network = built(small()).train()
    x = images(7)
    whole = embed(network, x)
    assert whole.shape == (7, 5) and not whole.requires_grad and network.training
    torch.testing.assert_close(whole, embed(network, x, batch=2), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(whole, network.eval()(x).embedding.detach(), rtol=1e-4, atol=1e-6)
    assert embed(network, x[:0]).shape == (0, 5)
    torch.testing.assert_close(embed(network, x, precision="bf16-mixed"), whole, rtol=0.1, atol=0.02)
    network = built(small())
    torch.nn.init.constant_(network.fc8.bias, float("nan"))
    with pytest.raises(FloatingPointError, match="embeddings are not finite"):
        embed(network, images(2))


@pytest.mark.parametrize("convert", [
    lambda x: x / 255, lambda x: x.float(), lambda x: x.double() / 255, lambda x: x.half(), lambda x: x.long(), lambda x: x[0],
    lambda x: x[:, :1], lambda x: x.permute(0, 2, 3, 1), lambda x: iter([x, x / 255]),
])  # fmt: skip
def test_images_of_another_type_are_not_embedded(convert: Callable[[Tensor], Any]) -> None:
    network = built(small()).train()
    with pytest.raises(ValueError, match=r"images must be uint8 \(n, 3, H, W\), got torch.* images.mul\(255\)"):
        embed(network, convert(images(3)))
    assert network.training


def test_a_network_that_sees_both_normalises_each() -> None:
    network = built(small(backbone="small_dbn", dropout=0))
    source, target = images(6), images(3, low=200)
    together = network(torch.cat((source, target)), source=6)
    apart = [network(source, 0), network(target, 1)]
    for whole, first, second in zip(together, *apart, strict=True):
        torch.testing.assert_close(whole, torch.cat((first, second)))
    assert not torch.allclose(network(torch.cat((source, target))).fc8, together.fc8)


def test_other_backbones_and_one_domain() -> None:
    x = images(4)
    for backbone in ("small", "small_bn"):
        network = built(small(backbone=backbone, dropout=0))
        torch.testing.assert_close(network(x, source=2).fc8, network(x).fc8)
        assert isinstance(network.backbone, StackedLayers) and not network.backbone.knows_domains
    one, other = built(small(backbone="small_bn", dropout=0)), built(small(backbone="small_dbn", dropout=0))
    torch.testing.assert_close(one(x).fc8, other(x).fc8)


def test_embeddings_are_of_a_domain() -> None:
    network = built(small(backbone="small_dbn", dropout=0))
    x = images(5, low=128)
    network(torch.cat((images(6), x)), source=6)
    network.eval()
    features = embed(network, x, domain=1)
    torch.testing.assert_close(features, network(x, 1).embedding.detach())
    assert not torch.allclose(features, embed(network, x))
