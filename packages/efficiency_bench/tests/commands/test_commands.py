"""`effbench` itself: what it writes and prints, and wrong input in one line."""

from pathlib import Path

import pytest

from efficiency_bench.cli import main
from efficiency_bench.records.run_record import load_record

ROOT = Path(__file__).parents[4]


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_run_writes_the_record_and_prints_its_metrics(
    toys: dict, shape: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", f"shape={shape}", "--images", f"shape={tmp_path}"]
    out = tmp_path / "a folder" / "run.json"
    assert status("run", "toy", *data, "--set", "training.gamma=2", "--seed", 7, "--device", "cpu", "--out", out) == 0
    record = load_record(out)
    assert record.seed == 7 and record.settings["training"] == {"epochs": 2, "gamma": 2.0}
    printed = capsys.readouterr().out
    assert "error                        2.0000 %\n" in printed and "top5                         none: not" in printed


def test_wrong_use_is_one_line_and_status_2(toys: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    config = ROOT / "workflows" / "config" / "smoke.yaml"
    figure = ["plot", ROOT / "workflows" / "figures" / "fig2_7.yaml", "--preset-file", config, "--runs", tmp_path]
    cases: list[tuple[str, list[object]]] = [
        ("use effbench measure", ["run", "clock", "--out", out]),
        ("unknown setting 'training.epoch'", ["run", "toy", "--set", "training.epoch=3", "--out", out]),
        ("training.epochs: expected a whole number", ["run", "toy", "--set", "training.epochs=many", "--out", out]),
        ("expected a setting as key=value", ["run", "toy", "--set", "training", "--out", out]),
        ("--data: expected NAME=DIR, got 'shape'", ["run", "toy", "--data", "shape", "--out", out]),
        ("cannot be read", ["tabulate", tmp_path / "t.yaml", "--preset-file", "p", "--runs", tmp_path, "--out", out]),
        ("did you mean measure?", ["mesure", "clock"]),
    ]
    for message, arguments in cases:
        assert status(*arguments) == 2, arguments
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
        assert not out.exists()
    assert status(*figure, "--out", out) == 2
    assert status("run", "clock", "--out", out, "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_list_and_digest(toys: dict, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("list") == 0
    listed = capsys.readouterr().out
    assert "toy (kind train; data: shape)" in listed and "training.epochs = 2" in listed
    assert status("digest", "toy") == 0
    (digest, package), module = (line.split() for line in capsys.readouterr().out.splitlines())
    assert len(digest) == 64 and package == "synthetic_datasets" and module == ["synthetic_datasets.seeding"]
