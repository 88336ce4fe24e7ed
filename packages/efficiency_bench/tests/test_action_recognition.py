"""Action recognition at the smallest scale: a run and its pictures, and settings that make no sense."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from efficiency_bench.artifacts import load_artifacts
from efficiency_bench.cli import main
from efficiency_bench.drawn import read_grouping, read_series
from efficiency_bench.errors import UsageError
from efficiency_bench.experiments import stage_distances as looked_at
from efficiency_bench.experiments.action_recognition import Settings, start_of
from efficiency_bench.experiments.cluster_pictures import EpochClusters, purity
from efficiency_bench.experiments.stage_distances import correlation, ranks
from efficiency_bench.records import RunRecord, load_record
from efficiency_bench.settings import build_settings, changed_settings, format_assignments, parse_assignments
from full_video.checkpoint import read_tensors
from synthetic_datasets import build, get_generator

TINY = ["epochs=2", "image_size=32", "resize=32", "batch_size=4", "warmup=0"]
TINY += ["pictured_videos=2", "pictured_epochs=2", "start=random", "width=16"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "move4mnist-texture"
    generator = get_generator("move4mnist")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EFFICIENCY_DATA", raising=False)
        build(generator, generator.config_type(train=4, test=4), folder)
    return folder


def run(videos: Path, out: Path, *settings: str, words: Sequence[str] = ()) -> RunRecord:
    values = dict(setting.split("=") for setting in [*TINY, *settings])
    words = [*words, *(text for key, value in values.items() for text in ("--set", f"{key}={value}"))]
    main(["run", "action_recognition", *words, "--data", f"move4mnist={videos}", "--device", "cpu", "--out", str(out)])
    return load_record(out)


@pytest.fixture(scope="module")
def clustered(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run.json"
    run(videos, out)
    return out


def test_a_run_and_its_record(clustered: Path) -> None:
    record = load_record(clustered)
    assert record.kind == "train" and {"efficiency_bench", "full_video"} == set(record.sources)
    assert record.data["move4mnist"]["name"] == "Move4MNIST"
    for name in ("top1", "top5", "cluster_purity_cumulative", "cluster_purity_slope", "cluster_purity_uniform"):
        assert record.metrics[name].unit == "%" and 0 <= record.metrics[name].value <= 100
    assert record.metrics["train_s_per_epoch"].value > 0 and record.metrics["top5"].value == 100, (
        "there are four classes"
    )
    assert record.protocol["network"]["clusters"] == 8 and len(record.protocol["loss_by_epoch"]) == 2
    assert set(record.protocol["accuracy_by_class"]) == {"left", "right", "up", "down"}


def test_the_pictures_of_a_run(clustered: Path) -> None:
    arrays = load_artifacts(clustered, load_record(clustered))
    for video in range(2):
        followed = read_grouping(arrays, f"epochs_video{video}", "run")
        assert followed.rows.tolist() == ["epoch 0", "epoch 2"] and followed.ids.shape == (2, 32)
        assert (np.diff(followed.ids) >= 0).all() and set(followed.ids[0].tolist()) == set(range(8))
    kinds = read_grouping(arrays, "kinds", "run")
    assert kinds.rows.tolist() == ["cumulative", "slope", "uniform"] and kinds.frames.shape == (32, 32, 32, 3)
    assert set(kinds.kinds.tolist()) <= {"motion", "background", "black", "distractor"}
    assert (kinds.ids[2] == np.arange(32) * 8 // 32).all(), "uniform knows no content"
    black = kinds.frames[kinds.kinds == "black"]
    assert len(black) and black.max() == 0, "kinds belong to the frames beside them"
    stages = read_series(arrays, "stages", "run")
    assert stages.x.shape == (12, 4) and stages.names.tolist() == ["similar frames"] * 6 + ["dissimilar frames"] * 6
    assert ((stages.y >= 0) & (stages.y <= 1)).all()
    assert stages.y[:6, 0].mean() < stages.y[6:, 0].mean()


def test_sampled_frames_leave_no_clusters_to_look_at(videos: Path, tmp_path: Path) -> None:
    record = run(videos, tmp_path / "tsm.json", "method=tsm", "frames=4", "clusters=0", "rule=motion", "epochs=1")
    assert not any("purity" in name for name in record.metrics) and "artifacts" not in record.protocol
    assert record.protocol["training"]["sampling"] == {"frames": 4, "rule": "motion", "stride": 1}
    assert record.protocol["network"]["shift"] is True


def test_a_streamed_run_needs_fixed_statistics(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    streamed = ("memory=streamed", "epochs=1", "pictured_videos=0")
    with pytest.raises(SystemExit) as ended:
        run(videos, tmp_path / "free.json", *streamed)
    assert ended.value.code == 2 and "frozen_norm='stem'" in capsys.readouterr().err
    record = run(videos, tmp_path / "fixed.json", *streamed, "frozen_norm=stem")
    assert record.protocol["training"]["memory"] == "streamed"


def test_a_run_that_starts_from_the_network_of_another(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    motion = ("start=motion", "start_epochs=1", "epochs=1", "pictured_videos=0")
    with pytest.raises(SystemExit) as ended:
        run(videos, tmp_path / "lost.json", *motion)
    assert ended.value.code == 2 and "give its record with --start" in capsys.readouterr().err

    given = dict(setting.split("=") for setting in [*TINY, *motion])
    given = {key: value for key, value in given.items() if not key.startswith("pictured")}
    wanted = start_of(build_settings(Settings, parse_assignments([f"{k}={v}" for k, v in given.items()]), "test"))
    assert wanted is not None
    settings = format_assignments(changed_settings(build_settings(Settings, wanted.settings, "test")))
    start = tmp_path / "start.json"
    run(
        videos,
        start,
        *settings,
        *(f"pictured_{what}={getattr(Settings(), f'pictured_{what}')}" for what in ("videos", "epochs")),
    )
    record = run(videos, tmp_path / "run.json", *motion, words=("--start", str(start)))
    assert record.protocol["start"]["run_id"] == load_record(start).run_id != record.run_id

    state = read_tensors(tmp_path / "start" / "network.pt", "full_video.network/1")["model"]
    untrained = run(videos, tmp_path / "still.json", *motion, "learning_rate=1e-12", words=("--start", str(start)))
    assert untrained.protocol["start"] == record.protocol["start"]
    kept = read_tensors(tmp_path / "still" / "network.pt", "full_video.network/1")["model"]
    torch.testing.assert_close(kept["layer3.0.conv1.weight"], state["layer3.0.conv1.weight"], rtol=1e-4, atol=1e-6)

    with pytest.raises(SystemExit) as ended:
        run(videos, tmp_path / "odd.json", *motion, "optimizer=sgd", words=("--start", str(start)))
    assert ended.value.code == 2
    assert "optimizer is 'adamw', these settings ask for 'sgd'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        run(videos, tmp_path / "none.json", words=("--start", str(start)))
    assert ended.value.code == 2 and "starts from no other run" in capsys.readouterr().err
    (tmp_path / "start" / "network.pt").unlink()
    with pytest.raises(SystemExit) as ended:
        run(videos, tmp_path / "gone.json", *motion, words=("--start", str(start)))
    assert ended.value.code == 2 and "is not there any more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"method": "tsm"}, "method tsm with 8 clusters"),
        ({"clusters": 0}, "method clustered with 0 clusters"),
        ({"frames": -1}, "frames must be 0 or more, got -1"),
        ({"method": "gsm"}, "method: expected one of tsm, tsn, clustered, got 'gsm'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        build_settings(Settings, values, "row")


def test_purity_by_hand() -> None:
    kinds = np.array([0, 0, 2, 2, 2, 1], np.uint8)
    assert purity(np.array([0, 0, 1, 1, 1, 2]), kinds) == 1
    assert purity(np.array([0, 0, 0, 1, 1, 1]), kinds) == pytest.approx(4 / 6)
    assert purity(np.zeros(6, np.int64), kinds) == pytest.approx(3 / 6)


def test_epochs_that_are_looked_at_are_spread_over_the_training(videos: Path, tmp_path: Path) -> None:
    from full_video.training import TrainConfig
    from full_video.video_sets import open_videos

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
    from full_video.networks import NetworkConfig, build_network

    shown: list[int] = []

    def shares(whole: object, frames: torch.Tensor) -> np.ndarray:
        shown.append(frames.shape[1])
        return np.zeros((4, frames.shape[1] - 1))

    monkeypatch.setattr(looked_at, "whole_videos", lambda videos, inputs: Still())
    monkeypatch.setattr(looked_at, "neighbour_shares", shares)
    network = build_network(NetworkConfig(classes=2, clusters=2)).eval()
    assert looked_at.stage_distances(network, None, None) == ({}, {})  # type: ignore[arg-type]
    assert shown == [looked_at.LONGEST]


def test_ranks_and_correlation_by_hand() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]
    x = np.array([1.0, 2.0, 3.0])
    assert correlation(x, 2 * x + 1) == pytest.approx(1) and correlation(x, -x) == pytest.approx(-1)
    assert np.isnan(correlation(x, np.ones(3)))
