"""UCF101 and HMDB51 in their layouts; what all sets of files share, shown on UCF101."""

import pickle

import pytest

from efficiency_core.errors import BrokenFile, UsageError
from full_video.data import open_frames, open_videos

# UCF101

UCF = {
    "ucfTrainTestlist/classInd.txt": "1 Biking\n2 Diving\n3 Fencing\n",
    "ucfTrainTestlist/trainlist01.txt": "Biking/v_Biking_g08_c01.avi 1\r\nFencing/v_Fencing_g09_c02.avi 3\r\n\n",
    "ucfTrainTestlist/testlist01.txt": "Diving/v_Diving_g01_c01.avi\nBiking/v_Biking_g01_c01.avi\n",
    "ucfTrainTestlist/trainlist03.txt": "Diving/v_Diving_g01_c01.avi 2\n",
}
UCF_VIDEOS = ["Biking/v_Biking_g08_c01.avi", "Biking/v_Biking_g01_c01.avi", "Diving/v_Diving_g01_c01.avi"]


@pytest.mark.parametrize("folder", ["", "UCF-101/"])
def test_ucf101(lay, folder, listed):
    root = lay(*(folder + name for name in [*UCF_VIDEOS, "Fencing/v_Fencing_g09_c02.avi"]), files=UCF)
    train = open_videos(root, "ucf101", "train")
    assert listed(train) == [("Biking/v_Biking_g08_c01.avi", 0), ("Fencing/v_Fencing_g09_c02.avi", 2)]
    assert train.info.class_names == ("Biking", "Diving", "Fencing")
    assert (train.info.name, train.info.source) == ("UCF101", "trainlist01.txt")
    assert listed(open_videos(root, "ucf101", "test")) == [
        ("Diving/v_Diving_g01_c01.avi", 1), ("Biking/v_Biking_g01_c01.avi", 0),
    ]  # fmt: skip
    assert listed(open_videos(root, "ucf101", "train", fold="3")) == [("Diving/v_Diving_g01_c01.avi", 1)]
    assert len(train.frames(0)) == 3
    assert train.frames(0)[:].shape == (3, 3, 32, 48)
    assert not folder or len(open_videos(root / folder, "ucf101", "test")) == 2  # lists beside the videos


@pytest.mark.parametrize(("file", "text", "message"), [
    ("trainlist01", "Biking/a.avi 1\nBiking/b.avi 2\n", r"trainlist01\.txt:2: class number 2 .* which is 1"),
    ("trainlist01", "Biking/a.avi 1\n\nBiking/b.avi\n", r"trainlist01\.txt:3: the class number is missing"),
    ("trainlist01", "Swimming/a.avi 1\n", r"trainlist01\.txt:1: class 'Swimming' is not in"),
    ("trainlist01", "Biking/a.avi one\n", r"trainlist01\.txt:1: the class number must be a whole number"),
    ("trainlist01", "a.avi 1\n", r"trainlist01\.txt:1: expected 'Class/video\.avi'"),
    ("trainlist01", "", r"trainlist01\.txt: is empty"),
    ("classInd", "1 Biking\n3 Diving\n", r"classInd\.txt:2: expected '2 NameOfTheClass', got '3 Diving'"),
])  # fmt: skip
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
def test_hmdb51(lay, folder, listed):
    root = lay(*(folder + name for name in HMDB_VIDEOS), files=HMDB)
    assert listed(open_videos(root, "hmdb51", "train")) == [("brush_hair/z.avi", 0), ("wave/a.avi", 1)]
    test = open_videos(root, "hmdb51", "test")
    assert listed(test) == [("brush_hair/x y (1).avi", 0), ("wave/b.avi", 1)]
    assert test.info.class_names == ("brush_hair", "wave")
    assert len(test.frames(0)) == 3
    assert listed(open_videos(root, "hmdb51", "test", fold=2)) == [("brush_hair/z.avi", 0)]


def test_hmdb51_wrong_files(lay):
    with pytest.raises(UsageError, match=r"<class>_test_split3\.txt"):
        open_videos(lay(*HMDB_VIDEOS, files=HMDB), "hmdb51", "test", fold=3)
    root = lay(files={"testTrainMulti_7030_splits/wave_test_split1.txt": "a.avi 1\nb.avi 3\n"})
    with pytest.raises(UsageError, match=r"split1\.txt:2: expected 'name\.avi' and 0, 1 or 2, got 'b\.avi 3'"):
        open_videos(root, "hmdb51", "train")


# All of them


def test_unknown_formats_splits_and_options(lay):
    root = lay(*UCF_VIDEOS, files=UCF)
    for format, split, options, message in (
        ("ucf", "train", {}, r"format must be one of ucf101, .*, got 'ucf'"),
        ("ucf101", "val", {}, "split of UCF101 must be one of train, test, got 'val'"),
        ("ucf101", "train", {"folds": 1}, "format ucf101 has no option 'folds'; it has fold, lists"),
        ("ucf101", "train", {"fold": "one"}, "option fold must be a whole number"),
        ("ucf101", "train", {"fold": 4}, "fold of UCF101 must be one of 1, 2, 3, got 4"),
    ):
        with pytest.raises(UsageError, match=message):
            open_videos(root, format, split, **options)


def test_missing_videos_are_broken_ones_unless_all_are_missing(lay, caplog):
    root = lay("Biking/v_Biking_g08_c01.avi", files=UCF)
    videos = open_videos(root, "ucf101", "train")
    assert videos.missing == 1
    assert "1 of 2 videos are missing" in caplog.text
    assert len(videos.frames(0)) == 3
    with pytest.raises(BrokenFile, match=r"^Fencing/v_Fencing_g09_c02\.avi: no such") as raised:
        len(videos.frames(1))
    assert raised.value.name == "Fencing/v_Fencing_g09_c02.avi"
    with pytest.raises(UsageError, match=r"testlist01\.txt: none of its 2 videos exists; the first should be .*Diving"):
        open_videos(root, "ucf101", "test")


def test_the_digest_is_that_of_names_labels_and_classes_also_of_a_copy_for_a_worker(lay, listed):
    root = lay(*UCF_VIDEOS, files=UCF)
    videos = open_videos(root, "ucf101", "test")
    copy, digest = pickle.loads(pickle.dumps(videos)), videos.info.content_digest
    assert copy.info == open_videos(root, "ucf101", "test").info and listed(copy) == listed(videos)
    assert len(copy.frames(0)) == 3
    lay(files={"ucfTrainTestlist/testlist01.txt": "Biking/v_Biking_g01_c01.avi\nDiving/v_Diving_g01_c01.avi\n"})
    assert open_videos(root, "ucf101", "test").info.content_digest != digest


def test_frames_by_path(lay, tmp_path):
    assert len(open_frames(lay("a.mp4", "folder/1.jpg", "folder/2.jpg") / "a.mp4")) == 3
    assert len(open_frames(tmp_path / "folder")) == 2
    with pytest.raises(UsageError, match="no such file; expected a video or a folder of images"):
        open_frames(tmp_path / "b.mp4")
