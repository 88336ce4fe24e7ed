"""Peers in the training loop: their data, three steps of each, checkpoints, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from efficiency_core.errors import UsageError
from location_anticipation import DetectorConfig, TrainConfig, TrainResult, load_detector, load_peer, train
from location_anticipation.data import Keyframes, TrackVideos
from location_anticipation.peers import (
    CLIP_METHODS,
    KEY_BOX_METHODS,
    ClipDetector,
    Clips,
    PeerConfig,
    training_data,
    video_method,
)

pytestmark = pytest.mark.usefixtures("tidy")
Write = Callable[..., Path]
Config = Callable[..., DetectorConfig]
Peer = Callable[..., PeerConfig]


@pytest.fixture
def peer(small: Any) -> Peer:
    return small.peer  # type: ignore[no-any-return]


@pytest.fixture
def detector(tiny: Config) -> DetectorConfig:
    return tiny(horizon=0)


@pytest.fixture
def videos(write_tracks: Write) -> TrackVideos:
    return TrackVideos(write_tracks(videos=3, frames=6))


def recipe(**changes: Any) -> TrainConfig:
    small = {"iterations": 3, "batch_size": 2, "learning_rate": 0.02, "warmup": 2, "checkpoint_every": 2, "workers": 1}
    return TrainConfig(**small | changes)


def same(first: TrainResult, second: TrainResult) -> bool:
    states = first.model.state_dict(), second.model.state_dict()
    return first.losses == second.losses and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# Data


def test_clips_are_the_frame_its_references_and_its_target(videos: TrackVideos, peer: Peer) -> None:
    clips, single = Clips(videos, peer("fgfa")), Keyframes(videos, horizon=0)
    assert len(clips) == len(single) == 18
    for item in (0, 7, 17):
        torch.manual_seed(item)
        clip, target = clips[item]
        video = clips.index[item][0]
        references = clips.draw(item, torch.Generator().manual_seed(item))
        image, expected = single[item]
        assert clip.shape == (3, 3, 48, 48) and torch.equal(clip[0], image)
        assert all(torch.equal(clip[1 + i], videos.frame(video, index)) for i, index in enumerate(references))
        assert set(target) == {"boxes", "labels"}
        assert all(torch.equal(target[name], expected[name]) for name in target)


@pytest.mark.parametrize(
    ("method", "time", "expected"),
    [
        ("dff", 0, {0}),
        ("dff", 3, {1, 2, 3}),  # keyframes every 3 frames: at most 2 back, or the frame itself
        ("fgfa", 0, {1, 2}),
        ("fgfa", 3, {1, 2, 4, 5}),
        ("fgfa", 5, {3, 4}),
        ("selsa", 3, {0, 1, 2, 4, 5}),
    ],
)
def test_references_are_where_the_method_looks_for_them(
    videos: TrackVideos, peer: Peer, method: str, time: int, expected: set[int]
) -> None:
    clips, generator = Clips(videos, peer(method)), torch.Generator().manual_seed(0)
    drawn = {tuple(clips.draw(clips.index.index((1, time)), generator)) for _ in range(200)}
    assert {index for references in drawn for index in references} == expected
    if method != "dff":
        assert all(len(set(pair)) == 2 for pair in drawn) and len(drawn) == len(expected) * (len(expected) - 1)


def test_short_videos_repeat_references(write_tracks: Write, peer: Peer) -> None:
    two, one = (TrackVideos(write_tracks(f"{n}.h5", videos=1, frames=n)) for n in (2, 1))
    assert Clips(two, peer("fgfa", train_references=3)).draw(0, torch.default_generator) == [1, 1, 1]
    assert Clips(one, peer("selsa")).draw(0, torch.default_generator) == [0, 0]
    assert Clips(one, peer("dff")).draw(0, torch.default_generator) == [0]


def test_training_data_fits_the_method(videos: TrackVideos, peer: Peer) -> None:
    for method in (*KEY_BOX_METHODS, *CLIP_METHODS):
        data = training_data(videos, peer(method))
        assert isinstance(data, Clips) == (method in CLIP_METHODS)
        assert len(data) == 18 and data.horizon == 0
    with pytest.raises(ValueError, match="per_frame is trained on single frames"):
        Clips(videos, peer("per_frame"))


# Training


@pytest.mark.parametrize("method", ["dff", *(pytest.param(name, marks=pytest.mark.slow) for name in ("fgfa", "selsa"))])
def test_a_peer_trains_continues_is_saved_and_runs(
    tmp_path: Path,
    videos: TrackVideos,
    peer: Peer,
    detector: DetectorConfig,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    """References are drawn anew in every step, and are the same ones after a stop."""
    config = peer(method)
    data = training_data(videos, config)
    result = train(data, detector, recipe(), tmp_path / "whole", peer=config)
    assert isinstance(result.model, ClipDetector) and not result.model.training
    assert list(result.losses) == ["loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"]
    read = Clips.read
    drawn: list[int] = []

    def interrupted(self: Clips, item: int, references: list[int]) -> Any:
        if len(drawn) == 4:
            raise KeyboardInterrupt
        drawn.append(item)
        return read(self, item, references)

    with monkeypatch.context() as patch:
        patch.setattr(Clips, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(data, detector, recipe(workers=0), tmp_path / "parts", peer=config)
    torch.rand(5)
    assert same(result, train(data, detector, recipe(), tmp_path / "parts", peer=config))
    model, names = load_peer(tmp_path / "parts" / "detector.safetensors")
    assert names == ["filled", "hollow"] and model.peer == config and not model.training
    frames = [videos.frame(0, t) for t in range(6)]
    # Rules that are no part of the network may be others than in training.
    for rules in (config, replace(model.peer, keyframe_step=2, window=1, references=2)):
        before, after = (list(video_method(rules, net)(frames)) for net in (result.model, model))
        assert [found.index for found in after] == list(range(6))
        for a, b in zip(before, after, strict=True):  # (equal weights in another memory layout)
            torch.testing.assert_close(a.boxes, b.boxes, atol=1e-3, rtol=0)


def test_key_box_methods_share_the_plain_detector(
    tmp_path: Path, videos: TrackVideos, peer: Peer, detector: DetectorConfig
) -> None:
    first = train(training_data(videos, peer("per_frame")), detector, recipe(iterations=1), tmp_path)
    for method in KEY_BOX_METHODS:
        data = training_data(videos, peer(method))
        assert same(first, train(data, detector, recipe(iterations=1), tmp_path, peer=peer(method)))
    model, _ = load_detector(tmp_path / "detector.safetensors")
    for method in KEY_BOX_METHODS:
        assert len(list(video_method(peer(method), model)(videos.frame(0, t) for t in range(6)))) == 6


# Refusing


def test_another_run_in_the_folder_is_refused(
    tmp_path: Path, videos: TrackVideos, peer: Peer, detector: DetectorConfig
) -> None:
    config = peer("dff")
    train(training_data(videos, config), detector, recipe(iterations=1), tmp_path, peer=config)
    for other, named in ((peer("dff", keyframe_step=4), r"peer\.keyframe_step"), (peer("fgfa"), r"peer\.method")):
        with pytest.raises(UsageError, match=named):
            train(training_data(videos, other), detector, recipe(iterations=1), tmp_path, peer=other)


def test_data_of_another_method_is_refused(
    tmp_path: Path, videos: TrackVideos, peer: Peer, detector: DetectorConfig
) -> None:
    for data, config in (
        (training_data(videos, peer("fgfa")), peer("selsa")),
        (training_data(videos, peer("per_frame")), peer("dff")),
        (training_data(videos, peer("dff")), None),
    ):
        with pytest.raises(UsageError, match="belong to different methods"):
            train(data, detector, recipe(), tmp_path, peer=config)
    for changes, message in (
        ({"horizon": 2}, "the detector's horizon is 2"),
        ({"num_classes": 3}, "has 2 classes, the detector is asked for 3"),
        ({"representation": 30}, "attention_heads must divide the detector's representation 30, got 4"),
    ):
        with pytest.raises(UsageError, match=message):
            data = training_data(videos, peer("selsa"))
            train(data, replace(detector, **changes), recipe(), tmp_path, peer=peer("selsa"))
    assert list(tmp_path.glob("*.safetensors")) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "rdn"}, "method must be one of .*, got 'rdn'"),
        ({"window": 0}, "window must be 1 or more, got 0"),
        ({"embedding_width": float("nan")}, "embedding_width must be positive, got nan"),
        ({"match_iou": 1.5}, "match_iou must be 0 to 1, got 1.5"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PeerConfig(**{"method": "dff"} | changes)
