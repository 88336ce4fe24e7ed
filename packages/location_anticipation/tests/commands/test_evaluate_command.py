"""The command `evaluate` on both kinds of files, with every metric."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from faster_coco_eval import COCO, COCOeval_faster
from PIL import Image

from location_anticipation import load_detector
from location_anticipation.data import TrackVideos
from location_anticipation.data.converters.cocovid_writer import CocoVidBuilder, write_cocovid
from location_anticipation.metrics.evaluation import evaluate
from location_anticipation.metrics.score_table import as_json, table

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
CPU = ("--device", "cpu")


def as_cocovid(videos: TrackVideos, target: Path, images: Path) -> None:
    """The same videos as CocoVID, with lossless images."""
    builder = CocoVidBuilder([{"id": 1, "name": "filled"}, {"id": 2, "name": "hollow"}], {})
    images.mkdir()
    for v in range(len(videos)):
        tracks, number = videos.tracks(v), builder.add_video(f"v{v}")
        for t in range(len(tracks.annotated)):
            pixels = (255 * videos.frame(v, t)).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(images / f"{v}-{t}.png")
            image = builder.add_image(number, t, f"{v}-{t}.png", videos.image_size(v))
            builder.add_box(number, image, int(tracks.labels[0]) + 1, 0, tuple(tracks.boxes[t, 0].tolist()))
    write_cocovid(target, builder.content)


def test_every_metric_of_both_kinds_of_files(tmp_path: Path, write_tracks: Write, checkpoint: Path, run: Run) -> None:
    data, figures = write_tracks(), tmp_path / "figures.json"
    options = ("--keyframe-step", 3, "--metric", "all", "--motion-split", "--by-step", "--out", figures)
    status, printed, _ = run("evaluate", checkpoint, data, *options, *CPU)
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
    as_cocovid(TrackVideos(data), coco, images)
    found = tmp_path / "found.json"
    arguments = ("--images", images, *options, "--detections", found, *CPU)
    status, again, _ = run("evaluate", checkpoint, coco, *arguments)
    assert status == 0 and again == printed
    assert average_precision_of_files(coco, found) == pytest.approx(expected.video_map, abs=1e-6)


def average_precision_of_files(annotations: Path, results: Path) -> float:
    """COCO's mAP as a tool computes it that knows nothing of this package."""
    truth = COCO(str(annotations))
    scores = COCOeval_faster(truth, truth.loadRes(str(results)), "bbox")
    scores.run()
    return float(scores.stats[0])


@pytest.mark.parametrize("plain", [False, True])
def test_detections_have_the_ids_of_the_file(
    tmp_path: Path, write_tracks: Write, checkpoint: Path, run: Run, plain: bool
) -> None:
    """Ids that jump, also of plain COCO and after `convert`; keyframes every second frame."""
    coco, images, found = tmp_path / "coco.json", tmp_path / "images", tmp_path / "found.json"
    as_cocovid(TrackVideos(write_tracks(videos=2)), coco, images)
    content = json.loads(coco.read_text())
    number = {entry["id"]: 7000 + 13 * entry["id"] for entry in content["images"]}
    for entry in content["categories"]:
        entry["id"] += 17
    for entry in content["images"]:
        entry["id"] = number[entry["id"]]
    for entry in content["annotations"]:
        entry |= {"image_id": number[entry["image_id"]], "category_id": entry["category_id"] + 17}
    if plain:
        del content["videos"]
        for entry in content["images"]:
            del entry["video_id"], entry["frame_id"]
    coco.write_text(json.dumps(content))
    converted, figures = tmp_path / "converted.json", tmp_path / "figures.json"
    assert run("convert", "coco", coco, "--out", converted)[0] == 0
    for data in (coco, converted):
        options = ("--images", images, "--keyframe-step", 2, "--detections", found, "--out", figures)
        status, _, error = run("evaluate", checkpoint, data, *options, *CPU)
        assert status == 0, error
        assert {entry["image_id"] for entry in json.loads(found.read_text())} == set(number.values())
        expected = json.loads(figures.read_text())["video_map"]
        for truth in (coco, converted):
            assert average_precision_of_files(truth, found) == pytest.approx(expected, abs=1e-6)
    status, _, error = run("evaluate", checkpoint, write_tracks(), "--detections", found, *CPU)
    assert status == 2 and "has no ids of images; --detections goes with CocoVID and COCO files" in error


def test_metrics_that_are_asked_for(write_tracks: Write, checkpoint: Path, run: Run, tmp_path: Path) -> None:
    data, figures = write_tracks(), tmp_path / "figures.json"
    for arguments, overall, speed in (
        ([], ["coco"], None),
        (["--motion-split"], ["coco"], ["ilsvrc"]),
        (["--metric", "voc", "--motion-split"], ["coco", "voc"], ["voc"]),
        (["--metric", "ilsvrc", "--metric", "voc"], ["coco", "voc", "ilsvrc"], None),
    ):
        status, printed, _ = run("evaluate", checkpoint, data, "--keyframe-step", 4, *arguments, "--out", figures, *CPU)
        assert status == 0
        scores = json.loads(figures.read_text())["scores"]
        assert list(scores["overall"]) == overall
        assert scores["by_step"] is None and "by step" not in printed
        assert (scores["by_speed"] and list(scores["by_speed"])) == speed
        assert ("by speed" in printed) == (speed is not None)


@pytest.mark.parametrize(("tolerance", "keyframes"), [((), None), (("--tolerance", 0), 24), (("--tolerance", 1e9), 8)])
def test_keyframes_where_they_are_needed(
    write_tracks: Write, checkpoint: Path, run: Run, tolerance: tuple[object, ...], keyframes: int | None
) -> None:
    """Of four videos of 6 frames either every frame, or, at T = 3, the frames 0 and 4 of each."""
    options = ("--keyframe-step", "auto", "--metric", "voc", *tolerance, *CPU)
    status, printed, _ = run("evaluate", checkpoint, write_tracks(), *options)
    assert status == 0
    figures = dict(line.split()[:2] for line in printed.splitlines() if len(line.split()) > 1)
    assert keyframes is None or figures["keyframes"] == str(keyframes)
    assert float(figures["keyframe_share"]) == pytest.approx(int(figures["keyframes"]) / 24, abs=1e-4)
    assert 8 / 32 <= float(figures["keyframe_share"]) <= 1 and figures["frames"] == "24"
    assert 0 <= float(figures["voc"]) <= 1 and "coco" not in figures
