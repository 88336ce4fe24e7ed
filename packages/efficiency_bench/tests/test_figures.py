"""Figures as data, and their pictures and numbers from records that the tests make."""

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
from efficiency_bench.artifacts import Example, write_artifacts
from efficiency_bench.cli import main
from efficiency_bench.errors import UsageError, WorkError
from efficiency_bench.figures import Figure, figure_runs, find_figures, load_figure
from efficiency_bench.files import write_json
from efficiency_bench.plan import RunSpec
from efficiency_bench.plot import plot
from efficiency_bench.presets import Preset
from efficiency_bench.records import Metric, RunRecord

FOLDERS = {"digits": "digits-sklearn", "fast": "fast-sklearn"}
PRESET = Preset("quick", (0, 1), (0,), {}, {"detection": {"iterations": 50}}, Path("quick.yaml"))


@dataclass(frozen=True)
class Detection:
    horizon: int = 8
    iterations: int = 1000


@dataclass(frozen=True)
class Speed:
    rounds: int = 3


@pytest.fixture(autouse=True)
def two_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "detection": SimpleNamespace(
            name="detection", kind="train", settings_type=Detection, data=("digits",), start=lambda _: None
        ),
        "speed": SimpleNamespace(name="speed", kind="measure", settings_type=Speed, data=(), start=lambda _: None),
    }
    monkeypatch.setattr(experiments, "names", lambda: tuple(known))
    monkeypatch.setattr(experiments, "get", lambda name: known[name])


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

    return {
        "figure": "2.5",
        "kind": "curve",
        "caption": "Speed against accuracy",
        "source": "the thesis",
        "metrics": {
            "fps": column("Runtime (FPS)", "frames/s", True),
            "map": column("mAP", "%", True),
            "cost": column("multiply-adds", "GMAC/frame"),
        },
        "x": "fps",
        "y": "map",
        "costs": ["cost"],
        "series": [
            {
                "id": "fixed",
                "label": "every T frames",
                "points": [point("t4", reported={"fps": "39.6", "map": "89.20"}), point("t8")],
            },
            {"id": "auto", "label": "auto", "points": [{"id": "a", "label": "A", "missing": "needs an auto step"}]},
        ],
    }


def panels() -> dict[str, Any]:
    return {
        "figure": "2.6",
        "kind": "frames",
        "caption": "Examples",
        "source": "the thesis",
        "panels": [
            {"id": "good", "label": "(a) success", "experiment": "detection", "example": "good"},
            {
                "id": "bad",
                "label": "(b) failure",
                "experiment": "detection",
                "data": {"digits": "fast"},
                "example": "bad",
                "frames": [0, 2],
                "path": True,
                "note": "the dog turns",
            },
        ],
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / f"fig{content['figure'].replace('.', '_')}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def store(
    runs: Path, spec: RunSpec, values: dict[str, tuple[float, str]], example: dict[str, Any] | None = None
) -> None:
    facts = {"name": "MovingDigits", "source": "sklearn-digits", "digest": "a" * 64}
    record = RunRecord(
        run_id=spec.run_id, experiment=spec.experiment, kind=spec.kind, preset="quick",  # type: ignore[arg-type]
        settings=spec.settings, seed=spec.seed, metrics={name: Metric(*value) for name, value in values.items()},
        protocol=write_artifacts(runs / f"{spec.run_id}.json", example or {}),
        data={name: {**facts, "folder": folder} for name, folder in spec.data.items()},
        packages={}, sources={}, git={"commit": None, "dirty": None},
        device={"type": "cpu", "name": "Epic CPU", "threads": 2, "clock_mhz": None},
        started="2026-11-22T17:20:00Z", duration_s=1.0,
    )  # fmt: skip
    write_json(runs / f"{spec.run_id}.json", record.to_json())


