"""The objective of one step: contrastive loss, MK-MMD and entropy of a batch of three branches (eq. 4.10 and 4.11)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from outlier_matching.assignment import class_probabilities, entropy_loss
from outlier_matching.contrastive import contrastive_loss
from outlier_matching.mmd import MKMMD
from outlier_matching.networks import Features
from outlier_matching.train_config import TrainConfig

__all__ = ["Losses", "Objective"]


class Losses(NamedTuple):
    """Parts of the objective, before their weights; a part that does not apply is 0."""

    contrastive: Tensor
    """() L of eq. 4.10."""
    mmd: Tensor
    """() M_w, or M of eq. 4.11."""
    entropy: Tensor
    """() S."""
    total: Tensor
    """() J."""


class Objective(nn.Module):
    """``J = L + gamma M_w + eta S``; its state is the running bandwidth of each of the three layers, where there is one.

    Args:
        config: gamma, eta, margin, sharpness, kernels, estimator.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        # The release takes the mean of each batch; the thesis the median of the training data, which moves with the features.
        self.mmd = MKMMD(
            config.kernels, config.estimator, bandwidth="running" if config.kernels == "thesis" else "batch", layers=3
        )

    def forward(self, features: Features, matching: Tensor, weights: Tensor | None, *, target: bool) -> Losses:
        """The objective of one batch.

        Args:
            features: of n left images, n right images and, with ``target``, n target images, in this order. Of the pairs
                the first half match; of the target images, where there are weights, the first half are pseudo inliers and
                the second half pseudo outliers: the three classes of eq. 4.7 are left[:n/2] and these halves, so that each
                target image is among its own references, as in the author's release.
            matching: bool (n,) which pairs match.
            weights: (n,) w of the target images (eq. 4.9); None: eq. 4.11, without weights and entropy.
            target: whether there are target images.
        """
        n = len(matching)
        embedding = features.embedding
        left, right = embedding[:n], embedding[n : 2 * n]
        contrastive = contrastive_loss(left, right, matching, self.config.margin)
        nothing = torch.zeros_like(contrastive)
        if not target:
            return Losses(contrastive, nothing, nothing, contrastive)
        # The left images alone stand for the source, as in the release: as many as there are target images.
        mmd = self.mmd([part[:n] for part in features], [part[2 * n :] for part in features], weights)
        total = contrastive + self.config.gamma * mmd
        if weights is None:
            return Losses(contrastive, mmd, nothing, total)
        others, half = embedding[2 * n :], n // 2
        entropy = entropy_loss(
            class_probabilities(self.config.sharpness * others, (left[:half], others[:half], others[half:]))
        )
        return Losses(contrastive, mmd, entropy, total + self.config.eta * entropy)
