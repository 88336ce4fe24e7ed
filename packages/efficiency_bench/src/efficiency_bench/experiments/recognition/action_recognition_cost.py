"""The cost of a video with some, all or clustered frames: multiply-adds, memory and time of a training step (table 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.recognition.video_training import FORMS
from efficiency_bench.records.run_record import Metric
from efficiency_core.loop import check_least
from full_video import NetworkConfig

if TYPE_CHECKING:
    from efficiency_bench.measure.speed import SpeedResult

BASE, ALL = "tsm8", "tsm_all"
"""Forms that memory and time are compared with."""


@dataclass(frozen=True)
class Settings:
    """The values of the thesis's table 3.1 are the default: a ResNet-18, one video of 32 frames at 224x224."""

    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(classes=4, frozen_norm="stem"))
    """The network; Move4MNIST has 4 classes. The forms set its clusters."""
    frames: int = 32
    """Frames of the video."""
    long_frames: int = 2048
    """Frames of a long video, whose memory is compared with that of the other if the stem is streamed; 0 leaves it out."""
    image_size: int = 224
    """Side of the frames in pixels, for multiply-adds and memory."""
    forms: tuple[str, ...] = tuple(FORMS)
    """Names of the forms that are measured."""
    chunk: int = 4
    """Frames that pass the stem at once if it is checkpointed or streamed."""
    flops: bool = True
    """Whether multiply-adds are counted, which takes a forward pass of each plain form."""
    timed: bool = True
    """Whether training steps are timed; the rest is counted, with the same result on every machine."""
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
        check_least(self, 16, "frames")
        check_least(self, 32, "image_size", "timed_size")
        check_least(self, 1, "chunk", "rounds")
        if self.long_frames and self.long_frames < self.frames:
            raise ValueError(f"long_frames must be 0 or at least {self.frames} frames, got {self.long_frames}")
        if self.network.clusters:
            raise ValueError("network.clusters must be 0: the forms set the clusters")


def run(settings: Settings, context: Context) -> Outcome:
    """Count multiply-adds and memory and, where asked for, time a training step of every form."""
    import torch

    from efficiency_bench.experiments.recognition import training_steps
    from efficiency_bench.measure.speed import protocol

    step = training_steps.Step(settings.network, settings.frames, settings.image_size, settings.chunk)
    metrics: dict[str, Metric] = {}
    peaks, skipped = dict[str, float](), dict[str, int]()
    for name in settings.forms:
        form = FORMS[name]
        if settings.flops and form.memory == "plain":  # a forward pass is the same in all three
            macs, without = training_steps.forward_macs(step, form)
            metrics[f"flops_g_{name}"] = Metric(macs / 1e9, "GMAC/video")
            skipped |= without
        peaks[name] = training_steps.counted_peak(step, form)
        metrics[f"memory_gb_{name}"] = Metric(peaks[name] / 1e9, "GB")
        metrics[f"saved_gb_{name}"] = Metric(training_steps.saved(step, form) / 1e9, "GB")
        if settings.long_frames and form.memory == "streamed":
            long = training_steps.counted_peak(replace(step, frames=settings.long_frames), form)
            metrics[f"memory_long_gb_{name}"] = Metric(long / 1e9, "GB")
            metrics[f"memory_long_over_short_{name}"] = Metric(long / peaks[name], "x")
    base = peaks[BASE] if BASE in peaks else training_steps.counted_peak(step, FORMS[BASE])
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
            measured = training_steps.measured_peak(step, FORMS[name], context.device)
            metrics[f"cuda_memory_gb_{name}"] = Metric(measured / 1e9, "GB")
    if settings.timed:
        torch.manual_seed(context.seed)
        step = replace(step, size=settings.timed_size)
        forms = {name: FORMS[name] for name in settings.forms}
        timed = training_steps.time_steps(step, forms, settings.rounds, settings.warmup, context.device)
        metrics |= time_metrics(timed)
        rounds = max(settings.rounds, 5)
        share = training_steps.clustering_share(step, FORMS["clustered8"], rounds, settings.warmup, context.device)
        metrics |= {name: Metric(100 * value, "%") for name, value in share.named("clustering", "share").items()}
        scenario = f"training step, one video of {settings.frames} frames at {settings.timed_size} px, model only"
        details |= protocol(timed, scenario)
    return Outcome(metrics, details)


def time_metrics(timed: dict[str, SpeedResult]) -> dict[str, Metric]:
    """Seconds of each form, and ratios of forms that were timed together."""
    from efficiency_bench.measure.speed import ratio

    metrics = {f"seconds_{name}": Metric(result.per_call.median, "s") for name, result in timed.items()}
    for name in timed:
        plain = f"clustered{name.removeprefix('streamed').removeprefix('checkpointed')}"
        pairs = {"tsm_all": ALL} | ({"plain": plain} if plain != name else {})
        for label, other in pairs.items():
            if other in timed:
                spread = ratio(timed, name, other).named(f"time_over_{label}", name)
                metrics |= {key: Metric(value, "x") for key, value in spread.items()}
    return metrics


EXPERIMENT = Experiment(
    "action_recognition_cost", "measure",
    "count and time a training step with some, all or clustered frames of a video", Settings, (), run,
)  # fmt: skip
