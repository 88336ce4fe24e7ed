"""Figures of kinds series, clusters, images and distributions: their pictures and numbers from records that the tests make."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from efficiency_bench import experiments
from efficiency_bench.artifacts import write_artifacts
from efficiency_bench.drawn import Grouping, Pictures, Series
from efficiency_bench.errors import UsageError, WorkError
from efficiency_bench.figures import Figure, figure_runs, load_figure
from efficiency_bench.files import write_json
from efficiency_bench.plan import RunSpec
from efficiency_bench.plot import plot
from efficiency_bench.presets import Preset
from efficiency_bench.records import Metric, RunRecord

FOLDERS = {"videos": "videos-texture", "office": "objects-drawn"}
PRESET = Preset("quick", (0,), (0,), {}, {}, Path("quick.yaml"))


@dataclass(frozen=True)
class Settings:
    clusters: int = 8


@pytest.fixture(autouse=True)
def one_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "similar": SimpleNamespace(
            name="similar", kind="measure", settings_type=Settings, data=("videos",), start=lambda _: None
        )
    }
    monkeypatch.setattr(experiments, "names", lambda: tuple(known))
    monkeypatch.setattr(experiments, "get", lambda name: known[name])


def series() -> dict[str, Any]:
    labels = {"x_label": "activations", "y_label": "gradients"}
    return {
        "figure": "3.5",
        "kind": "series",
        "caption": "Similar frames",
        "source": "the thesis",
        "panels": [
            {"id": "a", "label": "(a) Euclidean", "experiment": "similar", "example": "euclidean", **labels},
            {
                "id": "b",
                "label": "(b) Hamming",
                "experiment": "similar",
                "settings": {"clusters": 16},
                "example": "hamming",
                "joined": True,
                "note": "of signs",
                **labels,
            },
        ],
    }


def clusters() -> dict[str, Any]:
    return {
        "figure": "3.7",
        "kind": "clusters",
        "caption": "Clusters",
        "source": "the thesis",
        "panels": [
            {"id": "a", "label": "one video", "experiment": "similar", "example": "video"},
            {"id": "b", "label": "its middle", "experiment": "similar", "example": "video", "frames": [1, 2]},
        ],
    }


def runs_in_a_panel() -> dict[str, Any]:
    """Two panels, one below the other, with one series from each of two runs."""
    parts = [{"label": "8 clusters"}, {"label": "16 clusters", "settings": {"clusters": 16}}]
    labels = {"x_label": "recall", "y_label": "precision", "joined": True}
    panel = {"experiment": "similar", "example": "one", "parts": parts, **labels}
    panels = [{"id": "a", "label": "(a)", **panel}, {"id": "b", "label": "(b)", **panel}]
    return {
        "figure": "4.4", "kind": "series", "caption": "Curves", "source": "the thesis", "columns": 1, "panels": panels
    }  # fmt: skip


def images() -> dict[str, Any]:
    return {
        "figure": "4.3",
        "kind": "images",
        "caption": "Examples",
        "source": "the thesis",
        "panels": [
            {"id": "a", "label": "Shape", "experiment": "similar", "example": "examples"},
            {
                "id": "b",
                "label": "Office",
                "experiment": "similar",
                "data": {"videos": "office"},
                "example": "examples",
            },
        ],
    }


def distributions() -> dict[str, Any]:
    """Three panels in two columns, one of each style."""
    labels = {"x_label": "activation", "y_label": "density"}
    panel = {"experiment": "similar", "example": "densities", **labels}
    return {
        "figure": "5.2",
        "kind": "distributions",
        "caption": "Channels",
        "source": "the thesis",
        "columns": 2,
        "panels": [
            {"id": "a", "label": "(a) baseline", **panel},
            {"id": "b", "label": "(b) by epoch", "style": "stacked", **panel},
            {"id": "c", "label": "(c) by layer", "style": "lines", "note": "added", **panel},
        ],
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / f"fig{content['figure'].replace('.', '_')}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def store(runs: Path, spec: RunSpec, arrays: dict[str, Any]) -> None:
    facts = {"name": "Move4MNIST", "source": "texture", "digest": "a" * 64}
    record = RunRecord(
        run_id=spec.run_id, experiment=spec.experiment, kind=spec.kind, preset="quick",  # type: ignore[arg-type]
        settings=spec.settings, seed=spec.seed, metrics={"correlation": Metric(0.9, "1")},
        protocol=write_artifacts(runs / f"{spec.run_id}.json", arrays),
        data={name: {**facts, "folder": folder} for name, folder in spec.data.items()},
        packages={}, sources={}, git={"commit": None, "dirty": None},
        device={"type": "cpu", "name": "Epic CPU", "threads": 2, "clock_mhz": None},
        started="2026-11-22T17:20:00Z", duration_s=1.0,
    )  # fmt: skip
    write_json(runs / f"{spec.run_id}.json", record.to_json())


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def stored(figure: Figure, runs: Path) -> None:
    points = Series.of([("video 1", [1, 2], [3, 4]), ("video 2", [0.123456789], [5])])
    video = Grouping.of(
        [("cumulative", [0, 0, 1, 2]), ("uniform", [0, 0, 1, -1])],
        kinds=["black", "black", "motion", "motion"],
        frames=np.arange(4 * 8 * 8 * 3).reshape(4, 8, 8, 3) % 256,
        index=[4, 5, 6, 7],
    )
    for spec in figure_runs([figure], PRESET, FOLDERS):
        one = Series.of([("precision", [0, 1], [spec.settings["clusters"], 0.5])])
        shown = Pictures.of(
            [("source", [(4, "circle", np.full((8, 8, 3), 99)), (7, "star", np.zeros((8, 8, 3)))]),
             ("outliers", [(9, "a letter", np.full((8, 8, 3), 200))])]
        )  # fmt: skip
        dense = Series.of([("epoch 1", [-1, 0, 1], [0, 1, 0]), ("epoch 9", [-1, 0, 1], [100, 600, 200])])
        arrays = points.arrays("euclidean") | points.arrays("hamming") | video.arrays("video")
        arrays |= dense.arrays("densities")
        store(runs, spec, arrays | one.arrays("one") | shown.arrays("examples"))


def read(out: Path) -> pd.DataFrame:
    return pd.read_csv(out.with_suffix(".csv"), dtype=str, keep_default_na=False)


def test_series_are_drawn_with_every_point_in_the_csv(tmp_path: Path, runs: Path) -> None:
    figure = load_figure(write(tmp_path, series()))
    stored(figure, runs)
    out = tmp_path / "fig3_5.svg"
    assert [path.name for path in plot(figure, PRESET, runs, FOLDERS, out)] == [
        "fig3_5.svg",
        "fig3_5.png",
        "fig3_5.csv",
    ]
    frame = read(out)
    assert list(frame)[:4] == ["panel", "series", "x", "y"]
    first = frame[frame["panel"] == "(a) Euclidean"]
    assert first["series"].tolist() == ["video 1", "video 1", "video 2"]
    assert first["x"].tolist() == ["1", "2", "0.123457"] and first["y"].tolist() == ["3", "4", "5"]
    assert set(frame["dataset"]) == {"Move4MNIST (texture)"} and set(frame["status"]) == {"measured"}
    assert set(frame[frame["panel"] == "(b) Hamming"]["note"]) == {"of signs"}
    for text in ("(a) Euclidean", "(b) Hamming", "activations", "gradients", "video 2"):
        assert text in out.read_text(), text
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.width > 800


def test_clusters_are_drawn_with_every_frame_in_the_csv(tmp_path: Path, runs: Path) -> None:
    figure = load_figure(write(tmp_path, clusters()))
    stored(figure, runs)
    out = tmp_path / "fig3_7.svg"
    plot(figure, PRESET, runs, FOLDERS, out)
    frame = read(out)
    whole, part = frame[frame["panel"] == "one video"], frame[frame["panel"] == "its middle"]
    assert whole["row"].tolist() == ["cumulative"] * 4 + ["uniform"] * 4
    assert whole["frame"].tolist() == ["4", "5", "6", "7"] * 2
    assert whole["cluster"].tolist() == ["0", "0", "1", "2", "0", "0", "1", ""], "a frame in no cluster is a blank"
    assert whole["kind"].tolist()[:4] == ["black", "black", "motion", "motion"]
    assert part["frame"].tolist() == ["5", "6"] * 2
    text = out.read_text()
    assert text.count("<image") == 2, "a panel's frames are one picture in the file"
    for word in ("cumulative", "uniform", "true kind", "motion"):
        assert word in text


def test_a_panel_takes_a_series_from_each_of_several_runs(tmp_path: Path, runs: Path) -> None:
    figure = load_figure(write(tmp_path, runs_in_a_panel()))
    assert len(figure_runs([figure], PRESET, FOLDERS)) == 2, "two runs, which both panels show"
    stored(figure, runs)
    out = tmp_path / "fig4_4.svg"
    plot(figure, PRESET, runs, FOLDERS, out)
    frame = read(out)
    assert frame["series"].tolist() == ["8 clusters", "8 clusters", "16 clusters", "16 clusters"] * 2
    assert frame["y"].tolist() == ["8", "0.5", "16", "0.5"] * 2 and set(frame["status"]) == {"measured"}
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.height > picture.width, "one below the other"
    absent = next(run for run in figure_runs([figure], PRESET, FOLDERS) if run.settings["clusters"] == 16)
    (runs / f"{absent.run_id}.json").unlink()
    with pytest.raises(WorkError, match=absent.run_id):
        plot(figure, PRESET, runs, FOLDERS, out)
    plot(figure, PRESET, runs, FOLDERS, out, allow_missing=True)
    frame = read(out)
    assert frame["status"].tolist() == ["measured", "measured", "reported_only"] * 2
    assert frame["series"][2] == "16 clusters" and frame["note"][2] == f"not run: {absent.run_id}"


def test_images_are_drawn_with_every_image_in_the_csv(tmp_path: Path, runs: Path) -> None:
    figure = load_figure(write(tmp_path, images()))
    stored(figure, runs)
    out = tmp_path / "fig4_3.svg"
    plot(figure, PRESET, runs, FOLDERS, out)
    frame = read(out)
    assert list(frame)[:5] == ["panel", "row", "column", "image", "shows"]
    shown = frame[frame["panel"] == "Shape"]
    assert shown["row"].tolist() == ["source", "source", "outliers"] and shown["column"].tolist() == ["1", "2", "1"]
    assert shown["image"].tolist() == ["4", "7", "9"] and shown["shows"].tolist() == ["circle", "star", "a letter"]
    text = out.read_text()
    assert text.count("<image") == 2 and "outliers" in text
    assert ">Shape<" in text and ">Office: Move4MNIST (texture), objects<" in text, (
        "a stand-in is not what it stands for"
    )


def test_distributions_are_drawn_in_three_styles(tmp_path: Path, runs: Path) -> None:
    figure = load_figure(write(tmp_path, distributions()))
    assert [panel.style for panel in figure.panels] == ["overlaid", "stacked", "lines"]
    stored(figure, runs)
    out = tmp_path / "fig5_2.svg"
    plot(figure, PRESET, runs, FOLDERS, out)
    frame = read(out)
    assert list(frame)[:4] == ["panel", "series", "x", "y"] and len(frame) == 3 * 2 * 3
    first = frame[frame["panel"] == "(a) baseline"]
    assert first["series"].tolist() == ["epoch 1"] * 3 + ["epoch 9"] * 3
    assert first["y"].tolist() == ["0", "1", "0", "100", "600", "200"]
    assert set(frame[frame["panel"] == "(c) by layer"]["note"]) == {"added"}
    text = out.read_text()
    assert text.count(">epoch 9<") == 2, "named at the stack's place and in the legend of the lines, not over densities"
    with Image.open(out.with_suffix(".png")) as picture:
        assert 0.5 < picture.width / picture.height < 2, "two rows of two"


def test_the_same_records_give_the_same_bytes(tmp_path: Path, runs: Path) -> None:
    for content in (series(), clusters(), runs_in_a_panel(), images(), distributions()):
        figure = load_figure(write(tmp_path, content))
        stored(figure, runs)
        digests = [
            [hashlib.sha256(path.read_bytes()).hexdigest() for path in plot(figure, PRESET, runs, FOLDERS, out)]
            for out in (tmp_path / "a" / f"{figure.name}.svg", tmp_path / "b" / f"{figure.name}.svg")
        ]
        assert digests[0] == digests[1]


def test_absent_runs_and_examples(tmp_path: Path, runs: Path) -> None:
    every = ((series(), "fig3_5"), (clusters(), "fig3_7"), (images(), "fig4_3"), (distributions(), "fig5_2"))
    for content, name in every:
        figure = load_figure(write(tmp_path, content))
        out = tmp_path / f"{name}.svg"
        with pytest.raises(WorkError, match=r"needs runs .* \(panel 'a'\)"):
            plot(figure, PRESET, runs, FOLDERS, out)
        plot(figure, PRESET, runs, FOLDERS, out, allow_missing=True)
        assert set(read(out)["status"]) == {"reported_only"} and "not run" in out.read_text()
    content = series()
    content["panels"] = content["panels"][:1]
    content["panels"][0]["example"] = "cosine"
    figure = load_figure(write(tmp_path, content))
    stored(figure, runs)
    with pytest.raises(
        UsageError, match="panel 'a': has no series 'cosine'; it hands over densities, euclidean, hamming, one"
    ):
        plot(figure, PRESET, runs, FOLDERS, tmp_path / "fig3_5.svg")
    content = clusters()
    content["panels"][1]["frames"] = [4]
    figure = load_figure(write(tmp_path, content))
    stored(figure, runs)
    with pytest.raises(UsageError, match="panel 'b': no frame 4; the example has 4"):
        plot(figure, PRESET, runs, FOLDERS, tmp_path / "fig3_7.svg")


@pytest.mark.parametrize(
    ("kind", "key", "value", "expected"),
    [
        ("series", "x_label", None, ["panel 'a'", "'x_label' is missing", "kind series"]),
        ("series", "frames", [0], ["panel 'a'", "'frames' does not go with kind series", "joined"]),
        ("clusters", "joined", True, ["panel 'a'", "'joined' does not go with kind clusters", "frames"]),
        ("clusters", "parts", [{"label": "one"}], ["panel 'a'", "'parts' does not go with kind clusters"]),
        ("images", "joined", True, ["panel 'a'", "'joined' does not go with kind images"]),
        ("series", "parts", [{"label": "one"}] * 2, ["panel 'a': parts", "the same label"]),
        ("series", "parts", [{"label": "one", "settings": {"k": 1}}], ["panel 'a'", "unknown setting 'k'"]),
        ("clusters", "together", True, ["panel 'a'", "'together' does not go with kind clusters"]),
        ("series", "style", "lines", ["panel 'a'", "'style' does not go with kind series"]),
        ("distributions", "y_label", None, ["panel 'a'", "'y_label' is missing", "kind distributions"]),
        ("distributions", "style", "filled", ["style", "overlaid, stacked or lines"]),
        ("distributions", "joined", True, ["panel 'a'", "'joined' does not go with kind distributions", "style"]),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path: Path, kind: str, key: str, value: Any, expected: list[str]) -> None:
    made = {"series": series, "clusters": clusters, "images": images, "distributions": distributions}
    content = made[kind]()
    if value is None:
        del content["panels"][0][key]
    else:
        content["panels"][0][key] = value
    with pytest.raises(UsageError) as caught:
        load_figure(write(tmp_path, content))
    assert "\n" not in str(caught.value)
    for part in expected:
        assert part in str(caught.value)
