"""Batch norm that keeps the domains apart (Li et al., *Revisiting batch normalization for practical domain adaptation*,
2016; Chang et al., *Domain-specific batch normalization*, CVPR 2019, here with one weight and bias for both).

Figure 4.2's branches are separate calls of one network. With batch norm that matters: statistics over source and target
together describe neither, and in a network from scratch the target's other line and colour then hide what is drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

__all__ = ["DOMAINS", "DomainBatchNorm2d"]

DOMAINS = 2
"""0 is the source, 1 the target."""


class DomainBatchNorm2d(nn.Module):
    """:class:`torch.nn.BatchNorm2d` of images of one domain, with running statistics for each and one weight and bias.

    A domain that was never trained on has the statistics of the source: a network that has seen the source alone treats
    every image alike.

    Args:
        channels: C.
        eps: as of batch norm.
        momentum: as of batch norm.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

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
            # The first batch is taken as it is: a running mean from 0 would be far off for its first dozens.
            # Tensors without data, with which shapes are found out, have no count.
            first = not maps.is_meta and bool(self.num_batches_tracked[domain] == 0)
            momentum = 1.0 if first else self.momentum
            self.num_batches_tracked[domain] += 1
        else:
            momentum = 0.0
            domain = domain if self.num_batches_tracked[domain] else 0
        return batch_norm(
            maps,
            self.running_mean[domain],
            self.running_var[domain],
            self.weight,
            self.bias,
            self.training,
            momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"
