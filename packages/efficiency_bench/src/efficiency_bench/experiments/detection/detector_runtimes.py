"""One detector on the CPU by several runtimes and arithmetics: frames per second, and how far its boxes move."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.detection.video_detection_speed import Settings as SpeedSettings
from efficiency_bench.experiments.detection.video_detection_speed import detectors
from efficiency_bench.records.run_record import Metric
from efficiency_core.errors import UsageError
from efficiency_core.loop import check_least
from location_anticipation import DetectorConfig

if TYPE_CHECKING:
    from torch import Tensor

FORMS: dict[str, dict[str, Any]] = {
    "torch": {},
    "channels_last": {"channels_last": True},
    "bf16": {"channels_last": True, "precision": "bf16"},
    "compiled": {"channels_last": True, "compile": True},
    "compiled_bf16": {"channels_last": True, "precision": "bf16", "compile": True},
    "openvino": {"runtime": "openvino"},
    "openvino_bf16": {"runtime": "openvino", "precision": "bf16"},
}
"""Name -> options of `location_anticipation.inference.Inference`."""
CLOSE = 0.5
"""Pixels by which no side of a box may move to count as the same box."""


@dataclass(frozen=True)
class Settings:
    """A ResNet-50 with a feature pyramid at 480 pixels, 80 classes, one thread."""

    detector: DetectorConfig = field(
        default_factory=lambda: DetectorConfig(
            num_classes=80, horizon=1, backbone="resnet50", min_size=480, max_size=800, proposals_test=1000
        )
    )
    """The detector; its trajectory head does not run."""
    height: int = 480
    """Height of a frame in pixels."""
    width: int = 640
    """Width of a frame in pixels."""
    forms: tuple[str, ...] = ("torch", "channels_last", "bf16", "openvino", "openvino_bf16")
    """Runtimes to compare, of `FORMS`; torch is always the first. Those with OpenVINO need `pip install openvino`."""
    threads: int = 1
    """Threads of torch and of OpenVINO."""
    rounds: int = 15
    """Rounds of the interleaved timing."""
    warmup: int = 1
    """Untimed calls of each form before."""

    def __post_init__(self) -> None:
        check_least(self, 1, "threads", "rounds", "height", "width")
        unknown = [name for name in self.forms if name not in FORMS]
        if unknown or self.forms[:1] != ("torch",):
            raise ValueError(f"forms must be torch and some of {', '.join(FORMS)}, got {', '.join(self.forms)}")


def run(settings: Settings, context: Context) -> Outcome:
    """Compare the boxes on one frame, then time all forms on it."""
    import torch

    from efficiency_bench.measure.speed import interleave, protocol, ratio
    from location_anticipation.inference import Inference

    if context.device.type != "cpu":
        raise UsageError(f"detector_runtimes compares runtimes of the CPU; set the device to cpu, not {context.device}")
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        size: dict[str, Any] = {"detector": settings.detector, "height": settings.height, "width": settings.width}
        plain, _ = detectors(SpeedSettings(**size, keyframe_steps=(), peers=()), context.seed)
        generator = torch.Generator().manual_seed(context.seed)
        image = torch.rand(3, settings.height, settings.width, generator=generator)
        ways: dict[str, Callable[[], dict[str, Tensor]]] = {}
        for name in settings.forms:
            inference = Inference(**FORMS[name])
            ways[name] = _detecting(inference.prepare(copy.deepcopy(plain)), inference, image)
        found = {name: way() for name, way in ways.items()}
        timed = interleave(ways, rounds=settings.rounds, warmup=settings.warmup, device=context.device)
    finally:
        torch.set_num_threads(before)
    metrics = {"boxes": Metric(float(len(found["torch"]["boxes"])), "boxes")}
    for name in settings.forms:
        fps, speedup = timed[name].units_per_second, ratio(timed, "torch", name)
        metrics |= {key: Metric(value, "frames/s") for key, value in fps.named("fps", name).items()}
        metrics |= {key: Metric(value, "x") for key, value in speedup.named("speedup", name).items()}
        metrics[f"same_boxes_{name}"] = Metric(100 * same_boxes(found["torch"], found[name]), "%")
    details = protocol(timed, "latency, batch 1, one frame of noise in memory, network and decoding of boxes") | {
        "detector": asdict(plain.config),
        "weights": "random, classifier biased so that the detection slots fill",
        "forms": {name: FORMS[name] for name in settings.forms},
        "same_boxes": f"share of torch's boxes that have one of the same class with every side within {CLOSE} pixels",
    }
    return Outcome(metrics, details)


def same_boxes(expected: dict[str, Tensor], found: dict[str, Tensor]) -> float:
    """Share of the expected boxes that have one of the same class among those found, with every side within `CLOSE` pixels."""
    import torch

    if not len(expected["boxes"]):
        return 1.0
    if not len(found["boxes"]):
        return 0.0
    distance = torch.cdist(expected["boxes"], found["boxes"], p=torch.inf)
    other = expected["labels"][:, None] != found["labels"]
    return float((distance.masked_fill(other, torch.inf).amin(dim=1) <= CLOSE).float().mean())


def _detecting(model: Any, inference: Any, image: Tensor) -> Callable[[], dict[str, Tensor]]:
    import torch

    def detect() -> dict[str, Tensor]:
        with torch.inference_mode(), inference.arithmetic(image.device):
            found: dict[str, Tensor] = model([image])[0]
        return found

    return detect


EXPERIMENT = Experiment(
    "detector_runtimes",
    "measure",
    "time one detector on the CPU by several runtimes and arithmetics",
    Settings,
    (),
    run,
)
