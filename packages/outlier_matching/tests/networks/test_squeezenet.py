"""SqueezeNet as a backbone, and first convolutions that expect Caffe's input."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, conv2d

from outlier_matching.networks.config import NetworkConfig
from outlier_matching.networks.network import MatchingNetwork
from outlier_matching.networks.weights import build_network, rgb_weights

LAST_TWO = {"squeezenet1_0": (10, 12), "squeezenet1_1": (11, 12)}
"""Places of the last two fire modules."""
IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=torch.float64).view(2, 3, 1, 1)
"""Mean and deviation of red, green and blue."""
CAFFE_MEAN = torch.tensor([104.0, 117.0, 123.0], dtype=torch.float64).view(3, 1, 1)


def config(**changes: Any) -> NetworkConfig:
    settings = {"backbone": "squeezenet1_1", "embedding": 5, "width": 7, "trained": "all", "size": 64} | changes
    return NetworkConfig(**settings)


def built(config: NetworkConfig, weights: Mapping[str, Tensor] | None = None, seed: int = 0) -> MatchingNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network(config, weights)


@pytest.fixture(scope="module")
def squeezenet() -> torch.nn.Module:
    """torchvision's network with random weights, in float64; its biases are not 0."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = torchvision.models.squeezenet1_1(weights=None).double().eval()
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
        return network


def pictures(count: int = 2, size: int = 64) -> Tensor:
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def caffe_input(images: Tensor) -> Tensor:
    """uint8 (n, 3, H, W), red first -> float64, blue first, minus Caffe's mean."""
    return images[:, [2, 1, 0]].double() - CAFFE_MEAN


def prepared(images: Tensor) -> Tensor:
    """What MatchingNetwork.prepare makes, in float64; its own mean and deviation are rounded to float32."""
    return (images.double() / 255 - IMAGENET[0]) / IMAGENET[1]


