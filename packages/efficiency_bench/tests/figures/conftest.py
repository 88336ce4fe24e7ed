"""Figures that tests change, and their pictures and numbers from records that the tests make."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml
from PIL import Image

from efficiency_bench.figures.definitions import figure_runs, load_figure
from efficiency_bench.figures.kinds import Figure
from efficiency_bench.figures.plot import plot
from efficiency_bench.workflow.plan import RunSpec
from efficiency_bench.workflow.presets import Preset

FOLDERS = {
    "digits": "digits-sklearn", "fast": "fast-sklearn", "videos": "videos-texture", "office": "objects-drawn",
}  # fmt: skip
PRESET = Preset("quick", (0, 1), (0,), {}, {"detection": {"iterations": 50}}, Path("quick.yaml"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes a figure under its own name and gives the path."""

    def write_figure(content: dict[str, Any]) -> Path:
        path = tmp_path / f"fig{content['figure'].replace('.', '_')}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    return write_figure


class Drawn(NamedTuple):
    frame: pd.DataFrame
    """The CSV as text."""
    svg: str
    width: int
    height: int
    """Size of the PNG."""


class Drawing:
    """A figure, and the folder `runs` with the records that it is drawn from."""

    def __init__(self, path: Path, runs: Path) -> None:
        self.figure: Figure = load_figure(path)
        self.needed: list[RunSpec] = figure_runs([self.figure], PRESET, FOLDERS)
        self.out, self.runs, self.preset = path.with_suffix(".svg"), runs, PRESET

    def draw(self, preset: Preset = PRESET, **options: Any) -> Drawn:
        paths = plot(self.figure, preset, self.runs, FOLDERS, self.out, **options)
        assert paths == [self.out.with_suffix(suffix) for suffix in (".svg", ".png", ".csv", ".csv-metadata.json")]
        frame = pd.read_csv(paths[2], dtype=str, keep_default_na=False)
        with Image.open(paths[1]) as picture:
            return Drawn(frame, self.out.read_text(), *picture.size)


@pytest.fixture
def drawing(tmp_path: Path, write: Callable[[dict[str, Any]], Path]) -> Callable[[dict[str, Any]], Drawing]:
    """A figure of this content, without any record yet."""
    runs = tmp_path / "runs"
    runs.mkdir()
    return lambda content: Drawing(write(content), runs)


@pytest.fixture
def curve() -> dict[str, Any]:
    def column(header: str, unit: str, printed: bool = False) -> dict[str, Any]:
        return {"header": header, "unit": unit, "printed": printed, "digits": 1, "higher_is_better": True}

    def point(name: str, **more: Any) -> dict[str, Any]:
        horizon = int(name[1:])
        measure = [
            {"experiment": "detection", "settings": {"horizon": horizon}, "metrics": {"map": "video_map"}},
            {"experiment": "speed", "metrics": {"fps": f"fps_{name}", "cost": f"cost_{name}"}},
        ]
        return {"id": name, "label": f"T={horizon}", "measure": measure, **more}

    metrics = {
        "fps": column("Runtime (FPS)", "frames/s", True), "map": column("mAP", "%", True),
        "cost": column("multiply-adds", "GMAC/frame"),
    }  # fmt: skip
    points = [point("t4", reported={"fps": "39.6", "map": "89.20"}), point("t8")]
    return {
        "figure": "2.5", "kind": "curve", "caption": "Speed against accuracy", "source": "the thesis", "metrics": metrics,
        "x": "fps", "y": "map", "costs": ["cost"],
        "series": [
            {"id": "fixed", "label": "every T frames", "points": points},
            {"id": "auto", "label": "auto", "points": [{"id": "a", "label": "A", "missing": "needs an auto step"}]},
        ],
    }  # fmt: skip


@pytest.fixture
def panels() -> dict[str, Any]:
    good = {"id": "good", "label": "(a) success", "experiment": "detection", "example": "good"}
    bad = {"id": "bad", "label": "(b) failure", "experiment": "detection", "example": "bad", "data": {"digits": "fast"}}
    more = {"frames": [0, 2], "path": True, "note": "the dog turns"}
    head = {"figure": "2.6", "kind": "frames", "caption": "Examples", "source": "the thesis"}
    return {**head, "panels": [good, {**bad, **more}]}
