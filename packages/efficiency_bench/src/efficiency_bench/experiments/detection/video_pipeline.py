"""A video file through a detector, end to end, against the slower of its parts: the decoder, or the network on keyframes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.detection.video_detection_speed import Settings as SpeedSettings
from efficiency_bench.experiments.detection.video_detection_speed import detectors
from efficiency_bench.records.run_record import Metric
from efficiency_core.errors import UsageError
from efficiency_core.loop import check_least
from location_anticipation import DetectorConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Settings:
    """A detector so small that the rest of the work shows, on every sixteenth frame."""

    video: str = ""
    """A video file; empty: one of `frames` drawn frames, H.264, is made for the run."""
    frames: int = 160
    """Frames of the video that are read at most."""
    height: int = 256
    """Height of the drawn frames in pixels."""
    width: int = 340
    """Width of the drawn frames in pixels."""
    keyframe_step: int = 16
    """T: the network runs on every T-th frame."""
    detector: DetectorConfig = field(
        default_factory=lambda: DetectorConfig(
            num_classes=3, horizon=15, backbone="resnet18", channels=64, representation=256, min_size=128, max_size=256,
            proposals_test=50, detections_per_image=20,
        )
    )  # fmt: skip
    """The detector, untrained, with all its detection slots filled."""
    rounds: int = 15
    """Rounds of the interleaved timing."""
    warmup: int = 1
    """Untimed passes before."""

    def __post_init__(self) -> None:
        check_least(self, 1, "keyframe_step", "rounds")
        check_least(self, 2, "frames", "height", "width")
        if self.keyframe_step > self.detector.horizon + 1:
            raise ValueError(f"keyframe_step may be {self.detector.horizon + 1} at most, got {self.keyframe_step}")


def run(settings: Settings, context: Context) -> Outcome:
    """Time the whole, its decoder alone and its network alone on the keyframes, in turn."""
    from efficiency_bench.measure.speed import interleave, protocol, ratio
    from location_anticipation.data import open_source
    from location_anticipation.inference import detect_video

    source = Path(settings.video) if settings.video else drawn_video(settings, context)
    size: dict[str, Any] = {"detector": settings.detector, "height": settings.height, "width": settings.width}
    _, model = detectors(SpeedSettings(**size, keyframe_steps=(), peers=()), context.seed)
    model = model.to(context.device)
    frames, network = on_keyframes(settings, source, model)
    with open_source(source) as opened:
        shape = f"{opened.width}x{opened.height}"

    def decode() -> None:
        with open_source(source) as video:
            for index, _ in enumerate(video, 1):
                if index == frames:
                    return

    def everything() -> None:
        detect_video(
            model, source, keyframe_step=settings.keyframe_step, out_json=context.folder / "found.json",
            max_frames=frames, device=context.device,
        )  # fmt: skip

    ways: dict[str, Callable[[], None]] = {"whole": everything, "decoder": decode, "network": network}
    units = dict.fromkeys(ways, frames)
    timed = interleave(ways, units=units, rounds=settings.rounds, warmup=settings.warmup, device=context.device)
    bound = max(("decoder", "network"), key=lambda name: timed[name].per_call.median)
    share = ratio(timed, bound, "whole")
    metrics = {"frames": Metric(float(frames), "frames")}
    for name, result in timed.items():
        metrics |= {key: Metric(value, "frames/s") for key, value in result.units_per_second.named("fps", name).items()}
    metrics |= {key: Metric(value, "1") for key, value in share.named("share", "of_bound").items()}
    scenario = "a video file to detections as JSON; the decoder alone; the network alone on the keyframes, in memory"
    details = protocol(timed, scenario) | {
        "detector": asdict(model.config), "weights": "random, classifier biased so that the detection slots fill",
        "video": f"{source.name if settings.video else 'drawn'}, {shape}", "bound": bound,
        "share_of_bound": "frames per second of the whole over the lower of the decoder's and T times the network's",
    }  # fmt: skip
    return Outcome(metrics, details)


def on_keyframes(settings: Settings, source: Path, model: nn.Module) -> tuple[int, Callable[[], None]]:
    """The number of frames that are read, and the network's whole work on them: its pass over each keyframe."""
    import torch

    from location_anticipation.data import open_source

    device = next(model.parameters()).device
    images, frames = [], 0
    with open_source(source) as video:
        for frame in video:
            if frames % settings.keyframe_step == 0:
                pixels = torch.from_numpy(video.rgb(frame)).permute(2, 0, 1)
                images.append(pixels.float().div(255).to(device))
            frames += 1
            if frames == settings.frames:
                break
    if frames < 2:
        raise UsageError(f"{source}: a video of 2 frames or more is needed, this one has {frames}")

    def run_network() -> None:
        with torch.inference_mode():
            for image in images:
                model([image])

    return frames, run_network


def drawn_video(settings: Settings, context: Context) -> Path:
    """A video in the run's folder: coloured noise, smooth as a photo is, that moves, with a bright square on it."""
    import torch
    from torch.nn.functional import interpolate

    from location_anticipation.inference import create_video

    generator = torch.Generator().manual_seed(context.seed)
    height, width = settings.height, settings.width
    coarse = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=generator)
    ground = interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0).mul(255).byte().numpy()
    side = max(1, min(height, width) // 4)
    path = context.folder / "drawn.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    with create_video(path, Fraction(25), (width, height)) as write:
        for index in range(settings.frames):
            frame = np.roll(ground, index, axis=1)
            top = round((height - side) * (0.5 + 0.5 * math.sin(index / 20)))
            left = (3 * index) % max(1, width - side)
            frame[top : top + side, left : left + side] = 255
            write(frame)
    return path


EXPERIMENT = Experiment(
    "video_pipeline",
    "measure",
    "time detection in a video file end to end against what bounds it, the decoder or the network",
    Settings,
    (),
    run,
)
