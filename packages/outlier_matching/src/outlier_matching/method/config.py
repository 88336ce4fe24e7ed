"""Settings of the method and of the toy problem of figure 4.1. Nothing here imports torch: commands show them fast."""

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

Kernels = Literal["thesis", "author"]
"""Kernels of MK-MMD. ``thesis``: the mean of 17 Gaussians. ``author``: the sum of 5 (release)."""

Estimator = Literal["linear", "circular", "quadratic"]
"""Pairs of positions over which MK-MMD is averaged. ``linear``: disjoint neighbours (thesis). ``circular``: neighbours in a
ring (release). ``quadratic``: all pairs."""

Decision = Literal["largest", "majority"]
"""When a sample is an outlier: see :func:`~outlier_matching.method.assignment.is_outlier`."""

Rule = Literal["thesis", "author"]
"""How the pseudo sets are updated: see :func:`~outlier_matching.method.pseudo_sets.refreshed_sets`."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights and estimators of the objective (equation 4.10). Where the thesis gives no value, the default is the release's."""

    kernels: Kernels = "thesis"
    """Kernels of MK-MMD: the mean of 17 Gaussians around the running median (``thesis``), or the sum of 5 around the mean of
    the batch (``author``, the release)."""
    estimator: Estimator = "linear"
    """Pairs over which MK-MMD is averaged: disjoint neighbours (``linear``, equation 4.4), neighbours in a ring (``circular``,
    the release) or all pairs (``quadratic``). With batches of 64 the linear estimator has 32 terms and a noisy gradient."""
    gamma: float = 1.0
    """Weight of MK-MMD in equation 4.10."""
    eta: float = 1.5
    """Weight of the entropy loss in equation 4.10."""
    margin: float = 1.0
    """Margin m of equation 4.1, a distance between embeddings of length one."""
    sharpness: float = 1.0
    """Factor of the inner products in equation 4.7. Embeddings have length one, so at 1 (thesis and release) every probability
    is near a third and the entropy loss hardly acts. Larger values separate the three classes."""

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("margin", "sharpness"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("gamma", "eta"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class ToyConfig:
    """Points, network and training of the toy problem. The thesis shows only the figure; these values are this project's."""

    clusters: int = 2
    """Clusters of the source, at (0, 0), (1, 0), ... Two points match if they belong to one cluster."""
    source: int = 512
    """Source points."""
    target: int = 512
    """Target points, outliers included."""
    outlier_share: float = 0.35
    """Share of outliers among the target points, above 0 and at most one half (the method's assumption)."""
    spread: float = 0.12
    """Standard deviation of a cluster."""
    turn: float = 20.0
    """Rotation of the target against the source, in degrees."""
    move: tuple[float, float] = (0.5, 0.5)
    """Translation of the target along x and y."""
    width: int = 64
    """Outputs of fc6 and of fc7."""
    epochs: int = 60
    """Epochs of ``target // batch`` steps."""
    batch: int = 128
    """Pairs, and target points, of one step; even."""
    rate: float = 3e-3
    """Learning rate of Adam."""
    kernels: Kernels = "author"
    """Kernels of MK-MMD, see :func:`~outlier_matching.method.mmd.mk_mmd`."""
    estimator: Estimator = "quadratic"
    """Estimator of MK-MMD. Few pairs of two-dimensional points are noisy, so the default uses all pairs."""
    gamma: float = 10.0
    """Weight of MK-MMD (equation 4.10); 1 in the release."""
    eta: float = 2.5
    """Weight of the entropy loss; 1.5 in the release."""
    margin: float = 1.0
    """Margin of the contrastive loss, as in the release."""

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 < self.outlier_share <= 0.5:
            raise ValueError(f"outlier_share must be above 0 and at most 0.5, got {self.outlier_share}")
        inliers = self.target - round(self.target * self.outlier_share)
        if self.batch < 4 or self.batch % 2 or min(self.source, inliers) < self.batch:
            raise ValueError(f"batch must be even, at least 4 and at most the inliers of a domain, got {self.batch}")
        if self.clusters < 1:
            raise ValueError(f"clusters must be at least 1, got {self.clusters}")


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise ValueError for a value that the type ``choices``, a ``Literal``, does not list."""
    if value not in get_args(choices):
        raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, got {value!r}")


def check_choices(config: object) -> None:
    """:func:`check_choice` for every field of a dataclass whose annotation is a ``Literal``."""
    for name, annotation in get_type_hints(type(config)).items():
        if get_origin(annotation) is Literal:
            check_choice(name, getattr(config, name), annotation)
