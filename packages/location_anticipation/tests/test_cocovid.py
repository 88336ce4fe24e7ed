"""CocoVID files: what is read, what is refused with its line, and what is written."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from location_anticipation.cocovid import CocoVideos
from location_anticipation.cocovid_writer import CocoVidBuilder, write_cocovid
from location_anticipation.errors import UsageError

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
    assert (videos.facts.name, videos.facts.source) == ("sample", "by hand")
    assert videos.facts.class_names == ("dog", "cat")  # by id
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
    with pytest.raises(UsageError, match=r"3\.png: no such image \(frame 3 of video 'a' in .*; --images names"):
        CocoVideos(moved).frame(0, 3)


def test_grey_and_palette_images_become_rgb(path: Path, tmp_path: Path) -> None:
    Image.new("L", (40, 30), 51).save(tmp_path / "1/0.png")
    Image.new("RGB", (40, 30), (255, 0, 51)).convert("P").save(tmp_path / "1/1.png")
    videos = CocoVideos(path)
    assert videos.frame(0, 0)[:, 0, 0].tolist() == pytest.approx([0.2, 0.2, 0.2])
    assert videos.frame(0, 1)[:, 0, 0].tolist() == pytest.approx([1, 0, 0.2])


def test_frames_that_cannot_be_read(path: Path, tmp_path: Path) -> None:
    videos = CocoVideos(path)
    with pytest.raises(UsageError, match=r"frame 2 of video 'a' in .*set\.json has no image: no entry of 'images'"):
        videos.frame(0, 2)
    whole = (tmp_path / "1/0.png").read_bytes()
    for content in (b"", b"no image", whole[: len(whole) // 2]):
        (tmp_path / "1/0.png").write_bytes(content)
        with pytest.raises(UsageError, match=r"0\.png: not a readable image \(frame 0 of video 'a'"):
            videos.frame(0, 0)
    Image.new("RGB", (30, 40)).save(tmp_path / "1/0.png")
    with pytest.raises(UsageError, match=r"0\.png: is 30x40, frame 0 of video 'a' in .* is said to be 40x30"):
        videos.frame(0, 0)


def test_the_digest_follows_the_annotations(tmp_path: Path) -> None:
    first = CocoVideos(save(tmp_path, sample())).facts.content_digest
    assert CocoVideos(save(tmp_path, sample())).facts.content_digest == first
    other = sample()
    other["annotations"][0]["bbox"][0] = 2
    assert CocoVideos(save(tmp_path, other)).facts.content_digest != first


def test_a_video_without_images_is_left_out(tmp_path: Path) -> None:
    content = sample()
    content["videos"].insert(0, {"id": 9, "name": "nothing"})
    videos = CocoVideos(save(tmp_path, content))
    assert [videos.name(v) for v in range(len(videos))] == ["a", "b"]
    content["images"], content["annotations"] = [], []
    with pytest.raises(UsageError, match=r"set\.json: no video has an image"):
        CocoVideos(save(tmp_path, content))


def test_what_a_file_need_not_have(tmp_path: Path) -> None:
    content = sample()
    del content["info"]
    facts = CocoVideos(save(tmp_path, content)).facts
    assert (facts.name, facts.source) == ("set", "CocoVID")


# Files that cannot be used


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"set\.json:1: not JSON \(Expecting value"),
        (b'{"videos": [],\n"images": [,]}', r"set\.json:2: not JSON \(Expecting value, column 12\)"),
        (b'{"videos": [\n', r"set\.json:2: not JSON"),
        (b"\xff\xfe", r"set\.json: not JSON \(byte 0 is no UTF-8 text\)"),
        (b"[" * 100_000, r"set\.json: .*nested too deeply"),
        (b"[]", r"expected a CocoVID object with lists categories, videos, images, annotations"),
        (b'{"categories": [], "images": []}', r"'videos' is missing; a CocoVID file has the lists"),
        (b'{"categories": {}}', r"'categories' is no list"),
        (
            b'{"categories": [], "videos": [], "images": [], "annotations": []}',
            r"'categories' is empty; at least one class",
        ),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "set.json").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        CocoVideos(tmp_path / "set.json")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json: no such file; expected a CocoVID JSON file"):
        CocoVideos(tmp_path / "none.json")
    with pytest.raises(UsageError, match="cannot be read"):
        CocoVideos(tmp_path)


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
    content = copy.deepcopy(sample())
    entry = content[section][number]
    for key, value in changes.items():
        if value is None:
            del entry[key]
        else:
            entry[key] = value
    path = save(tmp_path, content)
    wanted = json.dumps(entry)
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if text.rstrip(",") == wanted)
    with pytest.raises(UsageError) as caught:
        CocoVideos(path)
    assert str(caught.value).startswith(f"{path}:{line}: {section}[{number}]: {message}")
    # The same file on a single line, with other keys in between: the line is 1.
    path.write_text(json.dumps({"licences": [{"id": 1}], **content}))
    with pytest.raises(UsageError) as caught:
        CocoVideos(path)
    assert str(caught.value).startswith(f"{path}:1: {section}[{number}]: ")


def test_entries_that_are_no_objects(tmp_path: Path) -> None:
    content = sample() | {"videos": [5]}
    with pytest.raises(UsageError, match=r"set\.json:\d+: videos\[0\]: expected an object, got 5"):
        CocoVideos(save(tmp_path, content))


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


def test_the_builder_numbers_entries(tmp_path: Path) -> None:
    builder = CocoVidBuilder([{"id": 1, "name": "cat"}], {"name": "built"})
    video = builder.add_video("v")
    other = builder.add_video("w")
    images = [builder.add_image(v, f, f"{v}/{f}.jpg", (30, 40)) for v, f in ((video, 0), (video, 1), (other, 0))]
    builder.add_box(video, images[0], 1, "a", (1, 2, 5, 10))
    builder.add_box(video, images[1], 1, "b", (1, 2, 5, 10))
    builder.add_box(video, images[1], 1, "a", (2, 2, 6.5, 10), occluded=True)
    builder.add_box(other, images[2], 1, "a", (0, 0, 1, 1))
    assert [entry["instance_id"] for entry in builder.content["annotations"]] == [1, 2, 1, 3]
    assert builder.content["annotations"][2] == {
        "id": 3, "image_id": 2, "video_id": 1, "category_id": 1, "instance_id": 1, "bbox": [2, 2, 4.5, 8], "area": 36.0,
        "iscrowd": 0, "occluded": True,
    }  # fmt: skip
    videos = CocoVideos(save(tmp_path, builder.content))
    assert videos.tracks(0).boxes[:, 0].tolist() == [[1, 2, 5, 10], [2, 2, 6.5, 10]]
    assert videos.tracks(0).present.tolist() == [[True, False], [True, True]]
