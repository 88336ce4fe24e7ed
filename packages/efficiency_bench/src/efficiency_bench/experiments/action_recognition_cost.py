"""What a video costs with some, all or clustered frames: multiply-adds, memory and time of a training step (table 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy

from ..errors import WorkError
from ..flops import count_macs, cross_check
from ..memory import cuda_peak, peak_live_bytes, saved_bytes
from ..records import Metric
from ..speed import SpeedResult, interleave, protocol, ratio
from .base import Context, Experiment, Outcome, checking

if TYPE_CHECKING:
    from full_video.networks import NetworkConfig, VideoNetwork

BASE, ALL = "tsm8", "tsm_all"
"""What memory and time are compared with."""
SHORT = 16
"""Frames of the video of a first step, which makes the momentum."""


class Form(NamedTuple):
    """One way to train on a video."""

    frames: int
    """Frames that the network is given; 0 is all of the video's."""
    clusters: int
    memory: Literal["plain", "checkpointed", "streamed"]


FORMS = {
    "tsm8": Form(8, 0, "plain"),
    "tsm16": Form(16, 0, "plain"),
    "tsm_all": Form(0, 0, "plain"),
    "clustered8": Form(0, 8, "plain"),
    "clustered16": Form(0, 16, "plain"),
    "checkpointed8": Form(0, 8, "checkpointed"),
    "checkpointed16": Form(0, 16, "checkpointed"),
    "streamed8": Form(0, 8, "streamed"),
    "streamed16": Form(0, 16, "streamed"),
}
"""TSM with 8, 16 and all frames; all frames in 8 and 16 clusters by plain autograd (the thesis's form), with the stem
recomputed in chunks, and streamed."""


class Video(NamedTuple):
    """One video of random pixels."""

    frames: Any
    """uint8 (1, T, 3, S, S), or a list of one source of frames."""
    label: Tensor
    """int64 (1,)."""


