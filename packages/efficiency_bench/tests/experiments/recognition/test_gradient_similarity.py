"""Gradients of frames and clusters: they add up to the gradient of training, and vanish where clusters lose nothing."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from efficiency_bench.experiments.recognition.cluster_pictures import METHODS
from efficiency_bench.experiments.recognition.row_gradients import (
    compare_clusters,
    compare_frames,
    pair_features,
    row_gradients,
)
from efficiency_bench.experiments.recognition.stage_distances import every_frame, with_changes
from full_video import NetworkConfig, VideoNetwork, build_network
from full_video.data import Clip
from full_video.networks import Backbone

FRAMES = 6
LABEL = torch.tensor([2])


def seen_data(backbone: Backbone) -> VideoNetwork:
    """A network whose batch norm has seen data, so that its activations are of ordinary size."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig(4, backbone, width=16, clusters=3, dropout=0.0))
    with torch.no_grad():
        network.fc.weight.normal_(std=0.2)
        for _ in range(3):
            network.train()(torch.rand(2, FRAMES, 3, 32, 32))
    return network.eval()


@pytest.fixture(scope="module")
def clustered() -> VideoNetwork:
    return seen_data("resnet18")


def video() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (1, FRAMES, 3, 32, 32), generator=generator, dtype=torch.uint8)


class OneVideo:
    """In place of clips: a set with one video, in which frames may come in another order, or again."""

    def __init__(self, order: Sequence[int] = range(FRAMES)) -> None:
        self.order = list(order)

    def clip(self, index: int) -> Clip:
        return Clip(video()[0][self.order], int(LABEL))


@pytest.mark.parametrize(
    ("backbone", "stage"),
    [("resnet18", "layer1"), ("resnet18", "layer3"), ("mobilenet_v2", "layer1"), ("mobilenet_v2", "layer3")],
)
def test_the_gradients_of_all_rows_add_up_to_that_of_training(backbone: Backbone, stage: str) -> None:
    clustered = seen_data(backbone)
    for network, rows in ((every_frame(clustered), FRAMES), (clustered, FRAMES if stage == "layer1" else 3)):
        gradients, output = row_gradients(network, video(), LABEL, stage)
        assert len(gradients) == len(output) == rows
        network.zero_grad()
        cross_entropy(network(video()), LABEL).backward()
        weights = [
            parameter.grad.flatten()
            for name in network.stages[stage]
            for parameter in network.get_submodule(name).parameters()
        ]
        torch.testing.assert_close(gradients.mean(dim=0), torch.cat(weights), rtol=1e-3, atol=1e-6)


def test_without_shift_a_row_is_its_frame_alone_up_to_the_mean_of_scores(clustered: VideoNetwork) -> None:
    """With no shift a frame's path to its own output of the stage is its own; the loss couples frames by their mean score."""
    single = with_changes(clustered, clusters=0, shift=False)
    frames = video()[:, :1]
    gradients, _ = row_gradients(single, frames.expand(-1, 4, -1, -1, -1), LABEL, "layer2")
    alone, _ = row_gradients(single, frames, LABEL, "layer2")
    for row in gradients:  # four times the same frame: each has the gradient it has alone
        torch.testing.assert_close(row, alone[0], rtol=1e-3, atol=1e-6)


def test_every_frame_sees_the_weights_of_the_clustered_network(clustered: VideoNetwork) -> None:
    whole = every_frame(clustered)
    assert whole.config.clusters == 0 and not whole.config.stem_shifts
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, clustered.state_dict()[name])
    torch.testing.assert_close(whole(video()), with_changes(clustered, clusters=FRAMES)(video()))


