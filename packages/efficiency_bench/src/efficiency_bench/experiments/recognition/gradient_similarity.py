"""Do frames with similar activations have similar gradients, and which clusters keep the gradient (thesis 3.4.2)?

One network is trained with clustered frames. Then every frame passes all of a network of the same weights, which gives the
gradient that clusters approximate (equation 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.recognition.action_recognition import start_of
from efficiency_bench.experiments.recognition.video_training import DATA, VideoSettings, open_split, train_and_evaluate
from efficiency_bench.records.pictures import Series
from efficiency_bench.records.run_record import Metric
from efficiency_core.loop import check_least
from full_video import NetworkConfig

if TYPE_CHECKING:
    from efficiency_bench.experiments.recognition.row_gradients import ClusterErrors, Pairs


@dataclass(frozen=True)
class Settings(VideoSettings):
    """The training, and what is compared; the figures' own numbers are the default."""

    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(clusters=16))
    """The network; its clusters are those that are compared."""
    videos: int = 3
    """Test videos whose pairs of frames are all compared (figure 3.5, equation 3.7)."""
    compared_videos: int = 12
    """Test videos over which the gradient error of clusters is averaged; figure 3.6 shows the first."""
    pair_stage: Literal["layer1", "layer2", "layer3", "layer4"] = "layer1"
    """Stage whose activations and gradients are compared between frames (figure 3.5)."""
    cluster_stage: Literal["layer2", "layer3", "layer4"] = "layer3"
    """Stage whose gradient is compared between clusters and their frames (figure 3.6)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "videos", "compared_videos")
        if self.network.clusters < 1:
            raise ValueError(f"network.clusters must be at least 1, got {self.network.clusters}")


def run(settings: Settings, context: Context) -> Outcome:
    """Train once, or continue the training in `context.folder`; compare frames and clusters of test videos."""
    import torch

    from efficiency_bench.experiments.recognition.cluster_pictures import METHODS
    from efficiency_bench.experiments.recognition.row_gradients import compare_clusters, compare_frames, pair_features
    from efficiency_bench.experiments.recognition.stage_distances import every_frame, whole_videos, with_changes
    from full_video.clustering import check_bound

    training, test = open_split(context, "train"), open_split(context, "test")
    trained, found = train_and_evaluate(settings, training, test, context)
    recipe, clustered = settings.recipe(context.seed), trained.network.to(context.device).eval()
    whole, clips = every_frame(clustered), whole_videos(test, recipe)

    pictured, compared = (range(min(most, len(test))) for most in (settings.videos, settings.compared_videos))
    pairs = [compare_frames(whole, clips, video, settings.pair_stage) for video in pictured]
    groupings = {method: with_changes(clustered, grouping=method) for method in METHODS}
    errors = [compare_clusters(whole, groupings, clips, video, settings.cluster_stage) for video in compared]
    features = [pair_features(whole, clips, video) for video in pictured]
    x, y = (torch.cat(parts) for parts in zip(*features, strict=True))
    bound = check_bound(x, clustered.fc.weight.detach().double().cpu().T, y)  # equation 3.7
    parts = ("fails", "signs_agree", "convex", "fails_where_signs_agree", "fails_where_convex", "true_bound_fails")
    metrics = {"top1": Metric(100 * found.top1, "%"), **_pair_metrics(pairs), **_error_metrics(errors)}
    metrics |= {f"bound_{name}": Metric(100 * getattr(bound, name), "%") for name in parts if getattr(bound, name) >= 0}
    protocol = {
        "network": asdict(trained.network.config),
        "training": asdict(recipe),
        "frames": "of test videos; every frame passes a whole network with the weights of the clustered one",
        "activations": f"output of {settings.pair_stage}",
        "gradient": "of the cross-entropy with respect to the stage's weights, the part that comes through one frame's (or "
        "cluster's) output of the stage, times the number of frames (clusters), as if it were alone",
        "correlation": "Pearson's (rank_correlation: Spearman's) over all pairs of frames of a video, the mean over videos",
        "gradient_error": f"Euclidean distance of a cluster's gradient in {settings.cluster_stage} from the mean of its frames'; "
        "gradient_error_sum: of its part of the loss's gradient from the sum of its frames' parts, as the thesis words it",
        "full_gradient_error": "from the gradient of all frames, over its length: the mean of the clusters weighted by their "
        "frames; training_gradient_error: their plain mean, with which clusters train",
        "bound": asdict(bound)
        | {"pairs": "all frames of one video, features before the classifier, without its offsets"},
    }
    return Outcome(metrics, protocol, _series(pairs, errors[0]))


def _pair_metrics(pairs: Sequence[Pairs]) -> dict[str, Metric]:
    """Correlations of the distances of activations with those of gradients, means over videos."""
    from efficiency_bench.experiments.recognition.stage_distances import correlation, ranks

    metrics: dict[str, Metric] = {}
    for name in ("euclidean", "hamming"):
        found = [(getattr(pair, name), pair.gradient) for pair in pairs]
        linear = [correlation(x, y) for x, y in found]
        monotone = [correlation(ranks(x), ranks(y)) for x, y in found]
        for label, values in (("correlation", linear), ("rank_correlation", monotone)):
            if known := [value for value in values if np.isfinite(value)]:  # none if all frames are alike
                metrics[f"{label}_{name}"] = Metric(float(np.mean(known)), "1")
    return metrics


def _error_metrics(errors: Sequence[dict[str, ClusterErrors]]) -> dict[str, Metric]:
    """Errors of the clusters' gradients by every method, means over videos."""
    metrics: dict[str, Metric] = {}
    for method in errors[0]:
        every = [video[method] for video in errors]
        found = {
            "gradient_error": [one.by_cluster.mean() for one in every],
            "gradient_error_relative": [one.relative for one in every],
            "gradient_error_sum": [one.summed.mean() for one in every],
            "full_gradient_error": [one.full for one in every],
            "training_gradient_error": [one.training for one in every],
        }
        metrics |= {f"{name}_{method}": Metric(float(np.mean(values)), "1") for name, values in found.items()}
    return metrics


def _series(pairs: Sequence[Pairs], errors: dict[str, ClusterErrors]) -> dict[str, Any]:
    """Artifacts of figures 3.5 and 3.6."""
    series = {
        name: Series.of([(f"video {at + 1}", getattr(pair, name), pair.gradient) for at, pair in enumerate(pairs)])
        for name in ("euclidean", "hamming")
    }
    series["cluster_errors"] = Series.of(
        [(method, np.arange(1, len(one.by_cluster) + 1), one.by_cluster) for method, one in errors.items()]
    )
    return {key: array for name, one in series.items() for key, array in one.arrays(name).items()}


EXPERIMENT = Experiment(
    "gradient_similarity", "train",  # nothing is timed
    "compare activations and gradients of frames, and gradients of clusters with those of their frames",
    Settings, (DATA,), run, start_of,
)  # fmt: skip
