"""Time and memory of MK-MMD and MAP: all implementations give the same numbers, and the record has every ratio."""

import shutil
from pathlib import Path

import pytest
import torch

from efficiency_bench.experiments.matching.matching_cost import (
    Settings,
    all_differences,
    all_distances,
    discrepancy,
    linear_from,
)
from efficiency_bench.run import RunContext, run_experiment
from efficiency_core.settings import build as build_settings


def test_a_measurement_and_its_record(tmp_path: Path) -> None:
    tiny = {
        "width": 64, "queries": 50, "gallery": 300, "embedding": 16, "ranked": 4000, "ranked_width": 8, "matches": 5,
        "rounds": 10,
    }  # fmt: skip
    record = run_experiment("matching_cost", tiny, RunContext(tmp_path / "run.json", device="cpu"))
    assert record.kind == "measure" and {"efficiency_bench", "outlier_matching"} <= set(record.sources)
    values = {name: metric.value for name, metric in record.metrics.items()}
    for kind, rest in (("mmd", "speedup"), ("mmd", "speedup_over_differences"), ("map", "speedup")):
        assert record.metrics[f"{kind}_{rest}"].unit == record.metrics[f"{kind}_low_{rest}"].unit == "x"
        assert 0 < values[f"{kind}_low_{rest}"] <= values[f"{kind}_high_{rest}"]
    assert values["mmd_mb_differences"] > 20 * values["mmd_mb_pairs"], "(2n, 2n, d) against O(n d)"
    assert values["map_difference"] <= 1e-6
    assert values["distances_mb"] == 50 * 4000 * 4 / 1e6
    assert set(record.protocol["units"]) == {
        "mmd_pairs", "mmd_matrices", "mmd_differences", "map_retrieve", "map_sklearn"
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_discrepancy_is_timed_beside() -> None:
    settings = build_settings(Settings, {"width": 64, "samples": 8, "rounds": 2, "compile": True}, "--set")
    metrics, timed = discrepancy(settings, torch.device("cpu"), torch.Generator().manual_seed(0))
    assert metrics["mmd_speedup_compiled"].value > 0 and "mmd_compiled" in timed


def test_the_rivals_compute_equation_4_6() -> None:
    """Against a loop over pairs and kernels in double precision."""
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    weights, sigma = torch.rand(6, generator=generator, dtype=torch.float64), torch.tensor(4.0, dtype=torch.float64)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return sum(float((-((x - y) ** 2).sum() / (4.0 * 2.0**m)).exp()) for m in range(-8, 9)) / 17

    expected = 0.0
    for i in range(0, 6, 2):
        s, t = source[i : i + 2], target[i : i + 2]
        h = kernel(s[0], s[1]) + kernel(t[0], t[1]) - kernel(s[0], t[1]) - kernel(t[0], s[1])
        expected += float(weights[i] * weights[i + 1]) * h / 3
    for distances in (all_distances, all_differences):
        assert float(linear_from(distances(source, target), weights, sigma)) == pytest.approx(expected, rel=1e-9)
