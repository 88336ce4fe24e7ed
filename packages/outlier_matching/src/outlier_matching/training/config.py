"""Settings of a training. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Literal

from efficiency_core.loop import LoopConfig, check_least, check_positive
from outlier_matching.method.config import Decision, ObjectiveConfig, Rule

Method = Literal["siamese", "siamese_da", "da_outlier_detection"]


@dataclass(frozen=True)
class TrainConfig(ObjectiveConfig, LoopConfig):
    """A training. If the thesis gives no value, the default is that of the author's release."""

    method: Method = "da_outlier_detection"
    """``siamese``: contrastive loss alone. ``siamese_da``: with MK-MMD (equation 4.11); SiameseDA without outliers in the target,
    SiameseDAOut with outliers. ``da_outlier_detection``: the thesis's method (equation 4.10)."""
    outlier_share: float | None = None
    """Exact share of outliers among the target images of the training, which are drawn for it. 0 removes the outliers, null
    takes all images. It needs a target with outlier marks; nothing else in the training uses the marks."""
    weights: str = ""
    """Initial weights: torchvision's ImageNet weights, for example ``IMAGENET1K_V1``, or a file. Empty starts from random."""
    epochs: int = 40
    """Passes over the source images. A finished training continues with more epochs."""
    steps: int = 0
    """Steps of an epoch; 0 is one pass over the source."""
    warmup_epochs: int = 0
    """First epochs, with the contrastive loss alone. A network that starts from random weights learns to match before MK-MMD and
    Algorithm 1 begin. The thesis starts from pretrained weights and has none."""
    align_epochs: int = 0
    """Epochs after the warm-up in which ``da_outlier_detection`` adapts to all target images (equation 4.11), before Algorithm 1
    begins. With features from scratch, inliers are not nearer to the source than outliers until both domains are aligned, and
    Algorithm 1 would start from a random half. The thesis has none."""
    batch: int = 64
    """Pairs of source images in a step, half of them matching, and target images in a step; even."""
    learning_rate: float = 1e-4
    """Learning rate of Adam for all trained layers except fc8."""
    head_learning_rate: float = 1e-3
    """Learning rate of Adam for fc8."""
    refresh: Rule = "thesis"
    """Update of the pseudo sets after an epoch: the rule of the thesis or of the author's release."""
    decision: Decision = "largest"
    """When a target image is an outlier, in the training and afterwards: p_3 is the ``largest`` of the three probabilities, or
    it is above p_1 + p_2 (``majority``)."""
    nearest_share: float = 1.0
    """Share of the source images, the nearest of each target image, over which step 1 of Algorithm 1 averages distances; the
    thesis takes all. In features that separate classes well, the mean over all depends mostly on the class."""
    references: int = 0
    """Reference images K of each class of equation 4.7 in the update of the pseudo sets; 0 takes all images of a class."""
    unchanged: float = 0.0
    """The training ends if no target weight changes by more than this in an update (step 8 of Algorithm 1)."""
    resident_gb: float = 8.0
    """Images of at most this total size in GiB stay on the device, and what layers that are not trained make of them; larger sets
    are read for every batch. Changes numbers by rounding alone."""

    def __post_init__(self) -> None:
        LoopConfig.__post_init__(self)
        ObjectiveConfig.__post_init__(self)
        if self.outlier_share is not None and not 0 <= self.outlier_share < 1:
            raise ValueError(f"outlier_share must be in [0, 1) or null, got {self.outlier_share}")
        check_positive(self, "learning_rate", "head_learning_rate")
        if not 0 < self.nearest_share <= 1:
            raise ValueError(f"nearest_share must be above 0 and at most 1, got {self.nearest_share}")
        check_least(self, 0, "steps", "warmup_epochs", "align_epochs", "references", "unchanged", "resident_gb")
        check_least(self, 1, "epochs")
        if self.batch < 4 or self.batch % 2:
            raise ValueError(f"batch must be even and 4 or more, got {self.batch}")
        if self.method != "siamese" and self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} leave none of {self.epochs} epochs to adapt in")
        if self.method == "da_outlier_detection" and self.warmup_epochs + self.align_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs} and align_epochs {self.align_epochs} leave none of {self.epochs} epochs "
                "to find outliers in"
            )
