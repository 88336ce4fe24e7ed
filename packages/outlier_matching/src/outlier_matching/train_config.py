"""The recipe of a training, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from outlier_matching.assignment import DECISIONS, Decision

__all__ = ["METHODS", "Method", "TrainConfig"]

Method = Literal["siamese", "siamese_da", "da_outlier_detection"]
METHODS: tuple[Method, ...] = get_args(Method)
"""``siamese``: contrastive loss alone. ``siamese_da``: and MK-MMD (eq. 4.11), SiameseDA where ``outlier_share`` is 0 and
SiameseDAOut where outliers are in the target. ``da_outlier_detection``: the method of the thesis (eq. 4.10)."""


@dataclass(frozen=True)
class TrainConfig:
    """Recipe of a training run. Where the thesis gives no value, the default is the author's release's."""

    method: Method = "da_outlier_detection"
    """One of :data:`METHODS`."""
    outlier_share: float | None = None
    """Share of outliers in the target images trained on, drawn to be exact; 0 leaves them out, null takes all images as
    they are. Needs a target whose outliers are marked; nothing else in the training looks at the marks."""
    kernels: Literal["thesis", "author"] = "thesis"
    """Of MK-MMD: 17 Gaussians around the running median, averaged, or 5 around the batch's mean, summed (release)."""
    estimator: Literal["linear", "circular", "quadratic"] = "linear"
    """Of MK-MMD: disjoint neighbours (eq. 4.4), neighbours in a ring (release), or all pairs."""
    gamma: float = 1.0
    """Weight of MK-MMD in eq. 4.10."""
    eta: float = 1.5
    """Weight of the entropy loss in eq. 4.10."""
    margin: float = 1.0
    """m of eq. 4.1, in the distance of embeddings of length one."""
    sharpness: float = 1.0
    """Factor of the inner products in eq. 4.7. Embeddings have length one, so that at 1, as in thesis and release, no
    probability is far from a third and the entropy loss hardly acts; more makes the three classes differ."""
    epochs: int = 40
    """Passes over the source images."""
    steps: int = 0
    """Steps of an epoch; 0 is one pass over the source."""
    warmup_epochs: int = 0
    """The first epochs, with the contrastive loss alone: the network learns what matches before MK-MMD and Algorithm 1
    begin. For networks that start from random: the thesis starts from a pretrained one and has none."""
    align_epochs: int = 0
    """The epochs after these in which ``da_outlier_detection`` adapts to all target images alike (eq. 4.11), before Algorithm 1
    begins. Features from scratch know the source's classes but not yet the target's: before these are aligned, inliers
    lie no nearer than outliers, and what Algorithm 1 then takes for outliers is never aligned. The thesis has none."""
    batch: int = 64
    """Pairs of a step, half of them matching, and target images of a step."""
    learning_rate: float = 1e-4
    """Of Adam for all trained layers but the last."""
    head_learning_rate: float = 1e-3
    """Of Adam for fc8."""
    refresh: Literal["thesis", "author"] = "thesis"
    """How the pseudo sets follow from the probabilities after an epoch, see
    :func:`~outlier_matching.pseudo_sets.refreshed_sets`."""
    decision: Decision = "largest"
    """When a target image is an outlier, in training and after it: ``largest`` of the three probabilities, or ``majority``,
    p_3 above p_1 + p_2. See :func:`~outlier_matching.assignment.is_outlier`."""
    nearest_share: float = 1.0
    """Algorithm 1, step 1, averages distances over this share of the source images, the nearest of each target image; the
    thesis over all."""
    references: int = 0
    """K of eq. 4.7 in the refresh, spread evenly over each class; 0 takes all images of a class, each class by its mean."""
    unchanged: float = 0.0
    """The training ends when no target weight changes by more than this in a refresh (Algorithm 1, step 8)."""
    seed: int = 0
    """Of the initial weights, the pairs, the target images and dropout."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Fabric's precision."""
    checkpoint_every: int = 500
    """Steps between checkpoints; there is one after the last step too. Changes no number."""
    resident_gb: float = 8.0
    """Images up to this size in all, in GiB, are kept on the device; larger sets are read batch by batch. Changes no
    number."""
    threads: int = 4
    """Threads that read and decode images. Changes no number."""

    def __post_init__(self) -> None:
        for name, known in (
            ("method", METHODS),
            ("kernels", ("thesis", "author")),
            ("estimator", ("linear", "circular", "quadratic")),
            ("refresh", ("thesis", "author")),
            ("decision", DECISIONS),
            ("precision", ("32-true", "bf16-mixed")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.outlier_share is not None and not 0 <= self.outlier_share < 1:
            raise ValueError(f"outlier_share must be in [0, 1) or null, got {self.outlier_share}")
        for name in ("margin", "sharpness", "learning_rate", "head_learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 < self.nearest_share <= 1:
            raise ValueError(f"nearest_share must be above 0 and at most 1, got {self.nearest_share}")
        for name in (
            "gamma",
            "eta",
            "steps",
            "warmup_epochs",
            "align_epochs",
            "references",
            "unchanged",
            "seed",
            "resident_gb",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("epochs", "checkpoint_every", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch < 4 or self.batch % 2:
            raise ValueError(f"batch must be even and 4 or more, got {self.batch}")
        if self.warmup_epochs >= self.epochs and self.method != "siamese":
            raise ValueError(f"warmup_epochs {self.warmup_epochs} leave none of {self.epochs} epochs to adapt in")
        if self.warmup_epochs + self.align_epochs >= self.epochs and self.method == "da_outlier_detection":
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs} and align_epochs {self.align_epochs} leave none of {self.epochs} epochs "
                "to find outliers in"
            )
