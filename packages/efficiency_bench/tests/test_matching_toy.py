"""The toy of figure 4.1: four panels of points, and the numbers that say what they show."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from efficiency_bench.artifacts import load_artifacts
from efficiency_bench.cli import main
from efficiency_bench.drawn import read_series
from efficiency_bench.records import load_record
from outlier_matching.toy import ToyConfig

PANELS = ("original", "no_outliers", "with_outliers", "our_method")


def test_four_panels_and_their_numbers(tmp_path: Path) -> None:
    main(["run", "matching_toy", "--set", "epochs=3", "--device", "cpu", "--out", str(tmp_path / "run.json")])
    record = load_record(tmp_path / "run.json")
    assert set(record.sources) == {"efficiency_bench", "outlier_matching"} and record.data == {}
    values = {name: metric.value for name, metric in record.metrics.items()}
    for name in PANELS:
        assert {f"{name}_alignment", f"{name}_accuracy"} <= set(values)
        assert 0 <= values[f"{name}_accuracy"] <= 1
    assert {f"{name}_separation" for name in PANELS if name != "no_outliers"} <= set(values)
    assert 0 <= values["our_method_f1"] <= 1 and "with_outliers_f1" not in values
    arrays = load_artifacts(tmp_path / "run.json", record)
    shown = {name: read_series(arrays, name, "run") for name in PANELS}
    names = {name: series.names.tolist() for name, series in shown.items()}
    assert names["original"] == names["with_outliers"] == ["source", "target", "outliers"]
    assert names["no_outliers"] == ["source", "target"] and set(names["original"]) <= set(names["our_method"])
    config = ToyConfig(epochs=3)
    assert record.protocol["toy"] == {**asdict(config), "move": list(config.move)}, (
        "its own numbers, but for the epochs"
    )
    counts = np.isfinite(shown["original"].x).sum(axis=1).tolist()
    assert counts[0] == config.source and sum(counts[1:]) == config.target


def test_settings_that_the_toy_refuses_end_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(
            ["run", "matching_toy", "--set", "outlier_share=0.7", "--device", "cpu", "--out", str(tmp_path / "r.json")]
        )
    error = capsys.readouterr().err
    assert ended.value.code == 2 and "at most 0.5" in error and "Traceback" not in error
