"""Every data set in its exact layout: how many videos, which labels and names, and what is wrong with a wrong file."""

import json
import pickle
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from full_video.errors import BrokenVideo, UsageError
from full_video.kinetics import class_folder
from full_video.video_sets import FORMATS, open_frames, open_videos

FRAMES = 3


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """The content of a video of three frames, which any container's name serves: FFmpeg looks at the content."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 80 * number, dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture
def lay(tmp_path, clip):
    """A function that writes files below the test's folder: text, JSON, or a video where no content is given."""

    def write(*names: str, **contents: object) -> Path:
        files = dict.fromkeys(names) | contents.pop("files", {})
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.write_bytes(clip)
            else:
                path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return tmp_path

    return write


def images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (12, 10)).save(folder / name)


def listed(videos):
    return [(videos.name(i), videos.label(i)) for i in range(len(videos))]


# UCF101

UCF = {
    "ucfTrainTestlist/classInd.txt": "1 Biking\n2 Diving\n3 Fencing\n",
    "ucfTrainTestlist/trainlist01.txt": "Biking/v_Biking_g08_c01.avi 1\r\nFencing/v_Fencing_g09_c02.avi 3\r\n\n",
    "ucfTrainTestlist/testlist01.txt": "Diving/v_Diving_g01_c01.avi\nBiking/v_Biking_g01_c01.avi\n",
    "ucfTrainTestlist/trainlist03.txt": "Diving/v_Diving_g01_c01.avi 2\n",
}
UCF_VIDEOS = ["Biking/v_Biking_g08_c01.avi", "Biking/v_Biking_g01_c01.avi", "Diving/v_Diving_g01_c01.avi"]


@pytest.mark.parametrize("folder", ["", "UCF-101/"])
def test_ucf101(lay, folder):
    root = lay(*(folder + name for name in [*UCF_VIDEOS, "Fencing/v_Fencing_g09_c02.avi"]), files=UCF)
    train = open_videos(root, "ucf101", "train")
    assert listed(train) == [("Biking/v_Biking_g08_c01.avi", 0), ("Fencing/v_Fencing_g09_c02.avi", 2)]
    assert train.facts.class_names == ("Biking", "Diving", "Fencing")
    assert (train.facts.name, train.facts.source) == ("UCF101", "trainlist01.txt")
    assert listed(open_videos(root, "ucf101", "test")) == [
        ("Diving/v_Diving_g01_c01.avi", 1), ("Biking/v_Biking_g01_c01.avi", 0),
    ]  # fmt: skip
    assert listed(open_videos(root, "ucf101", "train", fold="3")) == [("Diving/v_Diving_g01_c01.avi", 1)]
    assert len(train.frames(0)) == FRAMES
    assert train.frames(0)[:].shape == (FRAMES, 3, 32, 48)


def test_ucf101_lists_beside_the_videos(lay):
    root = lay(*(f"UCF-101/{name}" for name in UCF_VIDEOS), files=UCF) / "UCF-101"
    assert len(open_videos(root, "ucf101", "test")) == 2


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "trainlist01",
            "Biking/a.avi 1\nBiking/b.avi 2\n",
            r"trainlist01\.txt:2: class number 2 .* Biking, which is 1",
        ),
        ("trainlist01", "Biking/a.avi 1\n\nBiking/b.avi\n", r"trainlist01\.txt:3: the class number is missing"),
        ("trainlist01", "Swimming/a.avi 1\n", r"trainlist01\.txt:1: class 'Swimming' is not in"),
        ("trainlist01", "Biking/a.avi one\n", r"trainlist01\.txt:1: the class number must be a whole number"),
        ("trainlist01", "a.avi 1\n", r"trainlist01\.txt:1: expected 'Class/video\.avi'"),
        ("trainlist01", "", r"trainlist01\.txt: is empty"),
        ("classInd", "1 Biking\n3 Diving\n", r"classInd\.txt:2: expected '2 NameOfTheClass', got '3 Diving'"),
    ],
)
def test_ucf101_wrong_lines(lay, file, text, message):
    root = lay(*UCF_VIDEOS, files=UCF | {f"ucfTrainTestlist/{file}.txt": text})
    with pytest.raises(UsageError, match=message):
        open_videos(root, "ucf101", "train")


