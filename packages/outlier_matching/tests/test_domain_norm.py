"""Batch norm per domain: what it computes for each, and that the domains do not touch each other."""

import pytest
import torch
from torch import nn

from outlier_matching.backbones import FiveLayers
from outlier_matching.domain_norm import DomainBatchNorm2d
from outlier_matching.embedding import embed
from outlier_matching.networks import NetworkConfig, build_network

pytestmark = pytest.mark.usefixtures("one_thread")


def maps(seed: int, shift: float = 0.0, count: int = 6) -> torch.Tensor:
    return 2 * torch.randn(count, 3, 4, 5, generator=torch.Generator().manual_seed(seed)) + shift


def test_training_is_batch_norm_of_each_domain() -> None:
    ours, reference = DomainBatchNorm2d(3), nn.BatchNorm2d(3)
    for domain, x in enumerate((maps(0), maps(1, shift=5))):
        torch.testing.assert_close(ours(x, domain), reference(x))


def test_running_statistics_are_the_domains_own() -> None:
    ours = DomainBatchNorm2d(3)
    alone = [nn.BatchNorm2d(3), nn.BatchNorm2d(3)]
    for step in range(40):
        for domain, reference in enumerate(alone):
            x = maps(100 * domain + step, shift=5.0 * domain)
            ours(x, domain), reference(x)
    ours.eval()
    for domain, reference in enumerate(alone):  # the start at 0 and 1 has faded from the references
        x = maps(7, shift=5.0 * domain)
        torch.testing.assert_close(ours(x, domain), reference.eval()(x), rtol=0, atol=0.1)
    assert ours.running_mean[1].sub(5).abs().max() < 0.5 and ours.running_mean[0].abs().max() < 0.5


def test_the_first_batch_is_taken_as_it_is() -> None:
    ours, x = DomainBatchNorm2d(3), maps(0, shift=9)
    ours(x, 1)
    torch.testing.assert_close(ours.running_mean[1], x.mean((0, 2, 3)))
    assert not ours.running_mean[0].any() and ours.num_batches_tracked.tolist() == [0, 1]


def test_a_domain_never_seen_has_the_sources_statistics() -> None:
    ours = DomainBatchNorm2d(3)
    ours(maps(0, shift=3), 0)
    ours.eval()
    x = maps(1)
    torch.testing.assert_close(ours(x, 1), ours(x, 0))
    ours.train()(x, 1)
    assert not torch.allclose(ours.eval()(x, 1), ours(x, 0))


def network_of(backbone: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_network(NetworkConfig(backbone=backbone, embedding=5, width=7, dropout=0, trained="all", size=32))


def images(count: int, low: int = 0, high: int = 256) -> torch.Tensor:
    return torch.randint(
        low, high, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(count)
    )


def test_a_network_that_sees_both_normalises_each() -> None:
    network = network_of("small_dbn")
    source, target = images(6), images(3, 200)
    together = network(torch.cat((source, target)), source=6)
    apart = [network(source, 0), network(target, 1)]
    for whole, first, second in zip(together, *apart, strict=True):
        torch.testing.assert_close(whole, torch.cat((first, second)))
    assert not torch.allclose(network(torch.cat((source, target))).fc8, together.fc8)


def test_other_backbones_do_not_ask() -> None:
    x = images(4)
    for backbone in ("small", "small_bn"):
        network = network_of(backbone)
        torch.testing.assert_close(network(x, source=2).fc8, network(x).fc8)
        assert isinstance(network.backbone, FiveLayers) and not network.backbone.knows_domains


def test_it_starts_as_batch_norm_does() -> None:
    """Small_bn and small_dbn draw the same weights, and see one domain alike."""
    one, other = network_of("small_bn"), network_of("small_dbn")
    x = images(4)
    torch.testing.assert_close(one(x).fc8, other(x).fc8)


def test_embeddings_are_of_a_domain() -> None:
    network = network_of("small_dbn")
    x = images(5, 128)
    network(torch.cat((images(6), x)), source=6)
    network.eval()
    features = embed(network, x, domain=1)
    torch.testing.assert_close(features, network(x, 1).embedding.detach())
    assert not torch.allclose(features, embed(network, x))
