"""Figures of kinds series and clusters: their pictures and numbers from records that the tests make."""

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
from efficiency_bench.drawn import Grouping, Series
from efficiency_bench.errors import UsageError, WorkError
from efficiency_bench.figures import Figure, figure_runs, load_figure
from efficiency_bench.files import write_json
from efficiency_bench.plan import RunSpec
from efficiency_bench.plot import plot
from efficiency_bench.presets import Preset
from efficiency_bench.records import Metric, RunRecord

FOLDERS = {"videos": "videos-texture"}
PRESET = Preset("quick", (0,), (0,), {}, {}, Path("quick.yaml"))


@dataclass(frozen=True)
class Settings:
    clusters: int = 8


@pytest.fixture(autouse=True)
def one_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"similar": SimpleNamespace(name="similar", kind="measure", settings_type=Settings, data=("videos",))}
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
        store(runs, spec, points.arrays("euclidean") | points.arrays("hamming") | video.arrays("video"))


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


def test_the_same_records_give_the_same_bytes(tmp_path: Path, runs: Path) -> None:
    for content in (series(), clusters()):
        figure = load_figure(write(tmp_path, content))
        stored(figure, runs)
        digests = [
            [hashlib.sha256(path.read_bytes()).hexdigest() for path in plot(figure, PRESET, runs, FOLDERS, out)]
            for out in (tmp_path / "a" / f"{figure.name}.svg", tmp_path / "b" / f"{figure.name}.svg")
        ]
        assert digests[0] == digests[1]


def test_absent_runs_and_examples(tmp_path: Path, runs: Path) -> None:
    for content, name in ((series(), "fig3_5"), (clusters(), "fig3_7")):
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
    with pytest.raises(UsageError, match="panel 'a': has no series 'cosine'; it hands over euclidean, hamming"):
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
        ("clusters", "together", True, ["panel 'a'", "'together' does not go with kind clusters"]),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path: Path, kind: str, key: str, value: Any, expected: list[str]) -> None:
    content = series() if kind == "series" else clusters()
    if value is None:
        del content["panels"][0][key]
    else:
        content["panels"][0][key] = value
    with pytest.raises(UsageError) as caught:
        load_figure(write(tmp_path, content))
    assert "\n" not in str(caught.value)
    for part in expected:
        assert part in str(caught.value)
