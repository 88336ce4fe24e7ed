"""Evaluation: figures against plain loops, and what is left out."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from full_video.augmentation import Augmentation
from full_video.errors import BrokenVideo, UsageError, WorkError
from full_video.evaluation import evaluate, label_ranks
from full_video.file_videos import Facts
from full_video.inputs import InputConfig
from full_video.networks import NetworkConfig, VideoNetwork, build_network
from full_video.sampling import Sampling

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = InputConfig(augmentation=Augmentation(size=32, resize=32), batch_size=3)


class Noise:
    """Videos of noise of different lengths; some are broken."""

    def __init__(self, labels: Sequence[int], classes: int, broken: Sequence[int] = ()) -> None:
        self.facts = Facts("Noise", "generated", "", tuple(f"class{k}" for k in range(classes)))
        self._labels, self._broken = labels, broken

    def __len__(self) -> int:
        return len(self._labels)

    def label(self, video: int) -> int:
        return self._labels[video]

    def name(self, video: int) -> str:
        return f"video{video}"

    def frames(self, video: int) -> Tensor:
        if video in self._broken:
            raise BrokenVideo(self.name(video), "cut off")
        generator = torch.Generator().manual_seed(video)
        return torch.randint(0, 256, (5 + video, 3, 32, 36), dtype=torch.uint8, generator=generator)


def network(classes: int, **changes: Any) -> VideoNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_network(NetworkConfig(**{"classes": classes, "clusters": 3} | changes))
        torch.nn.init.normal_(model.fc.weight)
    return model.train()


def expected(model: VideoNetwork, videos: Noise, good: Sequence[int], config: InputConfig) -> list[Tensor]:
    """Scores of each video by itself."""
    model.eval()
    rows = []
    for video in good:
        source = videos.frames(video)
        frames = source[torch.from_numpy(config.sampling.indices(len(source)))]
        frames = config.augmentation.apply(frames, config.augmentation.draw(None))
        with torch.no_grad():
            rows.append(model(frames[None])[0])
    model.train()
    return rows


@pytest.mark.parametrize(
    ("changes", "sampling"), [({}, Sampling()), ({"clusters": 0}, Sampling()), ({"clusters": 0}, Sampling(4))]
)
def test_figures_are_those_of_plain_loops(
    changes: dict[str, Any], sampling: Sampling, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    classes = 7
    videos = Noise([0, 3, 3, 6, 1, 2, 5, 0], classes, broken=[2, 5])
    good = [0, 1, 3, 4, 6, 7]
    model = network(classes, **changes)
    config = InputConfig(sampling=sampling, augmentation=CONFIG.augmentation, batch_size=3)
    rows = expected(model, videos, good, config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores = evaluate(model, videos, config)
    assert model.training and model.memory == "plain"  # left as it was
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    confusion = [[0] * classes for _ in range(classes)]
    top1 = top5 = 0
    for video, row, answer in zip(good, rows, scores.answers, strict=True):
        label = videos.label(video)
        order = sorted(range(classes), key=lambda k: (-row[k].item(), k))
        assert (answer.name, answer.label, answer.predicted) == (f"video{video}", label, order[0])
        assert answer.rank == order.index(label)
        assert answer.probability == pytest.approx(row.softmax(0).max().item(), rel=1e-4)
        confusion[label][order[0]] += 1
        top1 += order[0] == label
        top5 += label in order[:5]
    assert scores.confusion.tolist() == confusion
    assert (scores.top1, scores.top5, scores.videos) == (top1 / 6, top5 / 6, 6)
    for label, share in enumerate(scores.per_class):
        total = sum(confusion[label])
        assert share == confusion[label][label] / total if total else math.isnan(share)
    assert [(video.name, video.why, video.times) for video in scores.skipped] == [
        ("video2", "cut off", 1),
        ("video5", "cut off", 1),
    ]
    assert caplog.messages == ["skipping video2: cut off", "skipping video5: cut off"]


def test_the_batch_does_not_matter() -> None:
    videos = Noise([0, 1, 2, 0], 3)
    model = network(3)
    alone, together = (
        evaluate(model, videos, InputConfig(augmentation=CONFIG.augmentation, batch_size=size)) for size in (1, 4)
    )
    for one, other in zip(alone.answers, together.answers, strict=True):
        assert (one.predicted, one.rank) == (other.predicted, other.rank)
        assert one.probability == pytest.approx(other.probability, rel=1e-4)


@pytest.mark.slow
def test_the_workers_do_not_matter() -> None:
    videos = Noise([0, 1, 2, 0], 3, broken=[1])
    model = network(3)
    config = InputConfig(augmentation=CONFIG.augmentation, workers=2)
    assert evaluate(model, videos, config).answers == evaluate(model, videos, CONFIG).answers


def test_ranks_of_equal_scores() -> None:
    logits = torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 2.0]])
    assert label_ranks(logits, torch.tensor([0, 2, 0])).tolist() == [2, 2, 0]
    assert label_ranks(logits, torch.tensor([2, 0, 1])).tolist() == [1, 0, 2]


def test_what_cannot_be_evaluated() -> None:
    with pytest.raises(UsageError, match="Noise has 4 classes, the network 3"):
        evaluate(network(3), Noise([0], 4), CONFIG)
    with pytest.raises(UsageError, match="Noise has no videos"):
        evaluate(network(3), Noise([], 3), CONFIG)
    with pytest.raises(WorkError, match="none of the 2 videos can be read; the first: video0: cut off"):
        evaluate(network(3), Noise([0, 1], 3, broken=[0, 1]), CONFIG)
    model = network(3)
    torch.nn.init.constant_(model.fc.bias, float("nan"))
    with pytest.raises(WorkError, match="video0: the network's scores are not finite"):
        evaluate(model, Noise([0, 1], 3), CONFIG)
    assert model.training
