"""How activations are distributed in a network that has not been trained, with every normalisation (thesis section 5.3.4).

Nothing is read and nothing is trained: the numbers follow from the seed. The network has seven convolutions with ReLU and a
classifier, and a batch of 128 inputs from N(0, 1); its width, the inputs' size and how the classifier sees them the thesis
does not say. All methods have the same weights, Kaiming's, before they are aligned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..drawn import Series
from ..records import Metric
from .base import Context, Experiment, Outcome
from .densities import densities

CONVOLUTIONS = 7
CLASSIFIER = CONVOLUTIONS + 1
"""The classifier's number among the layers, from 1."""
PICTURED = (1, 3, 7, CLASSIFIER)
"""Layers whose distributions figures 5.2, 5.7 and 5.8 show."""
CHANNELS = 8
"""Channels they show of each."""


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
    inputs = torch.randn(
        (settings.batch, 3, settings.image_size, settings.image_size),
        generator=torch.Generator().manual_seed(context.seed),
    )
    metrics: dict[str, Metric] = {}
    series: dict[str, Series] = {}
    by_layer: dict[str, dict[str, list[float]]] = {}
    for name, method in METHODS.items():
        network = build(settings, method, context.seed).to(context.device)
        layers = activations(network, inputs.to(context.device))
        found = [statistics(layer.after) for layer in layers]
        series |= pictures(name, layers, found)
        by_layer[name] = {
            "mean_of_variances": [float(variances.mean()) for _, variances in found],
            "deviation_of_means": [float(means.std()) for means, _ in found],
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


class Example(nn.Module):
    """Convolutions 3x3 without bias, each with its norm and ReLU after it, and a linear classifier."""

    def __init__(self, settings: Settings, norm: str) -> None:
        from weight_align.norms import make_norm

        super().__init__()
        width = settings.width
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width if number else 3, width, 3, padding=1, bias=False) for number in range(CONVOLUTIONS)
        )
        self.norms = nn.ModuleList(make_norm(norm, width) for _ in range(CONVOLUTIONS))  # type: ignore[arg-type]
        self.classifier = nn.Linear(width * settings.image_size**2, settings.classes, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, 3, H, W) -> class scores (B, classes)."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = norm(convolution(maps)).relu()
        scores: Tensor = self.classifier(maps.flatten(1))
        return scores


def build(settings: Settings, method: Method, seed: int) -> Example:
    """The example with Kaiming's weights, those of the convolutions aligned where the method asks for it."""
    from weight_align import weight_align

    network = Example(settings, method.norm)
    generator = torch.Generator().manual_seed(seed)
    for layer in (*network.convolutions, network.classifier):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)  # type: ignore[arg-type]
    return weight_align(network, gain=method.gain) if method.align else network


class Layer(NamedTuple):
    """What one layer puts out, (B, C, H, W) or (B, C)."""

    before: Tensor
    """The convolution, or the classifier, itself."""
    after: Tensor
    """After the norm, if there is one."""


@torch.no_grad()
def activations(network: Example, inputs: Tensor) -> list[Layer]:
    """What every layer puts out, the classifier last; norms take statistics of these inputs."""
    seen: dict[nn.Module, Tensor] = {}
    watched = [*network.convolutions, *network.norms, network.classifier]
    # ReLU makes new maps, so what is seen stays as it is.
    hooks = [
        module.register_forward_hook(lambda module, _inputs, output: seen.update({module: output}))
        for module in watched
    ]
    try:
        network.train()(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    pairs = zip(network.convolutions, network.norms, strict=True)
    last = seen[network.classifier]
    return [*(Layer(seen[convolution], seen[norm]) for convolution, norm in pairs), Layer(last, last)]


def channels(outputs: Tensor) -> NDArray[np.float64]:
    """(B, C, ...) as (C, numbers)."""
    found: NDArray[np.float64] = outputs.transpose(0, 1).flatten(1).double().cpu().numpy()
    return found


def statistics(outputs: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and biased variance of every channel of (B, C, ...), each (C,)."""
    rows = channels(outputs)
    return rows.mean(axis=1), rows.var(axis=1)


def pictures(
    name: str, layers: Sequence[Layer], found: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> dict[str, Series]:
    """Densities of the first channels in the pictured layers, and their means and variances in all."""
    names = [f"channel {number}" for number in range(1, CHANNELS + 1)]
    series = {}
    for number in PICTURED:
        layer = layers[number - 1]
        series[f"{name}_layer{number}"] = densities(list(zip(names, channels(layer.after), strict=False)))
        series[f"{name}_before_layer{number}"] = densities(list(zip(names, channels(layer.before), strict=False)))
    numbers = np.arange(1, CLASSIFIER + 1)
    for at, what in enumerate(("means", "variances")):
        rows = np.stack([one[at][:CHANNELS] for one in found], axis=1)
        series[f"{name}_{what}"] = Series.of([(label, numbers, row) for label, row in zip(names, rows, strict=True)])
    return series


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
