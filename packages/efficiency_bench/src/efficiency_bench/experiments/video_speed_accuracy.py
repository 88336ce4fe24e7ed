"""What fewer keyframes cost and bring: one detector, looked through at many keyframe steps (figure 2.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..flops import count_macs
from ..records import Metric
from ..speed import interleave, protocol, ratio
from .base import Context, Experiment, Outcome, check_step
from .video_detection import DATA, Anticipation, detector_config, open_split, train_config, training_keyframes

if TYPE_CHECKING:
    from torch import Tensor

    from location_anticipation.video import VideoDetector


@dataclass(frozen=True)
class Settings(Anticipation):
    """A detector that anticipates far, and the keyframe steps it is looked through with. The recipe is `video_detection`'s."""

    horizon: int = 16
    """T, the steps anticipated."""
    steps: tuple[int, ...] = (1, 2, 4, 8, 12, 16)
    """Fixed keyframe steps."""
    tolerances: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2)
    """Tolerances of the automatic keyframe step (`location_anticipation.auto_step`)."""
    timed_videos: int = 8
    """Videos of the test split that are timed, the first of every equal part of it."""
    rounds: int = 10
    """Rounds of the interleaved timing."""
    warmup: int = 1
    """Untimed calls of each candidate before."""

    def __post_init__(self) -> None:
        # The training comes first: what would stop the run after it is refused before.
        if self.horizon < 1 or not self.steps:
            raise ValueError(f"expected a horizon of at least 1 and steps, got {self.horizon} and {list(self.steps)}")
        for step in self.steps:
            check_step("steps", step, self.horizon)
        if negative := [tolerance for tolerance in self.tolerances if not tolerance >= 0]:
            raise ValueError(f"tolerances must be 0 or more, got {negative[0]}")
        for name, least in (("timed_videos", 1), ("rounds", 1), ("warmup", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


def run(settings: Settings, context: Context) -> Outcome:
    """Train once (resuming what `context.folder` holds); score every step on all test videos and time it on some."""
    # Imported here: the workflow reads settings of all experiments at every start and needs none of this.
    from location_anticipation.auto_step import AutoStep
    from location_anticipation.evaluation import evaluate_method
    from location_anticipation.training import train
    from location_anticipation.video import VideoDetector

    training, test = open_split(context, "train"), open_split(context, "test")
    detector, recipe = detector_config(settings, training), train_config(settings, context.seed)
    data = training_keyframes(settings, training, context.seed)
    weights = settings.backbone_weights or None
    trained = train(data, detector, recipe, context.folder, device=context.device.type, backbone_weights=weights)
    model = trained.model.to(context.device)

    methods: dict[str, VideoDetector] = {f"step{step}": VideoDetector(model, step) for step in settings.steps}
    for tolerance in settings.tolerances:
        methods[f"auto{tolerance:g}".replace(".", "_")] = VideoDetector(model, AutoStep(tolerance=tolerance))
    every = len(test) / min(settings.timed_videos, len(test))
    chosen = [int(every * i) for i in range(min(settings.timed_videos, len(test)))]
    videos = [[test.frame(v, t).to(context.device) for t in range(len(test.tracks(v).annotated))] for v in chosen]
    candidates: dict[str, Callable[[], object]] = {
        name: partial(_through, method, videos) for name, method in methods.items()
    }
    frames = sum(len(video) for video in videos)
    timed = interleave(
        candidates,
        units=dict.fromkeys(candidates, frames),
        rounds=settings.rounds,
        warmup=settings.warmup,
        device=context.device,
    )
    macs = count_macs(model, ([videos[0][0]],)).macs
    slowest = f"step{min(settings.steps)}"

    metrics: dict[str, Metric] = {}
    for name, method in methods.items():
        found = evaluate_method(method, test, flavours=("coco",))
        coco = found.scores.overall["coco"]
        speedup = ratio(timed, slowest, name)
        metrics |= {
            f"video_map_{name}": Metric(100 * coco.map, "%"),
            f"video_map_50_{name}": Metric(100 * coco.map_50, "%"),
            f"keyframe_share_{name}": Metric(100 * found.keyframe_share, "%"),
            f"flops_g_{name}": Metric(macs * found.keyframe_share / 1e9, "GMAC/frame"),
            f"fps_{name}": Metric(timed[name].units_per_second.median, "frames/s"),
            f"fps_p10_{name}": Metric(timed[name].units_per_second.p10, "frames/s"),
            f"fps_p90_{name}": Metric(timed[name].units_per_second.p90, "frames/s"),
            f"speedup_{name}": Metric(speedup.median, "x"),
        }
    details = protocol(timed, "latency, batch 1, model only: whole videos, frames are on the device") | {
        "detector": asdict(detector),
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
    name="video_speed_accuracy",
    kind="measure",
    summary="train one detector, then time and score it at fixed and automatic keyframe steps",
    settings_type=Settings,
    data=(DATA,),
    function=run,
)
