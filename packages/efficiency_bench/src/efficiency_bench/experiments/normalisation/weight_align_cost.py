"""Cost of normalisation: time and memory of a training step, and time of inference, against a network without norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.records.run_record import Metric
from efficiency_core.devices import convolution_layout
from efficiency_core.errors import WorkError, checking
from efficiency_core.loop import check_least
from weight_align.networks import NetworkConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from efficiency_bench.measure.speed import SpeedResult
    from weight_align.networks import Network

PLAIN = "plain"
"""The form that all others are compared with."""
CLOSE = 1e-5
"""Largest change of an output by folding, divided by the largest output; in single precision, through dozens of layers."""


class Form(NamedTuple):
    """A way to normalise."""

    norm: Literal["none", "bn", "gn", "ln", "in", "wn"] = "none"
    align: bool = False
    fixup: bool = False
    """Whether residual blocks have Fixup's scalars."""


FORMS = {
    "plain": Form(),
    "fixup": Form(fixup=True),
    "wa_plain": Form(align=True),
    "wa": Form(align=True, fixup=True),
    "bn": Form("bn"),
    "bn_wa": Form("bn", align=True),
    "in": Form("in"),
    "in_wa": Form("in", align=True),
    "ln": Form("ln"),
    "ln_wa": Form("ln", align=True),
    "gn": Form("gn"),
    "gn_wa": Form("gn", align=True),
    "wn": Form("wn"),
}
"""Without normalisation; with Fixup's scalars, the baseline of the thesis; both with WA; the others as in its tables."""


@dataclass(frozen=True)
class Settings:
    """The default is the thesis's network for CIFAR-100: a ResNet-50 on 64 images of 32 pixels."""

    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(classes=100))
    """The network; norm, align and fixup are those of each form."""
    image_size: int = 32
    """Height and width of the images in pixels."""
    batch_size: int = 64
    """Images per step and per batch of inference."""
    forms: tuple[str, ...] = ("fixup", "wa_plain", "wa", "bn", "bn_wa")
    """Ways to normalise, measured with `plain`; networks, gradients and momenta of all of them are in memory together."""
    rounds: int = 20
    """Rounds of the interleaved timing."""
    warmup: int = 1
    """Calls of each candidate before the timing."""

    def __post_init__(self) -> None:
        if unknown := [form for form in self.forms if form not in FORMS]:
            raise ValueError(f"unknown form {unknown[0]!r}; there are {', '.join(FORMS)}")
        check_least(self, 16, "image_size")
        check_least(self, 1, "batch_size", "rounds")
        if self.network.classes < 2:
            raise ValueError(f"network.classes must be at least 2, got {self.network.classes}")

    @property
    def names(self) -> tuple[str, ...]:
        """The forms, the plain one first."""
        return (PLAIN, *(form for form in self.forms if form != PLAIN))


def run(settings: Settings, context: Context) -> Outcome:
    """Measure memory and time of a training step of every form, and time of inference with folded weights."""
    import torch

    from efficiency_bench.measure.memory import cuda_peak
    from efficiency_bench.measure.speed import interleave, protocol

    device = context.device
    metrics: dict[str, Metric] = {}
    torch.manual_seed(context.seed)
    networks = {name: new_network(settings, name, device) for name in settings.names}
    images, labels = batch(settings, device, convolution_layout(networks[PLAIN], device.type))
    kept = {name: saved(network, images, labels) for name, network in networks.items()}
    for name, network in networks.items():
        metrics[f"saved_gb_{name}"] = Metric(kept[name] / 1e9, "GB")
        metrics[f"saved_over_plain_{name}"] = Metric(kept[name] / kept[PLAIN], "x")
        count = sum(parameter.numel() for parameter in network.parameters())
        metrics[f"parameters_m_{name}"] = Metric(count / 1e6, "M")
    steps = {name: training(network, images, labels) for name, network in networks.items()}
    timed = interleave(steps, rounds=settings.rounds, warmup=settings.warmup, device=device)
    metrics |= time_metrics(timed, "step")
    if device.type == "cuda":
        for name, step in steps.items():
            metrics[f"cuda_memory_gb_{name}"] = Metric(cuda_peak(step, device).added / 1e9, "GB")

    worst = max(folding(network.eval(), images) for network in networks.values())
    with torch.inference_mode():
        answers = {name: partial(network, images) for name, network in networks.items()}
        passes = interleave(answers, rounds=settings.rounds, warmup=settings.warmup, device=device)
    metrics |= time_metrics(passes, "inference")
    metrics["folding_changes"] = Metric(worst, "1")
    scenario = (
        f"{settings.network.backbone}, {settings.batch_size} images of {settings.image_size} px: a step of SGD with momentum, "
        "and a forward pass with folded weights; model only"
    )
    details = {
        "dtype": "float32",
        "input_size": [settings.image_size, settings.image_size],
        "batch": settings.batch_size,
        "width": settings.network.width,
        "saved": "bytes that operators save through autograd for a step, weights not counted",
        "plain": "the same network without normalisation, its convolutions with a bias",
        "folding_changes": "most that folding changes of an output, over the largest one",
    }
    return Outcome(metrics, details | protocol({f"step_{name}": one for name, one in timed.items()}, scenario))