def test_clusters_of_one_frame_each_have_the_gradient_of_all_frames(clustered: VideoNetwork) -> None:
    as_many = with_changes(clustered, clusters=FRAMES)
    whole, clips = every_frame(clustered), OneVideo()
    alone = {method: with_changes(as_many, grouping=method) for method in METHODS}
    for errors in compare_clusters(whole, alone, clips, 0, "layer3").values():  # type: ignore[arg-type]
        assert len(errors.by_cluster) == FRAMES and max(errors.relative, errors.full, errors.training) < 1e-3
    errors = compare_clusters(whole, {"uniform": with_changes(clustered, grouping="uniform")}, clips, 0, "layer3")[
        "uniform"
    ]  # type: ignore[arg-type]
    assert len(errors.by_cluster) == 3 and errors.relative > 0.01, "three clusters of two frames lose something"
    np.testing.assert_allclose(3 * errors.summed, errors.by_cluster, rtol=1e-4)
    assert errors.training == pytest.approx(errors.full, rel=1e-4), "clusters of one size have one weight"


def test_the_error_of_training_is_that_of_its_gradient(clustered: VideoNetwork) -> None:
    """For clusters of different sizes, from the gradients of the two losses as autograd finds them."""
    whole, order = every_frame(clustered), [0, 0, 0, 1, 2, 3]
    frames = video()[:, order]
    assert clustered.explain(frames).clusters.counts.tolist() == [[3, 2, 1]]  # type: ignore[union-attr]
    found = []
    for network in (whole, clustered):
        network.zero_grad()
        cross_entropy(network(frames), LABEL).backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in network.layer3.parameters()]))  # type: ignore[union-attr]
    groupings = {"cumulative": clustered}
    errors = compare_clusters(whole, groupings, OneVideo(order), 0, "layer3")["cumulative"]  # type: ignore[arg-type]
    assert errors.training == pytest.approx(float((found[1] - found[0]).norm() / found[0].norm()), rel=1e-3)
    assert errors.full != pytest.approx(errors.training, rel=2e-3)


def test_frames_that_are_alike_have_no_distance(clustered: VideoNetwork) -> None:
    """Of more than 25 rows torch takes distances from a matrix product, unless it is told not to."""
    times = 5
    pairs = compare_frames(every_frame(clustered), OneVideo([*range(FRAMES)] * times), 0, "layer1")  # type: ignore[arg-type]
    first, second = np.triu_indices(times * FRAMES, k=1)
    alike = (second - first) % FRAMES == 0
    assert pairs.euclidean[alike].max() < 1e-5 * pairs.euclidean.max() and pairs.euclidean[~alike].min() > 0


def test_distances_of_all_pairs_by_hand(clustered: VideoNetwork) -> None:
    whole = every_frame(clustered)
    pairs = compare_frames(whole, OneVideo(), 0, "layer1")  # type: ignore[arg-type]
    gradients, activations = row_gradients(whole, video(), LABEL, "layer1")
    expected = []
    for first in range(FRAMES):
        for second in range(first + 1, FRAMES):
            a, b = activations[first], activations[second]
            signs = float(((a > 0) != (b > 0)).double().mean())
            expected.append((float((a - b).norm()), signs, float((gradients[first] - gradients[second]).norm())))
    found = np.stack([pairs.euclidean, pairs.hamming, pairs.gradient], axis=1)
    np.testing.assert_allclose(found, np.array(expected), rtol=2e-3, atol=1e-6)


def test_the_features_of_pairs_give_the_network_s_scores(clustered: VideoNetwork) -> None:
    whole = every_frame(clustered)
    pairs, labels = pair_features(whole, OneVideo(), 0)  # type: ignore[arg-type]
    assert pairs.shape == (FRAMES * (FRAMES - 1) // 2, 2, 128) and set(labels.tolist()) == {2}
    features = torch.stack([pairs[0, 0], *pairs[: FRAMES - 1, 1]]).float()
    scores = torch.nn.functional.linear(features, whole.fc.weight, whole.fc.bias).mean(dim=0)
    torch.testing.assert_close(scores, whole(video())[0], rtol=1e-3, atol=1e-5)
