"""The toy of figure 4.1: four panels of points, and the numbers that say what they show."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from efficiency_bench.records.artifacts import load_artifacts
from efficiency_bench.records.pictures import Series
from efficiency_bench.run import RunContext, run_experiment
from outlier_matching import ToyConfig

PANELS = ("original", "no_outliers", "with_outliers", "our_method")


def test_four_panels_and_their_numbers(tmp_path: Path) -> None:
    record = run_experiment("matching_toy", {"epochs": 3}, RunContext(tmp_path / "run.json", device="cpu"))
    assert {"efficiency_bench", "outlier_matching"} <= set(record.sources) and record.data == {}
    values = {name: metric.value for name, metric in record.metrics.items()}
    for name in PANELS:
        assert {f"{name}_alignment", f"{name}_accuracy"} <= set(values)
        assert 0 <= values[f"{name}_accuracy"] <= 1
    assert {f"{name}_separation" for name in PANELS if name != "no_outliers"} <= set(values)
    assert 0 <= values["our_method_f1"] <= 1 and "with_outliers_f1" not in values
    arrays = load_artifacts(tmp_path / "run.json", record)
    shown = {name: Series.read(arrays, name, "run") for name in PANELS}
    names = {name: series.names.tolist() for name, series in shown.items()}
    assert names["original"] == names["with_outliers"] == ["source", "target", "outliers"]
    assert names["no_outliers"] == ["source", "target"] and set(names["original"]) <= set(names["our_method"])
    config = ToyConfig(epochs=3)
    assert record.protocol["toy"] == asdict(config), "its own numbers, but for the epochs"
    counts = np.isfinite(shown["original"].x).sum(axis=1).tolist()
    assert counts[0] == config.source and sum(counts[1:]) == config.target
