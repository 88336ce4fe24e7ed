"""What normalisation costs: time and memory of a training step, and time of inference, beside a network without any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..errors import WorkError
from ..memory import cuda_peak, saved_bytes
from ..records import Metric
from ..speed import SpeedResult, interleave, protocol, ratio
from .base import Context, Experiment, Outcome, checking

if TYPE_CHECKING:
    from weight_align.networks import Network, NetworkConfig

PLAIN = "plain"
"""What everything is compared with."""
CLOSE = 1e-5
"""Most that folding may change of an output, over the largest one; in single precision, through dozens of layers."""


class Form(NamedTuple):
    """One way to normalise."""

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
"""A network without normalisation; with Fixup's scalars, the baseline of the thesis; both with WA; the others as in its
tables."""


@dataclass(frozen=True)
class Settings:
    """The thesis's networks for CIFAR are the default: a ResNet50 on 64 images of 32 pixels."""

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet50"
    """The network."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """How it begins: for images of 32 pixels, or as torchvision's."""
    width: int = 64
    """Channels of its first stage."""
    classes: int = 100
    """Its classes; CIFAR-100 has 100."""
    image_size: int = 32
    """Side of the images in pixels."""
    batch_size: int = 64
    """Images of a step, and of a batch of inference."""
    forms: tuple[str, ...] = ("fixup", "wa_plain", "wa", "bn", "bn_wa")
    """Which ways to normalise are looked at, beside none; their networks, gradients and momenta lie in memory together."""
    rounds: int = 20
    """Rounds of the interleaved timing."""
    warmup: int = 1
    """Untimed calls of each candidate before."""

    def __post_init__(self) -> None:
        if unknown := [form for form in self.forms if form not in FORMS]:
            raise ValueError(f"unknown form {unknown[0]!r}; there are {', '.join(FORMS)}")
        for name, least in (("width", 1), ("classes", 2), ("image_size", 16), ("batch_size", 1), ("rounds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The forms that are looked at, the plain one first."""
        return (PLAIN, *(form for form in self.forms if form != PLAIN))


def run(settings: Settings, context: Context) -> Outcome:
    """Weigh a training step of every form, time it, and time inference with folded weights."""
    device = context.device
    metrics: dict[str, Metric] = {}
    torch.manual_seed(context.seed)
    networks = {name: new_network(settings, name, device) for name in settings.names}
    images, labels = batch(settings, device)
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
        f"{settings.backbone}, {settings.batch_size} images of {settings.image_size} px: a step of SGD with momentum, and a "
        "forward pass with folded weights; model only"
    )
    details = {
        "dtype": "float32",
        "input_size": [settings.image_size, settings.image_size],
        "batch": settings.batch_size,
        "width": settings.width,
        "saved": "bytes that operators save through autograd for a step, weights not counted",
        "plain": "the same network without normalisation, its convolutions with a bias",
        "folding_changes": "most that folding changes of an output, over the largest one",
    }
    return Outcome(metrics, details | protocol({f"step_{name}": one for name, one in timed.items()}, scenario))


def network_config(settings: Settings, name: str) -> NetworkConfig:
    """The network of a form."""
    from weight_align.networks import NetworkConfig

    form = FORMS[name]
    with checking("settings of the network"):
        return NetworkConfig(
            classes=settings.classes,
            backbone=settings.backbone,
            stem=settings.stem,
            width=settings.width,
            norm=form.norm,
            align=form.align,
            fixup=form.fixup,
        )


def batch(settings: Settings, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    shape = (settings.batch_size, 3, settings.image_size, settings.image_size)
    images = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
    return images, torch.randint(0, settings.classes, (settings.batch_size,), device=device)


def saved(network: nn.Module, images: Tensor, labels: Tensor) -> int:
    """Bytes autograd keeps for the backward pass of one step, weights not counted."""
    return saved_bytes(lambda: cross_entropy(network(images), labels), exclude=network).total


def new_network(settings: Settings, name: str, device: torch.device) -> Network:
    """A network of a form with random weights, in training mode."""
    from weight_align.networks import build_network

    network = build_network(network_config(settings, name))
    return network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload, no-any-return]


def training(network: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """A step of SGD with momentum, to be called."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=0.0005, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


@torch.no_grad()
def folding(network: nn.Module, images: Tensor) -> float:
    """Turn a network's layers into plain ones, in place; returns how far that changes its outputs, over the largest of them.

    Raises:
        WorkError: if by more than `CLOSE`.
    """
    from weight_align import fold, is_aligned

    if not is_aligned(network):
        return 0.0
    before = network(images)
    fold(network)
    change = float((network(images) - before).abs().max() / before.abs().max().clamp(min=1e-30))
    if not change <= CLOSE:
        raise WorkError(f"folding changed the outputs by {change:.3g} of the largest, expected {CLOSE:.0e} at most")
    return change


def time_metrics(timed: dict[str, SpeedResult], what: str) -> dict[str, Metric]:
    """Milliseconds of each form, and its time over those of the plain network, and of the same form without WA, in the same
    rounds."""
    metrics = {f"{what}_ms_{name}": Metric(1e3 * result.per_call.median, "ms") for name, result in timed.items()}
    for name in timed:
        for label, other in (("plain", PLAIN), ("unaligned", unaligned(name))):
            if other in timed:
                spread = ratio(timed, name, other)
                metrics[f"{what}_over_{label}_{name}"] = Metric(spread.median, "x")
                metrics[f"{what}_over_{label}_p10_{name}"] = Metric(spread.p10, "x")
                metrics[f"{what}_over_{label}_p90_{name}"] = Metric(spread.p90, "x")
    return metrics


def unaligned(name: str) -> str:
    """The form that is the same but for WA; empty for one without WA."""
    form = FORMS[name]
    return next(other for other, found in FORMS.items() if found == form._replace(align=False)) if form.align else ""


EXPERIMENT = Experiment(
    name="weight_align_cost",
    kind="measure",
    summary="time and weigh a training step with every normalisation of chapter 5 and without, and inference after folding",
    settings_type=Settings,
    data=(),
    function=run,
)
