"""Prediction: the same numbers as the whole video at once, in memory that does not grow."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from full_video import prediction
from full_video.augmentation import Augmentation
from full_video.errors import BrokenVideo, WorkError
from full_video.frames import Wanted
from full_video.networks import NetworkConfig, VideoNetwork, build_network
from full_video.prediction import as_json, predict
from full_video.sampling import Sampling

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Augmentation(size=32, resize=32)


class Counted:
    """A video that is made when asked for, and knows the most frames it was asked for at once."""

    def __init__(self, length: int, broken: int | None = None) -> None:
        self.most, self._length, self._broken = 0, length, broken

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, wanted: Wanted) -> Tensor:
        indices = np.arange(self._length)[wanted]
        if self._broken is not None and self._broken in indices:
            raise BrokenVideo("noise", f"frame {self._broken} is corrupt")
        self.most = max(self.most, len(indices))
        generators = (torch.Generator().manual_seed(int(index) // 5) for index in indices)
        frames = [torch.randint(0, 256, (3, 32, 40), dtype=torch.uint8, generator=g) for g in generators]
        return torch.stack(frames)


def network(**changes: Any) -> VideoNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_network(NetworkConfig(**{"classes": 7, "clusters": 4} | changes))
        torch.nn.init.normal_(model.fc.weight)
    return model.train()


def at_once(model: VideoNetwork, source: Counted) -> Tensor:
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
def test_it_is_what_the_network_says_of_all_frames_at_once(
    changes: dict[str, Any], held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "_HELD", held)
    monkeypatch.setattr(prediction, "_WINDOW", 5)
    model, source = network(**changes), Counted(33)
    expected = at_once(model, source)
    found = predict(model, source, augmentation=SMALL)
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


@pytest.mark.parametrize(
    ("changes", "lengths"),
    [({"clusters": 4}, (200, 600)), ({"clusters": 0}, (200, 600)), ({"stem_shift": True}, (100,))],
)
def test_a_video_is_never_held_at_its_full_size(changes: dict[str, Any], lengths: tuple[int, ...]) -> None:
    for length in lengths:
        source = Counted(length)
        predict(network(**changes), source, augmentation=SMALL)
        assert source.most <= 8


def test_it_sees_the_frames_it_was_trained_on() -> None:
    model = network(clusters=0)
    found = predict(model, Counted(50), augmentation=SMALL, sampling=Sampling(8))
    assert found.frames.tolist() == Sampling(8).indices(50).tolist() and found.length == 50
    found = predict(network(), Counted(50), augmentation=SMALL, max_frames=10)
    assert found.frames.tolist() == Sampling(10, "uniform").indices(50).tolist()
    assert found.clusters is not None and len(found.clusters) == 10
    found = predict(network(), Counted(2), augmentation=SMALL)  # fewer frames than clusters
    assert found.clusters is not None and found.clusters.tolist() == [0, 1]


def test_names_and_how_many() -> None:
    names = [f"class {k}" for k in range(7)]
    found = predict(network(), Counted(9), names, augmentation=SMALL, top=2)
    assert [guess.name for guess in found.guesses] == [names[guess.label] for guess in found.guesses]
    assert len(found.guesses) == 2
    everything = predict(network(), Counted(9), names, augmentation=SMALL, top=50)
    assert sum(guess.probability for guess in everything.guesses) == pytest.approx(1)
    with pytest.raises(ValueError, match="7 classes but 1 names"):
        predict(network(), Counted(9), ["one"], augmentation=SMALL)
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        predict(network(), Counted(9), augmentation=SMALL, top=0)


def test_json() -> None:
    found = predict(network(), Counted(9), augmentation=SMALL, sampling=Sampling(6, "uniform"))
    document = json.loads(json.dumps(as_json(found, "clip.mp4"), allow_nan=False))
    assert document["video"] == "clip.mp4" and document["frames"] == 9
    assert document["seen"] == found.frames.tolist()
    assert [guess["label"] for guess in document["classes"]] == [guess.label for guess in found.guesses]
    assert len(document["cluster"]) == 6 and len(document["distance_to_next"]) == 5
    document = as_json(predict(network(clusters=0), Counted(9), augmentation=SMALL), "clip.mp4")
    assert "cluster" not in document


def test_what_cannot_be_predicted() -> None:
    for broken in (0, 299):
        with pytest.raises(BrokenVideo, match=f"noise: frame {broken} is corrupt"):
            predict(network(), Counted(300, broken), augmentation=SMALL)
    model = network()
    torch.nn.init.constant_(model.fc.bias, float("nan"))
    with pytest.raises(WorkError, match="scores are not finite"):
        predict(model, Counted(9), augmentation=SMALL)
