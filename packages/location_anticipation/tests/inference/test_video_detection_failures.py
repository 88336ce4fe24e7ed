"""detect_video where it cannot do its work: one clear line, and no output that is not whole."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from efficiency_core.errors import UsageError, WorkError
from location_anticipation.inference.auto_step import AutoStep
from location_anticipation.inference.video_detection import detect_video

SizeLimit = Callable[[int], AbstractContextManager[None]]
MakeVideo = Callable[..., Path]


class FixedCrowd(nn.Module):
    """Finds a hundred objects in every frame."""

    horizon = 7

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        boxes = torch.tensor([[1.0, 2, 30, 40]]).repeat(100, 1)
        labels, scores = torch.full((100,), 2), torch.linspace(0, 1, 100)
        trajectories = boxes[:, None].repeat(1, self.horizon, 1)
        return [{"boxes": boxes, "labels": labels, "scores": scores, "trajectories": trajectories} for _ in images]


def outputs(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "in.mp4")


@pytest.mark.parametrize("limit", [0, 600, 4000])
@pytest.mark.parametrize(("kind", "name"), [("out_json", "a.json"), ("out_csv", "a.csv"), ("out_video", "a.mp4")])
def test_full_disk_is_one_clear_line_and_leaves_nothing(
    make_video: MakeVideo, file_size_limit: SizeLimit, tmp_path: Path, kind: str, name: str, limit: int
) -> None:
    source = make_video(tmp_path / "in.mp4")
    out: dict[str, Any] = {kind: tmp_path / name}
    with file_size_limit(limit), pytest.raises(WorkError, match=rf"{name}: cannot be written") as caught:
        detect_video(FixedCrowd(), source, keyframe_step=4, **out)
    assert "\n" not in str(caught.value)
    assert outputs(tmp_path) == []


def test_failure_of_one_output_names_that_one_and_leaves_neither(
    make_video: MakeVideo, file_size_limit: SizeLimit, tmp_path: Path
) -> None:
    source = make_video(tmp_path / "in.mp4", count=240)
    out_json, out_video = tmp_path / "out.json", tmp_path / "out.mp4"
    with file_size_limit(8192), pytest.raises(WorkError, match=r"out\.json: cannot be written"):
        detect_video(FixedCrowd(), source, keyframe_step=8, out_json=out_json, out_video=out_video, score_threshold=0)
    assert outputs(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_failure_midway_keeps_the_previous_outputs(make_video: MakeVideo, tmp_path: Path, error: BaseException) -> None:
    source = make_video(tmp_path / "in.mp4")
    out_json, out_video = tmp_path / "out.json", tmp_path / "out.mp4"
    for path in (out_json, out_video):
        path.write_text("previous")

    def fail(done: int, total: int | None) -> None:
        if done == 10:
            raise error

    with pytest.raises(type(error)):
        detect_video(FixedCrowd(), source, keyframe_step=4, out_json=out_json, out_video=out_video, progress=fail)
    assert out_json.read_text() == out_video.read_text() == "previous"
    assert outputs(tmp_path) == ["out.json", "out.mp4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keyframe_step": 0}, "keyframe_step must be at least 1"),
        ({"keyframe_step": 9}, "at most 8"),
        ({"out_json": "in.mp4"}, "is the source video"),
        ({"out_video": "in.mp4"}, "is the source video"),
        ({"out_video": "out.avi"}, r"ends in \.mp4"),
        ({"out_video": "out.mp4", "out_json": "out.mp4"}, "same file"),
        ({"out_csv": "out.csv", "out_json": "out.csv"}, "same file"),
        ({"max_frames": 0}, "at least 1 frame"),
        ({"keyframe_step": AutoStep(max_step=9)}, "max_step of at most 8"),
        ({"out_json": "."}, "is a folder"),
        ({"class_names": ["dog"], "out_json": "out.json"}, "label 2, but 1 class names"),
        ({"source": "none.mp4"}, r"none\.mp4: no such file"),
    ],
)
def test_wrong_use_is_refused(make_video: MakeVideo, tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    make_video(tmp_path / "in.mp4")
    before = (tmp_path / "in.mp4").read_bytes()
    for name in ("out_json", "out_csv", "out_video", "source"):
        if name in arguments:
            arguments = {**arguments, name: tmp_path / arguments[name]}
    with pytest.raises(UsageError, match=message):
        detect_video(FixedCrowd(), **{"source": tmp_path / "in.mp4", "keyframe_step": 4, **arguments})
    assert (tmp_path / "in.mp4").read_bytes() == before
    assert outputs(tmp_path) == []
