"""Data sets that are read in their own layout: the index that names their videos, and a run that reads them."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from efficiency_bench.experiments import Context
from efficiency_bench.experiments.recognition.action_recognition import open_split
from efficiency_bench.records.data_files import data_facts, split_files
from efficiency_bench.records.set_index import load_index, make_index, open_fold
from efficiency_core.errors import UsageError

CLASSES = ("Archery", "Biking")


@pytest.fixture
def ucf101(tmp_path: Path) -> Path:
    """UCF101 with two classes and two folds; its videos are empty files, which nothing here reads."""
    root = tmp_path / "real" / "UCF101"
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(CLASSES, 1)))
    for fold in (1, 2):
        for split, group in (("train", fold), ("test", 3 - fold)):
            lines = []
            for number, name in enumerate(CLASSES, 1):
                video = f"{name}/v_{name}_g{group:02d}_c01.avi"
                (root / video).parent.mkdir(exist_ok=True)
                (root / video).touch()
                lines.append(f"{video} {number}" if split == "train" else video)
            (lists / f"{split}list{fold:02d}.txt").write_text("\n".join(lines) + "\n")
    return root


FOLDS = ({"fold": 1}, {"fold": 2})


def index(root: Path, folder: Path) -> Path:
    """Both indexes of a data set's folder."""
    for split in ("train", "test"):
        assert make_index(root, "full_video", "ucf101", split, {}, FOLDS, folder / f"{split}.index.json") == 4
    return folder


def test_an_index_names_the_videos_of_every_fold(ucf101: Path, tmp_path: Path) -> None:
    folder = index(ucf101, tmp_path / "ucf101-ucf101")
    assert str(tmp_path) not in (folder / "train.index.json").read_text(), "no path of this machine"
    found = load_index(folder / "train.index.json")
    assert (found.format, found.split, found.name, found.class_names) == ("ucf101", "train", "UCF101", CLASSES)
    assert [(dict(fold.options), fold.size) for fold in found.folds] == [({"fold": 1}, 2), ({"fold": 2}, 2)]
    assert found.folds[0].digest != found.folds[1].digest
    second = open_fold(found, ucf101, 3)
    assert [second.name(i) for i in range(2)] == ["Archery/v_Archery_g02_c01.avi", "Biking/v_Biking_g02_c01.avi"]


def test_a_record_keeps_name_and_digest_of_an_indexed_set(ucf101: Path, tmp_path: Path) -> None:
    folder = index(ucf101, tmp_path / "ucf101-ucf101")
    assert split_files(folder, "train") == [folder / "train.index.json"]
    facts = data_facts("move4mnist", folder)
    assert (facts["name"], facts["source"], facts["folder"]) == ("UCF101", "ucf101", "ucf101-ucf101")
    moved = ucf101.parent / "elsewhere"
    ucf101.rename(moved)
    assert data_facts("move4mnist", index(moved, tmp_path / "again")) == {**facts, "folder": "again"}
    (folder / "train.json").touch()
    with pytest.raises(UsageError, match=r"holds both train\.json and train\.index\.json"):
        split_files(folder, "train")


def test_an_experiment_opens_the_fold_of_its_seed(ucf101: Path, tmp_path: Path) -> None:
    folder = index(ucf101, tmp_path / "ucf101-ucf101")
    for seed, group in ((0, 1), (1, 2), (2, 1)):
        images = {"move4mnist/train": ucf101}
        context = Context({"move4mnist": folder}, torch.device("cpu"), seed, tmp_path / "run", images)
        assert open_split(context, "train").name(0) == f"Archery/v_Archery_g{group:02d}_c01.avi"


def test_a_set_of_images_is_read_by_the_package_for_images(tmp_path: Path) -> None:
    for number, name in enumerate(("dslr/images/pen", "amazon/images/pen", "webcam/images/mug", "amazon/images/mug")):
        for frame in range(1, 11):
            path = tmp_path / "office31" / name / f"frame_{frame:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (20 * number, 10 * frame, 0)).save(path)
    root, out = tmp_path / "office31", tmp_path / "office31-office31" / "test.index.json"
    assert make_index(root, "outlier_matching", "office31", "test", {"outliers": "mug"}, (), out) == 8
    found = load_index(out)
    assert (found.package, found.name, found.class_names) == ("outlier_matching", "Office-31", ("mug", "pen"))
    images = open_fold(found, root, 2)
    assert images.outliers.sum() == 4 and images.info.domain_names == ("dslr", "amazon", "webcam")
    (root / "amazon" / "images" / "pen" / "frame_0010.jpg").unlink()
    with pytest.raises(UsageError, match=r"holds other images \(7\) than .*test\.index\.json lists \(8\)"):
        open_fold(found, root, 0)
    folders = tmp_path / "folders" / "test.index.json"
    assert make_index(root / "amazon", "weight_align", "image-folder", "images", {}, (), folders) == 19
    assert open_fold(load_index(folders), root / "amazon", 1).info.class_names == ("mug", "pen")


def test_images_are_decoded_once_and_again_where_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = tmp_path / "cats", tmp_path / "cats-jpeg" / "train.index.json"
    for number in range(4):
        path = root / "train" / f"class{number % 2}" / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(path)
    make_index(root, "weight_align", "image-folder", "train", {}, (), out)
    assert sorted(path.name for path in out.parent.iterdir()) == ["train.0.pixels", "train.index.json"]
    with monkeypatch.context() as patch:
        patch.setattr("weight_align.data.image_folder.read_all", lambda *_: pytest.fail("they are decoded already"))
        assert len(open_fold(load_index(out), root, 3)) == 4
    size = path.stat().st_size
    Image.new("RGB", (8, 8), (1, 2, 3)).save(path)
    assert path.stat().st_size == size
    with pytest.raises(UsageError, match=r"holds other images \(4\) than .*train\.index\.json lists \(4\)"):
        open_fold(load_index(out), root, 0)


def test_a_changed_data_set_is_not_read(ucf101: Path, tmp_path: Path) -> None:
    folder = index(ucf101, tmp_path / "ucf101-ucf101")
    lists = ucf101 / "ucfTrainTestlist" / "trainlist01.txt"
    lists.write_text(lists.read_text().splitlines()[0] + "\n")
    with pytest.raises(UsageError, match=r"holds other videos \(1\) than .*train\.index\.json lists \(2\)"):
        open_fold(load_index(folder / "train.index.json"), ucf101, 0)


def test_mistakes_end_in_one_line(ucf101: Path, tmp_path: Path) -> None:
    good = tmp_path / "a.index.json"
    for root, kind, options, out, expected in (
        (ucf101, "ucf101", {}, tmp_path / "a.json", r"ends in \.index\.json, got a\.json"),
        (ucf101, "ucf102", {}, good, "'ucf102'"),
        (ucf101, "ucf101", {"persons": "s1"}, good, "'persons'"),
        (tmp_path, "ucf101", {}, good, r"classInd\.txt"),
    ):
        with pytest.raises(UsageError, match=expected):
            make_index(root, "full_video", kind, "train", options, (), out)
    path = index(ucf101, tmp_path / "ucf101-ucf101") / "test.index.json"
    content = json.loads(path.read_text())
    content["folds"][0]["size"] = 0
    path.write_text(json.dumps(content))
    expected = r"folds\[0\]\.size: expected the number of videos or images, at least 1, got 0"
    with pytest.raises(UsageError, match=expected):
        load_index(path)
