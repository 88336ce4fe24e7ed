"""CocoVID files: what is read, what is refused with its line, and what is written."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from efficiency_core.errors import UsageError
from location_anticipation.data.cocovid import CocoVideos
from location_anticipation.data.converters.cocovid_writer import CocoVidBuilder, write_cocovid

Content = dict[str, Any]


def image(number: int, video: int, frame: int, size: tuple[int, int], **more: Any) -> Content:
    place = {"video_id": video, "frame_id": frame, "file_name": f"{video}/{frame}.png"}
    return {"id": number, **place, "height": size[0], "width": size[1], **more}


def annotation(number: int, image: int, category: int, instance: int, box: list[float], **more: Any) -> Content:
    return {"id": number, "image_id": image, "category_id": category, "instance_id": instance, "bbox": box, **more}


def sample() -> Content:
    """Video "a", 40 by 30: frame 2 is missing, 4 is not annotated. Video "b", 24 by 16: frame 0 is empty."""
    a, b = (30, 40), (16, 24)
    return {
        "info": {"name": "sample", "source": "by hand"},
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "videos": [{"id": 1, "name": "a"}, {"id": 2, "name": "b", "fps": 25}],
        "images": [
            image(12, 1, 1, a), image(11, 1, 0, a), image(13, 1, 3, a), image(14, 1, 4, a, annotated=False),
            image(21, 2, 0, b), image(22, 2, 1, b),
        ],
        "annotations": [
            annotation(1, 11, 7, 5, [1, 2, 10, 20]),
            annotation(2, 11, 3, 6, [30, 1, 4.5, 3]),
            annotation(3, 12, 7, 5, [2, 2, 10, 20], iscrowd=0),
            annotation(4, 12, 7, 9, [0, 0, 40, 30], iscrowd=1),
            annotation(5, 13, 7, 5, [4, 2, 10, 20]),
            annotation(6, 22, 7, 5, [0, 0, 24, 16]),
            annotation(7, 22, 3, 5, [3, 3, 2, 2]),
        ],
    }  # fmt: skip


def save(folder: Path, content: Content) -> Path:
    write_cocovid(folder / "set.json", content)
    return folder / "set.json"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The sample with its images; every pixel of an image is (10 video + frame, 100, 200)."""
    content = sample()
    for entry in content["images"]:
        file = tmp_path / entry["file_name"]
        file.parent.mkdir(exist_ok=True)
        colour = (10 * entry["video_id"] + entry["frame_id"], 100, 200)
        Image.new("RGB", (entry["width"], entry["height"]), colour).save(file)
    return save(tmp_path, content)


def test_facts_and_tracks(path: Path) -> None:
    videos = CocoVideos(path)
    assert videos.info.class_names == ("dog", "cat")  # by id
    assert len(videos) == 2 and [videos.name(v) for v in range(2)] == ["a", "b"]
    assert [videos.image_size(v) for v in range(2)] == [(30, 40), (16, 24)]

    tracks = videos.tracks(0)
    assert tracks.boxes.dtype == np.float32 and tracks.labels.dtype == np.int64
    assert tracks.annotated.tolist() == [True, True, False, True, False]
    assert tracks.labels.tolist() == [1, 0]  # cat 5, dog 6; the crowd is no track
    assert tracks.present.tolist() == [[True, True], [True, False], [False, False], [True, False], [False, False]]
    assert tracks.boxes[[0, 1, 3], 0].tolist() == [[1, 2, 11, 22], [2, 2, 12, 22], [4, 2, 14, 22]]
    assert tracks.boxes[0, 1].tolist() == [30, 1, 34.5, 4]
    assert not tracks.boxes[~tracks.present].any()

    tracks = videos.tracks(1)  # instance 5 of two classes is two tracks, and neither is that of video "a"
    assert tracks.annotated.tolist() == [True, True]
    assert tracks.labels.tolist() == [1, 0] and tracks.present.tolist() == [[False, False], [True, True]]
    assert tracks.boxes[1].tolist() == [[0, 0, 24, 16], [3, 3, 5, 5]]


def test_frames(path: Path, tmp_path: Path) -> None:
    videos = CocoVideos(path)
    frame = videos.frame(0, 3)
    assert frame.shape == (3, 30, 40) and frame.dtype == torch.float32
    assert torch.equal(frame[:, 4, 5], torch.tensor([13.0, 100, 200]) / 255)
    assert videos.frame(0, 4).shape == (3, 30, 40)  # not annotated, but there
    assert videos.frame(1, 0).shape == (3, 16, 24)
    assert torch.equal(pickle.loads(pickle.dumps(videos)).frame(0, 3), frame)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = path.rename(elsewhere / "set.json")
    assert torch.equal(CocoVideos(moved, tmp_path).frame(0, 3), frame)
    with pytest.raises(UsageError, match=r"3\.png: no such file \(frame 3 of video 'a' in .*; --images names"):
        CocoVideos(moved).frame(0, 3)


