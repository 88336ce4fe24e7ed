"""Peers in the training loop: their data, three steps of each, checkpoints, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from location_anticipation import DetectorConfig, UsageError, load_detector, training
from location_anticipation.checkpoint import load_peer
from location_anticipation.data import Keyframes, TrackVideos
from location_anticipation.peers import (
    CLIP_METHODS,
    KEY_BOX_METHODS,
    METHODS,
    ClipDetector,
    Clips,
    PeerConfig,
    build_peer,
    training_data,
    video_method,
)
from location_anticipation.peers.clips import reference_range
from location_anticipation.training import TrainConfig, TrainResult, train

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Write = Callable[..., Path]
Config = Callable[..., DetectorConfig]
Peer = Callable[..., PeerConfig]


@pytest.fixture
def peer(tiny: Config) -> Peer:
    def config(method: str, **changes: Any) -> PeerConfig:
        small: dict[str, Any] = {
            "keyframe_step": 3, "window": 2, "references": 3, "flow_width": 0.1, "embedding_width": 0.05,
            "attention_heads": 4,
        }  # fmt: skip
        return PeerConfig(method, tiny(horizon=0), **small | changes)

    return config


@pytest.fixture
def videos(write_tracks: Write) -> TrackVideos:
    return TrackVideos(write_tracks(videos=3, frames=6))


def recipe(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"iterations": 3, "batch_size": 2, "warmup": 2, "checkpoint_every": 1} | changes)


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
        torch.manual_seed(item)
        video, time = clips.index[item]
        references = clips.references(video, time)
        image, expected = single[item]
        assert clip.shape == (3, 3, 48, 48) and torch.equal(clip[0], image)
        assert all(torch.equal(clip[1 + i], videos.frame(video, index)) for i, index in enumerate(references))
        assert set(target) == {"boxes", "labels"}
        assert all(torch.equal(target[name], expected[name]) for name in target)


def test_references_are_where_the_method_looks_for_them(videos: TrackVideos, peer: Peer) -> None:
    torch.manual_seed(0)
    drawn: dict[str, set[tuple[int, ...]]] = {
        method: {tuple(Clips(videos, peer(method)).references(1, 3)) for _ in range(200)} for method in CLIP_METHODS
    }
    assert drawn["dff"] == {(1,), (2,), (3,)}  # keyframes every 3 frames: at most 2 back, or the frame itself
    assert {index for pair in drawn["fgfa"] for index in pair} == {1, 2, 4, 5}
    assert {index for pair in drawn["selsa"] for index in pair} == {0, 1, 2, 4, 5}
    assert all(len(set(pair)) == 2 for method in ("fgfa", "selsa") for pair in drawn[method])
    assert len(drawn["fgfa"]) == 12 and len(drawn["selsa"]) == 20


def test_references_at_the_ends_of_a_video(peer: Peer) -> None:
    assert list(reference_range(peer("dff"), 0, 6)) == [0]
    assert list(reference_range(peer("dff"), 5, 6)) == [3, 4, 5]
    assert list(reference_range(peer("fgfa"), 0, 6)) == [0, 1, 2]
    assert list(reference_range(peer("fgfa"), 5, 6)) == [3, 4, 5]
    assert list(reference_range(peer("selsa"), 5, 6)) == [0, 1, 2, 3, 4, 5]


def test_short_videos_repeat_references(write_tracks: Write, peer: Peer) -> None:
    two, one = (TrackVideos(write_tracks(f"{n}.h5", videos=1, frames=n)) for n in (2, 1))
    assert Clips(two, peer("fgfa", train_references=3)).references(0, 0) == [1, 1, 1]
    assert Clips(one, peer("selsa")).references(0, 0) == [0, 0]
    assert Clips(one, peer("dff")).references(0, 0) == [0]


def test_training_data_fits_the_method(videos: TrackVideos, peer: Peer) -> None:
    for method in METHODS:
        data = training_data(videos, peer(method), subset=range(1))
        assert isinstance(data, Clips) == (method in CLIP_METHODS)
        assert len(data) == 6 and data.horizon == 0
    with pytest.raises(ValueError, match="per_frame is trained on single frames"):
        Clips(videos, peer("per_frame"))


# Training


@pytest.mark.slow
@pytest.mark.parametrize("method", CLIP_METHODS)
def test_a_peer_trains_is_saved_and_runs(tmp_path: Path, videos: TrackVideos, peer: Peer, method: str) -> None:
    config = peer(method)
    result = train(training_data(videos, config), config, recipe(), tmp_path)
    assert isinstance(result.model, ClipDetector) and not result.model.training
    assert list(result.losses) == ["loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"]
    history = torch.load(tmp_path / "training.pt", weights_only=True)["history"]
    assert history.shape == (3, 4) and history.isfinite().all()
    model, names = load_peer(tmp_path / "detector.pt")
    assert names == ["filled", "hollow"] and model.peer == config and not model.training
    trained = result.model.state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
    frames = [videos.frame(0, t) for t in range(6)]
    # Rules that are no part of the network may be others than in training.
    for rules in (config, replace(model.peer, keyframe_step=2, window=1, references=2)):
        before, after = (list(video_method(rules, net)(frames)) for net in (result.model, model))
        assert [found.index for found in after] == list(range(6))
        for a, b in zip(before, after, strict=True):  # (equal weights in another memory layout)
            torch.testing.assert_close(a.boxes, b.boxes, atol=1e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dff", "selsa"])
def test_a_stopped_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, videos: TrackVideos, peer: Peer, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """References are drawn anew in every step, and are the same ones after a stop."""
    config = peer(method)
    whole = train(training_data(videos, config), config, recipe(), tmp_path / "whole")
    write = training._checkpoint

    def stopping(*arguments: Any) -> None:
        write(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_checkpoint", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(training_data(videos, config), config, recipe(), tmp_path / "parts")
    torch.rand(5)
    assert same(whole, train(training_data(videos, config), config, recipe(), tmp_path / "parts"))
    files = [(tmp_path / folder / "detector.pt").read_bytes() for folder in ("whole", "parts")]
    assert files[0] == files[1]


@pytest.mark.slow
def test_key_box_methods_share_the_plain_detector(tmp_path: Path, videos: TrackVideos, peer: Peer) -> None:
    data = training_data(videos, peer("per_frame"))
    first = train(data, peer("per_frame").detector, recipe(), tmp_path / "plain")
    for method in KEY_BOX_METHODS:
        again = train(training_data(videos, peer(method)), peer(method), recipe(), tmp_path / "plain")
        assert same(first, again)
    model, _ = load_detector(tmp_path / "plain" / "detector.pt")
    for method in KEY_BOX_METHODS:
        assert len(list(video_method(peer(method), model)(videos.frame(0, t) for t in range(6)))) == 6


def test_backbone_weights_are_checked(videos: TrackVideos, peer: Peer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="weights of resnet18 must be one of"):
        train(training_data(videos, peer("dff")), peer("dff"), recipe(), tmp_path, backbone_weights="COCO")


# Refusing


def test_another_run_in_the_folder_is_refused(tmp_path: Path, videos: TrackVideos, peer: Peer) -> None:
    config = peer("dff")
    train(training_data(videos, config), config, recipe(iterations=1), tmp_path)
    assert json.loads(torch.load(tmp_path / "training.pt", weights_only=True)["fingerprint"])["detector"] == json.loads(
        json.dumps(asdict(config))
    )
    for other, named in (
        (peer("dff", keyframe_step=4), "detector.keyframe_step"),
        (peer("fgfa"), "detector.method"),
    ):
        with pytest.raises(UsageError, match=rf"other settings \({named}\)"):
            train(training_data(videos, other), other, recipe(iterations=1), tmp_path)
    plain = peer("per_frame")
    with pytest.raises(UsageError, match=r"other settings \(method\)"):
        train(training_data(videos, plain), plain, recipe(iterations=1), tmp_path)


def test_data_of_another_method_is_refused(tmp_path: Path, videos: TrackVideos, peer: Peer) -> None:
    for data, config in (
        (training_data(videos, peer("fgfa")), peer("selsa")),
        (training_data(videos, peer("per_frame")), peer("dff")),
        (training_data(videos, peer("dff")), peer("dff").detector),
    ):
        with pytest.raises(UsageError, match="belong to different methods"):
            train(data, config, recipe(), tmp_path)
    wrong = replace(peer("dff"), detector=replace(peer("dff").detector, num_classes=3))
    with pytest.raises(UsageError, match="has 2 classes, the detector is asked for 3"):
        train(training_data(videos, wrong), wrong, recipe(), tmp_path)
    assert list(tmp_path.glob("*.pt")) == []


def test_checkpoints_are_read_by_their_own_function(tmp_path: Path, peer: Peer) -> None:
    from location_anticipation import save_detector

    save_detector(tmp_path / "peer.pt", build_peer(peer("fgfa")), ["a", "b"])
    save_detector(tmp_path / "plain.pt", build_peer(peer("per_frame")), ["a", "b"])
    with pytest.raises(UsageError, match=r"peer\.pt: a checkpoint of the method 'fgfa', read by load_peer"):
        load_detector(tmp_path / "peer.pt")
    with pytest.raises(UsageError, match=r"plain\.pt: a checkpoint of a plain detector, read by load_detector"):
        load_peer(tmp_path / "plain.pt")
    with pytest.raises(UsageError, match=r"none\.pt: no such file"):
        load_peer(tmp_path / "none.pt")

    content = torch.load(tmp_path / "peer.pt", weights_only=True)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"method": "per_frame"}, "its weights do not fit"),
        ({"method": "rdn"}, "method must be one of"),
        ({"flow_width": 0.5}, "its weights do not fit"),
        ({"colour": 1}, r"settings that differ: \['colour'\]"),
        ({"detector": content["config"]["detector"] | {"colour": 1}}, r"settings that differ: \['colour'\]"),
    ]
    for change, message in changes:
        torch.save(content | {"config": content["config"] | change}, tmp_path / "odd.pt")
        with pytest.raises(UsageError, match=rf"odd\.pt: .*{message}"):
            load_peer(tmp_path / "odd.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "rdn"}, "method must be one of .*, got 'rdn'"),
        ({"keyframe_step": 0}, "keyframe_step must be at least 1, got 0"),
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"references": 0}, "references must be at least 1, got 0"),
        ({"train_references": 0}, "train_references must be at least 1, got 0"),
        ({"flow_width": 0.0}, "flow_width must be positive, got 0.0"),
        ({"embedding_width": float("nan")}, "embedding_width must be positive, got nan"),
        ({"match_iou": 1.5}, "match_iou must be 0 to 1, got 1.5"),
        ({"method": "selsa", "attention_heads": 5}, "attention_heads must divide .* 1024, got 5"),
        ({"detector": DetectorConfig(num_classes=1, horizon=2)}, "horizon must be 0, got 2"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PeerConfig(**{"method": "dff", "detector": DetectorConfig(num_classes=1, horizon=0)} | changes)
