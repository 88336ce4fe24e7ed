"""The objective of one step: contrastive loss, MK-MMD and entropy loss of a batch (equations 4.10 and 4.11)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from outlier_matching.method.assignment import class_probabilities, entropy_loss
from outlier_matching.method.config import ObjectiveConfig
from outlier_matching.method.contrastive import contrastive_loss
from outlier_matching.method.mmd import MKMMD


class Features(NamedTuple):
    """Outputs of the three layers that MK-MMD compares (equation 4.2), each (n, d)."""

    fc6: Tensor
    """After ReLU and dropout."""
    fc7: Tensor
    """After ReLU and dropout."""
    fc8: Tensor
    """Linear outputs, not normalised."""

    @property
    def embedding(self) -> Tensor:
        """(n, embedding): fc8 of length one, the input of contrastive loss, entropy loss and ranking."""
        return normalize(self.fc8, dim=1)


class Losses(NamedTuple):
    """Terms of the objective before weighting. Terms that the method does not use are 0."""

    contrastive: Tensor
    """() L of equation 4.10."""
    mmd: Tensor
    """() M_w of equation 4.10, or M of equation 4.11."""
    entropy: Tensor
    """() S of equation 4.10."""
    total: Tensor
    """() J, the weighted sum."""


class Objective(nn.Module):
    """``J = L + gamma M_w + eta S``. Its state is the running bandwidth of each of the three layers, if kernels is
    ``thesis``."""

    def __init__(self, config: ObjectiveConfig) -> None:
        super().__init__()
        self.config = config
        # The release uses the mean of each batch. The thesis uses the median of the training data, whose features change.
        self.mmd = MKMMD(
            config.kernels, config.estimator, bandwidth="running" if config.kernels == "thesis" else "batch", layers=3
        )

    def forward(self, features: Features, matching: Tensor, weights: Tensor | None, *, target: bool) -> Losses:
        """The objective of one batch.

        Args:
            features: features of n left images, n right images and, with ``target``, n target images, in this order. With
                weights, the first half of the target images are pseudo inliers and the second half pseudo outliers. The
                three classes of equation 4.7 are left[:n/2] and these two halves, so that each target image is one of its
                own references, as in the author's release.
            matching: bool (n,): whether each pair matches; the first half of the pairs does.
            weights: (n,): w of the target images (equation 4.9). None computes equation 4.11, without weights and entropy.
            target: whether there are target images."""
        n = len(matching)
        embedding = features.embedding
        left, right = embedding[:n], embedding[n : 2 * n]
        contrastive = contrastive_loss(left, right, matching, self.config.margin)
        nothing = torch.zeros_like(contrastive)
        if not target:
            return Losses(contrastive, nothing, nothing, contrastive)
        # As in the release, only the left images represent the source: their number equals that of the target images.
        mmd = self.mmd([part[:n] for part in features], [part[2 * n :] for part in features], weights)
        total = contrastive + self.config.gamma * mmd
        if weights is None:
            return Losses(contrastive, mmd, nothing, total)
        others, half = embedding[2 * n :], n // 2
        entropy = entropy_loss(
            class_probabilities(self.config.sharpness * others, (left[:half], others[:half], others[half:]))
        )
        return Losses(contrastive, mmd, entropy, total + self.config.eta * entropy)
