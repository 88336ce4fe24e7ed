"""Prediction: the same numbers as the whole video at once, in memory that does not grow."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from efficiency_core.errors import BrokenFile, WorkError
from full_video.data import Augmentation, ClipConfig, Sampling
from full_video.networks import FrameSource, NetworkConfig, VideoNetwork, build_network
from full_video.prediction import as_json, predict

SMALL = Augmentation(size=32, resize=32)
CLIPS = ClipConfig(augmentation=SMALL)
Video = Callable[..., Any]


@pytest.fixture
def video(source: Callable[..., FrameSource]) -> Video:
    """A function that makes a video in which five frames in a row are equal."""

    def make(length: int, broken: int = -1) -> FrameSource:
        generators = (torch.Generator().manual_seed(frame // 5) for frame in range(length))
        frames = [torch.randint(0, 256, (3, 32, 40), dtype=torch.uint8, generator=g) for g in generators]
        return source(torch.stack(frames), broken)

    return make


def network(**changes: Any) -> VideoNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_network(NetworkConfig(**{"classes": 7, "width": 16, "clusters": 4} | changes))
        torch.nn.init.normal_(model.fc.weight)
    return model.train()


def at_once(model: VideoNetwork, source: FrameSource) -> Tensor:
    frames = SMALL.apply(source[slice(None)], SMALL.draw(None))
    model.eval()
    with torch.no_grad():
        logits = model(frames[None])[0]
    model.train()
    return logits.double().softmax(0)


@pytest.mark.parametrize(
    "changes",
    [{}, {"average": "before_relu"}, {"grouping": "uniform"}, {"clusters": 0}, {"clusters": 0, "shift": False},
     {"stem_shift": True}],
)  # fmt: skip
@pytest.mark.parametrize("held", [0, 256])
def test_it_is_what_the_network_says_of_all_frames_at_once(video: Video, changes: dict[str, Any], held: int) -> None:
    model, source = network(**changes), video(33)
    expected = at_once(model, source)
    found = predict(model, source, clips=CLIPS, held=held, window=5)
    assert model.training and model.memory == "plain"
    assert [guess.label for guess in found.guesses] == expected.argsort(descending=True)[:5].tolist()
    for guess in found.guesses:
        assert guess.name == str(guess.label)
        assert guess.probability == pytest.approx(expected[guess.label].item(), rel=1e-4)
    assert found.length == 33 and found.frames.tolist() == list(range(33))
    if model.config.clusters:
        assert found.clusters is not None and found.distances is not None
        assert found.clusters.shape == (33,) and found.distances.shape == (32,)
        assert set(found.clusters.tolist()) == {0, 1, 2, 3}
        if not changes:  # five equal frames in a row
            assert all((distance > 0) == (t % 5 == 4) for t, distance in enumerate(found.distances.tolist()))
    else:
        assert found.clusters is None and found.distances is None


def test_a_video_is_never_held_at_its_full_size(video: Video) -> None:
    for changes, length in (({}, 200), ({}, 300), ({"clusters": 0}, 150), ({"stem_shift": True}, 60)):
        source = video(length)
        predict(network(**changes), source, clips=CLIPS)
        assert max(map(len, source.asked)) <= 8


def test_it_sees_the_frames_it_was_trained_on(video: Video) -> None:
    model = network(clusters=0)
    found = predict(model, video(50), clips=ClipConfig(Sampling(8), SMALL))
    assert found.frames.tolist() == Sampling(8).indices(50).tolist() and found.length == 50
    found = predict(network(), video(50), clips=ClipConfig(augmentation=SMALL, max_frames=10))
    assert found.frames.tolist() == Sampling(10, "uniform").indices(50).tolist()
    assert found.clusters is not None and len(found.clusters) == 10
    found = predict(network(), video(2), clips=CLIPS)  # fewer frames than clusters
    assert found.clusters is not None and found.clusters.tolist() == [0, 1]


def test_names_and_how_many(video: Video) -> None:
    names = [f"class {k}" for k in range(7)]
    found = predict(network(), video(9), names, clips=CLIPS, top=2)
    assert [guess.name for guess in found.guesses] == [names[guess.label] for guess in found.guesses]
    assert len(found.guesses) == 2
    everything = predict(network(), video(9), names, clips=CLIPS, top=50)
    assert sum(guess.probability for guess in everything.guesses) == pytest.approx(1)
    for options, message in (
        ({"class_names": ["one"]}, "7 classes but 1 names"),
        ({"top": 0}, "top must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            predict(network(), video(9), clips=CLIPS, **options)


def test_json(video: Video) -> None:
    found = predict(network(), video(9), clips=ClipConfig(Sampling(6, "uniform"), SMALL))
    document = json.loads(json.dumps(as_json(found, "clip.mp4"), allow_nan=False))
    assert document["video"] == "clip.mp4" and document["frames"] == 9
    assert document["seen"] == found.frames.tolist()
    assert [guess["label"] for guess in document["classes"]] == [guess.label for guess in found.guesses]
    assert len(document["cluster"]) == 6 and len(document["distance_to_next"]) == 5
    document = as_json(predict(network(clusters=0), video(9), clips=CLIPS), "clip.mp4")
    assert "cluster" not in document


def test_what_cannot_be_predicted(video: Video) -> None:
    for broken in (0, 299):
        with pytest.raises(BrokenFile, match=f"noise: frame {broken} is corrupt"):
            predict(network(), video(300, broken), clips=CLIPS)
    model = network()
    torch.nn.init.constant_(model.fc.bias, float("nan"))
    with pytest.raises(WorkError, match="logits are not finite"):
        predict(model, video(9), clips=CLIPS)
