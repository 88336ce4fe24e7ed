"""A training step on one video in several forms: its multiply-adds, its memory and its time (table 3.1)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy

from efficiency_bench.experiments.recognition.video_training import Form
from efficiency_bench.measure.flops import count_macs, cross_check
from efficiency_bench.measure.memory import cuda_peak, peak_live_bytes, saved_bytes
from efficiency_bench.measure.speed import Ratio, SpeedResult, interleave, ratio
from efficiency_core.errors import WorkError
from full_video import NetworkConfig, TemporalAggregation, VideoNetwork, build_network

SHORT = 16
"""Frames of the video of a first step, which makes the momentum."""
CPU = torch.device("cpu")
Video = tuple[Any, Tensor]
"""One video of random pixels: frames, uint8 (1, T, 3, S, S) or a list of one source of frames, and label int64 (1,)."""


@dataclass(frozen=True)
class Step:
    """Size of the training step of every form."""

    network: NetworkConfig
    """The network; a form sets its clusters."""
    frames: int
    """Frames of the video."""
    size: int
    """Side of the frames in pixels."""
    chunk: int
    """Frames that pass the stem at once if it is checkpointed or streamed."""

    def build(self, form: Form) -> VideoNetwork:
        """The network of a form."""
        return build_network(replace(self.network, clusters=form.clusters))

    def prepared(self, form: Form) -> VideoNetwork:
        """The same, ready for training in the form's memory."""
        network = self.build(form)
        network.memory, network.chunk = form.memory, self.chunk
        return network.train()

    def shape(self, form: Form) -> tuple[int, ...]:
        """Shape of the frames of one video."""
        return (1, form.frames or self.frames, 3, self.size, self.size)

    def video(self, form: Form, device: torch.device, *, file: bool = False) -> Video:
        """One video, uint8 as a reader gives it, and its label. Streamed frames stay on the host, or in a file from which
        only the frames that are asked for are read."""
        label = torch.zeros(1, dtype=torch.int64, device=device)
        if file:
            return [_File(self.shape(form)[1], self.size)], label
        place = CPU if form.memory == "streamed" else device
        return torch.randint(0, 256, self.shape(form), dtype=torch.uint8, device=place), label

    def training(self, form: Form, device: torch.device) -> Callable[[Video], None]:
        """A training step of a new network by SGD with momentum, to be called with a video."""
        with device:  # moved there later, tensors without data would have to be exchanged
            network = self.prepared(form)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9, weight_decay=0.0005)

        def step(video: Video) -> None:
            frames, label = video
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(network(frames), label).backward()
            optimizer.step()

        return step


def forward_macs(step: Step, form: Form) -> tuple[int, dict[str, int]]:
    """Multiply-adds of one forward pass on one video as fvcore counts them, and the operators it has no formula for.

    fvcore's tracer does not accept the bit operations of clustering, so it counts the parts before and after them. torch's
    own counter must agree on convolutions and matrix products, and find none in the whole network that the parts lack;
    a `WorkError` says so otherwise.
    """
    network = step.build(form).eval()
    frames = torch.zeros(step.shape(form))
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
        """(1, T, 3, S, S) -> (1, classes)."""
        maps = self.network.stem(frames.flatten(0, 1))
        return self.network.tail(maps[None, : self.network.config.clusters])


def counted_peak(step: Step, form: Form) -> int:
    """Most bytes alive in two training steps, with weights and frames; the second step is the one with momentum.

    Tensors have no data, so that the longest video is counted on any machine.
    """

    def two_steps() -> None:
        train = step.training(form, CPU)
        for frames in (SHORT, step.frames):
            train(replace(step, frames=frames).video(form, CPU, file=form.memory == "streamed"))

    with FakeTensorMode():
        return peak_live_bytes(two_steps)


def saved(step: Step, form: Form) -> int:
    """Bytes that autograd keeps for the backward pass of one video, without weights."""
    with FakeTensorMode():
        network = step.prepared(form)
        frames, label = step.video(form, CPU)
        return saved_bytes(lambda: cross_entropy(network(frames), label), exclude=network).total


def measured_peak(step: Step, form: Form, device: torch.device) -> int:
    """`torch.cuda.max_memory_allocated` of the second training step."""
    train, video = step.training(form, device), step.video(form, device)
    train(video)
    return cuda_peak(lambda: train(video), device).total


def time_steps(
    step: Step, forms: Mapping[str, Form], rounds: int, warmup: int, device: torch.device
) -> dict[str, SpeedResult]:
    """Times of a training step of every form, interleaved."""
    steps = {name: partial(step.training(form, device), step.video(form, device)) for name, form in forms.items()}
    return interleave(steps, rounds=rounds, warmup=warmup, device=device)


def clustering_share(step: Step, form: Form, rounds: int, warmup: int, device: torch.device) -> Ratio:
    """Share of a forward pass that clustering takes."""
    network = step.build(form).eval().to(device)
    frames, _ = step.video(form, device)
    with torch.inference_mode():
        maps = network.stem(frames[0])[None]
        calls = {"forward": partial(network, frames), "clustering": partial(TemporalAggregation(form.clusters), maps)}
        parts = interleave(calls, rounds=rounds, warmup=warmup, device=device)
    return ratio(parts, "clustering", "forward")


@dataclass(frozen=True)
class _File:
    """In place of a video file: frames that exist while they are used."""

    frames: int
    size: int

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, wanted: slice) -> Tensor:
        count = len(range(*wanted.indices(self.frames)))
        return torch.randint(0, 256, (count, 3, self.size, self.size), dtype=torch.uint8)
