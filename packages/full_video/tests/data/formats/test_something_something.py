"""Something-Something in its layouts."""

import json

import pytest

from efficiency_core.errors import BrokenFile, UsageError
from full_video.data import open_videos

V1 = {
    "something-something-v1-labels.csv": "Pulling something from right to left\nHolding something\n"
    "Pulling something from left to right\n",
    "something-something-v1-train.csv": "11;Holding something\n7;Pulling something from right to left\n",
    "something-something-v1-validation.csv": "5;Pulling something from left to right\n",
    "something-something-v1-test.csv": "9\n",
}


@pytest.mark.parametrize("folder", ["", "labels/"])
def test_something_v1(lay, folder, listed):
    root = lay(files={folder + name: text for name, text in V1.items()})
    lay(*(f"20bn-something-something-v1/{video}/{n:05d}.jpg" for video in (11, 7, 5) for n in range(1, 5)))
    train = open_videos(root, "something-v1", "train")
    assert train.info.class_names == (
        "Holding something", "Pulling something from left to right", "Pulling something from right to left",
    )  # fmt: skip
    assert listed(train) == [("11", 0), ("7", 2)]
    assert train.frames(1)[:].shape == (4, 3, 10, 12)
    assert listed(open_videos(root / "20bn-something-something-v1", "something-v1", "validation")) == [("5", 1)]
    (root / "20bn-something-something-v1/7/00002.jpg").unlink()
    with pytest.raises(BrokenFile, match=r"^7: 00002\.jpg is missing"):
        train.frames(1)[:]
    with pytest.raises(UsageError, match="test has no labels"):
        open_videos(root, "something-v1", "test")


@pytest.mark.parametrize(("text", "message"), [
    ("11;Holding something\n7;Throwing something\n", r"train\.csv:2: template 'Throwing something' is not in"),
    ("11\n", r"train\.csv:1: expected '<id>;<template>', got '11'"),
    ("../11;Holding something\n", r"train\.csv:1: expected '<id>;<template>'"),
])  # fmt: skip
def test_something_v1_wrong_lines(lay, text, message):
    with pytest.raises(UsageError, match=message):
        open_videos(lay(files=V1 | {"something-something-v1-train.csv": text}), "something-v1", "train")


LABELS = {"Approaching something": "0", "Moving something up": "2", "Holding something": "1"}
TRAIN = [
    {"id": "78687", "label": "holding potato", "template": "Holding [something]", "placeholders": ["potato"]},
    {"id": "42326", "label": "moving cup up", "template": "Moving [something] up", "placeholders": ["cup"]},
]


@pytest.mark.parametrize(
    ("folder", "prefix"), [("", "something-something-v2-"), ("labels/", ""), ("labels/", "something-something-v2-")]
)
def test_something_v2(lay, folder, prefix, listed):
    files = {"labels": LABELS, "train": TRAIN, "validation": TRAIN[:1], "test": [{"id": "3"}]}
    root = lay(
        *(f"20bn-something-something-v2/{video}.webm" for video in (78687, 42326, 3)),
        files={f"{folder}{prefix}{name}.json": content for name, content in files.items()},
    )
    train = open_videos(root, "something-v2", "train")
    assert train.info.class_names == ("Approaching something", "Holding something", "Moving something up")
    assert listed(train) == [("78687", 1), ("42326", 2)]
    assert len(train.frames(0)) == 3
    assert listed(open_videos(root / "20bn-something-something-v2", "something-v2", "validation")) == [("78687", 1)]
    with pytest.raises(UsageError, match=r"test-answers\.csv: no such file"):
        open_videos(root, "something-v2", "test")
    lay(files={f"{folder}test-answers.csv": "3;Moving something up\n"})
    assert listed(open_videos(root, "something-v2", "test")) == [("3", 2)]


@pytest.mark.parametrize(("file", "content", "message"), [
    ("train", json.dumps([TRAIN[0], {**TRAIN[1], "template": "Eating"}], indent=1),
     r"train\.json:10: entry 1 has the template 'Eating', which"),
    ("train", json.dumps([TRAIN[0], {"id": "4"}], indent=1), r"train\.json:10: entry 1 has no 'template'"),
    ("train", '[\n{"template": "Holding [something]"}]', r"train\.json:2: entry 0 has no 'id'"),
    ("train", '[\n{"id": "../5", "template": "Holding [something]"}]', r"train\.json:2: entry 0 has the id '\.\./5'"),
    ("train", "[\n7]", r"train\.json:2: entry 0 is 7"),
    ("train", "{}", r"train\.json:1: expected a list"),
    ("train", '[\n{"id": 5,,}]', r"train\.json:2: not JSON"),
    ("labels", '{"A": "0",\n"B": "0"}', r"labels\.json:2: index 0 is not one of 0 to 1, each used once"),
    ("labels", '{"A": "x"}', r"labels\.json:1: the index of a template must be a whole number"),
    ("labels", "[]", r"labels\.json:1: expected an object"),
])  # fmt: skip
def test_something_v2_wrong_entries(lay, file, content, message):
    files = {"labels/labels.json": LABELS, "labels/train.json": TRAIN, f"labels/{file}.json": content}
    with pytest.raises(UsageError, match=message):
        open_videos(lay("20bn-something-something-v2/78687.webm", files=files), "something-v2", "train")