def test_frames_that_cannot_be_read(path: Path, tmp_path: Path) -> None:
    videos = CocoVideos(path)
    with pytest.raises(UsageError, match=r"frame 2 of video 'a' in .*set\.json has no image: no entry of 'images'"):
        videos.frame(0, 2)
    whole = (tmp_path / "1/0.png").read_bytes()
    (tmp_path / "1/0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"0\.png: (is no image|cannot be decoded) .*\(frame 0 of video 'a'"):
        videos.frame(0, 0)
    Image.new("RGB", (30, 40)).save(tmp_path / "1/0.png")
    with pytest.raises(UsageError, match=r"0\.png: is 30x40, frame 0 of video 'a' in .* is said to be 40x30"):
        videos.frame(0, 0)


def test_the_digest_follows_the_annotations(tmp_path: Path) -> None:
    first = CocoVideos(save(tmp_path, sample())).info.content_digest
    assert CocoVideos(save(tmp_path, sample())).info.content_digest == first
    other = sample()
    other["annotations"][0]["bbox"][0] = 2
    assert CocoVideos(save(tmp_path, other)).info.content_digest != first


def test_a_video_without_images_is_left_out(tmp_path: Path) -> None:
    content = sample()
    content["videos"].insert(0, {"id": 9, "name": "nothing"})
    videos = CocoVideos(save(tmp_path, content))
    assert [videos.name(v) for v in range(len(videos))] == ["a", "b"]
    content["images"], content["annotations"] = [], []
    with pytest.raises(UsageError, match=r"set\.json: no video has an image"):
        CocoVideos(save(tmp_path, content))


def test_a_box_that_is_partly_outside_stays_as_it_is(tmp_path: Path) -> None:
    content = sample()
    content["annotations"][0]["bbox"] = [-3, 25, 10, 20]
    assert CocoVideos(save(tmp_path, content)).tracks(0).boxes[0, 0].tolist() == [-3, 25, 7, 45]


def test_plain_coco_is_videos_of_one_frame(tmp_path: Path) -> None:
    content = sample()
    del content["videos"]
    for entry in content["images"]:
        del entry["video_id"], entry["frame_id"]
    for entry in content["annotations"]:
        del entry["instance_id"]
    (tmp_path / "plain.json").write_text(json.dumps(content))
    videos = CocoVideos(tmp_path / "plain.json")
    assert [videos.name(v) for v in range(len(videos))] == [entry["file_name"] for entry in content["images"]]
    assert [videos.image_id(v, 0) for v in range(len(videos))] == [12, 11, 13, 14, 21, 22]
    assert videos.image_size(4) == (16, 24) and videos.info.category_ids == (3, 7)
    assert videos.tracks(1).boxes[0].tolist() == [[1, 2, 11, 22], [30, 1, 34.5, 4]]
    assert videos.tracks(4).annotated.tolist() == [True] and not videos.tracks(4).present.any()
    for section, key, message in (
        ("images", "id", r"images\[1\]: 'id' must be a whole number, but is missing"),
        ("images", "file_name", r"images\[1\]: 'file_name' must be text, but is missing"),
        ("annotations", "id", r"annotations\[1\]: 'id' must be a whole number, but is missing"),
    ):
        broken = {name: [dict(entry) for entry in entries] for name, entries in content.items() if name != "info"}
        del broken[section][1][key]
        (tmp_path / "broken.json").write_text(json.dumps(broken))
        with pytest.raises(UsageError, match=message):
            CocoVideos(tmp_path / "broken.json")


# Files that cannot be used

NO_ENTRIES = '"videos": [], "images": [], "annotations": []}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected a CocoVID object with lists categories, videos, images, annotations"),
        ('{"categories": [], "images": []}', "'annotations' is missing; a CocoVID file has the lists"),
        ('{"categories": [], "images": [{"video_id": 1}], "annotations": []}', "'videos' is missing; a CocoVID file"),
        ('{"categories": {}}', "'categories' is no list"),
        ('{"categories": [], ' + NO_ENTRIES, "'categories' is empty; at least one class"),
        ('{"categories": [5], ' + NO_ENTRIES, r"set\.json:1: categories\[0\]: expected an object, got 5"),
    ],
)
def test_other_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "set.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        CocoVideos(tmp_path / "set.json")


