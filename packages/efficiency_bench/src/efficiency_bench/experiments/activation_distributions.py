"""How activations are distributed in a network that has not been trained, with every normalisation (thesis section 5.3.4).

Nothing is read and nothing is trained: the numbers follow from the seed. The network has seven convolutions with ReLU and a
classifier, and a batch of 128 inputs from N(0, 1); its width, the inputs' size and how the classifier sees them the thesis
does not say. All methods have the same weights, Kaiming's, before they are aligned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..drawn import Series
from ..records import Metric
from .base import Context, Experiment, Outcome
from .densities import densities

if TYPE_CHECKING:
    from weight_align.distributions import ChannelStatistics

CONVOLUTIONS = 7
CLASSIFIER = CONVOLUTIONS + 1
"""The classifier's number among the layers, from 1."""
PICTURED = (1, 3, 7, CLASSIFIER)
"""Layers whose distributions figures 5.2, 5.7 and 5.8 show."""
CHANNELS = 8
"""Channels they show of each."""
NAMES = tuple(f"channel {number}" for number in range(1, CHANNELS + 1))


class Method(NamedTuple):
    """What normalises."""

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
    """Inputs."""
    image_size: int = 16
    """Height and width of an input, which has three channels."""
    width: int = 64
    """Channels of each convolution."""
    classes: int = 10
    """Outputs of the classifier, a linear layer on all places and channels of the last convolution's map."""

    def __post_init__(self) -> None:
        for name, least in (("batch", 2), ("image_size", 3), ("width", CHANNELS), ("classes", CHANNELS)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


def run(settings: Settings, context: Context) -> Outcome:
    """Every method on the same weights and inputs."""
    from weight_align.distributions import channel_statistics

    inputs = torch.randn(
        (settings.batch, 3, settings.image_size, settings.image_size),
        generator=torch.Generator().manual_seed(context.seed),
    )
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
        "by_layer": by_layer,
    }
    return Outcome(
        metrics, protocol, {key: array for name, one in series.items() for key, array in one.arrays(name).items()}
    )


def build(settings: Settings, method: Method, seed: int) -> nn.Sequential:
    """The example network; all methods draw the same weights."""
    from weight_align.distributions import example_network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return example_network(
            method.norm,
            method.align,
            gain=method.gain,
            width=settings.width,
            size=settings.image_size,
            classes=settings.classes,
        )


def layers_of(network: nn.Sequential, inputs: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What every layer puts out, the classifier last: the convolutions themselves, and after their norms, which take statistics
    of these inputs. Without a norm both are the same."""
    from weight_align.distributions import activations

    numbers = range(1, CONVOLUTIONS + 1)
    before = [*(f"conv{number}" for number in numbers), "classifier"]
    after = [*(f"norm{number}" for number in numbers), "classifier"]
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


def lines(name: str, found: Sequence[ChannelStatistics]) -> dict[str, Series]:
    """Mean and variance of the same channels in all layers."""
    numbers = range(1, CLASSIFIER + 1)
    values = {"means": [one.mean for one in found], "variances": [one.variance for one in found]}
    return {
        f"{name}_{what}": Series.of(
            [(label, numbers, [float(row[at]) for row in rows]) for at, label in enumerate(NAMES)]
        )
        for what, rows in values.items()
    }


def summary(name: str, by_layer: Mapping[str, Sequence[float]]) -> dict[str, Metric]:
    """What the figures show, as numbers: of mean variances of the channels, and deviations of their means, by layer."""
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
    """A method's name as figures write it."""
    return "WA, norm-free gain" if name == "wa_nf" else name if name == "baseline" else name.upper().replace("_", " + ")


EXPERIMENT = Experiment(
    name="activation_distributions",
    kind="train",  # nothing is timed
    summary="distributions of activations in an untrained network, with every normalisation of chapter 5",
    settings_type=Settings,
    data=(),
    function=run,
)