@dataclass(frozen=True)
class Settings:
    """The thesis's figures of table 3.1 are the default: a ResNet-18, one video of 32 frames at 224x224."""

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet18"
    """torchvision's name of the network."""
    frames: int = 32
    """Frames of the video."""
    long_frames: int = 2048
    """Frames of a long video, whose memory is compared with that of the other where the stem is streamed; 0 leaves it out."""
    image_size: int = 224
    """Side of the frames in pixels, for multiply-adds and memory."""
    classes: int = 4
    """Classes of the network; Move4MNIST has 4."""
    forms: tuple[str, ...] = tuple(FORMS)
    """Which ways to train are looked at."""
    chunk: int = 4
    """Frames that pass the stem at once where it is checkpointed or streamed."""
    flops: bool = True
    """Whether multiply-adds are counted, which takes a forward pass of each plain form."""
    timed: bool = True
    """Whether training steps are timed; the rest is counted, on every machine the same."""
    timed_size: int = 224
    """Side of the frames in pixels that are timed."""
    rounds: int = 10
    """Rounds of the interleaved timing."""
    warmup: int = 1
    """Untimed calls of each candidate before."""

    def __post_init__(self) -> None:
        if unknown := [form for form in self.forms if form not in FORMS]:
            raise ValueError(f"unknown form {unknown[0]!r}; there are {', '.join(FORMS)}")
        if not self.forms:
            raise ValueError(f"expected at least one form of {', '.join(FORMS)}, got none")
        for name, least in (("frames", 16), ("image_size", 32), ("timed_size", 32), ("chunk", 1), ("rounds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.long_frames and self.long_frames < self.frames:
            raise ValueError(f"long_frames must be 0 or at least {self.frames} frames, got {self.long_frames}")


def run(settings: Settings, context: Context) -> Outcome:
    """Count, weigh and, where asked for, time a training step of every form."""
    metrics: dict[str, Metric] = {}
    peaks: dict[str, float] = {}
    skipped: dict[str, int] = {}
    for name in settings.forms:
        form = FORMS[name]
        if settings.flops and form.memory == "plain":  # a forward pass is the same in all three
            macs, without = forward_macs(settings, form)
            metrics[f"flops_g_{name}"] = Metric(macs / 1e9, "GMAC/video")
            skipped |= without
        peaks[name] = counted_peak(settings, form, settings.frames)
        metrics[f"memory_gb_{name}"] = Metric(peaks[name] / 1e9, "GB")
        metrics[f"saved_gb_{name}"] = Metric(saved(settings, form) / 1e9, "GB")
        if settings.long_frames and form.memory == "streamed":
            long = counted_peak(settings, form, settings.long_frames)
            metrics[f"memory_long_gb_{name}"] = Metric(long / 1e9, "GB")
            metrics[f"memory_long_over_short_{name}"] = Metric(long / peaks[name], "x")
    base = peaks[BASE] if BASE in peaks else counted_peak(settings, FORMS[BASE], settings.frames)
    metrics |= {f"memory_over_tsm8_{name}": Metric(peak / base, "x") for name, peak in peaks.items()}

    details: dict[str, Any] = {
        "input_size": [settings.image_size, settings.image_size],
        "dtype": "float32",
        "flops": "one per multiply-add, of one forward pass, as fvcore counts: batch normalisation and pooling included",
        "flops_without_formula": skipped,
        "memory": "most bytes of tensors alive at one time in two training steps on one video, from the first weight on: "
        "weights, gradients, momentum, activations, and the frames of the video (of a streamed one, a chunk)",
        "saved": "bytes that operators save through autograd; a streamed stem keeps its weights and the frames alone",
        "norm": "fixed statistics in the stem",
    }
    if context.device.type == "cuda":
        for name in settings.forms:
            measured = measured_peak(settings, FORMS[name], context.device)
            metrics[f"cuda_memory_gb_{name}"] = Metric(measured / 1e9, "GB")
    if settings.timed:
        timed, share = time_steps(settings, context)
        metrics |= time_metrics(timed)
        metrics["clustering_share"] = Metric(share, "%")
        scenario = f"training step, one video of {settings.frames} frames at {settings.timed_size} px, model only"
        details |= protocol(timed, scenario)
    return Outcome(metrics, details)


def network_config(settings: Settings, form: Form) -> NetworkConfig:
    """The network of a form."""
    from full_video.networks import NetworkConfig

    with checking("settings of the network"):
        return NetworkConfig(
            classes=settings.classes, backbone=settings.backbone, clusters=form.clusters, frozen_norm="stem"
        )


def forward_macs(settings: Settings, form: Form) -> tuple[int, dict[str, int]]:
    """Multiply-adds of one forward pass on one video as fvcore counts them, and the operators it has no formula for.

    fvcore's tracer does not take the bit operations of clustering, so it counts what is before and behind them; torch's own
    counter must agree on convolutions and matrix products, and find none in the whole network that the parts lack.

    Raises:
        WorkError: it does not.
    """
    from full_video.networks import build_network

    network = build_network(network_config(settings, form)).eval()
    frames = torch.zeros(_shape(settings.frames, form, settings.image_size))
    check = cross_check(_Parts(network) if form.clusters else network, (frames,))
    whole = count_macs(network, (frames,)).macs if form.clusters else check.torch.macs
    if whole != check.torch.macs:
        raise WorkError(f"stem and tail have {check.torch.macs:,} multiply-adds, the whole network {whole:,}")
    return check.fvcore.macs + sum(check.fvcore.elementwise.values()), dict(check.fvcore.skipped)


class _Parts(nn.Module):
    """A clustering network without clustering: every frame through the stem, then as many maps as there are clusters."""

    def __init__(self, network: VideoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        """(1, T, 3, S, S) to (1, classes)."""
        maps = self.network.stem(frames.flatten(0, 1))
        return self.network.tail(maps[None, : self.network.config.clusters])


def counted_peak(settings: Settings, form: Form, frames: int) -> int:
    """The most bytes alive in two training steps, weights and frames included: the second, on a video of `frames`, is the
    one with momentum. Tensors have no data, so that the longest video is counted on any machine."""

    def two_steps() -> None:
        step = _training(settings, form, torch.device("cpu"))
        for count in (SHORT, frames):
            step(_video(count, form, settings.image_size, torch.device("cpu"), file=form.memory == "streamed"))

    with FakeTensorMode():
        return peak_live_bytes(two_steps)


def saved(settings: Settings, form: Form) -> int:
    """Bytes autograd keeps for the backward pass of one video, weights not counted."""
    from full_video.networks import build_network

    with FakeTensorMode():
        network = _prepared(build_network(network_config(settings, form)), settings, form)
        frames, label = _video(settings.frames, form, settings.image_size, torch.device("cpu"))
        return saved_bytes(lambda: cross_entropy(network(frames), label), exclude=network).total


def measured_peak(settings: Settings, form: Form, device: torch.device) -> int:
    """`torch.cuda.max_memory_allocated` of the second training step."""
    step = _training(settings, form, device)
    video = _video(settings.frames, form, settings.image_size, device)
    step(video)
    return cuda_peak(lambda: step(video), device).total


def time_steps(settings: Settings, context: Context) -> tuple[dict[str, SpeedResult], float]:
    """Training steps of every form, interleaved, and the part of a forward pass that clustering takes, in percent."""
    from full_video.aggregation import TemporalAggregation, cluster_means
    from full_video.networks import build_network

    device = context.device
    torch.manual_seed(context.seed)
    steps: dict[str, Callable[[], object]] = {}
    for name in settings.forms:
        step = _training(settings, FORMS[name], device)
        steps[name] = partial(step, _video(settings.frames, FORMS[name], settings.timed_size, device))
    timed = interleave(steps, rounds=settings.rounds, warmup=settings.warmup, device=device)

    form = FORMS["clustered8"]
    network = build_network(network_config(settings, form)).eval().to(device)
    frames, _ = _video(settings.frames, form, settings.timed_size, device)
    with torch.inference_mode():
        maps = network.stem(frames[0])[None]
        grouping = TemporalAggregation(form.clusters)
        parts = interleave(
            {
                "forward": lambda: network(frames),
                "clustering": lambda: cluster_means(maps, grouping.group(maps)),
            },
            rounds=max(settings.rounds, 5),
            warmup=settings.warmup,
            device=device,
        )
    return timed, 100 / ratio(parts, "forward", "clustering").median


def time_metrics(timed: dict[str, SpeedResult]) -> dict[str, Metric]:
    """Seconds of each form, and ratios of forms that were timed together."""
    metrics = {f"seconds_{name}": Metric(result.per_call.median, "s") for name, result in timed.items()}
    for name in timed:
        plain = f"clustered{name.removeprefix('streamed').removeprefix('checkpointed')}"
        pairs = {"tsm_all": ALL} | ({"plain": plain} if plain != name else {})
        for label, other in pairs.items():
            if other in timed:
                spread = ratio(timed, name, other)
                metrics[f"time_over_{label}_{name}"] = Metric(spread.median, "x")
                metrics[f"time_over_{label}_p10_{name}"] = Metric(spread.p10, "x")
                metrics[f"time_over_{label}_p90_{name}"] = Metric(spread.p90, "x")
    return metrics


def _shape(frames: int, form: Form, size: int) -> tuple[int, ...]:
    return (1, form.frames or frames, 3, size, size)


def _video(frames: int, form: Form, size: int, device: torch.device, *, file: bool = False) -> Video:
    """One video, uint8 as a reader gives it, and its label. Where frames are streamed they stay on the host, or in a file of
    which no more is read than what is asked for."""
    place = torch.device("cpu") if form.memory == "streamed" else device
    label = torch.zeros(1, dtype=torch.int64, device=device)
    if file:
        return Video([_File(form.frames or frames, size)], label)
    return Video(torch.randint(0, 256, _shape(frames, form, size), dtype=torch.uint8, device=place), label)


@dataclass(frozen=True)
class _File:
    """In place of a video file: frames that are there while they are looked at."""

    frames: int
    size: int

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, wanted: slice) -> Tensor:
        count = len(range(*wanted.indices(self.frames)))
        return torch.randint(0, 256, (count, 3, self.size, self.size), dtype=torch.uint8)


def _prepared(network: VideoNetwork, settings: Settings, form: Form) -> VideoNetwork:
    network.memory, network.chunk = form.memory, settings.chunk
    return network.train()


def _training(settings: Settings, form: Form, device: torch.device) -> Callable[[Video], None]:
    """A step of the training of a new network by SGD with momentum, to be called with a video and its label."""
    from full_video.networks import build_network

    with device:  # moved there instead, tensors without data would have to be exchanged
        network = _prepared(build_network(network_config(settings, form)), settings, form)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9, weight_decay=0.0005)

    def step(video: Video) -> None:
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(network(video.frames), video.label).backward()
        optimizer.step()

    return step


EXPERIMENT = Experiment(
    name="action_recognition_cost",
    kind="measure",
    summary="count, weigh and time a training step with some, all or clustered frames of a video",
    settings_type=Settings,
    data=(),
    function=run,
)
