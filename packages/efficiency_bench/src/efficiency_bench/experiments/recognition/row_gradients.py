"""Gradients of single frames and clusters of a video, and their distances (thesis 3.4.2)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from efficiency_bench.experiments.recognition.stage_distances import last_block
from full_video import VideoNetwork
from full_video.data import Clips


@dataclass(frozen=True)
class Pairs:
    """Distances of all P pairs of frames of one video, each (P,)."""

    euclidean: NDArray[np.float64]
    """Euclidean distance of the activations."""
    hamming: NDArray[np.float64]
    """Share of the activations whose signs differ."""
    gradient: NDArray[np.float64]
    """Euclidean distance of the gradients."""


def compare_frames(whole: VideoNetwork, clips: Clips, video: int, stage: str) -> Pairs:
    """Activation and gradient distances of all pairs of frames of a video."""
    gradients, activations = row_gradients(whole, *_clip(whole, clips, video), stage)
    flat = activations.flatten(1)
    signs = (flat > 0).double()
    first, second = np.triu_indices(len(flat), k=1)
    # For more than 25 rows torch would use a matrix product, which has no digits left for frames that are alike.
    exact = "donot_use_mm_for_euclid_dist"
    distances = (
        torch.cdist(flat, flat, compute_mode=exact),
        torch.cdist(signs, signs, p=1) / flat.shape[1],
        torch.cdist(gradients, gradients, compute_mode=exact),
    )
    return Pairs(*(distance.cpu().numpy().astype(np.float64)[first, second] for distance in distances))


@dataclass(frozen=True)
class ClusterErrors:
    """Differences between the gradients of one video's clusters and those of their frames."""

    by_cluster: NDArray[np.float64]
    """(clusters with frames,) Euclidean distance of a cluster's gradient from the mean gradient of its frames, which its mean
    activation approximates (equations 3.3 and 3.5)."""
    summed: NDArray[np.float64]
    """(clusters with frames,) the same as the thesis words it (3.4.2): distance of the cluster's part of the loss's gradient
    from the sum of its frames' parts. A cluster of any size has 1 / g of the loss, so large and small ones are off."""
    relative: float
    """Mean of `by_cluster` over the mean length of the frames' mean gradients."""
    full: float
    """Distance of the whole video's gradient, clusters weighted by their frames, from that of all frames, over the length of
    the latter."""
    training: float
    """The same without the weights: with the gradient that training with clusters takes."""


def compare_clusters(
    whole: VideoNetwork, groupings: Mapping[str, VideoNetwork], clips: Clips, video: int, stage: str
) -> dict[str, ClusterErrors]:
    """Gradients of a video's clusters compared with those of its frames, for each of `groupings`: networks with the weights of
    `whole`, each with another grouping."""
    frames, label = _clip(whole, clips, video)
    truth, _ = row_gradients(whole, frames, label, stage)
    return {name: _cluster_errors(truth, network, frames, label, stage) for name, network in groupings.items()}


def _cluster_errors(truth: Tensor, network: VideoNetwork, frames: Tensor, label: Tensor, stage: str) -> ClusterErrors:
    found, _ = row_gradients(network, frames, label, stage)
    with torch.no_grad():  # all frames at once, as for the gradients: in chunks, rounding may change a sign
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

    A row is a frame, or a cluster if the network, in eval mode, clusters before the stage. Its gradient is the part of the
    weights' gradient that comes through the row's output of the stage; the parts of all rows add up to the whole. The loss
    takes the mean of the rows' logits, so each part is multiplied by the number of rows.

    Returns:
        (rows, weights of the stage) and (rows, C, h, w), both detached, for frames (1, T, 3, S, S) and label int64 (1,).
    """
    layers = [network.get_submodule(name) for name in network.stages[stage]]
    outputs: list[Tensor] = []
    hook = last_block(network, stage).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        loss = cross_entropy(network(frames), label)
    finally:
        hook.remove()
    (output,) = outputs
    parameters = [parameter for layer in layers for parameter in layer.parameters() if parameter.requires_grad]
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
    frames, label = clips.clip(video)
    device = next(network.parameters()).device
    return frames[None].to(device), torch.tensor([label], device=device)