def an_example(found: float) -> Example:
    frames = np.full((3, 16, 24), 40, np.uint8)
    true = [[[4 + t, 4, 12 + t, 12]] for t in range(3)]
    return Example.of(
        frames,
        [8, 9, 10],
        true,
        [[[4 + found * t, 4, 12 + found * t, 12]] for t in range(2)] + [[]],
        keyframe=[True, False, False],
        found_labels=[["six"], ["six"], []],
        scores=[[0.9], [0.9], []],
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def curve_records(figure: Figure, runs: Path) -> None:
    for spec in figure_runs([figure], PRESET, FOLDERS):
        if spec.experiment == "speed":
            values = {f"fps_{t}": (float(10 * n), "frames/s") for t, n in (("t4", 4), ("t8", 8))}
            store(runs, spec, values | {f"cost_{t}": (100 / n, "GMAC/frame") for t, n in (("t4", 4), ("t8", 8))})
        else:
            store(runs, spec, {"video_map": (100.0 - spec.settings["horizon"] + 2 * spec.seed, "%")})


def frame_records(figure: Figure, runs: Path) -> None:
    for spec in figure_runs([figure], PRESET, FOLDERS):
        name = "good" if spec.data["digits"] == "digits-sklearn" else "bad"
        store(runs, spec, {"video_map": (1.0, "%")}, an_example(1.0 if name == "good" else 5.0).arrays(name))


def test_a_curve_is_drawn_with_its_numbers_beside_it(tmp_path: Path, runs: Path) -> None:
    figure = load_figure(write(tmp_path, curve()))
    curve_records(figure, runs)
    out = tmp_path / "results" / "fig2_5.svg"
    assert [path.name for path in plot(figure, PRESET, runs, FOLDERS, out)] == [
        "fig2_5.svg",
        "fig2_5.png",
        "fig2_5.csv",
    ]
    frame = pd.read_csv(out.with_suffix(".csv"), dtype=str, keep_default_na=False)
    assert list(frame)[:8] == ["series", "point", "fps_reported", "fps", "fps_std", "map_reported", "map", "map_std"]
    assert frame["status"].tolist() == ["measured", "measured", "reported_only"]
    assert frame["map"].tolist() == ["97.0", "93.0", ""] and frame["map_std"][0] == "1.4"
    assert frame["fps"].tolist() == ["40.0", "80.0", ""] and frame["fps_reported"].tolist() == ["39.6", "", ""]
    drawn = out.read_text()
    for text in ("Runtime (FPS)", "mAP (%)", "T=4", "25.0 GMAC/frame", "12.5 GMAC/frame", "every T frames, thesis"):
        assert text in drawn, text
    assert ">auto<" not in drawn, "a series without a number is not drawn"
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.width > 600 and len(np.unique(np.asarray(picture))) > 50


def test_the_same_records_give_the_same_bytes(tmp_path: Path, runs: Path) -> None:
    figure = load_figure(write(tmp_path, curve()))
    curve_records(figure, runs)
    digests = []
    for place in ("a", "b"):
        paths = plot(figure, PRESET, runs, FOLDERS, tmp_path / place / "fig2_5.svg")
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
    assert digests[0] == digests[1]


def test_missing_runs_are_refused_or_left_out(tmp_path: Path, runs: Path) -> None:
    figure = load_figure(write(tmp_path, curve()))
    out = tmp_path / "fig2_5.svg"
    with pytest.raises(
        WorkError, match=r"(?s)figure 2\.5 with preset quick needs runs .* `snakemake results/fig2_5\.svg"
    ):
        plot(figure, PRESET, runs, FOLDERS, out)
    paths = plot(figure, PRESET, runs, FOLDERS, out, allow_missing=True)
    assert "T=4 (thesis)" in paths[0].read_text() and "T=8" not in paths[0].read_text()
    nothing = curve()
    del nothing["series"][0]["points"][0]["reported"]
    bare = load_figure(write(tmp_path, nothing))
    out.unlink()
    with pytest.raises(WorkError, match="no point has both a fps and a map"):
        plot(bare, PRESET, runs, FOLDERS, out, allow_missing=True)
    assert not out.exists()


def test_frames_are_drawn_with_every_box_in_the_csv(tmp_path: Path, runs: Path) -> None:
    figure = load_figure(write(tmp_path, panels()))
    frame_records(figure, runs)
    out = tmp_path / "fig2_6.svg"
    plot(figure, PRESET, runs, FOLDERS, out)
    frame = pd.read_csv(out.with_suffix(".csv"), dtype=str, keep_default_na=False)
    good, bad = (frame[frame["panel"] == label] for label in ("(a) success", "(b) failure"))
    assert good["frame"].tolist() == ["8", "8", "9", "9", "10"] and bad["frame"].tolist() == ["8", "8", "10"]
    assert good["box"].tolist() == ["true", "found"] * 2 + ["true"]
    assert good["iou"].tolist() == ["", "1.0000", "", "1.0000", ""] and good["keyframe"].tolist()[:3] == [
        "yes",
        "yes",
        "no",
    ]
    assert good.iloc[1][["x1", "y1", "x2", "y2", "label", "score"]].tolist() == [
        "4.00", "4.00", "12.00", "12.00", "six", "0.9000",
    ]  # fmt: skip
    assert set(good["dataset"]) == {"MovingDigits (sklearn-digits)"}
    assert set(bad["dataset"]) == {"MovingDigits (sklearn-digits), fast"} and set(bad["note"]) == {"the dog turns"}
    assert set(frame["seeds"]) == {"1"} and set(frame["status"]) == {"measured"}
    for text in ("(a) success", "(b) failure", "keyframe 8", "frame 10", "six 0.90", "ground truth"):
        assert text in out.read_text(), text


def test_iou_of_a_found_box_is_that_of_the_true_box_it_fits_best(tmp_path: Path, runs: Path) -> None:
    content = panels()
    content["panels"] = [{"id": "bad", "label": "bad", "experiment": "detection", "example": "bad", "frames": [1]}]
    figure = load_figure(write(tmp_path, content))
    (spec,) = figure_runs([figure], PRESET, FOLDERS)
    store(runs, spec, {"video_map": (1.0, "%")}, an_example(5.0).arrays("bad"))
    plot(figure, PRESET, runs, FOLDERS, tmp_path / "fig2_6.svg")
    frame = pd.read_csv(tmp_path / "fig2_6.csv", dtype=str, keep_default_na=False)
    # Boxes 8 x 8 px, 4 px apart: 4 * 8 shared of 2 * 64 - 32.
    assert frame["iou"].tolist() == ["", f"{32 / 96:.4f}"]


def test_boxes_of_all_frames_in_one_picture(tmp_path: Path, runs: Path) -> None:
    content = panels()
    for panel in content["panels"]:
        panel |= {"together": True, "frames": [0, 1]}
    figure = load_figure(write(tmp_path, {**content, "legend": {"true": "keyframes", "found": "simulated"}}))
    frame_records(figure, runs)
    plot(figure, PRESET, runs, FOLDERS, tmp_path / "fig2_6.svg")
    drawn = (tmp_path / "fig2_6.svg").read_text()
    assert drawn.count("<image") == 2 and "keyframes" in drawn and "simulated" in drawn and "ground truth" not in drawn


def test_frames_without_their_run_or_example(tmp_path: Path, runs: Path) -> None:
    figure = load_figure(write(tmp_path, panels()))
    out = tmp_path / "fig2_6.svg"
    with pytest.raises(WorkError, match=r"needs runs .* \(panel 'good'\), .* \(panel 'bad'\)"):
        plot(figure, PRESET, runs, FOLDERS, out)
    good, bad = figure_runs([figure], PRESET, FOLDERS)
    store(runs, good, {"video_map": (1.0, "%")}, an_example(1.0).arrays("good"))
    plot(figure, PRESET, runs, FOLDERS, out, allow_missing=True)
    last = pd.read_csv(out.with_suffix(".csv"), dtype=str, keep_default_na=False).iloc[-1]
    assert last["status"] == "reported_only" and last["note"] == f"not run: {bad.run_id}; the dog turns"
    assert "not run" in out.read_text()
    store(runs, bad, {"video_map": (1.0, "%")}, an_example(1.0).arrays("ugly"))
    with pytest.raises(UsageError, match="panel 'bad': has no example 'bad'; it hands over ugly"):
        plot(figure, PRESET, runs, FOLDERS, out)
    content = panels()
    content["panels"][0]["frames"] = [0, 3]
    with pytest.raises(UsageError, match="panel 'good': no frame 3; the example has 3"):
        plot(load_figure(write(tmp_path, content)), PRESET, runs, FOLDERS, out)
    with pytest.raises(UsageError, match=r"does not end in \.svg"):
        plot(figure, PRESET, runs, FOLDERS, tmp_path / "fig2_6.png")


def changed(content: dict[str, Any], *path: Any, to: Any = None) -> dict[str, Any]:
    """The document with one value set, or removed where `to` is None."""
    inner: Any = content
    for step in path[:-1]:
        inner = inner[step]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return content


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            changed(curve(), "kind", to="pie"),
            ["kind", "expected curve, frames, series, clusters, images or distributions", "'pie'"],
        ),
        (changed(curve(), "y"), ["the key 'y' is missing", "kind curve"]),
        (changed(curve(), "y", to="maps"), ["metric 'maps' is not declared", "fps, map, cost"]),
        (changed(curve(), "costs", to=["flops"]), ["metric 'flops' is not declared"]),
        (changed(curve(), "panels", to=panels()["panels"]), ["'panels' does not go with kind curve"]),
        (changed(panels(), "series", to=curve()["series"]), ["'series' does not go with kind frames"]),
        (changed(curve(), "series", 0, "colour", to="red"), ["series 'fixed'", "unknown key 'colour'"]),
        (changed(curve(), "series", 0, "points", 1, "id", to="t4"), ["'fixed_t4'", "used by an earlier row"]),
        (changed(curve(), "series", 0, "points", 1, "measure"), ["either 'measure' or 'missing'"]),
        (changed(curve(), "metrics", "series", to=curve()["metrics"]["map"]), ["'series' is a column already"]),
        (changed(panels(), "panels", 1, "id", to="good"), ["panel 'good'", "used by an earlier panel"]),
        (changed(panels(), "panels", 0, "experiment", to="detect"), ["unknown experiment 'detect'", "detection"]),
        (changed(panels(), "panels", 0, "settings", to={"T": 3}), ["panel 'good'", "unknown setting 'T'"]),
        (changed(panels(), "panels", 1, "data", to={"shapes": "fast"}), ["does not read 'shapes'", "digits"]),
        (changed(panels(), "panels", 0, "frames", to=[-1]), ["panel 'good'", "frames[0]"]),
        (changed(panels(), "figures", to=1), ["unknown key 'figures'", "panels"]),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path: Path, content: dict[str, Any], expected: list[str]) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        load_figure(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), *expected):
        assert part in message, message


