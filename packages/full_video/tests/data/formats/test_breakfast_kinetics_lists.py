"""Breakfast, Kinetics and plain lists in their layouts."""

import logging
from pathlib import Path

import pytest

from efficiency_core.errors import BrokenFile, UsageError
from full_video.data import open_videos
from full_video.data.formats.kinetics import class_folder
from full_video.data.formats.video_lists import list_paths

# Breakfast


def breakfast(lay, persons=(3, 16, 46, 47, 54)):
    names = []
    for person in persons:
        p = f"P{person:02d}"
        names += [f"{p}/cam01/{p}_cereals.avi", f"{p}/webcam02/{p}_tea.avi"]
        names += [f"{p}/stereo/{p}_milk_ch0.avi", f"{p}/stereo/{p}_milk_ch1.avi"]
    coarse = {name.replace(".avi", ".txt"): "1-30 SIL\n31-150 take_bowl\n" for name in names}
    return lay(*names, files=coarse)


def test_breakfast(lay, listed):
    root = breakfast(lay)
    test = open_videos(root, "breakfast", "test")
    assert listed(test)[:3] == [
        ("P47/cam01/P47_cereals.avi", 0), ("P47/stereo/P47_milk_ch0.avi", 4), ("P47/webcam02/P47_tea.avi", 9),
    ]  # fmt: skip
    assert len(test) == 6 and len(open_videos(root, "breakfast", "train")) == 9
    assert len(test.info.class_names) == 10 and test.info.class_names[4] == "milk"
    assert len(test.frames(1)) == 3
    fold = open_videos(root, "breakfast", "test", persons="s2")
    assert {fold.name(i)[:3] for i in range(len(fold))} == {"P16"}
    assert len(open_videos(root, "breakfast", "train", persons="s4")) == 6  # of P03 and P16; the others are test


def test_breakfast_wrong_names(lay):
    with pytest.raises(UsageError, match="expected folders P03 to P54"):
        open_videos(lay("video.avi"), "breakfast", "test")
    with pytest.raises(UsageError, match="persons of Breakfast must be one of thesis, s1"):
        open_videos(breakfast(lay), "breakfast", "test", persons="s5")
    for wrong in ("cam01/P48_soup.avi", "cam01/P47_tea.avi", "stereo/P48_tea.avi", "cam01/P48_tea_ch0.avi"):
        root = lay(wrong := f"P48/{wrong}")
        with pytest.raises(UsageError, match=rf"{Path(wrong).name}: expected P48_<activity>"):
            open_videos(root, "breakfast", "test")
        (root / wrong).unlink()


# Kinetics

HEADER = "label,youtube_id,time_start,time_end,split\n"
KINETICS = {
    "train.csv": HEADER + "playing clarinet,--0edUL8zmA,92,102,train\nzumba,abc_def-123,5,15,train\n"
    '"massaging person\'s head (slow)",ggggggggggg,0,10,train\n',
    "val.csv": HEADER + "zumba,aaaaaaaaaaa,1200,1210,val\n",
}
KINETICS_VIDEOS = [
    "train/playing_clarinet/--0edUL8zmA_000092_000102.mp4",
    "train/zumba/abc_def-123_000005_000015.mp4",
    "train/massaging_persons_head_slow/ggggggggggg_000000_000010.mp4",
    "val/zumba/aaaaaaaaaaa_001200_001210.mp4",
]


@pytest.mark.parametrize("folder", ["", "annotations/"])
def test_kinetics(lay, folder, listed):
    root = lay(*KINETICS_VIDEOS, files={folder + name: text for name, text in KINETICS.items()})
    train = open_videos(root, "kinetics", "train")
    assert train.info.class_names == ("massaging person's head (slow)", "playing clarinet", "zumba")
    assert listed(train) == [
        (name.removesuffix(".mp4"), label) for name, label in zip(KINETICS_VIDEOS, (1, 2, 0), strict=False)
    ]
    assert [len(train.frames(i)) for i in range(3)] == [3] * 3
    assert listed(open_videos(root, "kinetics", "val")) == [("val/zumba/aaaaaaaaaaa_001200_001210", 2)]


