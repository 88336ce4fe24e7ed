"""What fewer keyframes cost and bring: one detector, looked through at many keyframe steps (figure 2.5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.detection.annotated_videos import DATA, check_seed, check_step, open_split
from efficiency_bench.records.run_record import Metric
from efficiency_core.loop import check_least
from location_anticipation import DetectorConfig, TrainConfig
from location_anticipation.data import Supervision

if TYPE_CHECKING:
    from torch import Tensor

    from location_anticipation import VideoDetector


@dataclass(frozen=True)
class Settings:
    """A detector that anticipates far, and the keyframe steps that it is evaluated with."""

    detector: DetectorConfig = field(default_factory=lambda: DetectorConfig(horizon=16))
    """The detector."""
    supervision: Supervision = field(default_factory=Supervision)
    """Keyframes of the training, and the motion between them."""
    training: TrainConfig = field(default_factory=TrainConfig)
    """The training. The run sets `seed`."""
    steps: tuple[int, ...] = (1, 2, 4, 8, 12, 16)
    """Fixed keyframe steps."""
    tolerances: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2)
    """Tolerances of the automatic keyframe step (`location_anticipation.inference.AutoStep`)."""
    timed_videos: int = 8
    """Videos of the test split that are timed, the first of every equal part of it."""
    rounds: int = 10
    """Rounds of the interleaved timing in any case."""
    most_rounds: int = 30
    """Rounds at most, where the interval of a speed-up is still wide."""
    warmup: int = 1
    """Untimed calls of each candidate before."""

    def __post_init__(self) -> None:
        # The training comes first: settings that would stop the run after it are refused before.
        check_seed(self.training.seed)
        horizon = self.detector.horizon
        if horizon < 1 or not self.steps:
            raise ValueError(f"expected a horizon of at least 1 and steps, got {horizon} and {list(self.steps)}")
        for step in self.steps:
            check_step("steps", step, horizon)
        if negative := [tolerance for tolerance in self.tolerances if not tolerance >= 0]:
            raise ValueError(f"tolerances must be 0 or more, got {negative[0]}")
        check_least(self, 1, "timed_videos", "rounds")
        check_least(self, 0, "warmup")


def run(settings: Settings, context: Context) -> Outcome:
    """Train once, or continue the training in `context.folder`; score every step on all test videos and time it on some."""
    from efficiency_bench.measure.flops import count_macs
    from efficiency_bench.measure.speed import interleave, protocol, ratio
    from location_anticipation import VideoDetector, train
    from location_anticipation.data import Keyframes
    from location_anticipation.inference import AutoStep
    from location_anticipation.metrics import evaluate_method

    training, test = open_split(context, "train"), open_split(context, "test")
    recipe = replace(settings.training, seed=context.seed)
    data = Keyframes(training, horizon=settings.detector.horizon, supervision=settings.supervision, seed=context.seed)
    trained = train(data, settings.detector, recipe, context.folder, device=context.device.type)
    model = trained.model.to(context.device)

    methods: dict[str, VideoDetector] = {f"step{step}": VideoDetector(model, step) for step in settings.steps}
    for tolerance in settings.tolerances:
        methods[f"auto{tolerance:g}".replace(".", "_")] = VideoDetector(model, AutoStep(tolerance=tolerance))
    every = len(test) / min(settings.timed_videos, len(test))
    chosen = [int(every * i) for i in range(min(settings.timed_videos, len(test)))]
    videos = [[test.frame(v, t).to(context.device) for t in range(len(test.tracks(v).annotated))] for v in chosen]
    candidates = {name: partial(_through, method, videos) for name, method in methods.items()}
    units = dict.fromkeys(candidates, sum(map(len, videos)))
    rounds = {"rounds": settings.rounds, "most_rounds": settings.most_rounds, "warmup": settings.warmup}
    timed = interleave(candidates, units=units, device=context.device, **rounds)
    macs = count_macs(model, ([videos[0][0]],)).macs
    slowest = f"step{min(settings.steps)}"

    metrics: dict[str, Metric] = {}
    for name, method in methods.items():
        found = evaluate_method(method, test, flavours=("coco",))
        coco = found.scores.overall["coco"]
        fps, speedup = timed[name].units_per_second.named("fps", name), ratio(timed, slowest, name)
        metrics |= {
            f"video_map_{name}": Metric(100 * coco.map, "%"),
            f"video_map_50_{name}": Metric(100 * coco.map_50, "%"),
            f"keyframe_share_{name}": Metric(100 * found.keyframe_share, "%"),
            f"flops_g_{name}": Metric(macs * found.keyframe_share / 1e9, "GMAC/frame"),
            **{key: Metric(value, "frames/s") for key, value in fps.items()},
            **{key: Metric(value, "x") for key, value in speedup.named("speedup", name).items()},
        }
    details = protocol(timed, "latency, batch 1, model only: whole videos, frames are on the device") | {
        "detector": asdict(model.config),
        "training": asdict(recipe),
        "timed_videos": chosen,
        "speedup_over": slowest,
        "flops_g": "multiply-adds of a keyframe times the share of keyframes in all test videos",
        "evaluated": "every annotated frame, each video as a stream",
    }
    return Outcome(metrics, details)


def _through(method: VideoDetector, videos: list[list[Tensor]]) -> list[int]:
    return [len(found.boxes) for video in videos for found in method(video)]


EXPERIMENT = Experiment(
    "video_speed_accuracy", "measure",
    "train one detector, then time and score it at fixed and automatic keyframe steps", Settings, (DATA,), run,
)  # fmt: skip
