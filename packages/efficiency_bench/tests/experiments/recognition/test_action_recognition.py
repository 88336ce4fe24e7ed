"""Action recognition at the smallest scale: a run and its pictures, and settings that make no sense."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from efficiency_bench.experiments.recognition import stage_distances as looked_at
from efficiency_bench.experiments.recognition.action_recognition import Settings, start_of
from efficiency_bench.experiments.recognition.cluster_pictures import EpochClusters, purity
from efficiency_bench.experiments.recognition.stage_distances import correlation, ranks
from efficiency_bench.records.artifacts import load_artifacts
from efficiency_bench.records.json_file import write_json
from efficiency_bench.records.pictures import Grouping, Series
from efficiency_bench.records.run_record import RunRecord, load_record
from efficiency_bench.run import RunContext, run_experiment
from efficiency_bench.workflow.presets import overlaid
from efficiency_core.errors import UsageError
from efficiency_core.settings import build as build_settings
from full_video import NetworkConfig, TrainConfig, build_network, load_network
from full_video.data import open_videos

TINY = {
    "network": {"width": 16},
    "training": {
        "epochs": 2, "batch_size": 4, "optimizer": "adamw", "learning_rate": 0.0005, "workers": 0,
        "augmentation": {"size": 32, "resize": 32, "crop": "centre", "flip": "directions"},
    },
    "pictured_videos": 2,
    "pictured_epochs": 2,
    "start": "random",
}  # fmt: skip


@pytest.fixture(scope="module")
def videos(data_set: Callable[..., Path]) -> Path:
    return data_set("move4mnist", "move4mnist-texture", train=4, test=4)


def run(videos: Path, out: Path, before: Path | None = None, **settings: Any) -> RunRecord:
    context = RunContext(out, {"move4mnist": videos}, start=before, device="cpu")
    record = run_experiment("action_recognition", overlaid(TINY, settings), context)
    write_json(out, record.to_json())
    return record


@pytest.fixture(scope="module")
def clustered(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run.json"
    run(videos, out)
    return out


def test_a_run_and_its_record(clustered: Path) -> None:
    record = load_record(clustered)
    assert record.kind == "train" and {"efficiency_bench", "full_video"} <= set(record.sources)
    assert record.data["move4mnist"]["name"] == "Move4MNIST"
    purities = [f"cluster_purity_{grouping}" for grouping in ("cumulative", "slope", "uniform")]
    for name in ("top1", "top5", "clusters_moved", *purities):
        assert record.metrics[name].unit == "%" and 0 <= record.metrics[name].value <= 100
    assert record.metrics["train_s_per_epoch"].value > 0 and record.metrics["top5"].value == 100  # of four classes
    assert record.protocol["network"]["clusters"] == 8 and len(record.protocol["loss_by_epoch"]) == 2
    assert set(record.protocol["accuracy_by_class"]) == {"left", "right", "up", "down"}


def test_clusters_moved_is_the_share_of_frames_in_another_cluster_than_at_first(clustered: Path) -> None:
    record = load_record(clustered)
    arrays = load_artifacts(clustered, record)
    ids = [Grouping.read(arrays, f"epochs_video{video}", "run").ids for video in range(2)]
    moved = [sum(first != last for first, last in zip(one[0], one[-1], strict=True)) / len(one[0]) for one in ids]
    assert record.metrics["clusters_moved"].value == pytest.approx(100 * sum(moved) / 2)


def test_the_pictures_of_a_run(clustered: Path) -> None:
    arrays = load_artifacts(clustered, load_record(clustered))
    for video in range(2):
        followed = Grouping.read(arrays, f"epochs_video{video}", "run")
        assert followed.rows.tolist() == ["epoch 0", "epoch 2"] and followed.ids.shape == (2, 32)
        assert (np.diff(followed.ids) >= 0).all() and set(followed.ids[0].tolist()) == set(range(8))
    kinds = Grouping.read(arrays, "kinds", "run")
    assert kinds.rows.tolist() == ["cumulative", "slope", "uniform"] and kinds.frames.shape == (32, 32, 32, 3)
    assert set(kinds.kinds.tolist()) <= {"motion", "background", "black", "distractor"}
    assert (kinds.ids[2] == np.arange(32) * 8 // 32).all(), "uniform knows no content"
    black = kinds.frames[kinds.kinds == "black"]
    assert len(black) and black.max() == 0, "kinds belong to the frames beside them"
    stages = Series.read(arrays, "stages", "run")
    assert stages.x.shape == (12, 4) and stages.names.tolist() == ["similar frames"] * 6 + ["dissimilar frames"] * 6
    assert ((stages.y >= 0) & (stages.y <= 1)).all()
    assert stages.y[:6, 0].mean() < stages.y[6:, 0].mean()


def test_sampled_frames_leave_no_clusters_to_look_at(videos: Path, tmp_path: Path) -> None:
    sampling = {"frames": 4, "rule": "motion"}
    training = {"sampling": sampling, "epochs": 1, "memory": "streamed"}
    record = run(videos, tmp_path / "tsm.json", network={"clusters": 0}, training=training)
    assert not any("purity" in name for name in record.metrics) and "artifacts" not in record.protocol
    assert record.protocol["training"]["sampling"] == {**sampling, "stride": 1}
    assert record.protocol["training"]["memory"] == "plain" and record.protocol["network"]["shift"] is True


def test_a_streamed_run_needs_fixed_statistics(videos: Path, tmp_path: Path) -> None:
    streamed = {"training": {"memory": "streamed", "epochs": 1}, "pictured_videos": 0}
    with pytest.raises(UsageError, match="frozen_norm='stem'"):
        run(videos, tmp_path / "free.json", **streamed)
    record = run(videos, tmp_path / "fixed.json", network={"frozen_norm": "stem"}, **streamed)
    assert record.protocol["training"]["memory"] == "streamed"


def test_a_run_that_starts_from_the_network_of_another(videos: Path, tmp_path: Path) -> None:
    motion: dict[str, Any] = {"start": "motion", "start_epochs": 1, "training": {"epochs": 1}, "pictured_videos": 0}
    wanted = start_of(build_settings(Settings, overlaid(TINY, motion), "test"))
    assert wanted is not None and wanted.data == {"move4mnist": "move4mnist_start"}
    start = tmp_path / "start.json"
    context = RunContext(start, {"move4mnist": videos}, device="cpu")
    record = run_experiment("action_recognition", wanted.settings, context)
    write_json(start, record.to_json())
    assert record.protocol["network"]["clusters"] == 0
    assert record.protocol["training"]["sampling"]["frames"] == 8
    started = run(videos, tmp_path / "run.json", start, **overlaid(motion, {"training": {"learning_rate": 1e-12}}))
    assert started.protocol["start"]["run_id"] == record.run_id != started.run_id
    states = [load_network(tmp_path / name / "network.safetensors").network.state_dict() for name in ("start", "run")]
    before, after = (state["layer3.0.conv1.weight"] for state in states)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-6)


def test_what_a_run_starts_from() -> None:
    def started(**values: Any) -> Any:
        return start_of(build_settings(Settings, values, "test"))

    network = {"backbone": "mobilenet_v2", "clusters": 8, "dropout": 0.0}
    assert started(network=network, weights="IMAGENET1K_V1") is None, "from these weights at once"
    assert started(network=network, start="random") is None
    wanted = started(network=network, weights="IMAGENET1K_V1", start="weights_and_motion", training={"chunk": 4})
    first = build_settings(Settings, wanted.settings, "test")
    assert first.weights == "IMAGENET1K_V1" and start_of(first) is None, "which starts from the weights itself"
    assert (first.network.backbone, first.network.clusters, first.training.chunk) == ("mobilenet_v2", 0, 4)


def test_purity_by_hand() -> None:
    kinds = np.array([0, 0, 2, 2, 2, 1], np.uint8)
    assert purity(np.array([0, 0, 1, 1, 1, 2]), kinds) == 1
    assert purity(np.array([0, 0, 0, 1, 1, 1]), kinds) == pytest.approx(4 / 6)
    assert purity(np.zeros(6, np.int64), kinds) == pytest.approx(3 / 6)


def test_followed_epochs_are_spread_over_the_training(videos: Path, tmp_path: Path) -> None:
    test = open_videos(videos / "test.h5", "move4mnist", "test")
    for epochs, count, expected in ((40, 5, [0, 10, 20, 30, 40]), (1, 6, [0, 1]), (3, 2, [0, 3])):
        followed = EpochClusters(test, TrainConfig(epochs=epochs), 2, count, tmp_path)
        assert followed.epochs == expected


class Still:
    """In place of clips: one video whose frames are all the same."""

    def source(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((600, 3, 32, 32), 90, dtype=torch.uint8), 0


def test_a_video_that_stands_still_has_no_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not end the run: no correlation is left out rather than recorded as NaN; nor does a long one cost more."""
    shown: list[int] = []

    def shares(whole: object, frames: torch.Tensor) -> np.ndarray:
        shown.append(frames.shape[1])
        return np.zeros((4, frames.shape[1] - 1))

    monkeypatch.setattr(looked_at, "whole_videos", lambda videos, shown: Still())
    monkeypatch.setattr(looked_at, "neighbour_shares", shares)
    network = build_network(NetworkConfig(classes=2, width=8, clusters=2)).eval()
    assert looked_at.stage_distances(network, None, None) == ({}, {})  # type: ignore[arg-type]
    assert shown == [looked_at.LONGEST]


def test_ranks_and_correlation_by_hand() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]
    x = np.array([1.0, 2.0, 3.0])
    assert correlation(x, 2 * x + 1) == pytest.approx(1) and correlation(x, -x) == pytest.approx(-1)
    assert np.isnan(correlation(x, np.ones(3)))
