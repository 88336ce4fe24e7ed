"""Batch norm of two domains: each as torch's own, and a domain that was never seen as the source."""

import torch
from torch import nn

from outlier_matching.domain_norm import DomainBatchNorm2d
from outlier_matching.networks import NetworkConfig, build_network


def maps(seed: int, mean: float) -> torch.Tensor:
    return mean + 2 * torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def test_each_domain_is_normalised_by_itself_as_torch_does() -> None:
    norm, plain = DomainBatchNorm2d(3), [nn.BatchNorm2d(3, momentum=0.1) for _ in range(2)]
    for step in range(3):
        for domain, mean in enumerate((0.0, 5.0)):
            # torch's own starts from mean 0 and variance 1; here the first batch is taken as it is.
            plain[domain].momentum = 1.0 if step == 0 else 0.1
            x = maps(10 * step + domain, mean)
            torch.testing.assert_close(norm(x, domain), plain[domain](x))
    for domain in range(2):
        torch.testing.assert_close(norm.running_mean[domain], plain[domain].running_mean)
        torch.testing.assert_close(norm.running_var[domain], plain[domain].running_var)
        torch.testing.assert_close(norm.eval()(maps(9, 1.0), domain), plain[domain].eval()(maps(9, 1.0)))
    assert (norm.running_mean[1] - norm.running_mean[0]).min() > 4


def test_a_domain_that_was_never_seen_is_taken_for_the_source() -> None:
    norm = DomainBatchNorm2d(3)
    norm(maps(0, 3.0), 0)
    norm.eval()
    torch.testing.assert_close(norm(maps(1, 3.0), 1), norm(maps(1, 3.0), 0))


def test_a_network_that_keeps_domains_apart() -> None:
    torch.manual_seed(0)
    network = build_network(
        NetworkConfig(backbone="small_dbn", size=32, width=16, embedding=8, trained="all", dropout=0.0)
    )
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    together = network(images, source=8).fc8
    apart = torch.cat((network(images[:8], 0).fc8, network(images[8:], 1).fc8))
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(together, network(images).fc8, atol=1e-3), "statistics over both are others"
