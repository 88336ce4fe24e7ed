"""Do frames with similar activations have similar gradients, and which clusters keep the gradient (thesis 3.4.2)?

One network is trained with clustered frames. Its weights are then looked at with every frame going through the whole of it,
which is the gradient that clusters approximate (equation 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..drawn import Series
from ..records import Metric
from .action_recognition import DATA, Recipe, network_config, open_split, start_of, start_weights, train_config
from .action_recognition import Settings as RecognitionSettings
from .base import Context, Experiment, Outcome
from .cluster_pictures import METHODS
from .stage_distances import correlation, every_frame, last_block, ranks, whole_videos

if TYPE_CHECKING:
    from full_video.clips import Clips
    from full_video.networks import VideoNetwork


@dataclass(frozen=True)
class Settings(Recipe):
    """The recipe of `action_recognition`, and what is looked at; the figures' own numbers are the default."""

    clusters: int = 16
    """g of the network and of the clusters compared."""
    videos: int = 3
    """Test videos all of whose pairs of frames are compared (figure 3.5, equation 3.7)."""
    compared_videos: int = 12
    """Test videos over which the gradient error of clusters is averaged; figure 3.6 shows the first."""
    pair_stage: Literal["layer1", "layer2", "layer3", "layer4"] = "layer1"
    """Stage whose activations and gradients are compared between frames (figure 3.5)."""
    cluster_stage: Literal["layer2", "layer3", "layer4"] = "layer3"
    """Stage whose gradient is compared between clusters and their frames (figure 3.6)."""

    def __post_init__(self) -> None:
        for name in ("clusters", "videos", "compared_videos"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def run(settings: Settings, context: Context) -> Outcome:
    """Train once (resuming what `context.folder` holds), then compare frames and clusters on test videos."""
    from full_video.evaluation import evaluate
    from full_video.gradients import check_bound
    from full_video.training import train

    training, test = open_split(context, "train"), open_split(context, "test")
    recognition = recognition_settings(settings)
    network, recipe = network_config(recognition, training), train_config(recognition, context.seed)
    weights = start_weights(settings, context)
    trained = train(training, network, recipe, context.folder, device=context.device.type, weights=weights)
    scores = evaluate(trained.network, test, recipe, device=context.device.type)
    clustered = trained.network.to(context.device).eval()
    whole, clips = every_frame(clustered), whole_videos(test, recipe)

    metrics = {"top1": Metric(100 * scores.top1, "%")}
    pairs = [
        compare_frames(whole, clips, video, settings.pair_stage) for video in range(min(settings.videos, len(test)))
    ]
    for name in ("euclidean", "hamming"):
        found = [(getattr(pair, name), pair.gradient) for pair in pairs]
        linear = [correlation(x, y) for x, y in found]
        monotone = [correlation(ranks(x), ranks(y)) for x, y in found]
        for label, values in (("correlation", linear), ("rank_correlation", monotone)):
            if known := [value for value in values if np.isfinite(value)]:  # not so where all frames are alike
                metrics[f"{label}_{name}"] = Metric(float(np.mean(known)), "1")
    series = {
        name: Series.of([(f"video {at + 1}", getattr(pair, name), pair.gradient) for at, pair in enumerate(pairs)])
        for name in ("euclidean", "hamming")
    }

    groupings = {method: with_grouping(clustered, method) for method in METHODS}
    errors = [
        compare_clusters(whole, groupings, clips, video, settings.cluster_stage)
        for video in range(min(settings.compared_videos, len(test)))
    ]
    for method in METHODS:
        every = [video[method] for video in errors]
        metrics |= {
            f"gradient_error_{method}": Metric(float(np.mean([one.by_cluster.mean() for one in every])), "1"),
            f"gradient_error_relative_{method}": Metric(float(np.mean([one.relative for one in every])), "1"),
            f"gradient_error_sum_{method}": Metric(float(np.mean([one.summed.mean() for one in every])), "1"),
            f"full_gradient_error_{method}": Metric(float(np.mean([one.full for one in every])), "1"),
            f"training_gradient_error_{method}": Metric(float(np.mean([one.training for one in every])), "1"),
        }
    series["cluster_errors"] = Series.of(
        [(method, np.arange(1, len(one.by_cluster) + 1), one.by_cluster) for method, one in errors[0].items()]
    )

    features = [pair_features(whole, clips, video) for video in range(len(pairs))]
    bound = check_bound(
        torch.cat([x for x, _ in features]),
        clustered.fc.weight.detach().double().cpu().T,
        torch.cat([y for _, y in features]),
    )
    parts = ("fails", "signs_agree", "convex", "fails_where_signs_agree", "fails_where_convex", "true_bound_fails")
    metrics |= {f"bound_{name}": Metric(100 * getattr(bound, name), "%") for name in parts if getattr(bound, name) >= 0}
    protocol = {
        "network": asdict(network),
        "training": asdict(recipe),
        "frames": "of test videos; every frame goes through the whole network, its weights those of the clustered one",
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
    artifacts = {key: array for name, one in series.items() for key, array in one.arrays(name).items()}
    return Outcome(metrics, protocol, artifacts)


def recognition_settings(settings: Settings) -> RecognitionSettings:
    """The training's settings: the recipe, every frame of a video in clusters."""
    recipe = {field.name: getattr(settings, field.name) for field in fields(Recipe)}
    return RecognitionSettings(**recipe, method="clustered", clusters=settings.clusters)


@dataclass(frozen=True)
class Pairs:
    """Distances of all P pairs of frames of one video, each (P,)."""

    euclidean: NDArray[np.float64]
    """Of activations."""
    hamming: NDArray[np.float64]
    """Share of the activations whose signs differ."""
    gradient: NDArray[np.float64]
    """Euclidean, of gradients."""


def compare_frames(whole: VideoNetwork, clips: Clips, video: int, stage: str) -> Pairs:
    """Activation and gradient distances of all pairs of frames of a video."""
    gradients, activations = row_gradients(whole, *_clip(whole, clips, video), stage)
    flat = activations.flatten(1)
    signs = (flat > 0).double()
    first, second = np.triu_indices(len(flat), k=1)
    # Of more than 25 rows torch would take them from a matrix product, which has no digits left for frames that are alike.
    exact = "donot_use_mm_for_euclid_dist"
    distances = (
        torch.cdist(flat, flat, compute_mode=exact),
        torch.cdist(signs, signs, p=1) / flat.shape[1],
        torch.cdist(gradients, gradients, compute_mode=exact),
    )
    return Pairs(*(distance.cpu().numpy().astype(np.float64)[first, second] for distance in distances))


@dataclass(frozen=True)
class ClusterErrors:
    """How far the gradients of one video's clusters are from those of their frames."""

    by_cluster: NDArray[np.float64]
    """(clusters with frames,) Euclidean distance of a cluster's gradient from the mean of its frames', which is what its mean
    activation approximates (equations 3.3 and 3.5)."""
    summed: NDArray[np.float64]
    """(clusters with frames,) the same as the thesis words it (3.4.2): of the cluster's part of the loss's gradient from the sum
    of its frames' parts. A cluster has 1 / g of the loss however many frames it has, so large and small ones are off."""
    relative: float
    """Their mean over the mean length of the frames' mean gradients."""
    full: float
    """Distance of the whole video's gradient, clusters weighted by their frames, from that of all frames, over the length
    of the latter."""
    training: float
    """The same without the weights: the gradient that training with clusters takes."""


def compare_clusters(
    whole: VideoNetwork, groupings: Mapping[str, VideoNetwork], clips: Clips, video: int, stage: str
) -> dict[str, ClusterErrors]:
    """Gradients of a video's clusters beside those of its frames, for each of `groupings`: networks with the weights of `whole`
    that group in another way each."""
    frames, label = _clip(whole, clips, video)
    truth, _ = row_gradients(whole, frames, label, stage)
    return {name: _cluster_errors(truth, network, frames, label, stage) for name, network in groupings.items()}


def _cluster_errors(truth: Tensor, network: VideoNetwork, frames: Tensor, label: Tensor, stage: str) -> ClusterErrors:
    found, _ = row_gradients(network, frames, label, stage)
    with torch.no_grad():  # all frames at once, as for the gradients: of chunks, rounding may turn a sign
        clusters = network.explain(frames).clusters
    assert clusters is not None
    ids = clusters.ids[0]
    counts = torch.bincount(ids, minlength=len(found)).to(truth)
    sums = torch.zeros_like(found).index_add_(0, ids, truth)
    there = counts > 0
    means = sums / counts.clamp(min=1)[:, None]
    distance = (found - means).norm(dim=1)[there]
    summed = (found / len(found) - sums / len(truth)).norm(dim=1)[there]
    all_frames = truth.mean(dim=0)
    weighted = (counts[:, None] * found).sum(dim=0) / counts.sum()
    return ClusterErrors(
        by_cluster=distance.cpu().double().numpy(),
        summed=summed.cpu().double().numpy(),
        relative=float(distance.mean() / means[there].norm(dim=1).mean()),
        full=float((weighted - all_frames).norm() / all_frames.norm()),
        training=float((found.mean(dim=0) - all_frames).norm() / all_frames.norm()),
    )


def row_gradients(network: VideoNetwork, frames: Tensor, label: Tensor, stage: str) -> tuple[Tensor, Tensor]:
    """The gradient of every row of one video with respect to a stage's weights, and the stage's output.

    A row is a frame, or a cluster where the network clusters before the stage. Its gradient is the part of the weights'
    gradient that comes through the row's output of the stage; all rows' add up to the whole. As the loss takes the mean of
    the rows' scores, it is multiplied by their number.

    Args:
        network: in eval mode.
        frames: (1, T, 3, S, S).
        label: int64 (1,).
        stage: "layer1" to "layer4".

    Returns:
        (rows, weights of the stage) and (rows, C, h, w), both detached.
    """
    module = network.get_submodule(stage)
    outputs: list[Tensor] = []
    hook = last_block(network, stage).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        loss = cross_entropy(network(frames), label)
    finally:
        hook.remove()
    (output,) = outputs
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    (of_output,) = torch.autograd.grad(loss, output, retain_graph=True)
    rows = []
    for row in range(len(output)):
        only = torch.zeros_like(of_output)
        only[row] = of_output[row]
        found = torch.autograd.grad(output, parameters, only, retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in found]))
    return torch.stack(rows) * len(rows), output.detach()


