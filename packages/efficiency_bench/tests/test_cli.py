"""`effbench`: real runs at the smallest scale, and wrong input in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from efficiency_bench.artifacts import load_artifacts, read_example
from efficiency_bench.cli import main
from efficiency_bench.records import load_record
from synthetic_datasets import MovingDigitsConfig, build, get_generator

TINY = [
    "iterations=2", "batch_size=2", "channels=16", "representation=16", "rois_per_image=8", "keyframe_step=8",
]  # fmt: skip


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "moving_digits-sklearn"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EFFICIENCY_DATA", raising=False)
        build(get_generator("moving-digits"), MovingDigitsConfig(train=10, test=10), folder)
    return folder


def status(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def train(digits: Path, out: Path, *more: str) -> int:
    settings = [text for setting in [*TINY, *more] for text in ("--set", setting)]
    return status(
        "run",
        "video_detection",
        *settings,
        "--data",
        f"moving_digits={digits}",
        "--device",
        "cpu",
        "--out",
        out,
    )


def test_a_training_run_and_its_record(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run.json"
    assert train(digits, out) == 0
    record = load_record(out)
    assert record.kind == "train" and record.seed == 0 and record.settings["iterations"] == 2
    assert record.data["moving_digits"]["name"] == "MovingDigits" and len(record.data["moving_digits"]["digest"]) == 64
    assert record.metrics["keyframe_map"].unit == "%" and 0 <= record.metrics["trajectory_iou"].value <= 1
    assert record.protocol["keyframes"] == 40 and record.protocol["frames"] == 320
    assert {"efficiency_bench", "location_anticipation"} == set(record.sources)
    assert "keyframe_map" in capsys.readouterr().out
    again = tmp_path / "again.json"
    assert train(digits, again) == 0
    timeless = [
        {name: metric.value for name, metric in load_record(path).metrics.items() if "time" not in name}
        for path in (out, again)
    ]
    assert timeless[0] == timeless[1], "same seed, same device, same numbers"


def test_the_plain_detector_has_no_trajectories(digits: Path, tmp_path: Path) -> None:
    assert train(digits, tmp_path / "plain.json", "motion=none", "horizon=0") == 0
    metrics = load_record(tmp_path / "plain.json").metrics
    assert "trajectory_iou" not in metrics and "no_motion_iou" in metrics


def test_checkpoints_of_other_source_code_are_not_continued(
    digits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run.json"
    assert train(digits, out) == 0
    note = tmp_path / "run" / "sources.json"
    before = (tmp_path / "run" / "training.pt").stat().st_mtime_ns
    assert train(digits, out) == 0
    assert (tmp_path / "run" / "training.pt").stat().st_mtime_ns == before, "finished, nothing to train"
    note.write_text(json.dumps({"location_anticipation": "of another day"}))
    assert train(digits, out) == 0
    assert (tmp_path / "run" / "training.pt").stat().st_mtime_ns > before
    assert "the source has changed" in caplog.text


def test_a_run_on_changed_data_starts_over(digits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, out = tmp_path / digits.name, tmp_path / "run.json"
    shutil.copytree(digits, folder)
    assert train(folder, out) == 0
    before, digest = load_record(out).run_id, load_record(out).data["moving_digits"]["digest"]
    build(get_generator("moving-digits"), MovingDigitsConfig(train=10, test=10, speed=1.0), folder)
    assert train(folder, out) == 0, "the same run id, other content"
    assert load_record(out).run_id == before and load_record(out).data["moving_digits"]["digest"] != digest
    assert "the data has changed" in caplog.text
    (tmp_path / "run" / "data.json").unlink()  # a run of before data were noted
    stamp = (tmp_path / "run" / "training.pt").stat().st_mtime_ns
    assert train(folder, out) == 0
    assert (tmp_path / "run" / "training.pt").stat().st_mtime_ns == stamp


def test_a_folder_that_is_not_the_runs_own_is_left_alone(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter2.tex").write_text("precious")
    assert train(digits, tmp_path / "thesis.json") == 2
    assert "choose another --out" in capsys.readouterr().err
    assert (tmp_path / "thesis" / "chapter2.tex").read_text() == "precious"


def test_a_measurement_and_its_record(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    small = ["backbone=resnet18", "height=96", "width=128", "rounds=2", "warmup=1", "proposals=50", "horizon=4"]
    peers = ["window=1", "references=1", "peer_step=2"]
    settings = [text for setting in [*small, *peers, "keyframe_steps=[2,4]"] for text in ("--set", setting)]
    assert status("measure", "video_detection_speed", *settings, "--device", "cpu", "--out", out) == 0
    record = load_record(out)
    value = {name: metric.value for name, metric in record.metrics.items()}
    assert value["speedup_per_frame"] == 1 and value["fps_step4"] > value["fps_step2"] > 0
    head = value["head_macs_share"] / 100
    assert head > 0 and value["flops_g_step4"] == pytest.approx(value["flops_g_per_frame"] * (1 + head) / 4)
    assert value["activation_mb_step2"] == pytest.approx(2 * value["activation_mb_step4"])
    assert record.protocol["boxes_per_keyframe"] > 10, "the trajectory head has something to do"
    assert record.protocol["fvcore_over_torch_macs"] == pytest.approx(1)
    key_boxes = {"key_boxes_copied": 2, "constant_velocity": 2, "interpolation": 2, "dff": 2}
    ours = {"per_frame": 1, "step2": 2, "step4": 4}
    assert record.protocol["units"] == {**ours, **key_boxes, "fgfa": 1, "selsa": 1}
    assert value["speedup_key_boxes_copied"] > 1 > value["speedup_fgfa"] > 0


def test_the_example_of_simulated_motion_and_its_arrays(tmp_path: Path) -> None:
    out = tmp_path / "example.json"
    assert status("measure", "simulated_motion_example", "--device", "cpu", "--out", out) == 0
    record = load_record(out)
    example = read_example(load_artifacts(out, record), "simulated", "run")
    assert example.index.tolist() == list(range(25)) and example.index[example.keyframe].tolist() == [0, 8, 16, 24]
    keyframes, moved = example.true[example.keyframe, 0], example.found[:, 0]
    np.testing.assert_allclose(moved[example.keyframe], keyframes, atol=1e-5)
    # Equation 2.5: half way between two keyframes the bow is dx^2 / (16 f) with f = 8, to the other side in turn.
    dx = keyframes[1, 0] - keyframes[0, 0]
    for segment, side in enumerate((-1, 1, -1)):
        middle = (keyframes[segment] + keyframes[segment + 1]) / 2
        np.testing.assert_allclose(moved[8 * segment + 4, 1] - middle[1], side * dx**2 / (16 * 8), atol=1e-4)
    assert record.metrics["bow_px"].value == pytest.approx(dx**2 / (16 * 8), abs=1e-4)
    assert record.metrics["keyframe_error_px"].value < 1e-4


def test_wrong_use_is_one_line_and_status_2(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    broken = tmp_path / "moving_digits-broken"
    broken.mkdir()
    for split in ("train", "test"):
        content = (digits / f"{split}.h5").read_bytes()
        (broken / f"{split}.h5").write_bytes(content[: len(content) // 2])
    name, workflows = "video_detection", Path(__file__).parents[3] / "workflows"
    cases: list[tuple[str, list[object]]] = [
        ("unknown experiment 'speed'", ["run", "speed", "--out", out]),
        ("use effbench measure", ["run", "video_detection_speed", "--out", out]),
        ("unknown setting 'iterationz'", ["run", name, "--set", "iterationz=3", "--out", out]),
        ("expected a whole number", ["run", name, "--set", "iterations=many", "--out", out]),
        ("--data moving_digits=DIR", ["run", name, "--out", out]),
        (
            "--images shapes: this experiment reads",
            [
                "run",
                name,
                "--data",
                f"moving_digits={digits}",
                "--images",
                f"shapes={tmp_path}",
                "--out",
                out,
            ],
        ),
        (
            "no/such is no folder",
            [
                "run",
                name,
                "--data",
                f"moving_digits={digits}",
                "--images",
                "moving_digits=no/such",
                "--out",
                out,
            ],
        ),
        ("keyframe_step 8 needs 7", ["run", name, "--set", "horizon=4", "--out", out]),
        ("steps 8 needs 7", ["measure", "video_speed_accuracy", "--set", "horizon=4", "--out", out]),
        ("timed_videos must be", ["measure", "video_speed_accuracy", "--set", "timed_videos=0", "--out", out]),
        ("keyframe_steps 8 needs 7", ["measure", "video_detection_speed", "--set", "horizon=4", "--out", out]),
        (
            "backbone must be one of",
            ["run", name, "--set", "backbone=resnet19", "--data", f"moving_digits={digits}", "--out", out],
        ),
        (
            "window must be at least 1",
            ["run", "peer_detection", "--set", "window=0", "--data", f"moving_digits={digits}", "--out", out],
        ),
        ("no such folder", ["run", name, "--data", f"moving_digits={tmp_path / 'none'}", "--out", out]),
        ("build it again", ["run", name, "--data", f"moving_digits={broken}", "--out", out]),
        ("this experiment reads", ["measure", "video_detection_speed", "--data", f"digits={digits}", "--out", out]),
        ("device 'tpu'", ["run", name, "--data", f"moving_digits={digits}", "--device", "tpu", "--out", out]),
        ("not installed", ["digest", "no_such_package"]),
        (
            "does not end in .svg",
            [
                "plot",
                workflows / "figures" / "fig2_7.yaml",
                "--preset-file",
                workflows / "config" / "smoke.yaml",
                "--runs",
                tmp_path,
                "--out",
                out,
            ],
        ),
        ("cannot be read", ["tabulate", tmp_path / "t.yaml", "--preset-file", "p", "--runs", tmp_path, "--out", out]),
    ]
    if not torch.cuda.is_available():
        cases.append(("cuda", ["run", name, "--data", f"moving_digits={digits}", "--device", "cuda", "--out", out]))
    for message, arguments in cases:
        assert status(*arguments) == 2, arguments
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error, error
        assert not out.exists()
    assert status("run", "speed", "--out", out, "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_list_and_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("list") == 0
    listed = capsys.readouterr().out
    assert "video_detection (kind train; data: moving_digits)" in listed and "iterations = 1250" in listed
    assert status("digest", "efficiency_bench") == 0
    assert len(capsys.readouterr().out.strip()) == 64
