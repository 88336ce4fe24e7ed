"""The command `evaluate` on both kinds of files, with every metric."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from location_anticipation import DetectorConfig, build_detector, load_detector, save_detector
from location_anticipation.cli import main
from location_anticipation.data import TrackVideos
from location_anticipation.evaluation import evaluate
from location_anticipation.score_table import as_json, table

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Write = Callable[..., Path]


@pytest.fixture
def checkpoint(tmp_path: Path, tiny: Callable[..., DetectorConfig]) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_detector(tiny())
        torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
        save_detector(tmp_path / "detector.pt", model, ["filled", "hollow"])
    return tmp_path / "detector.pt"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *map(str, arguments), "--device", "cpu"])
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


def as_cocovid(source: Path, target: Path, images: Path) -> None:
    """The same videos as CocoVID, with lossless images."""
    videos = TrackVideos(source)
    lists: dict[str, list[dict[str, object]]] = {"videos": [], "images": [], "annotations": []}
    for v in range(len(videos)):
        tracks = videos.tracks(v)
        lists["videos"].append({"id": v, "name": f"v{v}"})
        for t in range(len(tracks.annotated)):
            number, name = 100 * v + t, f"{v}-{t}.png"
            pixels = (255 * videos.frame(v, t)).round().byte().permute(1, 2, 0).numpy()
            images.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(images / name)
            height, width = videos.image_size(v)
            entry = {"id": number, "video_id": v, "frame_id": t, "file_name": name, "height": height, "width": width}
            lists["images"].append(entry)
            x1, y1, x2, y2 = tracks.boxes[t, 0].tolist()
            lists["annotations"].append(
                {"id": number, "image_id": number, "video_id": v, "instance_id": v, "iscrowd": 0}
                | {"category_id": int(tracks.labels[0]) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            )
    categories = [{"id": 1, "name": "filled"}, {"id": 2, "name": "hollow"}]
    target.write_text(json.dumps(lists | {"categories": categories}))


def test_every_metric_of_both_kinds_of_files(
    tmp_path: Path, write_tracks: Write, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, figures = write_tracks(), tmp_path / "figures.json"
    options = ("--keyframe-step", 3, "--metric", "all", "--motion-split", "--by-step", "--out", figures)
    status, printed, _ = run(capsys, checkpoint, data, *options)
    assert status == 0
    model, names = load_detector(checkpoint)
    both = ("voc", "ilsvrc")
    expected = evaluate(model, TrackVideos(data), keyframe_step=3, flavours=both, steps=True, speed=both)
    assert printed == table(expected) + "\n"
    assert printed.count("mAP") == 4  # every annotated frame, two by speed, by step
    document = json.loads(figures.read_text())
    assert document == json.loads(json.dumps(as_json(expected, names)))
    assert set(document["scores"]["overall"]) == {"coco", "voc", "ilsvrc"}
    assert document["scores"]["frames_by_step"] == [8, 8, 8]

    coco, images = tmp_path / "coco.json", tmp_path / "images"
    as_cocovid(data, coco, images)
    status, again, _ = run(capsys, checkpoint, coco, "--images", images, *options)
    assert status == 0 and again == printed


def test_metrics_that_are_asked_for(
    write_tracks: Write, checkpoint: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data, figures = write_tracks(), tmp_path / "figures.json"
    for arguments, overall, speed in (
        ([], ["coco"], None),
        (["--motion-split"], ["coco"], ["ilsvrc"]),
        (["--metric", "voc", "--motion-split"], ["coco", "voc"], ["voc"]),
        (["--metric", "ilsvrc", "--metric", "voc"], ["coco", "voc", "ilsvrc"], None),
    ):
        status, printed, _ = run(capsys, checkpoint, data, "--keyframe-step", 4, *arguments, "--out", figures)
        assert status == 0
        scores = json.loads(figures.read_text())["scores"]
        assert list(scores["overall"]) == overall
        assert scores["by_step"] is None and "by step" not in printed
        assert (scores["by_speed"] and list(scores["by_speed"])) == speed
        assert ("by speed" in printed) == (speed is not None)


def test_keyframes_where_they_are_needed(
    write_tracks: Write, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed, _ = run(capsys, checkpoint, write_tracks(), "--keyframe-step", "auto", "--metric", "voc")
    assert status == 0
    figures = dict(line.split()[:2] for line in printed.splitlines() if len(line.split()) > 1)
    assert float(figures["keyframe_share"]) == pytest.approx(int(figures["keyframes"]) / 24, abs=1e-4)
    assert 8 / 32 <= float(figures["keyframe_share"]) <= 1 and figures["frames"] == "24"
    assert 0 <= float(figures["voc"]) <= 1 and "coco" not in figures


@pytest.mark.parametrize(("tolerance", "keyframes"), [(0, 24), (1e9, 8)])
def test_tolerance_decides_how_many_keyframes_there_are(
    write_tracks: Write, checkpoint: Path, capsys: pytest.CaptureFixture[str], tolerance: float, keyframes: int
) -> None:
    """Of four videos of 6 frames either every frame, or, at T = 3, the frames 0 and 4 of each."""
    arguments = (checkpoint, write_tracks(), "--keyframe-step", "auto", "--tolerance", tolerance)
    status, printed, _ = run(capsys, *arguments)
    assert status == 0
    assert dict(line.split()[:2] for line in printed.splitlines() if line.split())["keyframes"] == str(keyframes)


def test_wrong_usage(tmp_path: Path, write_tracks: Write, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_tracks()
    empty = write_tracks("empty.h5", arrays={"present": np.zeros((4, 6, 1), bool)})
    for arguments, message in (
        ([data, "--metric", "vanilla"], "invalid choice: 'vanilla'"),
        ([data, "--keyframe-step", "some"], "expected a whole number or auto, got 'some'"),
        ([data, "--tolerance", 0.1], "--tolerance is for --keyframe-step auto"),
        ([data, "--keyframe-step", "auto", "--tolerance", -1], "--tolerance must be 0 or more, got -1"),
        ([data, "--images", tmp_path], "train.h5: a track-video file holds its frames"),
        ([tmp_path / "none.json"], "none.json: no such file; expected a CocoVID JSON file"),
        ([empty], "empty.h5: no annotated frame shows an object"),
    ):
        status, printed, error = run(capsys, checkpoint, *arguments)
        assert (status, printed) == (2, "")
        assert message in error and "Traceback" not in error
