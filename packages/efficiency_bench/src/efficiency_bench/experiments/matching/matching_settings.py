"""Settings of the matching of images (thesis chapter 4)."""

from dataclasses import dataclass, field
from typing import Literal

from efficiency_core.loop import check_least
from outlier_matching import NetworkConfig, SiftConfig, TrainConfig


@dataclass(frozen=True)
class Settings:
    """The defaults are the thesis's: a pretrained AlexNet that is fine-tuned on real images."""

    features: Literal["network", "sift_fv"] = "network"
    """Features of the images: those of a trained network, or SIFT with Fisher vectors, which needs neither `network` nor
    `training`."""
    front: Literal["none", "isolation_forest", "one_class_svm"] = "none"
    """Detector that removes outliers from the target before `training.method` siamese_da, and from the queries. It is fitted to
    features of a Siamese network."""
    outlier_share: float = 0.0
    """Exact share of outliers among the target images, in training and test; 0 is a target without outliers."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    """The training. The run sets `seed`, and `outlier_share` above replaces `training.outlier_share`."""
    sift: SiftConfig = field(default_factory=SiftConfig)
    """SIFT and its Fisher vectors."""
    max_queries: int = 0
    """Largest number of queries of each ranking, drawn at random; 0 is all."""

    def __post_init__(self) -> None:
        method = self.training.method if self.features == "network" else self.features
        if self.training.seed or self.training.outlier_share is not None:
            raise ValueError("training.seed must be 0 and training.outlier_share null: the run sets both")
        if not 0 <= self.outlier_share < 1:
            raise ValueError(f"outlier_share must be in [0, 1), got {self.outlier_share}")
        if self.front != "none" and (method != "siamese_da" or not self.outlier_share):
            raise ValueError(
                f"front {self.front} needs training.method siamese_da and an outlier_share above 0, got {method} and "
                f"{self.outlier_share}"
            )
        if method == "da_outlier_detection" and self.outlier_share > 0.5:
            raise ValueError(
                f"outlier_share must be at most 0.5, the method's assumption (4.4.2), got {self.outlier_share}"
            )
        check_least(self, 0, "max_queries")