def test_figures_are_found_in_the_thesis_s_order_under_their_own_names(tmp_path: Path) -> None:
    for number in ("2.10", "2.6", "2.9"):
        write(tmp_path, {**panels(), "figure": number})
    assert list(find_figures(tmp_path)) == ["fig2_6", "fig2_9", "fig2_10"]
    (tmp_path / "fig2_6.yaml").rename(tmp_path / "fig2_7.yaml")
    with pytest.raises(UsageError, match=r"figure 2\.6 belongs in a file named fig2_6\.yaml"):
        find_figures(tmp_path)


def test_the_command(tmp_path: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, panels())
    content = {"preset": "quick", "seeds": [0], "measure_seeds": [0], "data": {}, "experiments": {}}
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(content))
    preset = Preset("quick", (0,), (0,), {}, {}, Path("quick.yaml"))
    for spec in figure_runs([load_figure(path)], preset, FOLDERS):
        example = {**an_example(1.0).arrays("good"), **an_example(1.0).arrays("bad")}
        store(runs, spec, {"video_map": (1.0, "%")}, example)
    data = [text for name, folder in FOLDERS.items() for text in ("--data", f"{name}={tmp_path / folder}")]
    words = [path, "--preset-file", tmp_path / "quick.yaml", "--runs", runs, *data, "--out", tmp_path / "out.svg"]
    main(["plot", *map(str, words)])
    assert capsys.readouterr().out.split() == [str(tmp_path / f"out.{kind}") for kind in ("svg", "png", "csv")]
    with pytest.raises(SystemExit) as ended:
        main(["plot", *map(str, words[:-4]), "--out", str(tmp_path / "out.svg")])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and "detection reads fast: expected its folder (--data fast=DIR)" in error
