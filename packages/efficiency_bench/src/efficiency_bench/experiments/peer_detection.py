"""Train and evaluate the methods that location anticipation is compared with, on the same data by the same recipe (table 2.4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from ..records import Metric
from .base import Context, Experiment, Outcome, checking
from .video_detection import DATA, EPOCH, Recipe, detector_config, open_split, score_metrics, train_config, train_time

BETWEEN_KEYFRAMES = {"copied": "key_boxes_copied", "velocity": "constant_velocity", "interpolated": "interpolation"}
"""Methods that need no training of their own: they run on the per-frame detector."""


@dataclass(frozen=True)
class Settings(Recipe):
    """The recipe of `video_detection`, and what the methods add. Window and flow network are small, for videos of 32
    frames of 64 px; the papers' are 10 and 1.0."""

    method: Literal["per_frame", "dff", "fgfa", "selsa"] = "per_frame"
    """The method. `per_frame` is also evaluated with boxes of keyframes alone: copied, extrapolated, interpolated."""
    keyframe_step: int = 4
    """Frames from one keyframe to the next, where a method has keyframes."""
    window: int = 4
    """Frames before and after the current one that FGFA aggregates and that SELSA takes its references from."""
    references: int = 4
    """Reference frames of SELSA."""
    flow_width: float = 0.25
    """Channels of the flow network of DFF and FGFA, as a multiple of FlowNet-S."""
    embedding_width: float = 0.25
    """Channels of FGFA's embedding, as a multiple of the paper's."""


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split (resuming what `context.folder` holds), evaluate on every frame of the test split."""
    # Imported here: the workflow reads settings of all experiments at every start and needs none of this.
    from location_anticipation.evaluation import MethodEvaluation, evaluate_method
    from location_anticipation.peers import PeerConfig, training_data, video_method
    from location_anticipation.training import train

    training, test = open_split(context, "train"), open_split(context, "test")
    recipe = train_config(settings, context.seed)
    with checking("settings of the method"):
        peer = PeerConfig(
            method=settings.method,
            detector=detector_config(settings, training),
            keyframe_step=settings.keyframe_step,
            window=settings.window,
            references=settings.references,
            flow_width=settings.flow_width,
            embedding_width=settings.embedding_width,
        )
    data = training_data(training, peer)
    weights = settings.backbone_weights or None
    trained = train(data, peer, recipe, context.folder, device=context.device.type, backbone_weights=weights)

    def evaluated(config: PeerConfig) -> MethodEvaluation:
        method = video_method(config, trained.model, device=context.device)
        return evaluate_method(method, test, flavours=("coco", "ilsvrc"), speed=("ilsvrc",))

    result = evaluated(peer)
    metrics = score_metrics(result.scores)
    metrics["keyframe_share"] = Metric(100 * result.keyframe_share, "%")
    if settings.method == "per_frame":
        for short, name in BETWEEN_KEYFRAMES.items():
            found = score_metrics(evaluated(replace(peer, method=name)).scores)
            metrics |= {f"{metric}_{short}": value for metric, value in found.items()}
    step = settings.keyframe_step if settings.method == "dff" else 1
    metrics["train_time_h_per_epoch"] = train_time(trained.seconds_per_keyframe, training, step)
    metrics |= {f"train_{name}": Metric(value, "1") for name, value in trained.losses.items()}
    protocol = {
        "peer": asdict(peer),
        "training": asdict(recipe),
        "evaluated": "every annotated frame, each video as a stream",
        "average_precision": {name: ap.definition for name, ap in result.scores.overall.items()},
        "frames": result.frames,
        "epoch": EPOCH if step > 1 else "every frame of every training video once",
    }
    return Outcome(metrics, protocol)


EXPERIMENT = Experiment(
    name="peer_detection",
    kind="train",
    summary="train and evaluate a peer of location anticipation on annotated videos",
    settings_type=Settings,
    data=(DATA,),
    function=run,
)
