"""Training: it learns, it repeats itself to the bit, it goes on after a stop, and it skips broken videos.

The tests of efficiency_core show what the loop does for every training."""

import csv
import json
import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from efficiency_core.errors import UsageError, WorkError
from efficiency_core.loop import BEST, CHECKPOINT, epoch_order, together
from full_video import NetworkConfig, TrainConfig, Trained, evaluate, load_network, train
from full_video.checkpoint import NETWORK
from full_video.data import Augmentation, Clips, LabelVideos, Sampling, batch_of
from full_video.training import video_weights

Write = Callable[..., Path]
Damage = Callable[..., Any]
SMALL = Augmentation(size=32, resize=32, crop="centre")


def recipe(**changes: Any) -> TrainConfig:
    small = {"epochs": 2, "batch_size": 4, "milestones": (), "augmentation": SMALL, "learning_rate": 0.01, "workers": 0}
    return TrainConfig(**small | changes)


def network(**changes: Any) -> NetworkConfig:
    return NetworkConfig(**{"width": 8, "clusters": 4, "frozen_norm": "stem"} | changes)


def same(first: Trained, second: Trained) -> bool:
    states = first.network.state_dict(), second.network.state_dict()
    return first.losses == second.losses and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / CHECKPOINT, weights_only=True)
    return content


@pytest.mark.slow
def test_a_tiny_problem_is_learned(tmp_path: Path, write_videos: Write) -> None:
    videos = LabelVideos(write_videos(videos=8))
    config = recipe(epochs=20, batch_size=8, learning_rate=0.02, warmup=4)
    result = train(videos, network(width=32, dropout=0.0), config, tmp_path / "run")
    assert len(result.losses) == 20 and result.loss == result.losses[-1]
    assert result.loss < 0.3 * result.losses[0]
    assert result.seconds_per_epoch > 0 and result.skipped == () and not result.network.training
    found = evaluate(result.network, videos, config.clips)
    assert found.top1 >= 0.75 and found.videos == 8


@pytest.mark.parametrize(("changes", "settings"), [
    ({"clusters": 0, "shift": False}, {"sampling": Sampling(frames=4, rule="motion")}),
    ({}, {"memory": "streamed", "chunk": 3}),
    ({}, {"memory": "checkpointed", "schedule": "cosine", "max_frames": 5}),
    ({"grouping": "slope"}, {"precision": "bf16-mixed"}),
    ({"backbone": "mobilenet_v2"}, {"memory": "streamed"}),
])  # fmt: skip
def test_variants_train(tmp_path: Path, data: LabelVideos, changes: dict[str, Any], settings: dict[str, Any]) -> None:
    config = recipe(epochs=1, **settings)
    result = train(data, network(**changes), config, tmp_path)
    assert torch.isfinite(torch.tensor(result.losses)).all()
    saved = load_network(tmp_path / NETWORK)
    assert saved.class_names == ("move left", "move right")
    assert saved.network.config == network(classes=2, **changes) and saved.clips == config.clips
    state = result.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in saved.network.state_dict().items())


def test_same_seed_same_bytes_with_and_without_workers(tmp_path: Path, damaged: Damage) -> None:
    augmentation = Augmentation(size=24, resize=32, crop="random", flip="labels")
    results = []
    for folder, changes in (("a", {}), ("b", {"workers": 2}), ("c", {"seed": 1})):
        config = recipe(epochs=1, augmentation=augmentation, sampling=Sampling(frames=5), **changes)
        results.append(train(damaged(3), network(), config, tmp_path / folder))
    assert same(results[0], results[1]) and results[0].skipped == results[1].skipped
    assert not same(results[0], results[2])
    first, second = ((tmp_path / folder / NETWORK).read_bytes() for folder in "ab")
    assert first == second


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_stopped_run_ends_as_an_uninterrupted_one(tmp_path: Path, damaged: Damage, optimizer: str) -> None:
    # Dropout draws in every step, crops and sampling in every clip; one video is broken.
    changes = {"augmentation": Augmentation(size=24, resize=32), "sampling": Sampling(frames=6), "optimizer": optimizer}
    seen: dict[str, list[int]] = {"whole": [], "parts": []}

    def follow(name: str) -> Callable[..., None]:
        return lambda epoch, network: seen[name].append(epoch) or (network.training and pytest.fail("not in eval mode"))

    whole = train(damaged(2), network(), recipe(**changes), tmp_path / "whole", after_epoch=follow("whole"))
    with pytest.raises(KeyboardInterrupt):  # in the second batch of the second epoch
        train(
            damaged(2, interrupt=11), network(), recipe(checkpoint_every=1, **changes), tmp_path / "parts",
            after_epoch=follow("parts"),
        )  # fmt: skip
    assert read(tmp_path / "parts")["step"] == 3 and not (tmp_path / "parts" / NETWORK).exists()
    resumed = train(
        damaged(2), network(), recipe(workers=1, **changes), tmp_path / "parts", after_epoch=follow("parts")
    )
    assert same(whole, resumed) and whole.skipped == resumed.skipped
    assert seen == {"whole": [0, 1, 2], "parts": [0, 1, 2]}


