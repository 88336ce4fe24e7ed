"""Figures of kinds series, clusters, images and distributions: their pictures and numbers from records that the tests make."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from efficiency_bench.figures.definitions import load_figure
from efficiency_bench.figures.series import draw_distributions
from efficiency_bench.records.pictures import Grouping, Pictures, Series
from efficiency_core.errors import UsageError, WorkError

Store = Callable[..., None]


@dataclass(frozen=True)
class Settings:
    clusters: int = 8


@pytest.fixture(autouse=True)
def one_experiment(register: Callable[..., None]) -> None:
    register(similar=("measure", Settings, ("videos",)))


def content(number: str, kind: str, shared: dict[str, Any], *panels: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A figure whose panels a, b, ... share keys and have further ones."""
    every = [
        {"id": name, "experiment": "similar", **shared, **panel} for name, panel in zip("abc", panels, strict=False)
    ]
    return {"figure": number, "kind": kind, "caption": "Frames", "source": "the thesis", "panels": every, **more}


def series() -> dict[str, Any]:
    labels = {"x_label": "activations", "y_label": "gradients"}
    first = {"label": "(a) Euclidean", "example": "euclidean"}
    second = {"label": "(b) Hamming", "settings": {"clusters": 16}, "example": "hamming", "joined": True}
    return content("3.5", "series", labels, first, second | {"note": "of signs"})


def clusters() -> dict[str, Any]:
    return content("3.7", "clusters", {"label": "one video", "example": "video"}, {}, {"data": {"videos": "office"}})


def runs_in_a_panel() -> dict[str, Any]:
    """Two panels, one below the other, with one series from each of two runs."""
    parts = [{"label": "8 clusters"}, {"label": "16 clusters", "settings": {"clusters": 16}}]
    shared = {"x_label": "recall", "y_label": "precision", "joined": True, "example": "one", "parts": parts}
    return content("4.4", "series", shared, {"label": "(a)"}, {"label": "(b)"}, columns=1)


def images() -> dict[str, Any]:
    panels = {"label": "Shape"}, {"label": "Office", "data": {"videos": "office"}}
    return content("4.3", "images", {"example": "examples"}, *panels)


def distributions() -> dict[str, Any]:
    """Three panels in two columns, one of each style."""
    shared = {"x_label": "activation", "y_label": "density", "example": "densities"}
    stacked = {"label": "(b) by epoch", "style": "stacked"}
    lines = {"label": "(c) by layer", "style": "lines", "note": "added"}
    return content("5.2", "distributions", shared, {"label": "(a) baseline"}, stacked, lines, columns=2)


@pytest.fixture
def measured(drawing: Any, store: Store) -> Callable[[dict[str, Any]], Any]:
    """The figure of this content with all its records."""
    points = Series.of([("video 1", [1, 2], [3, 4]), ("video 2", [0.123456789], [5])])
    video = Grouping.of(
        [("cumulative", [0, 0, 1, 2]), ("uniform", [0, 0, 1, -1])],
        kinds=["black", "black", "motion", "motion"],
        frames=np.arange(4 * 8 * 8 * 3).reshape(4, 8, 8, 3) % 256,
        index=[4, 5, 6, 7],
    )
    shown = Pictures.of(
        [("source", [(4, "circle", np.full((8, 8, 3), 99)), (7, "star", np.zeros((8, 8, 3)))]),
         ("outliers", [(9, "a letter", np.full((8, 8, 3), 200))])]
    )  # fmt: skip
    dense = Series.of([("epoch 1", [-1, 0, 1], [0, 1, 0]), ("epoch 9", [-1, 0, 1], [100, 600, 200])])
    arrays = points.arrays("euclidean") | points.arrays("hamming") | video.arrays("video")
    arrays |= dense.arrays("densities") | shown.arrays("examples")

    def make(written: dict[str, Any]) -> Any:
        made = drawing(written)
        for spec in made.needed:
            one = Series.of([("precision", [0, 1], [spec.settings["clusters"], 0.5])])
            store(made.runs, spec, {"correlation": (0.9, "1")}, arrays | one.arrays("one"))
        return made

    return make


def test_series_are_drawn_with_every_point_in_the_csv(measured: Any) -> None:
    frame, svg, width, _ = measured(series()).draw()
    assert list(frame)[:4] == ["panel", "series", "x", "y"]
    first = frame[frame["panel"] == "(a) Euclidean"]
    assert first["series"].tolist() == ["video 1", "video 1", "video 2"]
    assert first["x"].tolist() == ["1", "2", "0.123457"] and first["y"].tolist() == ["3", "4", "5"]
    assert set(frame["dataset"]) == {"MovingDigits (sklearn-digits)"} and set(frame["status"]) == {"measured"}
    assert set(frame[frame["panel"] == "(b) Hamming"]["note"]) == {"of signs"}
    for text in ("(a) Euclidean", "(b) Hamming", "activations", "gradients", "video 2"):
        assert text in svg, text
    assert width > 800


def test_clusters_are_drawn_with_every_frame_in_the_csv(measured: Any) -> None:
    frame, svg, *_ = measured(clusters()).draw()
    assert frame["row"].tolist() == (["cumulative"] * 4 + ["uniform"] * 4) * 2
    assert frame["frame"].tolist() == ["4", "5", "6", "7"] * 4
    assert frame["cluster"].tolist()[:8] == ["0", "0", "1", "2", "0", "0", "1", ""], "a frame in no cluster is a blank"
    assert frame["kind"].tolist()[:4] == ["black", "black", "motion", "motion"]
    assert svg.count("<image") == 2, "a panel's frames are one picture in the file"
    for word in ("cumulative", "uniform", "true kind", "motion"):
        assert word in svg


