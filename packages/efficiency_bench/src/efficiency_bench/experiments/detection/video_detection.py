"""Train a detector on annotated videos under one kind of motion supervision, and evaluate it (thesis chapter 2)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.detection import annotated_videos as videos
from efficiency_bench.records.run_record import Metric
from location_anticipation import DetectorConfig, TrainConfig
from location_anticipation.data import Supervision


@dataclass(frozen=True)
class Settings:
    """What is trained, and the keyframes of its evaluation."""

    detector: DetectorConfig = field(default_factory=DetectorConfig)
    """The detector."""
    supervision: Supervision = field(default_factory=Supervision)
    """Keyframes of the training, and the motion between them."""
    training: TrainConfig = field(default_factory=TrainConfig)
    """The training. The run sets `seed`."""
    keyframe_step: int = 8
    """Evaluation runs the network on every so many frames."""

    def __post_init__(self) -> None:
        videos.check_seed(self.training.seed)
        videos.check_step("keyframe_step", self.keyframe_step, self.detector.horizon)


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split, or continue the training in `context.folder`; evaluate on the test split."""
    from efficiency_bench.experiments.detection.detection_examples import detection_examples
    from location_anticipation import train
    from location_anticipation.data import Keyframes
    from location_anticipation.metrics import evaluate

    training, test = videos.open_split(context, "train"), videos.open_split(context, "test")
    recipe = replace(settings.training, seed=context.seed)
    data = Keyframes(training, horizon=settings.detector.horizon, supervision=settings.supervision, seed=context.seed)
    trained = train(data, settings.detector, recipe, context.folder, device=context.device.type)
    result = evaluate(
        trained.model, test, keyframe_step=settings.keyframe_step, device=context.device,
        flavours=("ilsvrc",), steps=True, speed=("ilsvrc",),
    )  # fmt: skip
    metrics = {
        "keyframe_map": Metric(100 * result.keyframe_map, "%"),
        "keyframe_map_50": Metric(100 * result.keyframe_map_50, "%"),
        "train_time_h_per_epoch": videos.train_time(trained.seconds_per_keyframe, training, settings.keyframe_step),
        **videos.score_metrics(result.scores),
    }
    ious = {"trajectory_iou": result.trajectory_iou, "no_motion_iou": result.no_motion_iou}
    metrics |= {name: Metric(value, "1") for name, value in ious.items() if math.isfinite(value)}
    metrics |= {f"train_{name}": Metric(value, "1") for name, value in trained.losses.items()}
    protocol = {
        "detector": asdict(trained.model.config),
        "training": asdict(recipe),
        "keyframes_in_training": len(data),
        "evaluated": f"keyframes every {settings.keyframe_step} frames, annotated frames only",
        "average_precision": {name: ap.definition for name, ap in result.scores.overall.items()},
        "map_by_step": result.scores.by_step,
        "keyframes": result.keyframes,
        "frames": result.frames,
        "epoch": videos.EPOCH,
    }
    examples = detection_examples(trained.model, test, settings.keyframe_step, context.device)
    return Outcome(metrics, protocol, examples)


EXPERIMENT = Experiment(
    "video_detection", "train", "train and evaluate location anticipation on annotated videos",
    Settings, (videos.DATA,), run,
)  # fmt: skip