@torch.no_grad()
def pair_features(whole: VideoNetwork, clips: Clips, video: int) -> tuple[Tensor, Tensor]:
    """All pairs of one video's frames before the classifier: float64 (P, 2, D), and their label int64 (P,)."""
    frames, label = _clip(whole, clips, video)
    seen: list[Tensor] = []
    hook = whole.get_submodule("avgpool").register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        whole(frames)
    finally:
        hook.remove()
    features = seen[0].flatten(1).double().cpu()
    first, second = np.triu_indices(len(features), k=1)
    return torch.stack((features[first], features[second]), dim=1), label.cpu().expand(len(first))


def _clip(network: VideoNetwork, clips: Clips, video: int) -> tuple[Tensor, Tensor]:
    item = clips.item(video, 0)
    device = next(network.parameters()).device
    return item["frames"][None].to(device), torch.tensor([item["label"]], device=device)


def with_grouping(network: VideoNetwork, method: str) -> VideoNetwork:
    """The same weights with frames grouped by `method`, in eval mode."""
    from full_video.networks import build_network

    other = build_network(replace(network.config, grouping=method))
    other.load_state_dict(network.state_dict())
    return other.eval().to(next(network.parameters()).device)


EXPERIMENT = Experiment(
    name="gradient_similarity",
    kind="train",  # nothing is timed
    summary="compare activations and gradients of frames, and gradients of clusters with those of their frames",
    settings_type=Settings,
    data=(DATA,),
    function=run,
    start=start_of,
)