def test_a_panel_takes_a_series_from_each_of_several_runs(measured: Any) -> None:
    made = measured(runs_in_a_panel())
    assert len(made.needed) == 2, "two runs, which both panels show"
    frame, _, width, height = made.draw()
    assert frame["series"].tolist() == ["8 clusters", "8 clusters", "16 clusters", "16 clusters"] * 2
    assert frame["y"].tolist() == ["8", "0.5", "16", "0.5"] * 2 and set(frame["status"]) == {"measured"}
    assert height > width, "one below the other"
    absent = next(run for run in made.needed if run.settings["clusters"] == 16)
    (made.runs / f"{absent.run_id}.json").unlink()
    with pytest.raises(WorkError, match=absent.run_id):
        made.draw()
    frame = made.draw(allow_missing=True).frame
    assert frame["status"].tolist() == ["measured", "measured", "reported_only"] * 2
    assert frame["series"][2] == "16 clusters" and frame["note"][2] == f"not run: {absent.run_id}"


def test_images_are_drawn_with_every_image_in_the_csv(measured: Any) -> None:
    frame, svg, *_ = measured(images()).draw()
    assert list(frame)[:5] == ["panel", "row", "column", "image", "shows"]
    shown = frame[frame["panel"] == "Shape"]
    assert shown["row"].tolist() == ["source", "source", "outliers"] and shown["column"].tolist() == ["1", "2", "1"]
    assert shown["image"].tolist() == ["4", "7", "9"] and shown["shows"].tolist() == ["circle", "star", "a letter"]
    assert svg.count("<image") == 2 and "outliers" in svg
    titles = (">Shape<", ">Office: MovingDigits (sklearn-digits), objects<")
    assert all(title in svg for title in titles), "a stand-in is not what it stands for"


def test_distributions_are_drawn_in_three_styles(measured: Any) -> None:
    frame, svg, width, height = measured(distributions()).draw()
    assert list(frame)[:4] == ["panel", "series", "x", "y"] and len(frame) == 3 * 2 * 3
    first = frame[frame["panel"] == "(a) baseline"]
    assert first["series"].tolist() == ["epoch 1"] * 3 + ["epoch 9"] * 3
    assert first["y"].tolist() == ["0", "1", "0", "100", "600", "200"]
    assert set(frame[frame["panel"] == "(c) by layer"]["note"]) == {"added"}
    assert set(first["x_label"]) == {"activation"} and set(first["y_label"]) == {"density"}
    assert svg.count(">epoch 9<") == 2, "named at the stack's place and in the legend of the lines, not over densities"
    assert 0.5 < width / height < 2, "two rows of two"


@pytest.mark.parametrize("written", [series(), clusters(), images(), distributions()], ids=lambda one: one["kind"])
def test_an_absent_run_is_refused_or_left_out(drawing: Any, written: dict[str, Any]) -> None:
    made = drawing(written)
    with pytest.raises(WorkError, match=r"needs runs .* \(panel 'a'\)"):
        made.draw()
    frame, svg, *_ = made.draw(allow_missing=True)
    assert set(frame["status"]) == {"reported_only"} and "not run" in svg


def test_an_absent_example_is_refused(measured: Any) -> None:
    changed = series()
    changed["panels"][0]["example"] = "cosine"
    with pytest.raises(
        UsageError, match="'a': has no series 'cosine'; it hands over densities, euclidean, hamming, one"
    ):
        measured(changed).draw()


@pytest.mark.parametrize(
    ("figure", "key", "value", "expected"),
    [
        (series(), "x_label", None, "panel 'a': the key 'x_label' is missing"),
        (series(), "frames", [0], "panel 'a': unknown key 'frames'"),
        (clusters(), "parts", [{"label": "one"}], "panel 'a': unknown key 'parts'"),
        (series(), "parts", [{"label": "one"}] * 2, "panel 'a', parts: two of them have the same label"),
        (series(), "parts", [{"label": "one", "settings": {"k": 1}}], "parts[0].settings: unknown setting 'k'"),
        (distributions(), "style", "filled", "panel 'a', style: expected overlaid, stacked or lines, got 'filled'"),
    ],
)
def test_a_mistake_is_refused_in_one_line(
    write: Callable[[dict[str, Any]], Path], figure: dict[str, Any], key: str, value: Any, expected: str
) -> None:
    panel = figure["panels"][0]
    figure["panels"][0] = {name: one for name, one in {**panel, key: value}.items() if one is not None}
    with pytest.raises(UsageError) as caught:
        load_figure(write(figure))
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_the_legend_of_lines_lies_above_all_lines(measured: Any) -> None:
    """The names stand in rows at the top of the axes, which reach further up than every point."""
    names = [(f"method {number}", [1, 2], [0, number]) for number in range(11)]
    figure = measured(distributions()).figure
    panel = figure.panels[2]
    canvas = draw_distributions(dataclasses.replace(figure, panels=(panel,)), {panel.id: Series.of(names)})
    (axes,) = canvas.axes
    canvas.draw_without_rendering()
    legend = axes.get_legend().get_window_extent()
    highest = max(axes.transData.transform(line.get_xydata())[:, 1].max() for line in axes.get_lines())
    assert legend.y0 > highest and len(axes.get_legend().get_texts()) == 11
