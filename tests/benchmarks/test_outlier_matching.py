"""Chapter 4: a training step of the three branches, MK-MMD, the pseudo sets, rankings and Fisher vectors."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from efficiency_bench.experiments.matching.matching_cost import all_distances, linear_from
from efficiency_bench.measure.counters import count
from outlier_matching import (
    FisherConfig,
    NetworkConfig,
    Objective,
    ObjectiveConfig,
    PseudoSets,
    SiftConfig,
    build_network,
    fit_sift_fisher,
    initial_sets,
    mk_mmd,
    nearest,
    refreshed_sets,
    retrieve,
    sift_fisher_features,
)

Gate = Callable[[dict[str, int]], None]
Timed = Ratio = Callable[..., None]
CPU = torch.device("cpu")
PAIRS, SIZE = 8, 64
NETWORK = NetworkConfig("small_bn", embedding=128, width=256, dropout=0.0, trained="all", size=SIZE)


def random(*shape: int, device: torch.device = CPU, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


class Training:
    """A training of the three branches on one batch of random images."""

    def __init__(self, device: torch.device) -> None:
        torch.manual_seed(0)
        self.network, self.objective = build_network(NETWORK).to(device), Objective(ObjectiveConfig()).to(device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.001, momentum=0.9, fused=True)
        self.images = torch.randint(0, 256, (3 * PAIRS, 3, SIZE, SIZE), dtype=torch.uint8).to(device)
        self.matching = (torch.arange(PAIRS) < PAIRS // 2).to(device)
        self.weights = torch.linspace(0, 1, PAIRS, device=device)

    def loss(self) -> Tensor:
        """J of equation 4.10 for left, right and target images."""
        features = self.network(self.images, source=2 * PAIRS)
        total: Tensor = self.objective(features, self.matching, self.weights, target=True).total
        return total

    def step(self) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()


def test_training_step(gate: Gate, timed: Timed, device: torch.device) -> None:
    """Contrastive loss, weighted MK-MMD and entropy of 8 pairs and 8 target images of 64 pixels."""
    training = Training(CPU)
    training.step()
    gate(count(training.step, forward=training.loss, network=training.network))
    training = Training(device)
    timed(training.step)
    assert torch.isfinite(training.step())


def discrepancy(estimator: str, source: Tensor, target: Tensor) -> Tensor:
    """Weighted MK-MMD of a batch, with a bandwidth that is given."""
    weights, sigma = torch.linspace(0, 1, len(target), device=target.device), 2.0 * source.shape[1]
    return mk_mmd(source, target, weights, estimator=estimator, sigma=sigma)  # type: ignore[arg-type]


def differentiated(value: Callable[[], Tensor], *features: Tensor) -> Tensor:
    for each in features:
        each.grad = None
    result = value()
    result.backward()  # type: ignore[no-untyped-call]
    return result


@pytest.mark.parametrize("estimator", ["linear", "circular", "quadratic"])
def test_mk_mmd(gate: Gate, timed: Timed, device: torch.device, estimator: str) -> None:
    """Forward and backward for 64 images of each domain and 1,024 features."""

    def work(device: torch.device) -> tuple[Callable[[], Tensor], list[Tensor]]:
        features = [random(64, 1024, device=device, seed=seed).requires_grad_() for seed in (0, 1)]
        return partial(discrepancy, estimator, *features), features

    forward, features = work(CPU)
    gate(count(partial(differentiated, forward, *features), forward=forward, given=features))
    forward, features = work(device)
    timed(partial(differentiated, forward, *features))
    assert torch.isfinite(differentiated(forward, *features))


def test_pseudo_sets(gate: Gate, timed: Timed, device: torch.device) -> None:
    """First sets of 500 target images and 500 source images, and their update after an epoch."""

    def work(target: Tensor, source: Tensor) -> PseudoSets:
        return refreshed_sets(target, source, initial_sets(target, source))

    features = [normalize(random(500, 128, seed=seed), dim=1) for seed in (0, 1)]
    gate(count(partial(work, *features)))
    features = [each.to(device) for each in features]
    timed(partial(work, *features))
    assert len(work(*features).weights) == 500


@pytest.mark.parametrize("matches", [50, None], ids=["nearest", "whole"])
def test_ranking(gate: Gate, timed: Timed, device: torch.device, matches: int | None) -> None:
    """100 queries in a gallery of 5,000: the 50 nearest, or the average precision of the whole ranking."""

    def work(device: torch.device) -> Callable[[], object]:
        queries, gallery = random(100, 128, device=device), random(5000, 128, device=device, seed=1)
        labels = [(torch.arange(len(part)) % 10).to(device) for part in (queries, gallery)]
        return partial(nearest, queries, gallery, matches) if matches else partial(retrieve, queries, gallery, *labels)

    gate(count(work(CPU)))
    timed(work(device))


def test_sift_fisher(gate: Gate, timed: Timed) -> None:
    """Fisher vectors of the keypoints of 8 pictures of 128 pixels; how many keypoints there are depends on OpenCV."""
    pytest.importorskip("cv2")
    coarse = torch.randint(0, 256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images, config = list(interpolate(coarse, scale_factor=8)), SiftConfig(fisher=FisherConfig(8, 16))
    encoder = fit_sift_fisher(images, config, torch.Generator().manual_seed(0))
    work = partial(sift_fisher_features, images, encoder, config)
    gate({"bytes": work().nbytes})
    timed(work)


def test_mmd_and_its_matrices(ratio: Ratio, device: torch.device) -> None:
    """MK-MMD from the pairs it needs, against the same from whole kernel matrices."""
    source, target = (random(64, 1024, device=device, seed=seed).requires_grad_() for seed in (0, 1))
    weights, sigma = torch.linspace(0, 1, 64, device=device), torch.tensor(2048.0, device=device)

    def matrices() -> Tensor:
        return linear_from(all_distances(source, target), weights, sigma)

    works = {"MK-MMD": partial(discrepancy, "linear", source, target), "its matrices": matrices}
    ratio({name: partial(differentiated, work, source, target) for name, work in works.items()}, most=0.6)


def test_nearest_and_all_distances(ratio: Ratio, device: torch.device) -> None:
    """The exact search against all distances in double precision, sorted by topk."""
    queries, gallery = random(100, 128, device=device), random(5000, 128, device=device, seed=1)

    def every() -> object:
        return torch.cdist(queries.double(), gallery.double()).topk(50, largest=False)

    ratio({"the search": partial(nearest, queries, gallery, 50), "all distances": every}, most=3.0)