def network_config(settings: Settings, name: str) -> NetworkConfig:
    form = FORMS[name]
    with checking(f"form {name}"):
        return replace(settings.network, norm=form.norm, align=form.align, fixup=form.fixup)


def batch(settings: Settings, device: torch.device, layout: torch.memory_format) -> tuple[Tensor, Tensor]:
    import torch

    shape = (settings.batch_size, 3, settings.image_size, settings.image_size)
    images = torch.randn(shape, device=device).contiguous(memory_format=layout)
    return images, torch.randint(0, settings.network.classes, (settings.batch_size,), device=device)


def saved(network: nn.Module, images: Tensor, labels: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass of one step, without weights."""
    from torch.nn.functional import cross_entropy

    from efficiency_bench.measure.memory import saved_bytes

    return saved_bytes(lambda: cross_entropy(network(images), labels), exclude=network).total


def new_network(settings: Settings, name: str, device: torch.device) -> Network:
    """A network of a form with random weights, in training mode."""
    from weight_align.networks import build_network

    network = build_network(network_config(settings, name))
    layout = convolution_layout(network, device.type)
    return network.to(device, memory_format=layout).train()  # type: ignore[call-overload, no-any-return]


def training(network: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """A function that takes a step of SGD with momentum."""
    import torch
    from torch.nn.functional import cross_entropy

    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=0.0005, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


def folding(network: nn.Module, images: Tensor) -> float:
    """Fold a network in place; the largest change of its outputs over the largest output, a `WorkError` above `CLOSE`."""
    import torch

    from weight_align import fold, is_aligned

    if not is_aligned(network):
        return 0.0
    with torch.no_grad():
        before = network(images)
        fold(network)
        change = float((network(images) - before).abs().max() / before.abs().max().clamp(min=1e-30))
    if not change <= CLOSE:
        raise WorkError(f"folding changed the outputs by {change:.3g} of the largest, expected {CLOSE:.0e} at most")
    return change


def time_metrics(timed: dict[str, SpeedResult], what: str) -> dict[str, Metric]:
    """Milliseconds of each form, and its time divided by that of the plain network, and of the same form without WA, in the
    same rounds."""
    from efficiency_bench.measure.speed import ratio

    metrics = {f"{what}_ms_{name}": Metric(1e3 * result.per_call.median, "ms") for name, result in timed.items()}
    for name in timed:
        for label, other in (("plain", PLAIN), ("unaligned", unaligned(name))):
            if other in timed:
                spread = ratio(timed, name, other).named(f"{what}_over_{label}", name)
                metrics |= {key: Metric(value, "x") for key, value in spread.items()}
    return metrics


def unaligned(name: str) -> str:
    """The same form without WA; empty for a form without WA."""
    form = FORMS[name]
    return next(other for other, found in FORMS.items() if found == form._replace(align=False)) if form.align else ""


EXPERIMENT = Experiment(
    "weight_align_cost", "measure",
    "time and weigh a training step with every normalisation of chapter 5 and without, and inference after folding",
    Settings, (), run,
)  # fmt: skip
