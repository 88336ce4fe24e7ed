"""Evaluation: figures against plain loops, and what is left out."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from efficiency_core.errors import UsageError, WorkError
from full_video.data import Augmentation, ClipConfig, Sampling, VideoSet
from full_video.evaluation import evaluate, label_ranks
from full_video.networks import NetworkConfig, VideoNetwork, build_network

CONFIG = ClipConfig(augmentation=Augmentation(size=32, resize=32))
Noise = Callable[..., VideoSet]


@pytest.fixture
def noise(video_set: Callable[..., VideoSet]) -> Noise:
    """A function that makes videos of different lengths from their labels and the number of classes."""
    return lambda labels, classes, broken=(): video_set(
        [(5 + video, 32, 36) for video in range(len(labels))], labels, [f"class{k}" for k in range(classes)], broken
    )


def network(classes: int, **changes: Any) -> VideoNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_network(NetworkConfig(**{"classes": classes, "width": 16, "clusters": 3} | changes))
        torch.nn.init.normal_(model.fc.weight)
    return model.train()


def expected(model: VideoNetwork, videos: VideoSet, good: Sequence[int], config: ClipConfig) -> list[Tensor]:
    """Scores of each video by itself."""
    model.eval()
    rows = []
    for video in good:
        source = videos.frames(video)
        frames = source[config.sampling.indices(len(source))]
        frames = config.augmentation.apply(frames, config.augmentation.draw(None))
        with torch.no_grad():
            rows.append(model(frames[None])[0])
    model.train()
    return rows


@pytest.mark.parametrize(
    ("changes", "sampling"), [({}, Sampling()), ({"clusters": 0}, Sampling()), ({"clusters": 0}, Sampling(4))]
)
def test_figures_are_those_of_plain_loops(
    noise: Noise, changes: dict[str, Any], sampling: Sampling, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    classes, good = 7, [0, 1, 3, 4, 6, 7]
    videos, model = noise([0, 3, 3, 6, 1, 2, 5, 0], classes, broken=[2, 5]), network(classes, **changes)
    config = ClipConfig(sampling, CONFIG.augmentation)
    rows = expected(model, videos, good, config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = evaluate(model, videos, config, batch_size=3)
    assert model.training and model.memory == "plain"  # left as it was
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    confusion = [[0] * classes for _ in range(classes)]
    top1 = top5 = 0
    for video, row, answer in zip(good, rows, found.answers, strict=True):
        label = videos.label(video)
        order = sorted(range(classes), key=lambda k: (-row[k].item(), k))
        assert (answer.name, answer.label, answer.predicted) == (f"video{video}", label, order[0])
        assert answer.rank == order.index(label)
        assert answer.probability == pytest.approx(row.softmax(0).max().item(), rel=1e-4)
        confusion[label][order[0]] += 1
        top1 += order[0] == label
        top5 += label in order[:5]
    assert found.confusion.tolist() == confusion
    assert (found.top1, found.top5, found.videos) == (top1 / 6, top5 / 6, 6)
    for label, share in enumerate(found.per_class):
        total = sum(confusion[label])
        assert share == confusion[label][label] / total if total else math.isnan(share)
    skipped = [(video.name, video.why, video.times) for video in found.skipped]
    assert skipped == [("video2", "cut off", 1), ("video5", "cut off", 1)]
    assert caplog.messages == ["evaluating 8 videos", "skipping video2: cut off", "skipping video5: cut off"]


def test_the_batch_and_the_workers_do_not_matter(noise: Noise) -> None:
    videos, model = noise([0, 1, 2, 0], 3, broken=[1]), network(3)
    alone, together = (evaluate(model, videos, CONFIG, batch_size=size).answers for size in (1, 3))
    for one, other in zip(alone, together, strict=True):
        assert (one.predicted, one.rank) == (other.predicted, other.rank)
        assert one.probability == pytest.approx(other.probability, rel=1e-4)
    assert evaluate(model, videos, CONFIG, batch_size=3, workers=2).answers == together


def test_ranks_of_equal_scores() -> None:
    logits = torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 2.0]])
    assert label_ranks(logits, torch.tensor([0, 2, 0])).tolist() == [2, 2, 0]
    assert label_ranks(logits, torch.tensor([2, 0, 1])).tolist() == [1, 0, 2]


def test_what_cannot_be_evaluated(noise: Noise) -> None:
    for videos, precision, error, message in (
        (noise([0], 4), "32-true", UsageError, "Noise has 4 classes, the network 3"),
        (noise([], 3), "32-true", UsageError, "Noise has no videos"),
        (
            noise([0, 1], 3, [0, 1]),
            "32-true",
            WorkError,
            "none of the 2 videos can be read; the first: video0: cut off",
        ),
        (noise([0], 3), "16-mixed", UsageError, "precision=16-mixed needs a GPU"),
    ):
        with pytest.raises(error, match=message):
            evaluate(network(3), videos, CONFIG, precision=precision)
    model = network(3)
    torch.nn.init.constant_(model.fc.bias, float("nan"))
    with pytest.raises(WorkError, match="video0: the network's logits are not finite"):
        evaluate(model, noise([0, 1], 3), CONFIG)
    assert model.training
