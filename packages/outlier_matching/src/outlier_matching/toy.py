"""The 2-D toy problem of figure 4.1: four clusters, a target that is turned and moved, and outliers of low density.

A small network with the thesis's three layers (fc6, fc7, fc8, the last with two outputs so that it can be drawn) is trained three ways:
SiameseDA on a target without outliers (b), the same with outliers (c), and the thesis's method with outliers (d). The thesis gives no
more of this problem than its figure; numbers, sizes and the network are this project's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from outlier_matching.assignment import class_probabilities, entropy_loss, is_outlier
from outlier_matching.contrastive import contrastive_loss
from outlier_matching.mmd import mk_mmd, multi_layer_mk_mmd
from outlier_matching.pseudo_sets import PseudoSets, initial_sets, reference_features, refreshed_sets


@dataclass(frozen=True)
class ToyConfig:
    """The problem and the training.

    Attributes:
        seed: of the data, the networks and the batches.
        classes: clusters of the source, evenly on a circle of radius 1; two points match when they are of one cluster.
        source: points.
        target: points, outliers among them.
        outlier_share: of the target, above 0 and at most one half (the method's assumption).
        spread: standard deviation of a cluster.
        turn: of the target against the source, in degrees.
        move: of the target along x and y.
        width: of fc6 and fc7.
        epochs: each of ``target / batch`` steps.
        batch: pairs and target points of a step, even.
        rate: of Adam.
        gamma: weight of the MK-MMD (equation 4.10).
        eta: weight of the entropy.
        margin: of the contrastive loss.
    """

    seed: int = 0
    classes: int = 4
    source: int = 400
    target: int = 400
    outlier_share: float = 0.2
    spread: float = 0.12
    turn: float = 35.0
    move: tuple[float, float] = (0.6, 0.4)
    width: int = 64
    epochs: int = 60
    batch: int = 64
    rate: float = 1e-3
    gamma: float = 1.0
    eta: float = 1.5
    margin: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.outlier_share <= 0.5:
            raise ValueError(f"outlier_share must be above 0 and at most 0.5, got {self.outlier_share}")
        if self.batch < 4 or self.batch % 2 or min(self.source, self.target) < self.batch:
            raise ValueError(f"batch must be even, at least 4 and at most the points of a domain, got {self.batch}")


@dataclass(frozen=True)
class ToyData:
    """Points and what they are: source (n, 2) and its clusters (n,), target (m, 2), clusters (-1: outlier) and outliers (m,)."""

    source: Tensor
    source_labels: Tensor
    target: Tensor
    target_labels: Tensor
    outliers: Tensor


@dataclass(frozen=True)
class Panel:
    """One panel of the figure.

    Attributes:
        source: (n, 2) features of the source points.
        target: (m, 2) of the target points; in ``no_outliers`` of the inliers alone.
        source_labels: (n,).
        target_labels: (m,), -1 for outliers.
        detected: (m,) bool, the points taken for outliers; None where nothing was detected.
        numbers: ``alignment``: MK-MMD of source and target inliers (quadratic estimate, bandwidth from both), 0 where they lie
            over one another; ``accuracy``: share of target inliers whose nearest source point is of their cluster; and, with
            outliers, ``separation``: the chance that an outlier lies farther from its nearest source point than an inlier from its own
            (area under the ROC curve); with detection ``f1`` and ``detection_auc`` (by 1 - w).
    """

    source: Tensor
    target: Tensor
    source_labels: Tensor
    target_labels: Tensor
    detected: Tensor | None
    numbers: dict[str, float]


def toy_data(config: ToyConfig) -> ToyData:
    """The points of both domains, the same for every call."""
    generator = torch.Generator().manual_seed(config.seed)
    outliers = round(config.target * config.outlier_share)
    source, source_labels = _clusters(config, config.source, generator)
    inliers, labels = _clusters(config, config.target - outliers, generator)
    angle = math.radians(config.turn)
    rotation = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    moved = inliers @ rotation + torch.tensor(config.move)
    # Thinly over a ring about the target: their density is far below that of any cluster.
    radius = 1.6 + 1.4 * torch.rand(outliers, generator=generator)
    around = 2 * math.pi * torch.rand(outliers, generator=generator)
    far = radius[:, None] * torch.stack((around.cos(), around.sin()), 1) + torch.tensor(config.move)
    target = torch.cat((moved, far))
    labels = torch.cat((labels, torch.full((outliers,), -1)))
    return ToyData(source, source_labels, target, labels, labels < 0)


def _clusters(config: ToyConfig, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    labels = torch.arange(count) % config.classes
    angles = 2 * math.pi * labels / config.classes
    centres = torch.stack((angles.cos(), angles.sin()), 1)
    return centres + config.spread * torch.randn(count, 2, generator=generator), labels


def run_toy(config: ToyConfig) -> dict[str, Panel]:
    """The four panels: ``original``, ``no_outliers`` (b), ``with_outliers`` (c) and ``our_method`` (d)."""
    data = toy_data(config)
    inliers = ~data.outliers
    clean = ToyData(
        data.source, data.source_labels, data.target[inliers], data.target_labels[inliers], data.outliers[inliers]
    )
    panels = {"original": _panel(data, data.source, data.target, None)}
    for name, points, detect in (("no_outliers", clean, False), ("with_outliers", data, False), ("our_method", data, True)):
        network, sets = train_toy(points, config, detect)
        with torch.no_grad():
            source, target = network(points.source)[-1], network(points.target)[-1]
        probabilities = None
        if sets is not None:
            classes = reference_features(_unit(target), _unit(source), sets)
            probabilities = class_probabilities(_unit(target), classes)
        panels[name] = _panel(points, source, target, probabilities)
    return panels
