"""Trajectories for a detector that somebody else trained: the whole run on made videos, and NanoDet itself."""

import json
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from efficiency_bench.experiments import Context
from efficiency_bench.experiments.detection import adapted_detector, nanodet
from efficiency_core.errors import UsageError
from location_anticipation.adaptation import AdaptConfig, MotionConfig


def bright_box(image: torch.Tensor) -> dict[str, Any]:
    rows, columns = torch.where(image.mean(0) > 0.5)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return {"boxes": torch.tensor([box], dtype=torch.float32), "labels": [1], "scores": [0.9]}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Four videos of a bright square that goes right, each at another speed, with its true boxes."""
    monkeypatch.setattr(nanodet, "build", lambda: bright_box)
    content: dict[str, list[dict[str, Any]]] = {"videos": [], "images": [], "annotations": []}
    for speed in range(1, 5):
        content["videos"].append({"id": speed, "name": f"v{speed}"})
        with av.open(str(tmp_path / f"v{speed}.mp4"), "w") as container:
            stream: Any = container.add_stream("libx264", rate=25, options={"crf": "8"})
            stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
            for time in range(17):
                left, number = 8 + speed * time, len(content["images"]) + 1
                image = np.full((64, 128, 3), 20, np.uint8)
                image[16:40, left : left + 24] = 240
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                content["images"].append({"id": number, "video_id": speed, "frame_id": time})
                content["annotations"].append({"image_id": number, "bbox": [left, 16, 24, 24]})
            container.mux(stream.encode(None))
    (tmp_path / "test.json").write_text(json.dumps(content))
    return Context({adapted_detector.DATA: tmp_path}, torch.device("cpu"), 0, tmp_path / "run")


def test_the_run_judges_every_method_by_the_true_boxes(context: Context) -> None:
    settings = adapted_detector.Settings(
        MotionConfig(horizon=3, hidden=24), AdaptConfig(iterations=200, batch_size=16), plain_backbone="none",
        steps=(4,), folds=2, timed_video="v1", rounds=1,
    )  # fmt: skip
    outcome = adapted_detector.run(settings, context)
    found = {name: metric.value for name, metric in outcome.metrics.items()}
    assert found["mean_iou_per_frame_t4"] > 95 and found["iou50_per_frame_t4"] == 100
    assert found["mean_iou_copied_t4"] < 80 < found["mean_iou_history_t4"]
    assert found["mean_iou_interpolation_t4"] > 95 and found["agreement_copied_t4"] < found["agreement_history_t4"]
    assert {name for name in found if name.startswith("speedup_")} == {
        f"speedup_{name}" for name in ("per_frame", "copied_t4", "anticipation_t4", "history_t4")
    }
    assert sorted(name for fold in outcome.protocol["folds"] for name in fold) == ["v1", "v2", "v3", "v4"]


def test_what_it_cannot_read(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test.json").write_text('{"videos": [{"id": 1}]}')
    with pytest.raises(UsageError, match=r"test.json: not the boxes of DAVIS 2016 as CocoVID"):
        adapted_detector.true_boxes(tmp_path / "test.json")
    monkeypatch.undo()
    monkeypatch.setenv("EFFICIENCY_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="no such file; NanoDet needs weights/nanodet-coco-416"):
        nanodet.build()
    with pytest.raises(ValueError, match=r"steps must be 2 to 9, got \[2, 10\]"):
        adapted_detector.Settings(steps=(2, 10))


@pytest.mark.skipif(
    not (Path(os.environ.get("EFFICIENCY_DATA", "")) / nanodet.FILE).is_file(), reason="needs NanoDet's weights"
)
def test_nanodet_finds_the_swan() -> None:
    root = Path(os.environ["EFFICIENCY_DATA"]) / "davis2016-val"
    with av.open(str(root / "blackswan.mp4")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    with torch.inference_mode():
        found = nanodet.build()(torch.from_numpy(frame).permute(2, 0, 1) / 255)
    best = int(torch.where(found["labels"] == 15, found["scores"], 0.0).argmax())  # COCO's class "bird"
    assert found["scores"][best] > 0.3
    truth = adapted_detector.true_boxes(root / "boxes.cocovid.json")["blackswan"][0]
    overlap = adapted_detector.best_overlaps(
        [type("Frame", (), {"index": 0, "boxes": found["boxes"][best : best + 1]})()], {0: truth}
    )
    assert overlap[0] > 0.7