def test_adamw_decays_weights_and_nothing_else(tmp_path: Path, data: LabelVideos) -> None:
    train(data, network(), recipe(epochs=1, optimizer="adamw", weight_decay=0.1), tmp_path)
    optimizer = read(tmp_path)["task"]["optimizers"][0]
    weights, rest = optimizer["param_groups"]
    assert [group["weight_decay"] for group in (weights, rest)] == [0.1, 0.0]
    assert all(optimizer["state"][p]["exp_avg"].ndim > 1 for p in weights["params"])
    assert all(optimizer["state"][p]["exp_avg"].ndim == 1 for p in rest["params"])


def test_the_learning_rate_falls_at_epochs(tmp_path: Path, data: LabelVideos) -> None:
    train(data, network(), recipe(epochs=3, batch_size=3, warmup=2, milestones=(1, 2), log_every=1), tmp_path)
    with (tmp_path / "metrics.csv").open() as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([0.005, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_a_validation_set_keeps_the_best_network(tmp_path: Path, data: LabelVideos, damaged: Damage) -> None:
    validation = damaged(0)
    result = train(data, network(), recipe(), tmp_path / "run", validation=validation)
    assert result.best is not None
    steps, top1 = result.best
    assert steps in (2, 4) and 0 <= top1 <= 1
    best = load_network(tmp_path / "run" / BEST)
    assert evaluate(best.network, validation, best.clips).top1 == top1
    assert same(result, train(data, network(), recipe(), tmp_path / "without"))


@pytest.mark.parametrize(("names", "labels"), [(("move left",), [0, 0]), (("move right", "move left"), [0, 1])])
def test_a_validation_set_may_have_some_of_the_classes(
    tmp_path: Path, data: LabelVideos, video_set: Any, names: tuple[str, ...], labels: list[int]
) -> None:
    videos = video_set([(5, 32, 32), (6, 32, 32)], labels, names)
    result = train(data, network(), recipe(epochs=1), tmp_path / "run", validation=videos)
    assert result.best is not None and result.best[0] == 2
    unknown = video_set([(5, 32, 32)], [0], ["wave"])
    with pytest.raises(
        UsageError, match=r"Squares knows 2 classes, Noise \(validation\) has 1; 'wave' is not among them"
    ):
        train(data, network(), recipe(epochs=1), tmp_path / "other", validation=unknown)


@pytest.mark.parametrize(("labels", "weights"), [
    ([0, 1], [1, 1]), ([0, 0, 0, 1], [2 / 3, 2 / 3, 2 / 3, 2]),
    ([2, 0, 2, 2, 2], [5 / 8, 5 / 2, 5 / 8, 5 / 8, 5 / 8]), ([1], [1]),
])  # fmt: skip
def test_every_class_has_the_same_weight(video_set: Any, labels: list[int], weights: list[float]) -> None:
    videos = video_set([(1, 8, 8)] * len(labels), labels, "abc")
    assert video_weights(videos).tolist() == pytest.approx(weights)


@pytest.mark.parametrize("flip", ["none", "labels"])
def test_a_balanced_loss(tmp_path: Path, video_set: Any, flip: Any) -> None:
    """One batch before any step: the mean over classes of the mean loss of their videos, as they are listed."""
    labels, settings = [0, 0, 0, 1], {"epochs": 1, "batch_size": 4, "augmentation": replace(SMALL, flip=flip)}
    videos = video_set([(5, 32, 32)] * 4, labels, ("go left", "go right"))
    config, untrained = recipe(**settings), []
    result = train(
        videos,
        network(dropout=0.0, frozen_norm="all"),
        config,
        tmp_path,
        balanced=True,
        after_epoch=lambda *one: untrained.append(deepcopy(one[1])),
    )
    clips = Clips(videos, config, training=True)
    order = epoch_order(4, 0, 0).tolist()
    batch = batch_of(clips, [(video, 0) for video in order])
    losses = torch.nn.functional.cross_entropy(
        untrained[0](batch.frames, batch.lengths), batch.labels, reduction="none"
    )
    of = {video: loss.item() for video, loss in zip(order, losses, strict=True)}
    assert result.losses == pytest.approx([((of[0] + of[1] + of[2]) / 3 + of[3]) / 2], rel=1e-5)
    kept = json.loads(read(tmp_path)["fingerprint"])["training"]
    assert kept["balanced"] is True
    with pytest.raises(UsageError, match="balanced"):
        train(videos, network(dropout=0.0, frozen_norm="all"), recipe(**settings), tmp_path)


def test_it_starts_from_an_earlier_network(tmp_path: Path, data: LabelVideos) -> None:
    first = train(data, network(clusters=0), recipe(epochs=1), tmp_path / "first")
    seen: list[dict[str, Any]] = []
    train(
        data, network(), recipe(epochs=1), tmp_path / "second", weights=str(tmp_path / "first" / NETWORK),
        after_epoch=lambda epoch, net: seen.append({name: value.clone() for name, value in net.state_dict().items()}),
    )  # fmt: skip
    assert all(torch.equal(seen[0][name], value) for name, value in first.network.state_dict().items())
    with pytest.raises(UsageError, match=r"network\.safetensors: the state does not fit resnet18"):
        train(data, network(width=16), recipe(), tmp_path / "third", weights=str(tmp_path / "first" / NETWORK))


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path: Path, write_videos: Write) -> None:
    """Five videos in batches of four: the last batch leaves one of two processes without a video."""
    videos, kind = LabelVideos(write_videos(videos=5)), network(dropout=0.0, frozen_norm="none")
    one = train(videos, kind, recipe(epochs=1), tmp_path / "one")
    together(train, videos, kind, recipe(epochs=1, devices=2), tmp_path / "two")
    two = load_network(tmp_path / "two" / NETWORK).network.state_dict()
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-6)


