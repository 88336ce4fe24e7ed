"""Train a network on labelled videos, with some or all of their frames, and evaluate it (thesis chapter 3)."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from efficiency_bench.experiments.base import Context, Experiment, Outcome, Start
from efficiency_bench.experiments.recognition.video_training import DATA, VideoSettings, open_split, train_and_evaluate
from efficiency_bench.records.run_record import Metric
from efficiency_core.loop import check_least
from efficiency_core.settings import changed
from full_video import NetworkConfig
from full_video.data import Sampling


@dataclass(frozen=True)
class Settings(VideoSettings):
    """The method: TSM or TSN on sampled or all frames, or with clusters. The default is the thesis's: every frame, in 8
    clusters."""

    pictured_videos: int = 6
    """Test videos whose cumulative clusters are followed over the epochs, for figures 3.4 and 3.8; 0 for none."""
    pictured_epochs: int = 6
    """Number of epochs at which they are followed, with the untrained network."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 0, "pictured_videos")
        check_least(self, 1, "pictured_epochs")


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split, or continue the training in `context.folder`; evaluate on the test split."""
    from efficiency_bench.experiments.recognition.cluster_pictures import EpochClusters, kind_agreement, kind_pictures
    from efficiency_bench.experiments.recognition.stage_distances import stage_distances

    training, test = open_split(context, "train"), open_split(context, "test")
    recipe, clusters = settings.recipe(context.seed), settings.network.clusters
    followed = None
    if settings.network.grouping == "cumulative" and clusters and settings.pictured_videos:
        followed = EpochClusters(test, recipe, settings.pictured_videos, settings.pictured_epochs, context.folder)
    trained, found = train_and_evaluate(settings, training, test, context, followed)
    metrics = {
        "top1": Metric(100 * found.top1, "%"),
        "top5": Metric(100 * found.top5, "%"),
        "train_s_per_epoch": Metric(trained.seconds_per_epoch, "s"),
        "train_loss": Metric(trained.loss, "1"),
        "skipped_videos": Metric(float(len(trained.skipped) + len(found.skipped)), "videos"),
    }
    artifacts: dict[str, Any] = {}
    if clusters:
        metrics |= kind_agreement(trained.network, test, recipe)
        artifacts |= kind_pictures(trained.network, test, recipe)
    if followed is not None:
        artifacts |= followed.pictures()
        metrics["clusters_moved"] = followed.moved()
        consistent, stages = stage_distances(trained.network, test, recipe)
        metrics, artifacts = metrics | consistent, artifacts | stages
    shares = zip(training.info.class_names, found.per_class, strict=True)
    protocol = {
        "network": asdict(trained.network.config),
        "training": asdict(recipe),
        "test": "one clip a video, the centre of the frame",
        "training_videos": len(training),
        "test_videos": found.videos,
        "loss_by_epoch": [round(loss, 6) for loss in trained.losses],
        "accuracy_by_class": {name: round(share, 6) for name, share in shares if math.isfinite(share)},
        "skipped": [f"{video.name}: {video.why}" for video in (*trained.skipped, *found.skipped)],
    }
    return Outcome(metrics, protocol, artifacts)


def start_of(settings: VideoSettings) -> Start | None:
    """The training that a run starts from: the same recipe without what makes its row, on eight frames that all show motion."""
    if settings.start == "random" or (settings.weights and settings.start == "motion"):
        return None
    own = settings.network
    network, epochs = NetworkConfig(backbone=own.backbone, width=own.width, dropout=own.dropout), settings.start_epochs
    changes = {"sampling": Sampling(8), "max_frames": 0, "memory": "plain", "epochs": epochs, "learning_rate": 0.001}
    recipe = replace(settings.training, **changes)  # type: ignore[arg-type]
    start = Settings(network, recipe, settings.weights, start="random", start_epochs=epochs)
    return Start("action_recognition", changed(start), {DATA: "move4mnist_start"})


EXPERIMENT = Experiment(
    "action_recognition", "train", "train and evaluate action recognition on sampled, all or clustered frames",
    Settings, (DATA,), run, start_of,
)  # fmt: skip
