"""Image matching at the smallest scale: every method, what its record and pictures hold, and settings that make no sense."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from efficiency_bench.artifacts import load_artifacts
from efficiency_bench.cli import main
from efficiency_bench.drawn import read_pictures, read_series
from efficiency_bench.errors import UsageError
from efficiency_bench.experiments import Context
from efficiency_bench.experiments.image_matching import Settings, open_domains
from efficiency_bench.records import RunRecord, load_record
from efficiency_bench.settings import build_settings
from synthetic_datasets import build, get_generator

TINY = {
    "image_size": 32, "embedding": 16, "width": 32, "epochs": 2, "steps": 3, "batch": 8,
    "gaussians": 2, "descriptor": 8,
}  # fmt: skip
MAPS = ("map_ts", "map_ss", "map_tt", "map_ts_inliers", "map_ts_charged", "map_ts_author")
FOUND = ("outlier_f1", "outlier_recall", "outlier_auc", "train_outlier_f1")


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shape-drawn"
    generator = get_generator("shape")
    build(generator, generator.config_type(train=270, test=180, size=32), folder)
    return folder


def run(shape: Path, out: Path, **settings: object) -> RunRecord:
    words = [text for key, value in {**TINY, **settings}.items() for text in ("--set", f"{key}={value}")]
    main(["run", "image_matching", *words, "--data", f"shape={shape}", "--device", "cpu", "--out", str(out)])
    return load_record(out)


@pytest.fixture(scope="module")
def whole(shape: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run.json"
    run(shape, out, method="da_outlier_detection", outlier_share=0.1)
    return out


def test_a_run_of_the_method_and_its_record(whole: Path) -> None:
    record = load_record(whole)
    assert record.kind == "train" and set(record.sources) == {"efficiency_bench", "outlier_matching"}
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
    curve = read_series(arrays, "precision_recall", "run")
    np.testing.assert_allclose(curve.x[0], np.arange(11) / 10, atol=1e-9)
    assert (np.diff(curve.y[0]) <= 1e-9).all() and 0 < curve.y[0, 0] <= 1, "interpolated precision only falls"
    shown = read_pictures(arrays, "examples", "run")
    assert shown.rows.tolist() == ["source", "target", "target, outliers"] and shown.images.shape == (3, 8, 64, 64, 3)
    assert shown.names[0].tolist() == shown.names[1].tolist(), "matching images are one above the other"
    assert set(shown.names[2].tolist()) == {""} and (shown.index[:2] >= 0).all()
    assert (shown.images[0] == shown.images[0][..., :1]).all(), "the source is black on white, the target in colour"
    assert not (shown.images[1] == shown.images[1][..., :1]).all()


def test_the_same_run_again_gives_the_same_numbers(whole: Path, shape: Path, tmp_path: Path) -> None:
    again = run(shape, tmp_path / "again.json", method="da_outlier_detection", outlier_share=0.1)
    first = load_record(whole)
    assert {name: again.metrics[name] for name in (*MAPS, *FOUND)} == {
        name: first.metrics[name] for name in (*MAPS, *FOUND)
    }
    assert again.protocol["artifacts"]["sha256"] and json.dumps(again.protocol["losses"]) == json.dumps(
        first.protocol["losses"]
    )


def test_without_outliers_none_is_trained_on_or_asked_for(shape: Path, tmp_path: Path) -> None:
    for method, used in (("siamese", 0), ("siamese_da", 82)):
        record = run(shape, tmp_path / f"{method}.json", method=method)
        values = {name: metric.value for name, metric in record.metrics.items()}
        assert values["train_target"] == used and values["train_outliers"] == values["train_outlier_share"] == 0
        assert values["map_ts"] == values["map_ts_inliers"] == values["map_ts_charged"]
        assert not set(FOUND) & set(values), "it detects nothing"
        arrays = load_artifacts(tmp_path / f"{method}.json", record)
        assert read_pictures(arrays, "examples", "run").rows.tolist() == ["source", "target"]


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
    record = run(shape, tmp_path / "run.json", method="sift_fv", max_queries=20)
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert values["train_target"] == 0 and values["train_source"] == 180 and values["queries"] == 20
    assert (
        0 < values["map_ts"] < 100
        and record.protocol["sift"]["fisher"]["clusters"] == 2
        and record.protocol["features"] == 2 * 2 * 8
    )


def test_shares_are_exact_in_training_and_test(shape: Path, tmp_path: Path) -> None:
    context = Context({"shape": shape}, torch.device("cpu"), 0, tmp_path)
    for share in (0.0, 0.05, 0.1, 0.4):
        for split, most in (("train", 90), ("test", 60)):
            domains = open_domains(Settings(outlier_share=share), context, split)
            count = len(domains.target)
            assert abs(domains.target.outliers.sum() - share * count) <= 0.5 and count <= most
            assert not domains.source.outliers.any() and set(domains.source.domains.tolist()) == {0}
            assert set(domains.target.domains.tolist()) == {1}
            assert (domains.target.labels[domains.target.outliers] == -1).all()
    again = open_domains(Settings(outlier_share=0.05), context, "train").target.indices
    other = open_domains(
        Settings(outlier_share=0.05), Context({"shape": shape}, torch.device("cpu"), 1, tmp_path), "train"
    ).target.indices
    first = open_domains(Settings(outlier_share=0.05), context, "train").target.indices
    assert again.tolist() == first.tolist() != other.tolist(), "the seed draws them"


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
        words = ["--package", "outlier_matching", "--split", split, "--set", "outliers=speaker"]
        main(["index", "office31", str(root), *words, "--out", str(folder / f"{split}.index.json")])
    words = [text for key, value in {**TINY, "outlier_share": 0.25}.items() for text in ("--set", f"{key}={value}")]
    data = ["--data", f"shape={folder}", "--images", f"shape/train={root}", "--images", f"shape/test={root}"]
    main(["run", "image_matching", *words, *data, "--device", "cpu", "--out", str(tmp_path / "run.json")])
    record = load_record(tmp_path / "run.json")
    assert record.data["shape"]["name"] == "Office-31" and record.data["shape"]["folder"] == "office31-office31"
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert values["train_source"] == 2 * 24, "dslr's own speakers are not in the source"
    assert values["train_target"] == 2 * 24 + 16 and values["train_outliers"] == 16 and values["gallery"] == 2 * 6
    shown = read_pictures(load_artifacts(tmp_path / "run.json", record), "examples", "run")
    assert shown.names.tolist()[2][0] == "speaker" and shown.images.shape == (3, 4, 64, 64, 3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"front": "isolation_forest"},
            "front isolation_forest goes with method siamese_da and an outlier_share above 0",
        ),
        ({"front": "isolation_forest", "method": "siamese_da"}, "outlier_share above 0, got siamese_da and 0.0"),
        ({"outlier_share": 1.0}, r"outlier_share must be in \[0, 1\), got 1.0"),
        ({"outlier_share": 0.6}, "at most 0.5, the method's assumption"),
        ({"method": "dann"}, "method: expected one of sift_fv, siamese, siamese_da, da_outlier_detection"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        build_settings(Settings, values, "row")


def test_what_the_method_package_refuses_ends_in_one_line(
    shape: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for settings, expected in (
        ({"batch": 7}, "batch must be even"),
        ({"trained": "thesis"}, "give weights, or trained=all"),
        ({"backbone": "resnet7"}, "resnet7"),
        ({"batch": 4096, "outlier_share": 0.1}, "a batch needs 4096"),
    ):
        with pytest.raises(SystemExit) as ended:
            run(shape, tmp_path / "run.json", **settings)
        error = capsys.readouterr().err
        assert ended.value.code == 2 and expected in error and "Traceback" not in error