def test_ucf101_without_lists(lay):
    with pytest.raises(UsageError, match=r"classInd\.txt in .*ucfTrainTestlist"):
        open_videos(lay(*UCF_VIDEOS), "ucf101", "train")
    with pytest.raises(UsageError, match=r"trainlist02\.txt: no such file"):
        open_videos(lay(files=UCF), "ucf101", "train", fold=2)


# HMDB51

HMDB = {
    "testTrainMulti_7030_splits/wave_test_split1.txt": "a.avi 1 \nb.avi 2 \nc.avi 0 \n",
    "testTrainMulti_7030_splits/brush_hair_test_split1.txt": "x y (1).avi 2 \nz.avi 1 \n",
    "testTrainMulti_7030_splits/brush_hair_test_split2.txt": "z.avi 2 \n",
}
HMDB_VIDEOS = ["wave/a.avi", "wave/b.avi", "wave/c.avi", "brush_hair/x y (1).avi", "brush_hair/z.avi"]


@pytest.mark.parametrize("folder", ["", "hmdb51_org/"])
def test_hmdb51(lay, folder):
    root = lay(*(folder + name for name in HMDB_VIDEOS), files=HMDB)
    assert listed(open_videos(root, "hmdb51", "train")) == [("brush_hair/z.avi", 0), ("wave/a.avi", 1)]
    test = open_videos(root, "hmdb51", "test")
    assert listed(test) == [("brush_hair/x y (1).avi", 0), ("wave/b.avi", 1)]
    assert test.facts.class_names == ("brush_hair", "wave")
    assert len(test.frames(0)) == FRAMES
    assert listed(open_videos(root, "hmdb51", "test", fold=2)) == [("brush_hair/z.avi", 0)]


def test_hmdb51_wrong_files(lay):
    with pytest.raises(UsageError, match=r"<class>_test_split3\.txt"):
        open_videos(lay(*HMDB_VIDEOS, files=HMDB), "hmdb51", "test", fold=3)
    root = lay(files={"testTrainMulti_7030_splits/wave_test_split1.txt": "a.avi 1\nb.avi 3\n"})
    with pytest.raises(
        UsageError, match=r"wave_test_split1\.txt:2: expected 'name\.avi' and 0, 1 or 2, got 'b\.avi 3'"
    ):
        open_videos(root, "hmdb51", "train")


# Something-Something V1

V1 = {
    "something-something-v1-labels.csv": "Pulling something from right to left\nHolding something\n"
    "Pulling something from left to right\n",
    "something-something-v1-train.csv": "11;Holding something\n7;Pulling something from right to left\n",
    "something-something-v1-validation.csv": "5;Pulling something from left to right\n",
    "something-something-v1-test.csv": "9\n",
}


@pytest.mark.parametrize("folder", ["", "labels/"])
def test_something_v1(lay, tmp_path, folder):
    root = lay(files={folder + name: text for name, text in V1.items()})
    for video in (11, 7, 5):
        images(root / f"20bn-something-something-v1/{video}", [f"{n:05d}.jpg" for n in range(1, 5)])
    train = open_videos(root, "something-v1", "train")
    assert train.facts.class_names == (
        "Holding something", "Pulling something from left to right", "Pulling something from right to left",
    )  # fmt: skip
    assert listed(train) == [("11", 0), ("7", 2)]
    assert train.frames(1)[:].shape == (4, 3, 10, 12)
    assert listed(open_videos(root / "20bn-something-something-v1", "something-v1", "validation")) == [("5", 1)]
    (root / "20bn-something-something-v1/7/00002.jpg").unlink()
    with pytest.raises(BrokenVideo, match=r"^7: 00002\.jpg is missing"):
        train.frames(1)[:]
    with pytest.raises(UsageError, match="test has no labels"):
        open_videos(root, "something-v1", "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("11;Holding something\n7;Throwing something\n", r"train\.csv:2: template 'Throwing something' is not in"),
        ("11\n", r"train\.csv:1: expected '<id>;<template>', got '11'"),
        ("../11;Holding something\n", r"train\.csv:1: expected '<id>;<template>'"),
    ],
)
def test_something_v1_wrong_lines(lay, text, message):
    with pytest.raises(UsageError, match=message):
        open_videos(lay(files=V1 | {"something-something-v1-train.csv": text}), "something-v1", "train")