@pytest.mark.parametrize("backbone", LAST_TWO)
def test_its_layers_are_torchvisions(backbone: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = torchvision.models.get_model(backbone, weights=None).eval()
    state = reference.state_dict()
    network = built(config(backbone=backbone), state, seed=1).eval()
    own = network.backbone.state_dict()
    assert own.keys() == {name for name in state if not name.startswith("classifier")}
    assert all(torch.equal(value, state[name]) for name, value in own.items())
    assert network.fc6.in_features == 512 * 3 * 3
    x = network.prepare(pictures())
    with torch.no_grad():
        wanted = adaptive_avg_pool2d(reference.get_submodule("features")(x), 3).flatten(1)
        torch.testing.assert_close(network.backbone(x), wanted)
        assert network(x).fc8.shape == (2, 5)


@pytest.mark.parametrize("size", [32, 127, 227])
def test_the_length_of_its_vectors_does_not_depend_on_the_size(size: int) -> None:
    network = built(config(size=size)).eval()
    assert network.backbone(network.prepare(pictures())).shape == (2, 4608)


@pytest.mark.parametrize("backbone", LAST_TWO)
@pytest.mark.parametrize("trained", ["thesis", "fc", "all"])
def test_trained_layers(backbone: str, trained: str) -> None:
    network = built(config(backbone=backbone, trained=trained)).train()
    names = {name for name, _ in network.named_parameters()}
    of_backbone = {name for name in names if name.startswith("backbone.")}
    heads = names - of_backbone
    fires = {name for name in of_backbone if int(name.split(".")[2]) in LAST_TWO[backbone]}
    assert len(heads) == 6 and len(fires) == 12, "three convolutions each, with weight and bias"
    wanted = {"thesis": heads | fires, "fc": heads, "all": names}[trained]
    assert {name for name, parameter in network.named_parameters() if parameter.requires_grad} == wanted
    assert {name for name in network.state_dict() if network.trains(name)} == wanted
    network(pictures()).fc8.sum().backward()
    assert {name for name, parameter in network.named_parameters() if parameter.grad is not None} == wanted


@pytest.mark.parametrize("backbone", LAST_TWO)
def test_random_heads(backbone: str) -> None:
    start = built(config(backbone=backbone)).state_dict()
    network = built(config(backbone=backbone, trained="thesis", start="random_heads"), start, seed=1)
    state = network.state_dict()
    drawn = {name for name, value in state.items() if name.endswith("weight") and not torch.equal(value, start[name])}
    assert drawn == {name for name in state if name.endswith("weight") and network.trains(name)}
    for place in LAST_TWO[backbone]:
        for part in ("squeeze", "expand1x1", "expand3x3"):
            weight, bias = (state[f"backbone.features.{place}.{part}.{what}"] for what in ("weight", "bias"))
            out, into, high, wide = weight.shape
            bound = (6 / ((out + into) * high * wide)) ** 0.5  # Glorot
            assert 0.95 * bound < weight.abs().max() <= bound and not bias.any()
    wanted = built(config(backbone=backbone, trained="fc", start="random_heads"), start, seed=1).state_dict()
    assert all(torch.equal(wanted[name], start[name]) for name in start if name.startswith("backbone."))


def test_a_state_with_a_gap_is_refused(squeezenet: torch.nn.Module) -> None:
    state = squeezenet.state_dict()
    del state["features.12.expand3x3.bias"]
    with pytest.raises(ValueError, match=r"squeezenet1_1: it lacks 'backbone\.features\.12\.expand3x3\.bias' \(1 such"):
        built(config(), state)
    for name in ("features.0.weight", "features.0.bias"):
        state = squeezenet.state_dict()
        del state[name]
        with pytest.raises(ValueError, match=f"the state lacks '{name}'"):
            rgb_weights(state)
    with pytest.raises(ValueError, match=r"expected three channels, got features.0.weight \(4, 1, 3, 3\)"):
        rgb_weights({"features.0.weight": torch.zeros(4, 1, 3, 3), "features.0.bias": torch.zeros(4)})


def test_a_folded_convolution_takes_prepared_images() -> None:
    """The convolution of Caffe's input, pixel by pixel, and the folded one of the prepared images."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=generator)
    bias = torch.randn(4, dtype=torch.float64, generator=generator)
    x = pictures(1, 7)
    folded = rgb_weights({"features.0.weight": weight, "features.0.bias": bias, "features.3.bias": bias})
    assert torch.equal(folded["features.3.bias"], bias)
    found = conv2d(prepared(x), folded["features.0.weight"], folded["features.0.bias"], stride=2)
    blue_first = ((2, 104.0), (1, 117.0), (0, 123.0))
    for n in range(4):
        for i in range(3):
            for j in range(3):
                wanted = float(bias[n])
                for channel, (colour, subtracted) in enumerate(blue_first):
                    for v in range(3):
                        for u in range(3):
                            grey = float(x[0, colour, 2 * i + v, 2 * j + u]) - subtracted
                            wanted += float(weight[n, channel, v, u]) * grey
                assert float(found[0, n, i, j]) == pytest.approx(wanted, abs=1e-9)


def test_a_border_of_zeros_is_less_than_a_grey_level() -> None:
    """Padding of AlexNet and VGG: 0 of a prepared image is 255 m - k, not 0."""
    eye = torch.eye(3, dtype=torch.float64).view(3, 3, 1, 1)
    folded = rgb_weights({"features.0.weight": eye, "features.0.bias": torch.zeros(3, dtype=torch.float64)})
    at_zero = conv2d(
        torch.zeros(1, 3, 1, 1, dtype=torch.float64), folded["features.0.weight"], folded["features.0.bias"]
    )
    torch.testing.assert_close(at_zero.flatten().tolist(), [103.53 - 104, 116.28 - 117, 123.675 - 123])


def test_a_whole_network_for_caffe_computes_the_same(squeezenet: torch.nn.Module) -> None:
    x = pictures(2, 64)
    state = squeezenet.state_dict()
    folded = rgb_weights(state)
    changed = {name for name, value in state.items() if not torch.equal(value, folded[name])}
    assert folded.keys() == state.keys() and changed == {"features.0.weight", "features.0.bias"}
    other = torchvision.models.squeezenet1_1(weights=None).double().eval()
    other.load_state_dict(folded)
    network = built(config(), folded).eval()
    with torch.no_grad():
        torch.testing.assert_close(other(prepared(x)), squeezenet(caffe_input(x)), rtol=1e-9, atol=1e-9)
        maps = squeezenet.get_submodule("features")(caffe_input(x))
        wanted = adaptive_avg_pool2d(maps, 3).flatten(1).float()
        torch.testing.assert_close(
            network.backbone(network.prepare(x)), wanted, rtol=1e-4, atol=1e-4 * float(wanted.max())
        )
