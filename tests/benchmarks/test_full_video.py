"""Chapter 3: a training step on one video with some, all or clustered frames, and the clustering itself."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from efficiency_bench.experiments.recognition.training_steps import Step
from efficiency_bench.experiments.recognition.video_training import FORMS
from efficiency_bench.measure.counters import count
from full_video import METHODS, NetworkConfig, cluster_frames, cluster_means, neighbour_distances
from full_video.clustering import pack_signs, packed_distance

Gate = Callable[[dict[str, int]], None]
Timed = Ratio = Callable[..., None]
CPU = torch.device("cpu")
CLUSTERS = 8
# 32 frames are so few that a streamed stem keeps a sum of each: how often it runs does not depend on the activations.
STEP = Step(NetworkConfig(classes=4, width=16, frozen_norm="stem"), frames=32, size=48, chunk=4)


def training(name: str, device: torch.device) -> Callable[[], None]:
    """A training step on one video in a form of table 3.1."""
    torch.manual_seed(0)
    form = FORMS[name]
    return partial(STEP.training(form, device), STEP.video(form, device))


@pytest.mark.parametrize("name", ["tsm8", "tsm_all", "clustered8", "checkpointed8", "streamed8"])
def test_training_step(gate: Gate, timed: Timed, device: torch.device, name: str) -> None:
    """A step of SGD of a thin ResNet-18 on 32 frames of 48 pixels."""
    step = training(name, CPU)
    step()
    network, (frames, label) = STEP.prepared(FORMS[name]), STEP.video(FORMS[name], CPU)
    gate(count(step, forward=lambda: cross_entropy(network(frames), label), network=network))
    timed(training(name, device))


def maps(device: torch.device) -> Tensor:
    """Maps of the first stage of 2 videos, as a ReLU leaves them."""
    return torch.randn(2, 32, 16, 28, 28, generator=torch.Generator().manual_seed(0)).relu().to(device)


def clustered(videos: Tensor, method: str) -> Tensor:
    """Means of clusters, and the gradient of the maps."""
    videos.grad = None
    means = cluster_means(videos, cluster_frames(neighbour_distances(videos), CLUSTERS, method))
    means.sum().backward()  # type: ignore[no-untyped-call]
    return means


@pytest.mark.parametrize("method", METHODS)
def test_clustering(gate: Gate, timed: Timed, device: torch.device, method: str) -> None:
    """Distances, clusters, means and their gradient."""
    videos = maps(CPU).requires_grad_()
    clusters = cluster_frames(neighbour_distances(videos), CLUSTERS, method)
    gate(count(partial(clustered, videos, method), forward=lambda: cluster_means(videos, clusters), given=[videos]))
    videos = maps(device).requires_grad_()
    timed(partial(clustered, videos, method))
    assert clustered(videos, method).shape == (2, CLUSTERS, 16, 28, 28)


def test_packed_signs(gate: Gate, timed: Timed, device: torch.device) -> None:
    """What a streamed pass keeps of frames, and the distances from it."""

    def work(frames: Tensor) -> Tensor:
        bits = pack_signs(frames)
        return packed_distance(bits[:-1], bits[1:])

    frames = maps(CPU)[0]
    gate(count(partial(work, frames)) | {"bytes": pack_signs(frames).nbytes})
    frames = maps(device)[0]
    timed(partial(work, frames))
    assert torch.equal(work(frames), neighbour_distances(frames[None])[0])


def test_streamed_and_plain(ratio: Ratio, device: torch.device) -> None:
    """The streamed stem runs its frames forward twice, and needs a fraction of the memory."""
    works = {"a streamed step": training("streamed8", device), "a plain step": training("clustered8", device)}
    ratio(works, most=3.5, rounds=5)


def test_clusters_and_all_frames(ratio: Ratio, device: torch.device) -> None:
    """All frames in 8 clusters against all frames in the whole network."""
    works = {
        "a step with clusters": training("clustered8", device),
        "a step with all frames": training("tsm_all", device),
    }
    ratio(works, most=1.1, rounds=5)


def test_clustering_and_its_formula(ratio: Ratio, device: torch.device) -> None:
    """Distances and means against the same written with torch's operators, with clusters of equal size."""
    videos = maps(device)

    def formula() -> tuple[Tensor, Tensor]:
        signs = videos > 0
        distances = (signs[:, 1:] != signs[:, :-1]).flatten(2).sum(2)
        return distances, videos.unflatten(1, (CLUSTERS, -1)).mean(2)

    def ours() -> Tensor:
        return cluster_means(videos, cluster_frames(neighbour_distances(videos), CLUSTERS))

    ratio({"clustering": ours, "its formula": formula}, most=2.0)