@pytest.mark.parametrize(
    ("section", "number", "changes", "message"),
    [
        ("categories", 1, {"id": 7}, "id 7 is there twice"),
        ("categories", 1, {"name": 4}, "'name' must be text, got 4"),
        ("videos", 1, {"id": "2"}, "'id' must be a whole number, got '2'"),
        ("videos", 1, {"name": None}, "'name' must be text, but is missing"),
        ("images", 2, {"id": 11}, "id 11 is there twice"),
        ("images", 2, {"video_id": 5}, "'video_id' 5 is not the id of any entry"),
        ("images", 2, {"frame_id": -1}, "'frame_id' must be a whole number of at least 0, got -1"),
        ("images", 2, {"frame_id": 1}, "frame 1 of video 'a' is there twice"),
        ("images", 2, {"frame_id": True}, "'frame_id' must be a whole number of at least 0, got True"),
        ("images", 2, {"frame_id": 10**12}, "'frame_id' must be below 10000000"),
        ("images", 2, {"height": 0}, "'height' must be a whole number of at least 1, got 0"),
        ("images", 2, {"width": 41}, "the image is 41x30, others of video 'a' are 40x30"),
        ("images", 2, {"file_name": ""}, "'file_name' must be text, got ''"),
        ("images", 3, {"annotated": "no"}, "'annotated' must be true or false, got 'no'"),
        ("annotations", 4, {"id": 1}, "id 1 is there twice"),
        ("annotations", 4, {"image_id": 99}, "'image_id' 99 is not the id of any entry"),
        ("annotations", 4, {"category_id": 1}, "'category_id' 1 is not the id of any entry"),
        ("annotations", 4, {"instance_id": None}, "'instance_id' must be a whole number, but is missing"),
        ("annotations", 4, {"image_id": 12}, "instance 5 is twice in frame 1 of video 'a'"),
        ("annotations", 4, {"image_id": 14}, "frame 4 of video 'a' has 'annotated': false but is annotated"),
        ("annotations", 4, {"iscrowd": 2}, "'iscrowd' must be 0 or 1, got 2"),
        ("annotations", 4, {"bbox": [40, 1, 5, 5]}, "'bbox' [40, 1, 5, 5] is outside its image of 40x30"),
        ("annotations", 4, {"bbox": [-5, 1, 5, 5]}, "'bbox' [-5, 1, 5, 5] is outside its image of 40x30"),
        ("annotations", 4, {"bbox": [1, -9, 5, 9]}, "'bbox' [1, -9, 5, 9] is outside its image of 40x30"),
        ("annotations", 4, {"bbox": [1, 300, 50, 9]}, "'bbox' [1, 300, 50, 9] is outside its image of 40x30"),
        ("annotations", 4, {"bbox": [1, 2, 3]}, "'bbox' must be [x, y, width, height] with an area, got [1, 2, 3]"),
        ("annotations", 4, {"bbox": [1, 2, 0, 5]}, "'bbox' must be"),
        ("annotations", 4, {"bbox": [1, 2, 5, -5]}, "'bbox' must be"),
        ("annotations", 4, {"bbox": [1, 2, 5, "5"]}, "'bbox' must be"),
        ("annotations", 4, {"bbox": [1000.0, 2, 1e-6, 5]}, "'bbox' must be"),  # no area left as float32
        ("annotations", 4, {"bbox": [1, 2, 1e30, 5]}, "'bbox' must be"),
        ("annotations", 4, {"bbox": None}, "'bbox' must be"),
    ],
)
def test_a_wrong_entry_is_named_with_its_line(
    tmp_path: Path, section: str, number: int, changes: Content, message: str
) -> None:
    content = sample()
    entry = content[section][number]
    entry |= changes
    for key in [key for key, value in entry.items() if value is None]:
        del entry[key]
    path = save(tmp_path, content)
    wanted = json.dumps(entry)
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if text.rstrip(",") == wanted)
    with pytest.raises(UsageError) as caught:
        CocoVideos(path)
    assert str(caught.value).startswith(f"{path}:{line}: {section}[{number}]: {message}")


# Writing


def test_written_content_is_read_again(tmp_path: Path) -> None:
    path = save(tmp_path, sample())
    assert json.loads(path.read_text()) == sample()
    assert len(path.read_text().splitlines()) == 2 + 4 * 2 + 1 + 2 + 2 + 6 + 7  # an entry a line
    empty: Content = {"categories": [], "videos": [], "images": [], "annotations": []}
    assert json.loads(save(tmp_path, empty).read_text()) == empty


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    content = sample()
    content["annotations"][3]["bbox"][0] = float("nan")
    with pytest.raises(ValueError):
        save(tmp_path, content)
    assert list(tmp_path.iterdir()) == []


def test_the_builder_numbers_entries_and_leaves_out_boxes_without_an_area() -> None:
    builder = CocoVidBuilder([{"id": 1, "name": "cat"}], {"name": "built"})
    videos = builder.add_video("v"), builder.add_video("w")
    for video, frame, track in ((0, 0, "a"), (0, 1, "b"), (0, 1, "a"), (1, 0, "a")):
        image = builder.add_image(videos[video], frame, f"{video}/{frame}.jpg", (30, 40))
        builder.add_box(videos[video], image, 1, track, (1, 2, 5, 10))
        builder.add_box(videos[video], image, 1, "flat", (1, 2, 1, 10))
    entries = [(box["image_id"], box["instance_id"]) for box in builder.content["annotations"]]
    assert entries == [(1, 1), (2, 2), (3, 1), (4, 3)] and builder.flat == 4
