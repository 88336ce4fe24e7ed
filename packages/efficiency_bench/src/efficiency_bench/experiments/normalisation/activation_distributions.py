"""Distributions of activations in an untrained network, with every normalisation (thesis section 5.3.4). The thesis does not
give the network's width, the size of the inputs or how the classifier reads the maps. All methods have the same weights, He
et al.'s, before the alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.records.pictures import Series
from efficiency_bench.records.run_record import Metric
from efficiency_core.loop import check_least

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor, nn

    from weight_align.method import ChannelStatistics

CONVOLUTIONS = 7
CLASSIFIER = CONVOLUTIONS + 1
"""Number of the classifier among the layers, from 1."""
PICTURED = (1, 3, 7, CLASSIFIER)
"""Layers whose distributions figures 5.2, 5.7 and 5.8 show."""
CHANNELS = 8
"""Number of channels of each layer in these figures."""
PRODUCTS = 500_000
"""Number of products whose symmetry is measured."""
NAMES = tuple(f"channel {number}" for number in range(1, CHANNELS + 1))


class Method(NamedTuple):
    """A normalisation."""

    norm: Literal["none", "bn", "in", "ln", "gn"] = "none"
    align: bool = False
    gain: Literal["thesis", "nf"] = "thesis"


METHODS = {
    "baseline": Method(),
    "bn": Method("bn"),
    "in": Method("in"),
    "ln": Method("ln"),
    "gn": Method("gn"),
    "wa": Method(align=True),
    "wa_nf": Method(align=True, gain="nf"),
    "bn_wa": Method("bn", align=True),
    "in_wa": Method("in", align=True),
    "ln_wa": Method("ln", align=True),
    "gn_wa": Method("gn", align=True),
}


@dataclass(frozen=True)
class Settings:
    """The example of section 5.3.4."""

    batch: int = 128
    """Number of inputs."""
    image_size: int = 16
    """Height and width of an input, which has three channels."""
    width: int = 64
    """Channels of each convolution."""
    classes: int = 10
    """Outputs of the classifier, a linear layer on all positions and channels of the last map."""

    def __post_init__(self) -> None:
        check_least(self, 2, "batch")
        check_least(self, 3, "image_size")
        check_least(self, CHANNELS, "width", "classes")


def run(settings: Settings, context: Context) -> Outcome:
    """Every method on the same weights and inputs."""
    import torch

    from weight_align.method import channel_statistics

    shape = (settings.batch, 3, settings.image_size, settings.image_size)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(context.seed))
    metrics: dict[str, Metric] = {}
    series: dict[str, Series] = {}
    by_layer: dict[str, dict[str, list[float]]] = {}
    for name, method in METHODS.items():
        network = build(settings, method, context.seed).to(context.device)
        before, after = layers_of(network, inputs.to(context.device))
        found = channel_statistics(after)
        series |= pictures(name, before, after) | lines(name, list(found.values()))
        by_layer[name] = {
            "mean_of_variances": [float(one.variance.mean()) for one in found.values()],
            "deviation_of_means": [float(one.mean.std(correction=0)) for one in found.values()],
        }
        metrics |= summary(name, by_layer[name])
    metrics |= product_asymmetries(context.seed)
    numbers = range(1, CLASSIFIER + 1)
    for example, what in (("variance_by_layer", "mean_of_variances"), ("spread_by_layer", "deviation_of_means")):
        series[example] = Series.of([(_called(name), numbers, found[what]) for name, found in by_layer.items()])
    protocol: dict[str, Any] = {
        "activations": "what ReLU, or softmax, sees: after the norm where there is one; examples named `before` are outputs of "
        "the convolutions",
        "statistics": "of each channel over all inputs and places; variances are biased; norms take those of the batch",
        "variance_per_layer": "factor by which variances change from one convolution to the next, geometric mean",
        "mean_spread": "deviation of the channels' means over the root of their mean variance, in the third layer; of the "
        "classifier, where one class has a much larger mean than the others it is what the network always says",
        "product_asymmetry": f"of {PRODUCTS} products; 0 for a distribution that is symmetric around zero",
        "by_layer": by_layer,
    }
    return Outcome(
        metrics, protocol, {key: array for name, one in series.items() for key, array in one.arrays(name).items()}
    )


def build(settings: Settings, method: Method, seed: int) -> nn.Sequential:
    """The example network; all methods draw the same weights."""
    import torch

    from weight_align.networks import example_network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = {"width": settings.width, "size": settings.image_size, "classes": settings.classes}
        return example_network(method.norm, method.align, gain=method.gain, **sizes)


def layers_of(network: nn.Sequential, inputs: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs of all layers, the classifier last: of the convolutions, and of the norms after them, which use the statistics of
    these inputs. Without a norm both are the same."""
    from weight_align.method import activations

    before, after = (
        [*(f"{layer}{number}" for number in range(1, CONVOLUTIONS + 1)), "classifier"] for layer in ("conv", "norm")
    )
    seen = activations(network.train(), inputs, tuple(dict.fromkeys([*before, *after])))
    return {name: seen[name] for name in before}, {name: seen[name] for name in after}