@pytest.mark.parametrize("place", [
    "train/",
    "",
    "train/{label}/",
    "{label}/",
    "train/{spaces}/",
    "{usual}/",
])  # fmt: skip
def test_kinetics_in_other_folders(lay, place, listed):
    clips = {
        "playing clarinet": "--0edUL8zmA_000092_000102",
        "massaging person's head (slow)": "ggggggggggg_000000_000010",
    }
    names = {}
    for label, clip in clips.items():
        usual = class_folder(label)
        names[label] = place.format(label=label, usual=usual, spaces=usual.replace("_", " ")) + clip
    root = lay(
        *(f"{name}.mp4" for name in names.values()), files={f"annotations/{k}": text for k, text in KINETICS.items()}
    )
    train = open_videos(root, "kinetics", "train")
    kept = ("train/zumba/abc_def-123_000005_000015", 2)  # the usual place of what is missing
    assert listed(train) == [(names["playing clarinet"], 1), kept, (names["massaging person's head (slow)"], 0)]
    assert train.missing == 1 and len(train.frames(0)) == len(train.frames(2)) == 3


def test_class_folders():
    assert class_folder('cooking "on" (camp fire)') == "cooking_on_camp_fire"


@pytest.mark.parametrize(("text", "message"), [
    ("label,youtube_id,time_start,split\n", r"train\.csv:1: column 'time_end' is missing"),
    (HEADER + "zumba,abc,5,15,train\nzumba,abc,5\n", r"train\.csv:3: expected 5 columns, got 3"),
    (HEADER + "zumba,abc,five,15,train\n", r"train\.csv:2: a time in seconds must be a whole number"),
    (HEADER + "zumba,abc,15,5,train\n", r"train\.csv:2: expected a video id and a start before the end"),
    (HEADER + ",abc,5,15,train\n", r"train\.csv:2: clip abc_000005_000015 has no label"),
    (HEADER, r"train\.csv: names no video"),
    ("", r"train\.csv: is empty"),
])  # fmt: skip
def test_kinetics_wrong_rows(lay, text, message):
    with pytest.raises(UsageError, match=message):
        open_videos(lay(*KINETICS_VIDEOS, files={"train.csv": text}), "kinetics", "train")


# Plain lists


def test_lists_of_folders(lay, listed):
    root = lay(files={"train_videofolder.txt": "a/one 4 2\na/two words 3 0\n", "classes.txt": "x\ny\nz\n"})
    lay(*(f"a/one/img_{n:05d}.jpg" for n in range(1, 5)), *(f"a/two words/img_{n:05d}.jpg" for n in range(1, 3)))
    file = root / "train_videofolder.txt"
    videos = open_videos(file, "list", "train", template="img_{:05d}.jpg", classes=root / "classes.txt")
    assert listed(videos) == [("a/one", 2), ("a/two words", 0)]
    assert videos.info.class_names == ("x", "y", "z")
    assert len(videos.frames(0)[:]) == 4
    with pytest.raises(BrokenFile, match=r"two words: 3 frames are declared, img_00003\.jpg is missing"):
        len(videos.frames(1))


def test_lists_of_files(lay, listed):
    root = lay("videos/clip 1.mp4", "videos/b.avi", files={"lists/val.txt": "clip 1.mp4 1\nb.avi 3 0\n"})
    videos = open_videos(root / "lists", "list", "val", root=root / "videos")
    assert listed(videos) == [("clip 1.mp4", 1), ("b.avi", 0)]
    assert videos.info.class_names == ("0", "1")
    assert [len(videos.frames(i)) for i in range(2)] == [3, 3]
    lay(files={"lists/val.txt": "b.avi 4 0\n"})
    with pytest.raises(BrokenFile, match="4 frames are declared, the file holds 3"):
        len(open_videos(root / "lists", "list", "val", root=root / "videos").frames(0))


@pytest.mark.parametrize(("text", "message"), [
    ("b.avi 1\nb.avi\n", r"val\.txt:2: expected 'path frames label' or 'path label', got 'b\.avi'"),
    ("b.avi one\n", r"val\.txt:1: the label must be a whole number"),
    ("b.avi 0 1\n", r"val\.txt:1: 'b\.avi' has 0 frames"),
    ("b.avi 2\n", r"val\.txt:1: label 2, but .* names classes 0 to 1"),
])  # fmt: skip
def test_lists_with_wrong_lines(lay, text, message):
    root = lay("b.avi", files={"val.txt": text, "classes.txt": "x\ny\n"})
    with pytest.raises(UsageError, match=message):
        open_videos(root, "list", "val", classes=root / "classes.txt")
    with pytest.raises(UsageError, match="template must hold the frame's number"):
        open_videos(root, "list", "val", template="img.jpg")


