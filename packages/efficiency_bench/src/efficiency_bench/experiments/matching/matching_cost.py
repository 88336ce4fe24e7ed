"""Time and memory of the weighted MK-MMD and the retrieval metrics of chapter 4, compared with the usual implementations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.measure.speed import SpeedResult, interleave, protocol, ratio
from efficiency_bench.records.run_record import Metric
from efficiency_core.errors import WorkError
from efficiency_core.loop import check_least

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CHECKED = 100
"""Queries whose MAP must equal scikit-learn's within 1e-6 in double precision; in single precision rounding decides near ties."""
CALLS = 10
"""Consecutive calls, averaged, of functions that take a millisecond."""
KERNELS = 17
"""Gaussians of the thesis, 2^-8 to 2^8 times the middle bandwidth."""


@dataclass(frozen=True)
class Settings:
    """Sizes of the comparison: a batch of 64 with the width of fc6, 1,000 queries in 10,000 images."""

    samples: int = 64
    """n, images of each domain in a batch."""
    width: int = 4096
    """d, length of their features: fc6 and fc7 of AlexNet."""
    queries: int = 1000
    """Queries of the MAP."""
    gallery: int = 10_000
    """Images of the gallery of the MAP."""
    embedding: int = 1000
    """Length of an embedding: fc8."""
    classes: int = 28
    """Classes of queries and gallery; Shape has 28."""
    ranked: int = 100_000
    """Images of the gallery whose ranking is measured for memory."""
    ranked_width: int = 128
    """Length of their embeddings."""
    matches: int = 50
    """Matches per query of that ranking."""
    compile: bool = False
    """Whether MK-MMD compiled by torch.compile is also timed; this needs a C++ compiler on the CPU."""
    rounds: int = 10
    """Rounds of the interleaved timing."""
    warmup: int = 1
    """Untimed calls of each candidate before the timing."""

    def __post_init__(self) -> None:
        if self.samples < 2 or self.samples % 2:
            raise ValueError(f"samples must be even and at least 2, got {self.samples}")
        check_least(self, 1, "width", "queries", "embedding", "classes", "ranked_width", "matches", "rounds")
        for name in ("gallery", "ranked"):
            if getattr(self, name) < self.matches:
                raise ValueError(f"{name} must be at least {self.matches}, the matches kept, got {getattr(self, name)}")


def run(settings: Settings, context: Context) -> Outcome:
    """Check that all implementations agree, then measure their time and memory."""
    import torch

    generator = torch.Generator().manual_seed(context.seed)
    metrics, details = discrepancy(settings, context.device, generator)
    found, timed = precision(settings, context.device, generator)
    metrics |= found
    metrics |= ranking(settings, context.device, generator)
    scenario = (
        f"forward and backward of eq. 4.6, {KERNELS} kernels, n = {settings.samples}, d = {settings.width}; MAP of "
        f"{settings.queries} queries in {settings.gallery}, {settings.embedding} numbers each, distances included"
    )
    return Outcome(
        metrics,
        {
            "dtype": "float32",
            "mmd_matrices": "the same formula through the whole kernel matrices, their distances by one matrix product",
            "mmd_compiled": "the pairs it needs alone, compiled by torch.compile",
            "mmd_differences": "the same through the (2n, 2n, d) differences of all pairs, as the release and tllib",
            "map_sklearn": "distances by torch.cdist, then scikit-learn's average_precision_score query by query",
            "memory": "most bytes of tensors alive at one time, what goes in not counted",
            **protocol(details | timed, scenario),
        },
    )


def discrepancy(
    settings: Settings, device: torch.device, generator: torch.Generator
) -> tuple[dict[str, Metric], dict[str, SpeedResult]]:
    """Weighted MK-MMD from the pairs it needs, and from two implementations that compute more; `WorkError` if they differ."""
    import torch

    from efficiency_bench.measure.memory import peak_live_bytes
    from outlier_matching import mk_mmd

    shape = settings.samples, settings.width
    source = torch.randn(shape, generator=generator).to(device).requires_grad_()
    target = (torch.randn(shape, generator=generator) + 0.1).to(device).requires_grad_()
    weights = torch.rand(settings.samples, generator=generator).to(device)
    sigma = torch.tensor(2.0 * settings.width, device=device)  # the expected squared distance

    def step(value: Callable[[], Tensor]) -> Tensor:
        source.grad = target.grad = None
        loss = value()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def of_pairs(source: Tensor, target: Tensor) -> Tensor:
        return mk_mmd(source, target, weights, kernels="thesis", estimator="linear", sigma=sigma)

    ways: dict[str, Callable[[], Tensor]] = {
        "pairs": lambda: step(lambda: of_pairs(source, target)),
        "matrices": lambda: step(lambda: linear_from(all_distances(source, target), weights, sigma)),
        "differences": lambda: step(lambda: linear_from(all_differences(source, target), weights, sigma)),
    }
    if settings.compile:
        compiled = torch.compile(of_pairs, fullgraph=True, dynamic=False)
        ways["compiled"] = lambda: step(lambda: compiled(source, target))
    values = {name: float(way()) for name, way in ways.items()}
    for name, value in values.items():
        if not np.isclose(value, values["pairs"], rtol=1e-3, atol=1e-5):
            raise WorkError(f"MK-MMD through {name} is {value:.6g}, through the pairs {values['pairs']:.6g}")
    # The gigabyte of differences would leave the next candidate a cold cache, so they are timed separately.
    options: dict[str, Any] = {"warmup": settings.warmup, "device": device}
    large = interleave({name: ways[name] for name in ("pairs", "differences")}, rounds=settings.rounds, **options)
    small = {name: way for name, way in ways.items() if name != "differences"}
    timed = large | interleave(small, rounds=settings.rounds, calls=CALLS, **options)
    peaks = {name: peak_live_bytes(way) for name, way in ways.items() if name != "compiled"}  # buffers of its own
    metrics = {f"mmd_ms_{name}": Metric(1e3 * timed[name].per_call.median, "ms") for name in ways}
    metrics |= {f"mmd_mb_{name}": Metric(peak / 1e6, "MB") for name, peak in peaks.items()}
    speedups = ratio(timed, "matrices", "pairs").named("mmd", "speedup")
    speedups |= ratio(large, "differences", "pairs").named("mmd", "speedup_over_differences")
    if settings.compile:
        speedups |= ratio(timed, "matrices", "compiled").named("mmd", "speedup_compiled")
    metrics |= {name: Metric(value, "x") for name, value in speedups.items()}
    return metrics, {f"mmd_{name}": result for name, result in timed.items()}


