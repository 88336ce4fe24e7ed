"""Train and evaluate the methods that location anticipation is compared with, on the same data by the same recipe (table 2.4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.detection import annotated_videos as videos
from efficiency_bench.records.run_record import Metric
from location_anticipation import DetectorConfig, TrainConfig
from location_anticipation.peers import CLIP_METHODS, Method, PeerConfig

BETWEEN_KEYFRAMES: dict[str, Method] = {
    "copied": "key_boxes_copied", "velocity": "constant_velocity", "interpolated": "interpolation"
}  # fmt: skip
"""Methods that need no training of their own: they run on the per-frame detector."""


@dataclass(frozen=True)
class Settings:
    """A method, the detector that it is built on, and its training."""

    peer: PeerConfig = field(default_factory=lambda: PeerConfig("per_frame"))
    """The method. `per_frame` is also evaluated with boxes of keyframes alone: copied, extrapolated, interpolated."""
    detector: DetectorConfig = field(default_factory=lambda: DetectorConfig(horizon=0))
    """The detector; its `horizon` is 0."""
    training: TrainConfig = field(default_factory=TrainConfig)
    """The training. The run sets `seed`."""

    def __post_init__(self) -> None:
        videos.check_seed(self.training.seed)
        if self.peer.method not in ("per_frame", *CLIP_METHODS):
            methods = ", ".join(("per_frame", *CLIP_METHODS))
            raise ValueError(f"peer.method must be one of {methods}, got {self.peer.method!r}")


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split, or continue the training in `context.folder`; evaluate on every frame of the test split."""
    from location_anticipation import train
    from location_anticipation.metrics import MethodEvaluation, evaluate_method
    from location_anticipation.peers import training_data, video_method

    training, test = videos.open_split(context, "train"), videos.open_split(context, "test")
    peer, recipe = settings.peer, replace(settings.training, seed=context.seed)
    data = training_data(training, peer)
    trained = train(data, settings.detector, recipe, context.folder, peer=peer, device=context.device.type)

    def evaluated(rules: PeerConfig) -> MethodEvaluation:
        method = video_method(rules, trained.model, device=context.device)
        return evaluate_method(method, test, flavours=("coco", "ilsvrc"), speed=("ilsvrc",))

    result = evaluated(peer)
    metrics = videos.score_metrics(result.scores) | {"keyframe_share": Metric(100 * result.keyframe_share, "%")}
    if peer.method == "per_frame":
        for short, name in BETWEEN_KEYFRAMES.items():
            found = videos.score_metrics(evaluated(replace(peer, method=name)).scores)
            metrics |= {f"{metric}_{short}": value for metric, value in found.items()}
    step = peer.keyframe_step if peer.method == "dff" else 1
    metrics["train_time_h_per_epoch"] = videos.train_time(trained.seconds_per_keyframe, training, step)
    metrics |= {f"train_{name}": Metric(value, "1") for name, value in trained.losses.items()}
    protocol = {
        "peer": asdict(peer) | {"detector": asdict(trained.model.config)},
        "training": asdict(recipe),
        "evaluated": "every annotated frame, each video as a stream",
        "average_precision": {name: ap.definition for name, ap in result.scores.overall.items()},
        "frames": result.frames,
        "epoch": videos.EPOCH if step > 1 else "every frame of every training video once",
    }
    return Outcome(metrics, protocol)


EXPERIMENT = Experiment(
    "peer_detection", "train", "train and evaluate a peer of location anticipation on annotated videos",
    Settings, (videos.DATA,), run,
)  # fmt: skip
