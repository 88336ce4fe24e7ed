"""Batch norm per domain: what it computes for each, and that the domains do not touch each other."""

import torch
from torch import nn

from outlier_matching.networks.domain_norm import DomainBatchNorm2d


def maps(seed: int, shift: float = 0.0, count: int = 6) -> torch.Tensor:
    return 2 * torch.randn(count, 3, 4, 5, generator=torch.Generator().manual_seed(seed)) + shift


def test_each_domain_has_its_batch_norm() -> None:
    ours, reference = DomainBatchNorm2d(3), nn.BatchNorm2d(3)
    for domain, x in enumerate((maps(0), maps(1, shift=5))):
        torch.testing.assert_close(ours(x, domain), reference(x))
    ours, x = DomainBatchNorm2d(3), maps(0, shift=9)
    ours(x, 1)
    torch.testing.assert_close(ours.running_mean[1], x.mean((0, 2, 3)))
    assert not ours.running_mean[0].any() and ours.num_batches_tracked.tolist() == [0, 1]
    ours = DomainBatchNorm2d(3)
    ours(maps(0, shift=3), 0)
    ours.eval()
    x = maps(1)
    torch.testing.assert_close(ours(x, 1), ours(x, 0))
    ours.train()(x, 1)
    assert not torch.allclose(ours.eval()(x, 1), ours(x, 0))


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