@pytest.mark.parametrize(("labels", "options", "expected", "names", "said"), [
    ((1, 2, 3), {}, [0, 1, 2], ("1", "2", "3"), ""),
    ((0, 2, 1), {}, [0, 2, 1], ("0", "1", "2"), ""),
    ((2, 1, 4), {}, [1, 0, 3], ("1", "2", "3", "4"), "no video has the label 3"),
    ((0, 4, 9), {}, [0, 4, 9], tuple("0123456789"), "no video has the label 1, 2, 3, 5, 6, ..."),
    ((1, 3, 2), {"first": "1"}, [0, 2, 1], ("x", "y", "z"), ""),
    ((0, 2, 1), {"first": 0}, [0, 2, 1], ("x", "y", "z"), ""),
    ((1, 2, 1), {"first": 0}, [1, 2, 1], ("x", "y", "z"), "the label 0; if labels count from 1, give first=1"),
])  # fmt: skip
def test_labels_count_from_0_or_1(lay, listed, caplog, labels, options, expected, names, said):
    root = lay("a.avi", "b.avi", "c.avi", files={"classes.txt": "x\ny\nz\n"})
    lines = "".join(f"{video}.avi {label}\n" for video, label in zip("abc", labels, strict=True))
    if options:
        options["classes"] = root / "classes.txt"
    with caplog.at_level(logging.WARNING):
        videos = open_videos(lay(files={"val.txt": lines}), "list", "val", **options)
    assert [label for _, label in listed(videos)] == expected and videos.info.class_names == names
    assert said in caplog.text and bool(said) == bool(caplog.messages)


@pytest.mark.parametrize(("labels", "first", "message"), [
    ((1, 2), 0, r"val\.txt:2: label 2, but .*classes\.txt names classes 0 to 1; if labels count from 1, give first=1"),
    ((1, 3), 1, r"val\.txt:2: label 3, but .*classes\.txt names classes 1 to 2$"),
    ((1, 0), 1, r"val\.txt:2: label 0, but labels count from 1"),
    ((1, 1), 2, r"first \(the label of the first class\) must be one of 0, 1, got 2"),
])  # fmt: skip
def test_labels_that_no_class_has(lay, labels, first, message):
    root = lay("a.avi", files={"classes.txt": "x\ny\n", "val.txt": "".join(f"a.avi {label}\n" for label in labels)})
    with pytest.raises(UsageError, match=message):
        open_videos(root, "list", "val", classes=root / "classes.txt", first=first)


def test_folders_whose_frames_are_not_known_are_refused_when_the_list_is_opened(lay):
    root = lay(files={"val.txt": "one 0\ntwo 1\n"})
    lay(*(f"{video}/{kind}_{n}.jpg" for video in ("one", "two") for kind in ("img", "mask") for n in range(3)))
    with pytest.raises(UsageError, match=r"val\.txt: .*one: several series of images \(img_\*\.jpg, mask_\*\.jpg\)"):
        open_videos(root, "list", "val")
    with pytest.raises(UsageError, match=r"val\.txt: .*one: no image has a name of the template \{:05d\}\.jpg"):
        open_videos(root, "list", "val", template="{:05d}.jpg")
    assert len(open_videos(root, "list", "val", template="img_{}.jpg").frames(0)) == 3


def test_a_list_for_prediction_needs_no_labels(lay):
    lines = "a b.mp4\nclip 1\nc.mp4 3\nd 40 2\ngone 1.mp4\n"
    root = lay("a b.mp4", "clip 1/1.jpg", "c.mp4", "d/1.jpg", files={"videos.txt": lines})
    found = ["a b.mp4", "clip 1", "c.mp4", "d", "gone 1.mp4"]
    assert list_paths(root / "videos.txt") == [root / name for name in found]
    assert list_paths(root / "videos.txt", root / "other")[2] == root / "other" / "c.mp4"
