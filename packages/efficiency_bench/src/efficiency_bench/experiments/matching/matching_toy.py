"""Domain adaptation and outlier detection on points in the plane (thesis figure 4.1)."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.records.pictures import Series
from efficiency_bench.records.run_record import Metric
from outlier_matching import ToyConfig

if TYPE_CHECKING:
    from outlier_matching import Panel


def run(settings: ToyConfig, context: Context) -> Outcome:
    """Train SiameseDA without outliers and with them, and the method with them; returns the points of every panel."""
    from outlier_matching import run_toy

    panels = run_toy(settings, context.seed)
    metrics = {
        f"{name}_{number}": Metric(value, "1")
        for name, panel in panels.items()
        for number, value in panel.numbers.items()
        if math.isfinite(value)
    }
    protocol = {
        "toy": asdict(settings),
        "alignment": "MK-MMD of source and target inliers in the plane that is drawn, all pairs; 0 for equal distributions",
        "accuracy": "share of target inliers whose nearest source point is in their cluster",
        "separation": "probability that an outlier is farther from its nearest source point than an inlier from its own",
        "device": "cpu",
    }
    artifacts = {key: array for name, panel in panels.items() for key, array in points(panel).arrays(name).items()}
    return Outcome(metrics, protocol, artifacts)


def points(panel: Panel) -> Series:
    """Source, target and outliers, and the points that the method classifies as outliers."""
    outliers = panel.target_labels < 0
    groups = [("source", panel.source), ("target", panel.target[~outliers]), ("outliers", panel.target[outliers])]
    if panel.detected is not None:  # drawn below the outliers themselves
        groups.insert(2, ("taken for outliers", panel.target[panel.detected]))
    columns = [(name, group.detach().cpu().double().numpy()) for name, group in groups if len(group)]
    return Series.of([(name, group[:, 0], group[:, 1]) for name, group in columns])


EXPERIMENT = Experiment(
    "matching_toy", "train",
    "adapt points of the plane to another domain with outliers, without detecting these and with it",
    ToyConfig, (), run,
)  # fmt: skip
