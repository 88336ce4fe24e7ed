"""Tables and figures of chapter 2 share their runs and know the real data sets."""

from pathlib import Path
from typing import Any

TARGETS = [*(f"table2_{number}" for number in range(1, 8)), *(f"fig2_{number}" for number in range(4, 8))]


def test_every_motion_is_trained(workflow: Any, preset: str) -> None:
    found = workflow.runs(TARGETS, preset).values()
    motions = {run.settings["supervision"]["motion"] for run in found if run.experiment == "video_detection"}
    assert motions == {"random", "none", "simulated", "annotated", "linear"}


def test_tables_that_overlap_share_their_runs(workflow: Any) -> None:
    """Table 2.2's L_traj at T=8 on the stand-in is table 2.1's annotated motion."""
    shared = workflow.runs(["table2_1"], "paper").keys() & workflow.runs(["table2_2"], "paper").keys()
    assert len(shared) == len(workflow.preset("paper").seeds)


def test_a_real_set_brings_the_thesis_s_settings(workflow: Any, tmp_path: Path) -> None:
    for place in ("Data/VID", "Data/DET", "Annotations/VID", "Annotations/DET"):
        (tmp_path / "ILSVRC2015" / place).mkdir(parents=True)
    runs = workflow.runs(TARGETS, "paper", tmp_path).values()
    vid = [run.settings for run in runs if run.data.get("moving_digits") == "imagenet_vid-ilsvrc2015"]
    assert {(one["training"]["iterations"], one["training"]["learning_rate"]) for one in vid} == {(120000, 0.001)}
    assert {one["detector"]["backbone"] for one in vid} == {"resnet101"}
    digits = [run for run in runs if run.data.get("moving_digits") == "moving_digits-sklearn"]
    assert {run.settings["training"]["iterations"] for run in digits} == {1250}, "table 2.1 stays on MovingDigits"
