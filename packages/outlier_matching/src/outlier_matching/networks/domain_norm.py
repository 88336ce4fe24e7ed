"""Batch norm with statistics for each domain (Li et al. 2016; Chang et al., CVPR 2019) but one weight and bias. The
branches of figure 4.2 are separate calls of one network: statistics over both domains fit neither, and in a network
trained from scratch the style of the target then hides its content."""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

DOMAINS = 2
"""0 is the source, 1 the target."""


class DomainBatchNorm2d(nn.Module):
    """:class:`torch.nn.BatchNorm2d` with running statistics for each domain and one weight and bias. A domain without
    any training batch uses the statistics of the source. A batch without images of the domain counts as a training
    batch, although it leaves the statistics at 0 and 1. ``channels``: C."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    batch_norm = staticmethod(batch_norm)
    """The function that normalises; a training on several devices replaces it."""

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(DOMAINS, channels))
        self.register_buffer("running_var", torch.ones(DOMAINS, channels))
        self.register_buffer("num_batches_tracked", torch.zeros(DOMAINS, dtype=torch.int64))

    def forward(self, maps: Tensor, domain: int = 0) -> Tensor:
        """maps (n, C, H, W), all of ``domain`` -> the same shape."""
        if self.training:
            # The first batch sets the statistics: a running mean that starts at 0 is wrong for dozens of batches.
            # Meta tensors, which are used to find shapes, have no count.
            first = not maps.is_meta and bool(self.num_batches_tracked[domain] == 0)
            momentum = 1.0 if first else self.momentum
            self.num_batches_tracked[domain] += 1
        else:
            momentum = 0.0
            domain = domain if self.num_batches_tracked[domain] else 0
        if not len(maps):
            return maps
        return self.batch_norm(
            maps, self.running_mean[domain], self.running_var[domain], self.weight, self.bias, self.training, momentum,
            self.eps,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"
