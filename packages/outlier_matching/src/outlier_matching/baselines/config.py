"""Settings of the baselines. Nothing here imports torch."""

from dataclasses import dataclass, field
from typing import Literal

from outlier_matching.method.config import check_choices


@dataclass(frozen=True)
class FisherConfig:
    """PCA and mixture of Gaussians below Fisher vectors."""

    clusters: int = 64
    """Number K of Gaussians."""
    dimensions: int | None = 64
    """Dimensions that PCA keeps; null applies no PCA. The paper keeps 64 of SIFT's 128."""
    descriptors: int = 200_000
    """Largest number of descriptors for the fit, drawn at random."""
    iterations: int = 100
    """Largest number of iterations of expectation maximisation."""
    tolerance: float = 1e-4
    """The fit ends if the mean log-likelihood rises by less, in nats per descriptor."""
    floor: float = 1e-3
    """Smallest variance of a Gaussian, as a share of the descriptors' mean variance."""

    def __post_init__(self) -> None:
        if min(self.clusters, self.descriptors, self.iterations) < 1 or (self.dimensions or 1) < 1:
            raise ValueError("clusters, dimensions, descriptors and iterations must be at least 1")
        if self.tolerance < 0 or not self.floor > 0:
            raise ValueError(f"tolerance must be 0 or more and floor above 0, got {self.tolerance} and {self.floor}")


@dataclass(frozen=True)
class SiftConfig:
    """SIFT keypoints and their descriptors."""

    side: int | None = None
    """Images are resized so that their shorter side has this number of pixels; null keeps their size. Images of 64 pixels have
    few keypoints."""
    root: bool = True
    """RootSIFT (Arandjelović and Zisserman, CVPR 2012): square roots of descriptors that sum to 1."""
    keypoints: int = 0
    """Largest number of keypoints of an image, the strongest; 0 is all."""
    contrast: float = 0.04
    """Contrast threshold of OpenCV, Lowe's value on its scale."""
    fisher: FisherConfig = field(default_factory=FisherConfig)
    """Mixture of the descriptors."""

    def __post_init__(self) -> None:
        if (self.side is not None and self.side < 8) or self.keypoints < 0 or self.contrast < 0:
            raise ValueError("side must be 8 or more, keypoints and contrast 0 or more")


@dataclass(frozen=True)
class DetectorConfig:
    """Outlier detector of scikit-learn and its assumptions."""

    detector: Literal["isolation_forest", "one_class_svm"] = "isolation_forest"
    """Isolation forest (Liu et al., ICDM 2008), or one-class SVM with a Gaussian kernel (Schölkopf et al., 2001)."""
    share: float = 0.1
    """Share of outliers in the features of the fit, above 0 and at most one half. The thesis's method does not need it."""
    trees: int = 100
    """Trees of the forest."""
    fitted: int = 10_000
    """Largest number of features for the fit, drawn at random. The time of the SVM is quadratic in it."""
    seed: int = 0
    """Seed of the trees and of the draw."""

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 < self.share <= 0.5:
            raise ValueError(f"share must be above 0 and at most 0.5, got {self.share}")
        if self.trees < 1 or self.fitted < 2:
            raise ValueError(f"trees must be at least 1 and fitted 2, got {self.trees} and {self.fitted}")
