"""A video end to end against its bound: the share follows from the three speeds; the file may be one's own."""

from pathlib import Path

import pytest

from efficiency_bench.run import RunContext, run_experiment
from efficiency_core.errors import UsageError

pytest.importorskip("av")
TINY = {
    "detector": {
        "num_classes": 3, "horizon": 3, "backbone": "resnet18", "channels": 16, "representation": 16, "min_size": 64,
        "max_size": 96, "proposals_test": 10,
    },
    "height": 64, "width": 90, "frames": 10, "keyframe_step": 4, "rounds": 5,
}  # fmt: skip


def test_the_share_is_of_the_slower_bound_and_a_file_may_be_given(tmp_path: Path) -> None:
    record = run_experiment("video_pipeline", TINY, RunContext(tmp_path / "run.json", {}, device="cpu"))
    values = {name: metric.value for name, metric in record.metrics.items()}
    bound = min(values["fps_decoder"], values["fps_network"])
    assert values["share_of_bound"] == pytest.approx(values["fps_whole"] / bound)
    assert values[f"fps_{record.protocol['bound']}"] == bound
    assert values["frames"] == 10 and record.protocol["video"] == "drawn, 90x64"
    assert 0 < values["share_low_of_bound"] <= values["share_high_of_bound"]
    (video,) = tmp_path.rglob("drawn.mp4")
    given = {**TINY, "video": str(video), "frames": 7}
    again = run_experiment("video_pipeline", given, RunContext(tmp_path / "given.json", {}, device="cpu"))
    assert again.metrics["frames"].value == 7 and again.protocol["video"] == "drawn.mp4, 90x64"


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "text.mp4"
    broken.write_text("no video")
    with pytest.raises(UsageError, match=r"text\.mp4"):
        run_experiment(
            "video_pipeline", {**TINY, "video": str(broken)}, RunContext(tmp_path / "run.json", {}, device="cpu")
        )