def test_broken_videos_are_named_skipped_and_counted(
    tmp_path: Path, damaged: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    result = train(damaged(1, 4), network(), recipe(), tmp_path)
    skipped = [(video.name, video.why, video.times) for video in result.skipped]
    assert skipped == [("video1", "cut off", 2), ("video4", "cut off", 2)]
    assert caplog.messages.count("skipping video1: cut off") == 1  # in two epochs
    assert caplog.messages[-1] == "2 of 6 videos could not be read and were skipped"
    assert read(tmp_path)["history"]["weights"].sum() == 8  # 4 videos, twice


def test_a_batch_of_broken_videos_alone_takes_no_step_and_all_broken_end_the_run(
    tmp_path: Path, damaged: Damage
) -> None:
    result = train(damaged(0, 1, 2, 3, 4), network(), recipe(batch_size=1, epochs=1), tmp_path)
    history = read(tmp_path)["history"]
    assert sorted(history["weights"].tolist()) == [0, 0, 0, 0, 0, 1]
    assert result.losses == (history["losses"].sum().item(),)
    with pytest.raises(WorkError, match="none of the 6 videos can be read; the first: video0: cut off"):
        train(damaged(*range(6)), network(), recipe(), tmp_path / "none")


def test_another_run_in_the_folder_is_refused(tmp_path: Path, data: LabelVideos, write_videos: Write) -> None:
    train(data, network(), recipe(epochs=1), tmp_path / "run")
    kept = json.loads(read(tmp_path / "run")["fingerprint"])
    assert not {"epochs", "balanced"} & kept["training"].keys()  # as in runs from before there was this setting
    assert kept["network"]["classes"] == 2 and kept["weights"] is None
    path = tmp_path / "run" / CHECKPOINT
    before = path.read_bytes()
    for changes, named in (
        ({"config": recipe(learning_rate=0.02, seed=4)}, ["training.learning_rate (0.01, now 0.02)", "training.seed"]),
        ({"config": recipe(sampling=Sampling(frames=4))}, ["training.sampling.frames"]),
        ({"network": network(grouping="slope")}, ["network.grouping"]),
        ({"videos": LabelVideos(write_videos("other.h5", attributes={"content_digest": "other"}))}, ["data"]),
    ):
        with pytest.raises(UsageError) as caught:
            train(**{"videos": data, "network": network(), "config": recipe(), "folder": tmp_path / "run"} | changes)
        assert str(caught.value).startswith(f"{path}: belongs to a run with other settings")
        assert all(name in str(caught.value) for name in named)
        assert path.read_bytes() == before


@pytest.mark.parametrize(("changes", "settings", "message"), [
    ({"classes": 3}, {}, "Squares has 2 classes, the network is asked for 3"),
    ({"frozen_norm": "none"}, {"memory": "streamed"}, "frozen_norm"),  # batch statistics of a streamed stem
    ({"clusters": 0}, {"memory": "streamed"}, "memory='streamed' needs clusters"),
    ({}, {"precision": "16-mixed"}, "precision=16-mixed needs a GPU"),
    ({}, {"augmentation": Augmentation(flip="directions")}, "needs the classes left, right, up and down"),
    ({}, {"augmentation": Augmentation(flip="horizontal")}, "videos of 'move left' as 'move right' and keep their label"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_before_training(
    tmp_path: Path, data: LabelVideos, changes: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(data, network(**changes), recipe(**settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("changes", "message"), [
    ({"epochs": 0}, "epochs must be 1 or more, got 0"),
    ({"momentum": -0.1}, "momentum must be 0 or more, got -0.1"),
    ({"seed": -1}, "seed must be 0 or more, got -1"),
    ({"max_frames": -1}, "max_frames must be 0"),
    ({"memory": "little"}, "memory must be one of .*, got 'little'"),
    ({"optimizer": "adam"}, "optimizer must be one of sgd, adamw, got 'adam'"),
    ({"milestones": (4, 2)}, r"milestones must be rising epochs from 1 on, got \(4, 2\)"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)
