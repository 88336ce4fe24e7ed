"""What layers that are not trained make of images, in place of these images."""

from typing import Any

import pytest
import torch
from torch import Tensor

from outlier_matching.networks.config import NetworkConfig
from outlier_matching.networks.network import MatchingNetwork, embed
from outlier_matching.networks.weights import build_network


def small(**changes: object) -> NetworkConfig:
    settings = {"backbone": "small", "embedding": 5, "width": 7, "trained": "all", "size": 32} | changes
    return NetworkConfig(**settings)  # type: ignore[arg-type]


def built(config: NetworkConfig) -> MatchingNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_network(config)


def images(count: int, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("changes", [
    {"trained": "thesis"}, {"trained": "thesis", "backbone": "small_bn"}, {"trained": "thesis", "backbone": "small_dbn"},
    {"trained": "fc"}, {"trained": "fc", "backbone": "small_dbn"}, {"trained": "fc", "backbone": "resnet18"},
    {"trained": "thesis", "backbone": "squeezenet1_1", "size": 64},
])  # fmt: skip
def test_features_of_fixed_layers_stand_in_for_images(changes: dict[str, Any]) -> None:
    network = built(small(dropout=0.0, **changes)).train()
    x = images(6, network.config.size)
    with torch.no_grad():  # statistics of both domains differ
        for name, value in network.named_buffers():
            if "running_mean" in name:
                value.copy_(torch.arange(value.numel()).view_as(value) / 10)
            elif "tracked" in name:
                value.fill_(1)
    kept = torch.cat((network.fixed_features(x[:4], 0), network.fixed_features(x[4:], 1)))
    assert not kept.requires_grad
    state = {name: value.clone() for name, value in network.state_dict().items()}
    expected = network(x, source=4)
    expected.embedding.square().sum().backward()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    network.zero_grad()
    network.load_state_dict(state)  # batch norm of trained layers has moved
    found = network(kept, source=4, fixed=True)
    found.embedding.square().sum().backward()
    for layer, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, layer, rtol=1e-4, atol=1e-5)
    again = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    assert gradients.keys() == again.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-3, atol=1e-4)
    both = [embed(network, part, fixed=how) for part, how in ((x[:4], False), (kept[:4], True))]
    torch.testing.assert_close(*both, rtol=1e-4, atol=1e-5)


def test_a_network_that_is_trained_whole_has_no_fixed_features() -> None:
    with pytest.raises(ValueError, match="all layers of the network are trained"):
        built(small()).fixed_features(images(1))