def all_distances(source: Tensor, target: Tensor) -> Tensor:
    """Squared distances of all 2n points, (2n, 2n), by a matrix product."""
    import torch

    points = torch.cat((source, target))
    norms = points.square().sum(1)
    return (norms[:, None] + norms - 2 * points @ points.T).clamp(min=0)


def all_differences(source: Tensor, target: Tensor) -> Tensor:
    """The same distances from all differences, (2n, 2n, d)."""
    import torch

    points = torch.cat((source, target))
    return (points[:, None] - points).square().sum(2)


def linear_from(distances: Tensor, weights: Tensor, sigma: Tensor) -> Tensor:
    """Equation 4.6 from the (2n, 2n) squared distances, by whole kernel matrices; h uses four entries per pair."""
    import torch

    n = len(weights)
    kernel = distances.new_zeros(distances.shape)
    for exponent in range(-(KERNELS // 2), KERNELS // 2 + 1):
        kernel = kernel + (-distances / (sigma * 2.0**exponent)).exp() / KERNELS
    ss, tt, st = kernel[:n, :n], kernel[n:, n:], kernel[:n, n:]
    first, second = torch.arange(0, n, 2), torch.arange(1, n, 2)
    h = ss[first, second] + tt[first, second] - st[first, second] - st[second, first]
    return (weights[first] * weights[second] * h).mean()


def precision(
    settings: Settings, device: torch.device, generator: torch.Generator
) -> tuple[dict[str, Metric], dict[str, SpeedResult]]:
    """Exact MAP of queries in a gallery, and scikit-learn's in a loop; `WorkError` if they differ by more than 1e-6."""
    import torch
    from sklearn.metrics import average_precision_score
    from torch.nn.functional import normalize

    from outlier_matching import retrieve

    labels = torch.randint(settings.classes, (settings.queries + settings.gallery,), generator=generator)
    centres = torch.randn(settings.classes, settings.embedding, generator=generator)
    features = torch.randn(len(labels), settings.embedding, generator=generator) + 0.1 * centres[labels]
    features = normalize(features, dim=1).to(device)
    queries, gallery = features[: settings.queries], features[settings.queries :]
    of_queries, of_gallery = labels[: settings.queries], labels[settings.queries :]

    def ours(queries: Tensor, gallery: Tensor) -> float:
        found = retrieve(queries, gallery, of_queries[: len(queries)].to(device), of_gallery.to(device))
        return found.mean_average_precision

    def by_sklearn(queries: Tensor, gallery: Tensor) -> float:
        scores = -torch.cdist(queries, gallery).cpu().numpy()
        relevant = (of_queries[: len(queries), None] == of_gallery).numpy()
        every = [average_precision_score(r, s) for r, s in zip(relevant, scores, strict=True) if r.any()]
        return float(np.mean(every))

    exact, own = (way(queries[:CHECKED].double(), gallery.double()) for way in (by_sklearn, ours))
    if not abs(exact - own) <= 1e-6:
        raise WorkError(f"MAP is {own:.8f}, scikit-learn's {exact:.8f}: expected a difference of 1e-6 at most")
    ways: dict[str, Callable[[], Any]] = {
        "retrieve": lambda: ours(queries, gallery),
        "sklearn": lambda: by_sklearn(queries, gallery),
    }
    timed = interleave(ways, rounds=max(1, settings.rounds // 2), warmup=0, device=device)
    speedup = ratio(timed, "sklearn", "retrieve").named("map", "speedup")
    return {
        "map_ms_retrieve": Metric(1e3 * timed["retrieve"].per_call.median, "ms"),
        "map_ms_sklearn": Metric(1e3 * timed["sklearn"].per_call.median, "ms"),
        **{name: Metric(value, "x") for name, value in speedup.items()},
        "map_difference": Metric(abs(exact - own), "1"),
    }, {f"map_{name}": result for name, result in timed.items()}


def ranking(settings: Settings, device: torch.device, generator: torch.Generator) -> dict[str, Metric]:
    """Memory of the search for the nearest images in a large gallery, compared with all distances."""
    import torch

    from efficiency_bench.measure.memory import peak_live_bytes
    from outlier_matching import nearest

    gallery = torch.randn(settings.ranked, settings.ranked_width, generator=generator).to(device)
    queries = torch.randn(settings.queries, settings.ranked_width, generator=generator).to(device)
    peak = peak_live_bytes(lambda: nearest(queries, gallery, settings.matches))
    whole = 4 * settings.queries * settings.ranked
    return {
        "ranking_mb": Metric(peak / 1e6, "MB"),
        "distances_mb": Metric(whole / 1e6, "MB"),
        "ranking_memory": Metric(peak / whole, "x"),
    }


EXPERIMENT = Experiment(
    "matching_cost", "measure",
    "compare the weighted MK-MMD, the exact MAP and a large ranking with the usual implementations", Settings, (), run,
)  # fmt: skip
