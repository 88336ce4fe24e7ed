"""A small project: one table, one curve, one figure of panels, a build of them, and claims."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from efficiency_bench.figures.definitions import figure_runs, load_figure
from efficiency_bench.figures.plot import plot
from efficiency_bench.records.pictures import Series
from efficiency_bench.report.page import render
from efficiency_bench.workflow.plan import RunSpec, runs_needed
from efficiency_bench.workflow.presets import Preset, load_preset
from efficiency_bench.workflow.tables import load_table
from efficiency_bench.workflow.tabulate import tabulate, write_table

FOLDERS = {"digits": "digits-drawn"}
TABLE = """
table: "2.4"
caption: Detectors & <their> speed
source: the thesis
keys: {method: Methods, backbone: Backbone}
metrics:
  map: {header: mAP (%), unit: "%", printed: true, digits: 1, higher_is_better: true}
  fps: {header: FPS, unit: frames/s, printed: true, digits: 2, higher_is_better: true}
  extra: {header: nobody has it, unit: x, printed: false, digits: 1, higher_is_better: true}
rows:
  - id: baseline
    keys: {method: Base, backbone: R101}
    reported: {map: "73.6", fps: "20.0"}
    reported_std: {map: "0.20"}
    measure:
      - {experiment: detection, settings: {motion: none}, metrics: {map: video_map}}
      - {experiment: speed, metrics: {fps: fps_1}}
  - id: ours
    keys: {method: Ours}
    reported: {map: "87.20", fps: "39.6"}
    measure:
      - {experiment: detection, metrics: {map: video_map}}
      - {experiment: speed, settings: {rounds: 5}, metrics: {fps: fps_4}}
    note: on <b>stand-in</b> data
  - id: theirs
    keys: {method: Theirs, backbone: R101}
    reported: {map: "84.5"}
    missing: needs their code
"""
CURVE = """
figure: "2.5"
kind: curve
caption: Speed against accuracy
source: the thesis
metrics:
  fps: {header: Runtime (FPS), unit: frames/s, printed: true, digits: 1, higher_is_better: true}
  map: {header: mAP (%), unit: "%", printed: true, digits: 1, higher_is_better: true}
x: fps
y: map
series:
  - id: fixed
    label: every T frames
    points:
      - id: t8
        label: T=8
        reported: {fps: "40", map: "88.0"}
        measure:
          - {experiment: detection, settings: {horizon: 8}, metrics: {map: video_map}}
          - {experiment: speed, settings: {rounds: 5}, metrics: {fps: fps_4}}
"""
PANELS = """
figure: "3.6"
kind: series
caption: Distances
source: the thesis
panels:
  - {id: a, label: (a), experiment: detection, example: near, x_label: layer, y_label: distance}
"""
PRESET = """
preset: quick
seeds: [0, 1]
measure_seeds: [0]
data: {}
experiments: {detection: {iterations: 50}}
"""
DATA = """
digits: {summary: digits, generator: moving-digits, material: drawn}
"""
REPORT = """
chapters: {"2": Detection, "3": Recognition}
charts:
  - chapter: "2"
    title: Accuracy against speed
    x: {table: table2_4, metric: fps}
    y: {table: table2_4, metric: map}
    method: method
    label: [backbone]
    log_x: true
  - chapter: "2"
    title: The curve
    x: {table: fig2_5, metric: fps}
    y: {table: fig2_5, metric: map}
    method: series
    label: [point]
"""
CLAIMS_HEAD = (
    "id,chapter,claim,where,rests_on,thesis,measured,dataset,preset,seeds,device,source,verdict,reason,rule,records,"
    "elsewhere\n"
)


def value_of(run: RunSpec) -> dict[str, tuple[float, str]]:
    if run.experiment == "speed":
        return {"fps_1": (1.5, "frames/s"), "fps_4": (6.0, "frames/s")}
    return {"video_map": (60.0 + 2 * run.seed + (10 if run.settings["motion"] == "annotated" else 0), "%")}


@dataclass(frozen=True)
class Project:
    """Definitions in `workflows`, and what was built from them in `results`."""

    workflows: Path
    results: Path
    preset: Preset
    runs: list[RunSpec]
    """The runs of the table."""
    store: Callable[..., None]

    def measure(self, run: RunSpec, folder: Path | None = None, **changes: object) -> None:
        self.store((folder or self.results) / "runs", run, value_of(run), **changes)

    def tabulate(self, folder: Path | None = None) -> None:
        where = folder or self.results
        table = load_table(self.workflows / "tables" / "table2_4.yaml")
        frame = tabulate(table, self.preset, where / "runs", FOLDERS, allow_missing=True)
        write_table(table, frame, where / "table2_4.csv")

    def plot(self) -> None:
        for name in ("fig2_5", "fig3_6"):
            figure = load_figure(self.workflows / "figures" / f"{name}.yaml")
            for run in figure_runs([figure], self.preset, FOLDERS):
                near = Series.of([("near", [1.0, 2.0], [3.0, 4.0])]).arrays("near")
                arrays = near if name == "fig3_6" else None
                self.store(self.results / "runs", run, value_of(run), arrays)
            plot(figure, self.preset, self.results / "runs", FOLDERS, self.results / f"{name}.svg")

    def claims(self, *lines: Mapping[str, str]) -> Path:
        path = self.results / "claims.csv"
        names = CLAIMS_HEAD.strip().split(",")
        path.write_text(CLAIMS_HEAD + "".join(",".join(line.get(name, "") for name in names) + "\n" for line in lines))
        return path

    def page(self, *kept: Path, claims: Path | None = None) -> str:
        return render(self.results, kept, claims, self.workflows)


@pytest.fixture
def project(tmp_path: Path, detection_and_speed: None, store: Callable[..., None]) -> Project:
    """The definitions, and a folder of results without any."""
    workflows, results = tmp_path / "workflows", tmp_path / "results"
    files = {"tables/table2_4": TABLE, "figures/fig2_5": CURVE, "figures/fig3_6": PANELS, "config/quick": PRESET}
    for name, text in {**files, "data": DATA, "report": REPORT}.items():
        path = workflows / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (results / "runs").mkdir(parents=True)
    preset = load_preset(workflows / "config" / "quick.yaml")
    runs = runs_needed([load_table(workflows / "tables" / "table2_4.yaml")], preset, FOLDERS)
    return Project(workflows, results, preset, runs, store)


@pytest.fixture
def built(project: Project) -> Project:
    """The project with all runs, its table and its figures."""
    for run in project.runs:
        project.measure(run)
    project.tabulate()
    project.plot()
    return project
