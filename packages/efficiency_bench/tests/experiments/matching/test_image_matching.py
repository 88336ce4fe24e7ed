"""Image matching at the smallest scale: every method, its record and pictures, and settings that make no sense."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from efficiency_bench.experiments import Context
from efficiency_bench.experiments.matching.matching_examples import open_domains
from efficiency_bench.records.artifacts import load_artifacts
from efficiency_bench.records.json_file import write_json
from efficiency_bench.records.pictures import Pictures, Series
from efficiency_bench.records.run_record import RunRecord, load_record
from efficiency_bench.records.set_index import make_index
from efficiency_bench.run import RunContext, run_experiment
from efficiency_bench.workflow.presets import overlaid
from efficiency_core.errors import UsageError

TINY: dict[str, Any] = {
    "network": {
        "backbone": "small_dbn", "size": 32, "embedding": 16, "width": 32, "dropout": 0.0, "trained": "all"
    },
    "training": {"epochs": 2, "steps": 3, "batch": 8},
    "sift": {"side": 128, "fisher": {"clusters": 2, "dimensions": 8}},
}  # fmt: skip
MAPS = ("map_ts", "map_ss", "map_tt", "map_ts_inliers", "map_ts_charged", "map_ts_author")
FOUND = ("outlier_f1", "outlier_recall", "outlier_auc", "train_outlier_f1")


@pytest.fixture(scope="module")
def shape(data_set: Callable[..., Path]) -> Path:
    return data_set("shape", "shape-drawn", train=270, test=180, size=32)


def run(shape: Path, out: Path, method: str = "da_outlier_detection", **settings: Any) -> RunRecord:
    every = overlaid(TINY, {"training": {"method": method}}, settings)
    record = run_experiment("image_matching", every, RunContext(out, {"shape": shape}, device="cpu"))
    write_json(out, record.to_json())
    return record


@pytest.fixture(scope="module")
def whole(shape: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run.json"
    run(shape, out, outlier_share=0.1)
    return out


def test_a_run_of_the_method_and_its_record(whole: Path) -> None:
    record = load_record(whole)
    assert record.kind == "train" and set(record.sources) == {"efficiency_bench", "efficiency_core", "outlier_matching"}
    assert record.data["shape"]["name"] == "Shape"
    for name in (*MAPS, *FOUND):
        assert record.metrics[name].unit == "%" and 0 <= record.metrics[name].value <= 100, name
    assert record.metrics["map_ts_charged"].value <= record.metrics["map_ts"].value
    assert record.metrics["train_source"].value == 180 and record.metrics["gallery"].value == 120
    assert record.metrics["train_outlier_share"].value == pytest.approx(10, abs=1)
    assert record.metrics["train_outliers"].value == 8
    assert record.protocol["training"]["method"] == "da_outlier_detection" and len(record.protocol["losses"]) == 2


def test_its_curve_and_its_examples(whole: Path) -> None:
    arrays = load_artifacts(whole, load_record(whole))
    curve = Series.read(arrays, "precision_recall", "run")
    np.testing.assert_allclose(curve.x[0], np.arange(11) / 10, atol=1e-9)
    assert (np.diff(curve.y[0]) <= 1e-9).all() and 0 < curve.y[0, 0] <= 1, "interpolated precision only falls"
    shown = Pictures.read(arrays, "examples", "run")
    assert shown.rows.tolist() == ["source", "target", "target, outliers"] and shown.images.shape == (3, 8, 64, 64, 3)
    assert shown.names[0].tolist() == shown.names[1].tolist(), "matching images are one above the other"
    assert set(shown.names[2].tolist()) == {""} and (shown.index[:2] >= 0).all()
    assert (shown.images[0] == shown.images[0][..., :1]).all(), "the source is black on white, the target in colour"
    assert not (shown.images[1] == shown.images[1][..., :1]).all()


def test_the_same_run_again_gives_the_same_numbers(whole: Path, shape: Path, tmp_path: Path) -> None:
    again = run(shape, tmp_path / "again.json", outlier_share=0.1)
    first = load_record(whole)
    assert [again.metrics[name] for name in (*MAPS, *FOUND)] == [first.metrics[name] for name in (*MAPS, *FOUND)]
    assert again.protocol["artifacts"]["sha256"]
    assert json.dumps(again.protocol["losses"]) == json.dumps(first.protocol["losses"])


def test_without_outliers_none_is_trained_on_or_asked_for(shape: Path, tmp_path: Path) -> None:
    for method, used in (("siamese", 0), ("siamese_da", 82)):
        record = run(shape, tmp_path / f"{method}.json", method=method)
        values = {name: metric.value for name, metric in record.metrics.items()}
        assert values["train_target"] == used and values["train_outliers"] == values["train_outlier_share"] == 0
        assert values["map_ts"] == values["map_ts_inliers"] == values["map_ts_charged"]
        assert not set(FOUND) & set(values), "it detects nothing"
        arrays = load_artifacts(tmp_path / f"{method}.json", record)
        assert Pictures.read(arrays, "examples", "run").rows.tolist() == ["source", "target"]


@pytest.mark.parametrize("front", ["isolation_forest", "one_class_svm"])
def test_another_detector_in_front(shape: Path, tmp_path: Path, front: str) -> None:
    pytest.importorskip("sklearn")
    record = run(shape, tmp_path / "run.json", method="siamese_da", outlier_share=0.1, front=front)
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert set(FOUND) <= set(values) and values["train_target"] < 90, "what it calls outliers is not trained on"
    assert values["queries"] < 60 and record.protocol["front"]["detector"] == front
    assert (tmp_path / "run" / "front").is_dir() and (tmp_path / "run" / "matching").is_dir()


def test_sift_with_fisher_vectors(shape: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    record = run(shape, tmp_path / "run.json", features="sift_fv", max_queries=20)
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert values["train_target"] == 0 and values["train_source"] == 180 and values["queries"] == 20
    assert 0 < values["map_ts"] < 100 and record.protocol["features"] == 2 * 2 * 8
    assert record.protocol["sift"]["fisher"]["clusters"] == 2


def test_shares_are_exact_in_training_and_test(shape: Path, tmp_path: Path) -> None:
    contexts = [Context({"shape": shape}, torch.device("cpu"), seed, tmp_path) for seed in (0, 1)]
    for share in (0.0, 0.05, 0.1, 0.4):
        for split, most in (("train", 90), ("test", 60)):
            domains = open_domains(contexts[0], "shape", split, share)
            count = len(domains.target)
            assert abs(domains.target.outliers.sum() - share * count) <= 0.5 and count <= most
            assert not domains.source.outliers.any() and set(domains.source.domains.tolist()) == {0}
            assert set(domains.target.domains.tolist()) == {1}
            assert (domains.target.labels[domains.target.outliers] == -1).all()
    first, again, other = (
        open_domains(context, "shape", "train", 0.05).target.indices.tolist() for context in (contexts[0], *contexts)
    )
    assert first == again != other, "the seed draws them"


def test_a_real_set_is_read_in_its_own_layout(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for domain in ("dslr", "amazon", "webcam"):
        for name in ("pen", "mug", "speaker"):
            for frame in range(1, 31):
                path = tmp_path / "real" / "office31" / domain / "images" / name / f"frame_{frame:04d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(path)
    root, folder = tmp_path / "real" / "office31", tmp_path / "office31-office31"
    for split in ("train", "test"):
        out = folder / f"{split}.index.json"
        make_index(root, "outlier_matching", "office31", split, {"outliers": "speaker"}, (), out)
    images = {f"shape/{split}": root for split in ("train", "test")}
    context = RunContext(tmp_path / "run.json", {"shape": folder}, images, device="cpu")
    record = run_experiment("image_matching", overlaid(TINY, {"outlier_share": 0.25}), context)
    assert record.data["shape"]["name"] == "Office-31" and record.data["shape"]["folder"] == "office31-office31"
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert values["train_source"] == 2 * 24, "dslr's own speakers are not in the source"
    assert values["train_target"] == 2 * 24 + 16 and values["train_outliers"] == 16 and values["gallery"] == 2 * 6
    shown = Pictures.read(load_artifacts(tmp_path / "run.json", record), "examples", "run")
    assert shown.names.tolist()[2][0] == "speaker" and shown.images.shape == (3, 4, 64, 64, 3)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"training": {"batch": 7}}, "batch must be even"),
        ({"network": {"trained": "thesis"}}, "give weights, or trained=all"),
        ({"network": {"backbone": "resnet7"}}, "resnet7"),
        ({"training": {"batch": 4096}, "outlier_share": 0.1}, "a batch needs 4096"),
    ],
)
def test_what_the_method_package_refuses_is_wrong_usage(
    shape: Path, tmp_path: Path, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UsageError, match=expected):
        run(shape, tmp_path / "run.json", **settings)