# Something-Something V2

LABELS = {"Approaching something": "0", "Moving something up": "2", "Holding something": "1"}
TRAIN = [
    {"id": "78687", "label": "holding potato", "template": "Holding [something]", "placeholders": ["potato"]},
    {"id": "42326", "label": "moving cup up", "template": "Moving [something] up", "placeholders": ["cup"]},
]


@pytest.mark.parametrize(
    ("folder", "prefix"), [("", "something-something-v2-"), ("labels/", ""), ("labels/", "something-something-v2-")]
)
def test_something_v2(lay, folder, prefix):
    files = {"labels": LABELS, "train": TRAIN, "validation": TRAIN[:1], "test": [{"id": "3"}]}
    root = lay(
        *(f"20bn-something-something-v2/{video}.webm" for video in (78687, 42326, 3)),
        files={f"{folder}{prefix}{name}.json": content for name, content in files.items()},
    )
    train = open_videos(root, "something-v2", "train")
    assert train.facts.class_names == ("Approaching something", "Holding something", "Moving something up")
    assert listed(train) == [("78687", 1), ("42326", 2)]
    assert len(train.frames(0)) == FRAMES
    assert listed(open_videos(root / "20bn-something-something-v2", "something-v2", "validation")) == [("78687", 1)]
    with pytest.raises(UsageError, match=r"test-answers\.csv: no such file"):
        open_videos(root, "something-v2", "test")
    lay(files={f"{folder}test-answers.csv": "3;Moving something up\n"})
    assert listed(open_videos(root, "something-v2", "test")) == [("3", 2)]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
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
    ],
)  # fmt: skip
def test_something_v2_wrong_entries(lay, file, content, message):
    files = {"labels/labels.json": LABELS, "labels/train.json": TRAIN, f"labels/{file}.json": content}
    with pytest.raises(UsageError, match=message):
        open_videos(lay("20bn-something-something-v2/78687.webm", files=files), "something-v2", "train")


# Breakfast


def breakfast(lay, persons=(3, 16, 46, 47, 54)):
    names = []
    for person in persons:
        p = f"P{person:02d}"
        names += [f"{p}/cam01/{p}_cereals.avi", f"{p}/webcam02/{p}_tea.avi"]
        names += [f"{p}/stereo/{p}_milk_ch0.avi", f"{p}/stereo/{p}_milk_ch1.avi"]
    coarse = {name.replace(".avi", ".txt"): "1-30 SIL\n31-150 take_bowl\n" for name in names}
    return lay(*names, files=coarse)


def test_breakfast(lay):
    root = breakfast(lay)
    test = open_videos(root, "breakfast", "test")
    assert listed(test)[:3] == [
        ("P47/cam01/P47_cereals.avi", 0), ("P47/stereo/P47_milk_ch0.avi", 4), ("P47/webcam02/P47_tea.avi", 9),
    ]  # fmt: skip
    assert len(test) == 6 and len(open_videos(root, "breakfast", "train")) == 9
    assert len(test.facts.class_names) == 10 and test.facts.class_names[4] == "milk"
    assert len(test.frames(1)) == FRAMES
    fold = open_videos(root, "breakfast", "test", persons="s2")
    assert {fold.name(i)[:3] for i in range(len(fold))} == {"P16"}
    assert len(open_videos(root, "breakfast", "train", persons="s4")) == 6  # of P03 and P16; the others are test


