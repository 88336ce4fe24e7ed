"""The 2-D toy problem of figure 4.1: SiameseDA without (b) and with outliers (c), and the thesis's method (d). The
thesis shows only the figure; points, network and weights are this project's. Panel (d) needs outliers farther from the
source than most inliers, in directions without source, and an entropy loss that is strong against MK-MMD."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from outlier_matching.method.assignment import class_probabilities, entropy_loss, is_outlier
from outlier_matching.method.config import ToyConfig
from outlier_matching.method.contrastive import contrastive_loss
from outlier_matching.method.mmd import mk_mmd, multi_layer_mk_mmd
from outlier_matching.method.pseudo_sets import PseudoSets, initial_sets, reference_features, refreshed_sets


@dataclass(frozen=True)
class ToyData:
    """Points of both domains with their clusters."""

    source: Tensor
    """(n, 2)."""
    source_labels: Tensor
    """int64 (n,): cluster."""
    target: Tensor
    """(m, 2)."""
    target_labels: Tensor
    """int64 (m,): cluster, -1 for outliers."""


@dataclass(frozen=True)
class Panel(ToyData):
    """One panel of the figure, with measures of the match between the domains. Positions are the points themselves in
    ``original``, else their fc8. ``no_outliers`` has no outliers."""

    detected: Tensor | None
    """bool (m,): points classified as outliers; None if the method detects none."""
    numbers: dict[str, float]
    """``alignment``: MK-MMD of source and target inliers (quadratic estimate, thesis kernels), 0 for equal distributions.
    ``accuracy``: share of target inliers whose nearest source point is in their cluster. ``separation`` (with outliers):
    probability that an outlier is farther from its nearest source point than an inlier from its own (area under the ROC
    curve). ``f1`` (with detection): F1 score of the detected outliers."""


class ToyNetwork(nn.Module):
    """Points (n, 2) -> fc6 (n, width) and fc7 (n, width), both after a ReLU, and fc8 (n, 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(2, width)
        self.fc7 = nn.Linear(width, width)
        self.fc8 = nn.Linear(width, 2)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fc6 = self.fc6(points).relu()
        fc7 = self.fc7(fc6).relu()
        return fc6, fc7, self.fc8(fc7)


def toy_data(config: ToyConfig, seed: int = 0) -> ToyData:
    """The points of both domains. Outliers are spread over a square of four square units; they are the last target points."""
    generator = torch.Generator().manual_seed(seed)
    count = round(config.target * config.outlier_share)
    source, source_labels = _clusters(config, config.source, generator)
    inliers, labels = _clusters(config, config.target - count, generator)
    sine, cosine = math.sin(math.radians(config.turn)), math.cos(math.radians(config.turn))
    moved = inliers @ torch.tensor([[cosine, sine], [-sine, cosine]]) + torch.tensor(config.move)
    outliers = 2 * torch.rand(count, 2, generator=generator) - 3
    labels = torch.cat((labels, labels.new_full((count,), -1)))
    return ToyData(source, source_labels, torch.cat((moved, outliers)), labels)


def run_toy(config: ToyConfig, seed: int = 0) -> dict[str, Panel]:
    """The four panels, in order: ``original`` (a), ``no_outliers`` (b), ``with_outliers`` (c), ``our_method`` (d).
    Equal arguments give equal panels, bit for bit on the CPU of one machine. The seed draws points, weights and
    batches."""
    data = toy_data(config, seed)
    inliers = data.target_labels >= 0
    clean = ToyData(data.source, data.source_labels, data.target[inliers], data.target_labels[inliers])
    panels = {"original": _panel(data, data.source, data.target, None)}
    for name, points in (("no_outliers", clean), ("with_outliers", data), ("our_method", data)):
        network, sets = train_toy(points, config, name == "our_method", seed)
        with torch.no_grad():
            source, target = network(points.source)[2], network(points.target)[2]
        detected = None
        if sets is not None:
            unit = normalize(target)
            detected = is_outlier(class_probabilities(unit, reference_features(unit, normalize(source), sets)))
        panels[name] = _panel(points, source, target, detected)
    return panels


def train_toy(data: ToyData, config: ToyConfig, detect: bool, seed: int = 0) -> tuple[ToyNetwork, PseudoSets | None]:
    """Minimise equation 4.11 (SiameseDA), or with ``detect`` equation 4.10 by algorithm 1; returns its last pseudo sets."""
    generator = torch.Generator().manual_seed(seed)
    network = _network(config, generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.rate)
    half = config.batch // 2
    # Algorithm 1 starts from features of a pretrained network; here from the points themselves.
    sets = initial_sets(data.target, data.source) if detect else None
    for _ in range(config.epochs):
        for _ in range(len(data.target) // config.batch):
            left, right = _pairs(data.source_labels, config.batch, generator)
            if sets is None:
                chosen, weights = torch.randint(len(data.target), (config.batch,), generator=generator), None
            else:
                parts = (sets.inliers, sets.outliers)
                chosen = torch.cat([part[torch.randint(len(part), (half,), generator=generator)] for part in parts])
                weights = sets.weights[chosen]
            lefts, rights, targets = map(network, (data.source[left], data.source[right], data.target[chosen]))
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
    for layer in (network.fc6, network.fc7, network.fc8):  # torch's default bounds, drawn by this generator
        bound = 1 / math.sqrt(layer.in_features)
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return network


def _clusters(config: ToyConfig, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    labels = torch.arange(count) % config.clusters
    centres = torch.stack((labels.float(), torch.zeros(count)), 1)
    return centres + config.spread * torch.randn(count, 2, generator=generator), labels


def _pairs(labels: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices of pairs: the first half match, the second half are random pairs, as in the release."""
    left = torch.randint(len(labels), (count,), generator=generator)
    right = torch.randint(len(labels), (count,), generator=generator)
    same = (labels[left[: count // 2], None] == labels).float()
    right[: count // 2] = torch.multinomial(same, 1, generator=generator)[:, 0]
    return left, right


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
