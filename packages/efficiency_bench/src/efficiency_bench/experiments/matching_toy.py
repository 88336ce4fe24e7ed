"""Domain adaptation and outlier detection on points in the plane (thesis figure 4.1)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from ..drawn import Series
from ..records import Metric
from .base import Context, Experiment, Outcome, checking

if TYPE_CHECKING:
    from outlier_matching.toy import Panel


@dataclass(frozen=True)
class Settings:
    """What is asked of the problem of `outlier_matching.toy`, which has its own numbers; the thesis shows none. 0 keeps them."""

    outlier_share: float = 0.0
    """Part of the target points that are outliers."""
    epochs: int = 0
    """Passes over the target."""


def run(settings: Settings, context: Context) -> Outcome:
    """Train SiameseDA without outliers and with them, and the method with them; hand over the points of every panel."""
    from outlier_matching.toy import ToyConfig, run_toy

    with checking("settings of the toy problem"):
        config = ToyConfig(seed=context.seed, **{name: value for name, value in asdict(settings).items() if value})
    panels = run_toy(config)
    metrics = {
        f"{name}_{number}": Metric(value, "1")
        for name, panel in panels.items()
        for number, value in panel.numbers.items()
        if math.isfinite(value)
    }
    protocol = {
        "toy": asdict(config),
        "alignment": "MK-MMD of source and target inliers in the plane that is drawn, all pairs; 0: one over the other",
        "accuracy": "share of target inliers whose nearest source point is of their cluster",
        "separation": "chance that an outlier lies farther from its nearest source point than an inlier from its own",
        "device": "cpu",
    }
    artifacts = {key: array for name, panel in panels.items() for key, array in points(panel).arrays(name).items()}
    return Outcome(metrics, protocol, artifacts)


def points(panel: Panel) -> Series:
    """Source, target and outliers, and what the method takes for outliers where it looks for them."""
    outliers = panel.target_labels < 0
    groups = [("source", panel.source), ("target", panel.target[~outliers]), ("outliers", panel.target[outliers])]
    if panel.detected is not None:  # below the outliers themselves
        groups.insert(2, ("taken for outliers", panel.target[panel.detected]))
    columns = [(name, torch.as_tensor(group).detach().cpu().double().numpy()) for name, group in groups if len(group)]
    return Series.of([(name, group[:, 0], group[:, 1]) for name, group in columns])


EXPERIMENT = Experiment(
    name="matching_toy",
    kind="train",
    summary="adapt points of the plane to another domain with outliers, without detecting these and with it",
    settings_type=Settings,
    data=(),
    function=run,
)