def test_breakfast_wrong_names(lay):
    with pytest.raises(UsageError, match="expected folders P03 to P54"):
        open_videos(lay("video.avi"), "breakfast", "test")
    with pytest.raises(UsageError, match="persons of Breakfast must be one of thesis, s1"):
        open_videos(breakfast(lay), "breakfast", "test", persons="s5")
    for wrong in (
        "P48/cam01/P48_soup.avi",
        "P48/cam01/P47_tea.avi",
        "P48/stereo/P48_tea.avi",
        "P48/cam01/P48_tea_ch0.avi",
    ):
        root = lay(wrong)
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
def test_kinetics(lay, folder):
    root = lay(*KINETICS_VIDEOS, files={folder + name: text for name, text in KINETICS.items()})
    train = open_videos(root, "kinetics", "train")
    assert train.facts.class_names == ("massaging person's head (slow)", "playing clarinet", "zumba")
    assert listed(train) == [
        (name.removesuffix(".mp4"), label) for name, label in zip(KINETICS_VIDEOS, (1, 2, 0), strict=False)
    ]
    assert [len(train.frames(i)) for i in range(3)] == [FRAMES] * 3
    assert listed(open_videos(root, "kinetics", "val")) == [("val/zumba/aaaaaaaaaaa_001200_001210", 2)]


def test_class_folders():
    assert class_folder('cooking "on" (camp fire)') == "cooking_on_camp_fire"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,youtube_id,time_start,split\n", r"train\.csv:1: column 'time_end' is missing"),
        (HEADER + "zumba,abc,5,15,train\nzumba,abc,5\n", r"train\.csv:3: expected 5 columns, got 3"),
        (HEADER + "zumba,abc,five,15,train\n", r"train\.csv:2: a time in seconds must be a whole number"),
        (HEADER + "zumba,abc,15,5,train\n", r"train\.csv:2: expected a video id and a start before the end"),
        (HEADER + ",abc,5,15,train\n", r"train\.csv:2: clip abc_000005_000015 has no label"),
        (HEADER, r"train\.csv: names no video"),
        ("", r"train\.csv: is empty"),
    ],
)
def test_kinetics_wrong_rows(lay, text, message):
    with pytest.raises(UsageError, match=message):
        open_videos(lay(*KINETICS_VIDEOS, files={"train.csv": text}), "kinetics", "train")


# Plain lists


def test_lists_of_folders(lay):
    root = lay(files={"train_videofolder.txt": "a/one 4 2\na/two words 3 0\n", "classes.txt": "x\ny\nz\n"})
    images(root / "a/one", [f"img_{n:05d}.jpg" for n in range(1, 5)])
    images(root / "a/two words", [f"img_{n:05d}.jpg" for n in range(1, 3)])
    file = root / "train_videofolder.txt"
    videos = open_videos(file, "list", "train", template="img_{:05d}.jpg", classes=root / "classes.txt")
    assert listed(videos) == [("a/one", 2), ("a/two words", 0)]
    assert videos.facts.class_names == ("x", "y", "z")
    assert len(videos.frames(0)[:]) == 4
    with pytest.raises(BrokenVideo, match=r"two words: 3 frames are declared, img_00003\.jpg is missing"):
        len(videos.frames(1))


