"""Training: it learns, it repeats itself to the bit, it survives being stopped, and it refuses what does not fit."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from efficiency_core.checkpoint import read_tensors
from efficiency_core.errors import UsageError
from efficiency_core.loop import together
from location_anticipation import DetectorConfig, TrainConfig, TrainResult, build_detector, load_detector, train
from location_anticipation.data import Keyframes, Supervision, TrackVideos
from location_anticipation.metrics import evaluate
from location_anticipation.peers import Clips, PeerConfig
from location_anticipation.training import batch_indices

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Write = Callable[..., Path]
Config = Callable[..., DetectorConfig]


def recipe(**changes: Any) -> TrainConfig:
    small = {"iterations": 6, "batch_size": 2, "learning_rate": 0.02, "warmup": 2, "checkpoint_every": 2, "workers": 1}
    return TrainConfig(**small | changes)


@pytest.fixture
def data(write_tracks: Write) -> Keyframes:
    return Keyframes(TrackVideos(write_tracks(videos=4, frames=6)), horizon=3)


def same(first: TrainResult, second: TrainResult) -> bool:
    states = first.model.state_dict(), second.model.state_dict()
    return first.losses == second.losses and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def steps(folder: Path) -> int:
    return int(read_tensors(folder / "training.pt", "location_anticipation.training/2")["step"])


# Learning


@pytest.mark.slow
def test_a_tiny_problem_is_learned(tmp_path: Path, write_tracks: Write, tiny: Config) -> None:
    videos = TrackVideos(write_tracks(videos=8, frames=8))
    config = recipe(iterations=40, batch_size=4, learning_rate=0.005, warmup=10, checkpoint_every=40, log_every=10)
    result = train(Keyframes(videos, horizon=3), tiny(num_classes=0), config, tmp_path / "run", validation=videos)
    rows = np.genfromtxt(tmp_path / "run" / "metrics.csv", delimiter=",", names=True)
    names = ["loss_classifier", "loss_box_reg", "loss_trajectory", "loss_objectness", "loss_rpn_box_reg"]
    assert list(result.losses) == names and len(rows) >= 4
    learned = {name: rows[name][-1] / rows[name][0] for name in names}
    assert learned["loss_classifier"] < 0.6 and learned["loss_objectness"] < 0.2
    assert result.seconds_per_keyframe > 0 and not result.model.training
    assert evaluate(result.model, videos, keyframe_step=4).keyframe_map_50 > 0.1
    best, _ = load_detector(tmp_path / "run" / "best.safetensors")
    measured = [value for value in rows["validation_video_map"] if np.isfinite(value)]
    assert evaluate(best, videos, keyframe_step=3).video_map == pytest.approx(max(measured), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "motion"),
    [({"horizon": 0}, "none"), ({"class_agnostic": False, "space": "coder", "fpn": False}, "random")],
)
def test_variants_train(tmp_path: Path, data: Keyframes, tiny: Config, changes: dict[str, Any], motion: str) -> None:
    detector = tiny(**changes)
    varied = Keyframes(data.videos, horizon=detector.horizon, supervision=Supervision(motion))
    with torch.random.fork_rng():
        before = build_detector(detector).state_dict()
    result = train(varied, detector, recipe(iterations=2), tmp_path)
    assert ("loss_trajectory" in result.losses) == (detector.horizon > 0)
    after = result.model.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    model, names = load_detector(tmp_path / "detector.safetensors")
    assert names == ["filled", "hollow"] and model.config == detector
    assert all(torch.equal(value, after[name]) for name, value in model.state_dict().items())


# Frames without objects


@pytest.fixture
def some_empty(write_tracks: Write) -> TrackVideos:
    """Four videos of 6 frames; in the odd frames nothing is to be seen."""
    path = write_tracks("some.h5", arrays={"present": np.tile((np.arange(6) % 2 == 0)[:, None], (4, 1, 1))})
    with h5py.File(path, "r+") as file:
        file["video"][:, 1::2] = 20
    return TrackVideos(path)


@pytest.mark.parametrize(
    ("changes", "motion", "method"),
    [
        ({}, "annotated", "anticipation"), ({"cumulative_end": "random"}, "linear", "anticipation"),
        ({"class_agnostic": False, "loss": "bag", "space": "coder"}, "random", "anticipation"),
        ({"trajectory_features": "box_head"}, "simulated", "anticipation"), ({"horizon": 0}, "none", "anticipation"),
        ({"horizon": 0}, "annotated", "dff"), ({"horizon": 0}, "annotated", "fgfa"), ({"horizon": 0}, "annotated", "selsa"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("only_empty", [False, True])
def test_frames_annotated_as_empty_train(
    tmp_path: Path,
    some_empty: TrackVideos,
    tiny: Config,
    changes: dict[str, Any],
    motion: str,
    method: str,
    only_empty: bool,
) -> None:
    detector, peer = tiny(**changes), PeerConfig(method, flow_width=0.1, embedding_width=0.25)
    data = Keyframes(some_empty, horizon=detector.horizon, supervision=Supervision(motion))
    if method != "anticipation":
        data = Clips(some_empty, peer)
    assert data.index == [(video, time) for video in range(4) for time in range(6)]
    if only_empty:  # nothing is found in the first epoch: no object at all in a batch
        data.index = [(video, time) for video, time in data.index if time % 2]
    result = train(data, detector, recipe(iterations=3, batch_size=3), tmp_path, peer=peer)
    assert all(np.isfinite(list(result.losses.values())))
    assert all(value.isfinite().all() for value in result.model.state_dict().values())
    if only_empty:
        absent = [loss for name, loss in result.losses.items() if name not in ("loss_classifier", "loss_objectness")]
        assert absent == [0.0] * len(absent) and result.losses["loss_objectness"] > 0


@pytest.mark.slow
def test_frames_annotated_as_empty_lower_false_alarms(tmp_path: Path, write_tracks: Write, tiny: Config) -> None:
    """Hollow squares are no objects; only frames annotated as empty show any."""
    hollow = np.arange(8) % 2 == 1
    arrays = {"labels": np.zeros((8, 1), np.int64), "present": np.tile(~hollow[:, None, None], (1, 8, 1))}
    alarms = []
    for name, annotated in (("empty", np.ones((8, 8), bool)), ("unannotated", arrays["present"][..., 0])):
        videos = TrackVideos(write_tracks(f"{name}.h5", videos=8, frames=8, arrays=arrays | {"annotated": annotated}))
        config = recipe(iterations=60, batch_size=4, learning_rate=0.005, warmup=10, checkpoint_every=60)
        model = train(Keyframes(videos, horizon=0), tiny(horizon=0), config, tmp_path / name).model
        with torch.inference_mode():
            found = [model([videos.frame(int(video), 0)])[0]["scores"] for video in np.flatnonzero(hollow)]
        alarms.append(float(np.mean([scores.max().item() if len(scores) else 0.0 for scores in found])))
    assert alarms[0] < 0.5 * alarms[1], alarms


# Repeating


def interrupt(monkeypatch: pytest.MonkeyPatch, reads: int) -> None:
    """Raise an interrupt in place of a keyframe, once so many have been read."""
    read, done = Keyframes.read, count()

    def counting(self: Keyframes, item: int, references: list[int]) -> Any:
        if next(done) >= reads:
            raise KeyboardInterrupt
        return read(self, item, references)

    monkeypatch.setattr(Keyframes, "read", counting)


def test_a_stopped_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, data: Keyframes, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The random end draws random numbers in every step, the random motion in every sample.
    detector = tiny(cumulative_end="random")
    data = Keyframes(data.videos, horizon=3, supervision=Supervision("random"))
    before = torch.get_rng_state()
    whole = train(data, detector, recipe(iterations=4), tmp_path / "whole")
    assert torch.equal(torch.get_rng_state(), before)
    with monkeypatch.context() as patch:
        interrupt(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            train(data, detector, recipe(iterations=4, workers=0), tmp_path / "parts")
    assert steps(tmp_path / "parts") == 2
    assert not (tmp_path / "parts" / "detector.safetensors").exists()
    torch.rand(7)  # what the caller draws does not matter
    assert same(whole, train(data, detector, recipe(iterations=4, checkpoint_every=5), tmp_path / "parts"))
    files = [(tmp_path / folder / "detector.safetensors").read_bytes() for folder in ("whole", "parts")]
    assert files[0] == files[1]
    # A finished run is not trained again.
    interrupt(monkeypatch, 0)
    again = train(data, detector, recipe(iterations=4), tmp_path / "whole")
    assert same(whole, again) and again.seconds_per_keyframe == whole.seconds_per_keyframe


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path: Path, data: Keyframes, tiny: Config) -> None:
    """In one step, with frozen statistics: rounding decides which of two equally good proposals is kept in later ones."""
    detector, config = tiny(norm="frozen", cumulative_end="random"), recipe(batch_size=3, iterations=1, warmup=0)
    one = train(data, detector, config, tmp_path / "one")
    two = together(train, data, detector, replace(config, devices=2), tmp_path / "two")
    assert not torch.equal(one.model.rpn.head.cls_logits.bias, torch.zeros(3))
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(two.model.state_dict()[name], value, atol=1e-5, rtol=0)
    assert two.losses == pytest.approx(one.losses, abs=1e-5)


# Refusing


def test_what_does_not_fit_is_refused(tmp_path: Path, data: Keyframes, tiny: Config, write_tracks: Write) -> None:
    train(data, tiny(), recipe(iterations=2), tmp_path / "run")
    before = (tmp_path / "run" / "training.pt").read_bytes()
    other = TrackVideos(write_tracks("other.h5", attributes={"content_digest": "other"}))
    linear = Keyframes(data.videos, horizon=3, supervision=Supervision("linear"))
    for changed, detector, config, named in (
        (data, tiny(), recipe(learning_rate=0.01), r"train\.learning_rate \(0\.02, now 0\.01\)"),
        (data, tiny(loss="sigma"), recipe(), r"detector\.loss"),
        (linear, tiny(), recipe(), r"supervision\.motion"),
        (Keyframes(other, horizon=3), tiny(), recipe(), r"data\.content_digest"),
    ):
        with pytest.raises(UsageError, match=named):
            train(changed, detector, config, tmp_path / "run")
    assert (tmp_path / "run" / "training.pt").read_bytes() == before
    with pytest.raises(UsageError, match=r"trajectories of 3 steps, the detector's horizon is 4"):
        train(data, tiny(horizon=4), recipe(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_recipes_that_make_no_sense_are_refused() -> None:
    for changes, message in (
        ({"iterations": 0}, "iterations must be 1 or more, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"momentum": -0.1}, "momentum must be 0 or more, got -0.1"),
        ({"schedule": "linear"}, "schedule must be one of step, cosine, got 'linear'"),
    ):
        with pytest.raises(ValueError, match=message):
            recipe(**changes)


# Order and schedule


@pytest.mark.parametrize(("size", "batch"), [(10, 3), (7, 7), (3, 8), (1, 4)])
def test_every_epoch_is_a_permutation(size: int, batch: int) -> None:
    epochs = 6
    drawn = [i for step in range(-(-epochs * size // batch)) for i in batch_indices(size, batch, step, seed=0)]
    orders = [drawn[epoch * size : (epoch + 1) * size] for epoch in range(epochs)]
    assert all(sorted(order) == list(range(size)) for order in orders)
    assert size < 5 or len({tuple(order) for order in orders}) == epochs  # another order every time
    assert size < 5 or batch_indices(size, batch, 1, seed=1) != batch_indices(size, batch, 1, seed=0)


def test_the_rate_rises_stays_and_falls_to_a_tenth(tmp_path: Path, data: Keyframes, tiny: Config) -> None:
    train(data, tiny(), recipe(iterations=3, warmup=2, learning_rate=0.01, log_every=1, checkpoint_every=9), tmp_path)
    rates = np.genfromtxt(tmp_path / "metrics.csv", delimiter=",", names=True)["learning_rate"]
    # After two thirds of the iterations, 80k of 120k in the thesis.
    np.testing.assert_allclose(rates, [0.005, 0.01, 0.001])


# Starting from a detector


def test_a_frozen_detector_stays_and_its_trajectories_learn(tmp_path: Path, data: Keyframes, tiny: Config) -> None:
    start = train(data, tiny(), recipe(), tmp_path / "start").model.state_dict()
    weights = tmp_path / "start" / "detector.safetensors"
    done = train(data, tiny(), recipe(), tmp_path / "run", init=weights, freeze=True).model.state_dict()
    changed = {name for name, value in done.items() if not torch.equal(value, start[name])}
    assert changed and all(name.startswith("roi_heads.trajectory_head.") for name in changed)
    with pytest.raises(UsageError, match=r"freeze .true, now false"):
        train(data, tiny(), recipe(), tmp_path / "run", init=weights)


def test_a_classifier_of_other_classes_starts_anew(
    tmp_path: Path, data: Keyframes, tiny: Config, caplog: pytest.LogCaptureFixture
) -> None:
    other = build_detector(tiny(num_classes=7, horizon=0)).state_dict()
    torch.save({"model": other}, tmp_path / "coco.pth")
    with caplog.at_level("INFO"):
        done = train(
            data, tiny(), recipe(iterations=1, learning_rate=1e-12), tmp_path / "run", init=tmp_path / "coco.pth"
        )
    state = done.model.state_dict()
    assert torch.allclose(state["backbone.body.conv1.weight"], other["backbone.body.conv1.weight"])
    assert "start from random weights: roi_heads.box_predictor.cls_score.weight" in caplog.text
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "no.pth")
    with pytest.raises(UsageError, match=r"no.pth: holds no weights of this detector's backbone"):
        train(data, tiny(), recipe(), tmp_path / "no", init=tmp_path / "no.pth")
    with pytest.raises(UsageError, match="this detector has none"):
        train(Keyframes(data.videos, horizon=0), tiny(horizon=0), recipe(), tmp_path / "none", freeze=True)


def test_the_backbone_starts_from_a_file(tmp_path: Path, data: Keyframes, tiny: Config) -> None:
    body = build_detector(tiny()).backbone.body.state_dict()
    file, near = tmp_path / "features.pt", {"iterations": 1, "learning_rate": 1e-12}
    torch.save({name: value + 0.5 for name, value in body.items()} | {"fc.bias": torch.zeros(3)}, file)
    done = train(data, tiny(), recipe(backbone_weights=str(file), **near), tmp_path / "run").model.backbone.body
    assert torch.allclose(done.state_dict()["conv1.weight"], body["conv1.weight"] + 0.5)
    torch.save({name: value for name, value in body.items() if name != "conv1.weight"}, file)
    with pytest.raises(UsageError, match=r"the state of resnet18 lacks \['conv1.weight'\]"):
        train(data, tiny(), recipe(backbone_weights=str(file), **near), tmp_path / "lacks")
    with pytest.raises(UsageError, match=r"none.pt: no such file"):
        train(data, tiny(), recipe(backbone_weights=str(tmp_path / "none.pt")), tmp_path / "none")
