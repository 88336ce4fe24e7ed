"""The 2-D toy problem of figure 4.1: clusters, a target that is turned and moved, and outliers of low density.

A small network with the thesis's three layers (fc6, fc7, and fc8 with two outputs, so that it can be drawn) is trained
three ways: SiameseDA on a target without outliers (b), the same with outliers (c), and the thesis's method with
outliers (d). Of this problem the thesis gives its figure alone; the points, the network and the weights of the losses
are this project's. What it takes for (d) to work was found by trying, and the equations say why: outliers must start
farther from the source than most inliers (algorithm 1's halves) and in directions that the source leaves free
(probabilities compare directions), and the entropy must be strong beside the MK-MMD, which it works against, since an
inlier as near to the source as to its own kind is undecided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from outlier_matching.assignment import class_probabilities, entropy_loss, is_outlier
from outlier_matching.contrastive import contrastive_loss
from outlier_matching.mmd import Estimator, Kernels, mk_mmd, multi_layer_mk_mmd
from outlier_matching.pseudo_sets import PseudoSets, initial_sets, reference_features, refreshed_sets


@dataclass(frozen=True)
class ToyConfig:
    """The problem and the training.

    Attributes:
        seed: of the points, the networks and the batches.
        clusters: of the source, at (0, 0), (1, 0), ...; two points match when they are of one cluster.
        source: points.
        target: points, outliers among them.
        outlier_share: of the target, above 0 and at most one half (the method's assumption).
        spread: standard deviation of a cluster.
        turn: of the target against the source, in degrees.
        move: of the target along x and y.
        width: of fc6 and fc7.
        epochs: each of ``target // batch`` steps.
        batch: pairs, and target points, of a step; even.
        rate: of Adam.
        kernels: see :func:`outlier_matching.mmd.mk_mmd`.
        estimator: see there; a few pairs of two-dimensional points are noisy, so all are taken.
        gamma: weight of the MK-MMD (equation 4.10); the release's is 1.
        eta: weight of the entropy; the release's is 1.5.
        margin: of the contrastive loss, the release's.
    """

    seed: int = 0
    clusters: int = 2
    source: int = 512
    target: int = 512
    outlier_share: float = 0.35
    spread: float = 0.12
    turn: float = 20.0
    move: tuple[float, float] = (0.5, 0.5)
    width: int = 64
    epochs: int = 60
    batch: int = 128
    rate: float = 3e-3
    kernels: Kernels = "author"
    estimator: Estimator = "quadratic"
    gamma: float = 10.0
    eta: float = 2.5
    margin: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.outlier_share <= 0.5:
            raise ValueError(f"outlier_share must be above 0 and at most 0.5, got {self.outlier_share}")
        inliers = self.target - round(self.target * self.outlier_share)
        if self.batch < 4 or self.batch % 2 or min(self.source, inliers) < self.batch:
            raise ValueError(f"batch must be even, at least 4 and at most the inliers of a domain, got {self.batch}")
        if self.clusters < 1:
            raise ValueError(f"clusters must be at least 1, got {self.clusters}")


@dataclass(frozen=True)
class ToyData:
    """Points and what they are.

    Attributes:
        source: (n, 2).
        source_labels: int64 (n,), the cluster.
        target: (m, 2).
        target_labels: int64 (m,), the cluster, -1 for outliers.
    """

    source: Tensor
    source_labels: Tensor
    target: Tensor
    target_labels: Tensor


@dataclass(frozen=True)
class Panel:
    """One panel of the figure: where the points lie, what they are, and how well the domains are matched.

    Attributes:
        source: (n, 2): the points themselves in ``original``, else their fc8.
        source_labels: (n,).
        target: (m, 2); in ``no_outliers`` of the inliers alone.
        target_labels: (m,), -1 for outliers.
        detected: bool (m,), the points taken for outliers; None where nothing looks for them.
        numbers: ``alignment``: MK-MMD of the source and the target's inliers (quadratic estimate of the thesis's
            kernels), 0 where they lie over one another. ``accuracy``: share of the target's inliers whose nearest
            source point is of their cluster. With outliers ``separation``: the chance that an outlier is farther from
            its nearest source point than an inlier is from its own (area under the ROC curve). With detection ``f1``.
    """

    source: Tensor
    source_labels: Tensor
    target: Tensor
    target_labels: Tensor
    detected: Tensor | None
    numbers: dict[str, float]


class ToyNetwork(nn.Module):
    """Points (n, 2) -> fc6 (n, width), fc7 (n, width), both behind a ReLU, and fc8 (n, 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(2, width)
        self.fc7 = nn.Linear(width, width)
        self.fc8 = nn.Linear(width, 2)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fc6 = self.fc6(points).relu()
        fc7 = self.fc7(fc6).relu()
        return fc6, fc7, self.fc8(fc7)


def toy_data(config: ToyConfig) -> ToyData:
    """The points of both domains; outliers lie thinly over a square of four square units, at the target's end."""
    generator = torch.Generator().manual_seed(config.seed)
    count = round(config.target * config.outlier_share)
    source, source_labels = _clusters(config, config.source, generator)
    inliers, labels = _clusters(config, config.target - count, generator)
    sine, cosine = math.sin(math.radians(config.turn)), math.cos(math.radians(config.turn))
    moved = inliers @ torch.tensor([[cosine, sine], [-sine, cosine]]) + torch.tensor(config.move)
    outliers = 2 * torch.rand(count, 2, generator=generator) - 3
    return ToyData(
        source, source_labels, torch.cat((moved, outliers)), torch.cat((labels, labels.new_full((count,), -1)))
    )


def run_toy(config: ToyConfig) -> dict[str, Panel]:
    """The four panels, in order: ``original`` (a), ``no_outliers`` (b), ``with_outliers`` (c), ``our_method`` (d).

    The same configuration gives the same panels, bit for bit on one machine's CPU.
    """
    data = toy_data(config)
    inliers = data.target_labels >= 0
    clean = ToyData(data.source, data.source_labels, data.target[inliers], data.target_labels[inliers])
    panels = {"original": _panel(data, data.source, data.target, None)}
    for name, points, detect in (
        ("no_outliers", clean, False),
        ("with_outliers", data, False),
        ("our_method", data, True),
    ):
        network, sets = train_toy(points, config, detect)
        with torch.no_grad():
            source, target = network(points.source)[2], network(points.target)[2]
        detected = None
        if sets is not None:
            unit = normalize(target)
            detected = is_outlier(class_probabilities(unit, reference_features(unit, normalize(source), sets)))
        panels[name] = _panel(points, source, target, detected)
    return panels


def train_toy(data: ToyData, config: ToyConfig, detect: bool) -> tuple[ToyNetwork, PseudoSets | None]:
    """Minimise equation 4.11 (SiameseDA), or with ``detect`` 4.10 along algorithm 1, whose last sets come back as
    well."""
    generator = torch.Generator().manual_seed(config.seed)
    network = _network(config, generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.rate)
    half = config.batch // 2
    # The raw points stand for the features of the pre-trained network that algorithm 1 starts from.
    sets = initial_sets(data.target, data.source) if detect else None
    for _ in range(config.epochs):
        for _ in range(len(data.target) // config.batch):
            left, right = _pairs(data.source_labels, config.batch, generator)
            if sets is None:
                chosen, weights = torch.randint(len(data.target), (config.batch,), generator=generator), None
            else:
                chosen = torch.cat([_draw(part, half, generator) for part in (sets.inliers, sets.outliers)])
                weights = sets.weights[chosen]
            lefts, rights, targets = (
                network(data.source[left]),
                network(data.source[right]),
                network(data.target[chosen]),
            )
            matching = data.source_labels[left] == data.source_labels[right]
            source, target = normalize(lefts[2]), normalize(targets[2])
            loss = contrastive_loss(source, normalize(rights[2]), matching, config.margin)
            loss = loss + config.gamma * multi_layer_mk_mmd(
                lefts, targets, weights, kernels=config.kernels, estimator=config.estimator
            )
            if detect:
                classes = (source[:half], target[:half], target[half:])
                loss = loss + config.eta * entropy_loss(class_probabilities(target, classes))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        if sets is not None:
            with torch.no_grad():
                features, others = normalize(network(data.target)[2]), normalize(network(data.source)[2])
            sets = refreshed_sets(features, others, sets)
    return network, sets


def _network(config: ToyConfig, generator: torch.Generator) -> ToyNetwork:
    network = ToyNetwork(config.width)
    for layer in (network.fc6, network.fc7, network.fc8):  # torch's own bounds, but from this generator
        bound = 1 / math.sqrt(layer.in_features)
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return network


def _clusters(config: ToyConfig, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    labels = torch.arange(count) % config.clusters
    centres = torch.stack((labels.float(), torch.zeros(count)), 1)
    return centres + config.spread * torch.randn(count, 2, generator=generator), labels


def _pairs(labels: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices of pairs: the first half match, the second are drawn as they come, as in the release."""
    left = torch.randint(len(labels), (count,), generator=generator)
    right = torch.randint(len(labels), (count,), generator=generator)
    same = (labels[left[: count // 2], None] == labels).float()
    right[: count // 2] = torch.multinomial(same, 1, generator=generator)[:, 0]
    return left, right


def _draw(part: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return part[torch.randint(len(part), (count,), generator=generator)]


def _panel(data: ToyData, source: Tensor, target: Tensor, detected: Tensor | None) -> Panel:
    outliers = data.target_labels < 0
    distance, nearest = torch.cdist(target, source).min(1)
    inliers = target[~outliers]
    some = min(len(source), len(inliers))
    right = data.source_labels[nearest] == data.target_labels
    numbers = {
        "alignment": float(mk_mmd(source[:some], inliers[:some], estimator="quadratic")),
        "accuracy": float(right[~outliers].float().mean()),
    }
    if outliers.any():
        farther = distance[outliers, None] - distance[~outliers]
        numbers["separation"] = float((farther.sign() / 2 + 0.5).mean())
    if detected is not None:
        found = int((detected & outliers).sum())
        numbers["f1"] = 2 * found / max(1, int(detected.sum()) + int(outliers.sum()))
    return Panel(source, data.source_labels, target, data.target_labels, detected, numbers)
