"""Curves, and frames with boxes: their pictures and numbers from records that the tests make."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from efficiency_bench.records.artifacts import Example
from efficiency_core.errors import UsageError, WorkError

pytestmark = pytest.mark.usefixtures("detection_and_speed")
Content = dict[str, Any]
Store = Callable[..., None]


def an_example(found: float) -> Example:
    frames = np.full((3, 16, 24), 40, np.uint8)
    true = [[[4 + t, 4, 12 + t, 12]] for t in range(3)]
    boxes = [[[4 + found * t, 4, 12 + found * t, 12]] for t in range(2)] + [[]]
    more = {"keyframe": [True, False, False], "found_labels": [["six"], ["six"], []], "scores": [[0.9], [0.9], []]}
    return Example.of(frames, [8, 9, 10], true, boxes, **more)


@pytest.fixture
def measured(drawing: Any, curve: Content, store: Store) -> Any:
    """The curve with all its records."""
    made = drawing(curve)
    for spec in made.needed:
        if spec.experiment == "speed":
            values = {f"fps_{t}": (float(10 * n), "frames/s") for t, n in (("t4", 4), ("t8", 8))}
            store(made.runs, spec, values | {f"cost_{t}": (100 / n, "GMAC/frame") for t, n in (("t4", 4), ("t8", 8))})
        else:
            store(made.runs, spec, {"video_map": (100.0 - spec.settings["horizon"] + 2 * spec.seed, "%")})
    return made


def store_frames(made: Any, store: Store) -> None:
    for spec in made.needed:
        name, found = ("good", 1.0) if spec.data["digits"] == "digits-sklearn" else ("bad", 5.0)
        store(made.runs, spec, {"video_map": (1.0, "%")}, an_example(found).arrays(name))


def test_a_curve_is_drawn_with_its_numbers_beside_it(measured: Any) -> None:
    drawn = measured.draw()
    frame = drawn.frame
    assert list(frame)[:8] == ["series", "point", "fps_reported", "fps", "fps_std", "map_reported", "map", "map_std"]
    assert frame["status"].tolist() == ["measured", "measured", "reported_only"]
    assert frame["map"].tolist() == ["97.0", "93.0", ""] and frame["map_std"][0] == "1.4"
    assert frame["fps"].tolist() == ["40.0", "80.0", ""] and frame["fps_reported"].tolist() == ["39.6", "", ""]
    for text in ("Runtime (FPS)", "mAP (%)", "T=4", "25.0 GMAC/frame", "12.5 GMAC/frame", "every T frames, thesis"):
        assert text in drawn.svg, text
    assert ">auto<" not in drawn.svg, "a series without a number is not drawn"
    assert drawn.width > 600


def test_the_same_records_give_the_same_bytes(measured: Any) -> None:
    def drawn() -> list[bytes]:
        measured.draw()
        return [measured.out.with_suffix(suffix).read_bytes() for suffix in (".svg", ".png", ".csv")]

    assert drawn() == drawn()


def test_a_picture_says_what_was_measured(drawing: Any, panels: Content, store: Store) -> None:
    made = drawing({**panels, "thesis_data": {"vid": "ImageNet VID"}})
    store_frames(made, store)
    quick = made.draw()
    for text in (
        "Figure 2.6, preset quick, 1 seed, Epic CPU (2 threads)",
        "Data: MovingDigits (sklearn-digits), stand-in for ImageNet VID; MovingDigits (sklearn-digits), fast,",
        "Network and input: 50 steps",
    ):
        assert text in quick.svg, text
    assert "mean nothing" not in quick.svg
    smoke = made.draw(dataclasses.replace(made.preset, name="smoke"))
    assert ">smoke: the numbers mean nothing<" in smoke.svg and smoke.height > quick.height
    assert quick.frame["scale"].tolist()[0] == "50 steps"


def test_the_columns_of_a_figure_are_described(measured: Any) -> None:
    frame = measured.draw().frame
    about = json.loads(measured.out.with_suffix(".csv-metadata.json").read_text())
    assert about["url"] == "fig2_5.csv" and about["dc:title"] == "Figure 2.5"
    assert [column["name"] for column in about["tableSchema"]["columns"]] == list(frame)
    assert frame["units"][0] == "fps: frames/s; map: %; cost: GMAC/frame"


def test_a_legend_names_nothing_that_is_not_drawn(drawing: Any, panels: Content, store: Store) -> None:
    made = drawing(panels)
    empty = dataclasses.replace(an_example(1.0), found=np.full((3, 1, 4), np.nan, np.float32))
    for spec in made.needed:
        store(made.runs, spec, {"video_map": (1.0, "%")}, empty.arrays("good") | empty.arrays("bad"))
    svg = made.draw().svg
    assert ">ground truth<" in svg and ">found<" not in svg and svg.count(">no box found<") == 2


def test_missing_runs_are_refused_or_left_out(drawing: Any, curve: Content) -> None:
    made = drawing(curve)
    with pytest.raises(WorkError, match=r"(?s)figure 2\.5 with preset quick needs .* `snakemake results/fig2_5\.svg"):
        made.draw()
    svg = made.draw(allow_missing=True).svg
    assert "T=4 (thesis)" in svg and "T=8" not in svg
    made.out.unlink()
    del curve["series"][0]["points"][0]["reported"]
    bare = drawing(curve)
    with pytest.raises(WorkError, match="no point has both a fps and a map"):
        bare.draw(allow_missing=True)
    assert not bare.out.exists()


def test_frames_are_drawn_with_every_box_in_the_csv(drawing: Any, panels: Content, store: Store) -> None:
    made = drawing(panels)
    store_frames(made, store)
    frame, svg, *_ = made.draw()
    good, bad = (frame[frame["panel"] == label] for label in ("(a) success", "(b) failure"))
    assert good["frame"].tolist() == ["8", "8", "9", "9", "10"] and bad["frame"].tolist() == ["8", "8", "10"]
    assert good["box"].tolist() == ["true", "found"] * 2 + ["true"]
    assert good["iou"].tolist() == ["", "1.0000", "", "1.0000", ""]
    assert good["keyframe"].tolist()[:3] == ["yes", "yes", "no"] and set(good["units"]) == {"x1, y1, x2, y2: px"}
    assert good.iloc[1][["x1", "y1", "x2", "y2", "label", "score"]].tolist() == [
        "4.00", "4.00", "12.00", "12.00", "six", "0.9000",
    ]  # fmt: skip
    assert set(good["dataset"]) == {"MovingDigits (sklearn-digits)"}
    assert set(bad["dataset"]) == {"MovingDigits (sklearn-digits), fast"} and set(bad["note"]) == {"the dog turns"}
    assert set(frame["seeds"]) == {"1"} and set(frame["status"]) == {"measured"}
    for text in ("(a) success", "(b) failure", "keyframe 8", "frame 10", "six 0.90", "ground truth"):
        assert text in svg, text


def test_boxes_of_all_frames_in_one_picture(drawing: Any, panels: Content, store: Store) -> None:
    for panel in panels["panels"]:
        panel |= {"together": True, "frames": [0, 1]}
    made = drawing({**panels, "legend": {"true": "keyframes", "found": "simulated"}})
    store_frames(made, store)
    frame, svg, *_ = made.draw()
    assert svg.count("<image") == 2 and "keyframes" in svg and "simulated" in svg and "ground truth" not in svg
    # The found box of the second frame is 4 px beside a true box of 8 x 8 px: 4 * 8 shared of 2 * 64 - 32.
    assert frame["iou"].tolist()[-2:] == ["", f"{32 / 96:.4f}"]


def test_frames_without_their_run_or_example(drawing: Any, panels: Content, store: Store) -> None:
    made = drawing(panels)
    with pytest.raises(WorkError, match=r"needs runs .* \(panel 'good'\), .* \(panel 'bad'\)"):
        made.draw()
    good, bad = made.needed
    store(made.runs, good, {"video_map": (1.0, "%")}, an_example(1.0).arrays("good"))
    frame, svg, *_ = made.draw(allow_missing=True)
    last = frame.iloc[-1]
    assert last["status"] == "reported_only" and last["note"] == f"not run: {bad.run_id}; the dog turns"
    assert "not run" in svg
    store(made.runs, bad, {"video_map": (1.0, "%")}, an_example(1.0).arrays("ugly"))
    with pytest.raises(UsageError, match="panel 'bad': has no example 'bad'; it hands over ugly"):
        made.draw()
    made.out = made.out.with_suffix(".png")
    with pytest.raises(UsageError, match=r"does not end in \.svg"):
        made.draw()
    panels["panels"][0]["frames"] = [0, 3]
    with pytest.raises(UsageError, match="panel 'good': no frame 3; the example has 3"):
        drawing(panels).draw()