def test_lists_of_files(lay):
    root = lay("videos/clip 1.mp4", "videos/b.avi", files={"lists/val.txt": "clip 1.mp4 1\nb.avi 3 0\n"})
    videos = open_videos(root / "lists", "list", "val", root=root / "videos")
    assert listed(videos) == [("clip 1.mp4", 1), ("b.avi", 0)]
    assert videos.facts.class_names == ("0", "1")
    assert [len(videos.frames(i)) for i in range(2)] == [FRAMES, FRAMES]
    lay(files={"lists/val.txt": "b.avi 4 0\n"})
    with pytest.raises(BrokenVideo, match="4 frames are declared, the file holds 3"):
        len(open_videos(root / "lists", "list", "val", root=root / "videos").frames(0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b.avi 1\nb.avi\n", r"val\.txt:2: expected 'path frames label' or 'path label', got 'b\.avi'"),
        ("b.avi one\n", r"val\.txt:1: the label must be a whole number"),
        ("b.avi 0 1\n", r"val\.txt:1: 'b\.avi' has 0 frames"),
        ("b.avi 2\n", r"val\.txt:1: label 2, but .* names classes 0 to 1"),
    ],
)
def test_lists_with_wrong_lines(lay, text, message):
    root = lay("b.avi", files={"val.txt": text, "classes.txt": "x\ny\n"})
    with pytest.raises(UsageError, match=message):
        open_videos(root, "list", "val", classes=root / "classes.txt")
    with pytest.raises(UsageError, match="template must hold the frame's number"):
        open_videos(root, "list", "val", template="img.jpg")


# All of them


def test_unknown_formats_splits_and_options(lay):
    root = lay(*UCF_VIDEOS, files=UCF)
    with pytest.raises(UsageError, match=r"format must be one of ucf101, .*, got 'ucf'"):
        open_videos(root, "ucf", "train")
    with pytest.raises(UsageError, match="split of UCF101 must be one of train, test, got 'val'"):
        open_videos(root, "ucf101", "val")
    with pytest.raises(UsageError, match="format ucf101 has no option 'folds'; it has fold, lists"):
        open_videos(root, "ucf101", "train", folds=1)
    with pytest.raises(UsageError, match="option fold must be a whole number"):
        open_videos(root, "ucf101", "train", fold="one")
    with pytest.raises(UsageError, match="fold of UCF101 must be one of 1, 2, 3, got 4"):
        open_videos(root, "ucf101", "train", fold=4)
    assert set(FORMATS) == {
        "ucf101", "hmdb51", "something-v1", "something-v2", "breakfast", "kinetics", "list", "move4mnist",
    }  # fmt: skip


def test_missing_videos_are_broken_ones_unless_all_are_missing(lay, caplog):
    root = lay("Biking/v_Biking_g08_c01.avi", files=UCF)
    videos = open_videos(root, "ucf101", "train")
    assert videos.missing == 1
    assert "1 of 2 videos are missing" in caplog.text
    assert len(videos.frames(0)) == FRAMES
    with pytest.raises(BrokenVideo, match=r"^Fencing/v_Fencing_g09_c02\.avi: no such") as raised:
        len(videos.frames(1))
    assert raised.value.name == "Fencing/v_Fencing_g09_c02.avi"
    with pytest.raises(UsageError, match=r"testlist01\.txt: none of its 2 videos exists; the first should be .*Diving"):
        open_videos(root, "ucf101", "test")


def test_a_set_goes_to_worker_processes(lay):
    videos = open_videos(lay(*UCF_VIDEOS, files=UCF), "ucf101", "test")
    copy = pickle.loads(pickle.dumps(videos))
    assert copy.facts == videos.facts and listed(copy) == listed(videos)
    assert len(copy.frames(0)) == FRAMES


def test_the_digest_is_that_of_names_labels_and_classes(lay):
    root = lay(*UCF_VIDEOS, files=UCF)
    digest = open_videos(root, "ucf101", "test").facts.content_digest
    assert open_videos(root, "ucf101", "test").facts.content_digest == digest
    lay(files={"ucfTrainTestlist/testlist01.txt": "Biking/v_Biking_g01_c01.avi\nDiving/v_Diving_g01_c01.avi\n"})
    assert open_videos(root, "ucf101", "test").facts.content_digest != digest


def test_frames_by_path(lay, tmp_path):
    assert len(open_frames(lay("a.mp4") / "a.mp4")) == FRAMES
    images(tmp_path / "folder", ["1.jpg", "2.jpg"])
    assert len(open_frames(tmp_path / "folder")) == 2
    with pytest.raises(UsageError, match="no such file; expected a video or a folder of images"):
        open_frames(tmp_path / "b.mp4")
