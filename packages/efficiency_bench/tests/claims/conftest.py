"""A small house of claims: one table, a curve, a figure of panels, presets and data sets, on experiments that need no time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from efficiency_bench.claims import Claims, Verdict, judge, load_claims
from efficiency_bench.claims.definitions import Check
from efficiency_bench.workflow.plan import RunSpec, experiment_runs
from efficiency_bench.workflow.presets import load_preset

TABLE = """
table: "2.4"
caption: three rows that train, and one that nothing here measures
source: the thesis
keys: {method: Methods}
metrics:
  map: {header: mAP (%), unit: "%", printed: true, digits: 1, higher_is_better: true}
  error: {header: error (%), unit: "%", printed: true, digits: 1, higher_is_better: false}
  speedup: {header: speed-up, unit: x, printed: false, digits: 2, higher_is_better: true}
  flops_g: {header: GMAC, unit: GMAC, printed: false, digits: 1, higher_is_better: false}
rows:
  - id: ours
    keys: {method: Ours}
    reported: {map: "87.2"}
    measure:
      - {experiment: detection, metrics: {map: video_map, error: video_error}}
      - {experiment: speed, metrics: {speedup: speedup_step4, flops_g: flops}}
  - id: base
    keys: {method: Base}
    reported: {map: "73.6"}
    measure:
      - {experiment: detection, settings: {motion: none}, metrics: {map: video_map, error: video_error}}
      - {experiment: speed, metrics: {speedup: speedup_base, flops_g: flops_base}}
  - id: short
    keys: {method: Short}
    measure:
      - {experiment: detection, settings: {horizon: 2}, metrics: {map: video_map}}
  - id: shorter
    keys: {method: Shorter}
    measure:
      - {experiment: detection, settings: {horizon: 1}, metrics: {map: video_map}}
  - id: theirs
    keys: {method: Theirs}
    reported: {map: "84.5"}
    missing: needs their code
"""
FIGURE = """
figure: "3.5"
kind: series
caption: one panel of one run, and one of two
source: the thesis
panels:
  - id: one
    label: one run
    experiment: detection
    settings: {horizon: 3}
    example: points
    x_label: x
    y_label: y
  - id: two
    label: two runs
    experiment: detection
    example: points
    x_label: x
    y_label: y
    parts:
      - {label: first run, settings: {horizon: 4}}
      - {label: second run, settings: {horizon: 5}}
"""
DATA = """
digits_small: {summary: generated, generator: moving-digits, material: drawn}
digits:
  summary: real
  stand_in: digits_small
  real:
    source: real
    needs: [Digits/raw]
    convert:
      train: &how {format: ilsvrc-vid, root: Digits, images: Digits}
      test: *how
"""
HEAD = {"id": "one", "chapter": 2, "claim": "Ours is better.", "where": "table 2.4", "thesis": "87.2 against 73.6"}
SPEEDS = {
    "flops": (10.0, "GMAC"), "flops_base": (40.0, "GMAC"),
    "speedup_step4": (4.0, "x"), "speedup_p10_step4": (3.8, "x"), "speedup_p90_step4": (4.1, "x"),
    "speedup_base": (1.0, "x"), "speedup_p10_base": (1.0, "x"), "speedup_p90_base": (1.0, "x"),
}  # fmt: skip
"""Metrics of the experiment `speed`."""


class House:
    """The folder `workflows` of the small house, and folders of records of its runs."""

    def __init__(self, folder: Path, store: Callable[..., None]) -> None:
        self.workflows, self.store, self.folder = folder / "workflows", store, folder
        for name, text in {
            "tables/table2_4.yaml": TABLE, "figures/fig3_5.yaml": FIGURE, "data.yaml": DATA,
            **{f"config/{name}.yaml": self.preset(name) for name in ("pretrained", "paper", "cpu", "quick", "smoke")},
        }.items():  # fmt: skip
            path = self.workflows / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    @staticmethod
    def preset(name: str) -> str:
        iterations = {"pretrained": 800, "paper": 4000, "cpu": 400, "quick": 40, "smoke": 4}[name]
        seeds = [0, 1, 2] if name in ("pretrained", "paper", "cpu") else [0]
        settings = {"detection": {"iterations": iterations}, "speed": {"rounds": iterations}}
        content = {"preset": name, "seeds": seeds, "measure_seeds": [0], "data": {}, "experiments": settings}
        return yaml.safe_dump(content)

    def claims(self, *tests: Mapping[str, Any], **changes: Any) -> Claims:
        """The file of claims with one claim that has these tests."""
        path = self.workflows / "claims.yaml"
        path.write_text(yaml.safe_dump({"claims": [{**HEAD, "tests": list(tests), **changes}]}, sort_keys=False))
        return load_claims(path)

    def runs(self, folder: str = "results/runs") -> Path:
        path = self.folder / folder
        path.mkdir(parents=True, exist_ok=True)
        return path

    def put(
        self, place: str, values: list[float | None], preset: str = "cpu", runs: str = "results/runs",
        data: str = "digits_small-drawn", unit: str = "%", label: str = "", **changes: Any,
    ) -> None:  # fmt: skip
        """Records of the runs behind a place of a test, one for each value; None: a training that diverged. They are named
        after the preset, or `label`."""
        check: Check = self.claims({"kind": "interval", "values": [place], "at_least": 0}).claims[0].tests[0]
        cell = check.cells[place]
        assert cell.choice is not None
        variants = {"digits": data, "digits_small": data}
        planned = load_preset(self.workflows / "config" / f"{preset}.yaml")
        specs: list[RunSpec] = experiment_runs(cell.choice, planned, variants, "here", cell.row)
        for spec, value in zip(specs, values, strict=False):
            found = {cell.metric: (value, unit)} if value is not None else {"loss": (1.0, "1")}
            absent = {} if value is not None else {cell.metric: "diverged at step 3"}
            self.store(self.runs(runs), spec, found, preset=label or preset, absent=absent, **changes)

    def put_speeds(self, protocol: Mapping[str, Any], **changes: tuple[float, str]) -> None:
        """The record of `speed`, with preset cpu."""
        claims = self.claims({"kind": "interval", "values": ["table2_4/ours/speedup"], "at_least": 0})
        (cell,) = claims.claims[0].tests[0].cells.values()
        assert cell.choice is not None
        (spec,) = experiment_runs(cell.choice, load_preset(self.workflows / "config" / "cpu.yaml"), {}, "here")
        self.store(self.runs(), spec, {**SPEEDS, **changes}, preset="cpu", protocol=dict(protocol))

    def verdict(self, *tests: Mapping[str, Any], folders: tuple[str, ...] = ("results/runs",)) -> Verdict:
        (found,) = judge(self.claims(*tests), [self.runs(folder) for folder in folders])
        return found


@pytest.fixture
def house(tmp_path: Path, store: Callable[..., None], detection_and_speed: None) -> House:
    return House(tmp_path, store)