def pictures(name: str, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Series]:
    """Densities of the first channels in the pictured layers."""
    series = {}
    for place, layers in (("", after), ("before_", before)):
        outputs = list(layers.values())
        for number in PICTURED:
            rows = outputs[number - 1].transpose(0, 1).flatten(1).cpu().numpy()
            series[f"{name}_{place}layer{number}"] = densities(list(zip(NAMES, rows, strict=False)))
    return series


def densities(named: Sequence[tuple[str, ArrayLike]]) -> Series:
    """One density per set of numbers (its name first), over the same bins; `ValueError` without any.

    The bins, 12 to 60, are three for every two of the root of the numbers of a set. They span what is between the 0.2
    and the 99.8 percentile of all numbers together, so that a few far ones do not flatten the rest; a density
    integrates to the part of its numbers that is inside. Numbers that are not finite are left out.
    """
    flat = [(name, np.asarray(numbers, np.float64).ravel()) for name, numbers in named]
    sets = [(name, numbers[np.isfinite(numbers)]) for name, numbers in flat]
    if not sets:
        raise ValueError("expected at least one set of numbers")
    every = np.concatenate([numbers for _, numbers in sets])
    bins = min(max(round(1.5 * (len(every) / len(sets)) ** 0.5), 12), 60)
    low, high = np.quantile(every, (0.002, 1 - 0.002)).tolist() if len(every) else (-1.0, 1.0)
    room = 0.02 * (high - low) or max(abs(low), 1.0) * 1e-3  # a single value still has a bin around it
    edges = np.linspace(low - room, high + room, bins + 1)
    centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    return Series.of(
        [(name, centres, np.histogram(numbers, edges)[0] / (max(len(numbers), 1) * width)) for name, numbers in sets]
    )


def asymmetry(values: ArrayLike) -> float:
    """How far numbers are from a distribution that is symmetric around zero: the largest difference of the shares of the numbers
    and of their negatives up to a place (Kolmogorov and Smirnov's distance), 0 to 1."""
    upward = np.sort(np.asarray(values, np.float64).ravel())
    downward = np.sort(-upward)
    places = np.concatenate([upward, downward])
    shares = [np.searchsorted(ordered, places, side="right") / len(ordered) for ordered in (upward, downward)]
    return float(np.abs(shares[0] - shares[1]).max())


def product_asymmetries(seed: int) -> dict[str, Metric]:
    """Asymmetry of products of independent numbers (equations 5.11 to 5.14): of exponential ones with normal ones, which are
    symmetric around zero, and with centred exponential ones, which are not."""
    rng = np.random.default_rng(seed)
    factor = rng.exponential(size=PRODUCTS)
    others = {"symmetric": rng.normal(size=PRODUCTS), "skewed": rng.exponential(size=PRODUCTS) - 1}
    return {f"product_asymmetry_{name}": Metric(asymmetry(factor * other), "1") for name, other in others.items()}


def lines(name: str, found: Sequence[ChannelStatistics]) -> dict[str, Series]:
    """Mean and variance of these channels in all layers."""
    numbers = range(1, CLASSIFIER + 1)
    values = {"means": [one.mean for one in found], "variances": [one.variance for one in found]}
    return {
        f"{name}_{what}": Series.of(
            [(label, numbers, [float(row[at]) for row in rows]) for at, label in enumerate(NAMES)]
        )
        for what, rows in values.items()
    }


def summary(name: str, by_layer: Mapping[str, Sequence[float]]) -> dict[str, Metric]:
    """The figures as numbers, from the mean variances of the channels and the deviations of their means, by layer."""
    variances, spreads = by_layer["mean_of_variances"], by_layer["deviation_of_means"]
    last = CONVOLUTIONS - 1
    values = {
        "first_variance": (variances[0], "1"),
        "last_variance": (variances[last], "1"),
        "variance_per_layer": ((variances[last] / variances[0]) ** (1 / last), "x"),
        "mean_spread": (spreads[2] / variances[2] ** 0.5, "1"),
        "classifier_mean_spread": (spreads[-1] / variances[-1] ** 0.5, "1"),
    }
    return {f"{what}_{name}": Metric(value, unit) for what, (value, unit) in values.items()}


def _called(name: str) -> str:
    return "WA, norm-free gain" if name == "wa_nf" else name if name == "baseline" else name.upper().replace("_", " + ")


EXPERIMENT = Experiment(
    "activation_distributions", "train",  # nothing is timed
    "distributions of activations in an untrained network, with every normalisation of chapter 5", Settings, (), run,
)  # fmt: skip
