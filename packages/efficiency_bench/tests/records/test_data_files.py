"""The files of a data set's folder: which they are, and what a record keeps of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

from efficiency_bench.experiments import Context
from efficiency_bench.records.data_files import data_facts, split_files
from efficiency_core.errors import UsageError


def generated(folder: Path, split: str, digest: str = "ab") -> Path:
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / f"{split}.h5", "w") as file:
        file.attrs.update({"name": "MovingDigits", "source": "mnist", "content_digest": digest})
    return folder / f"{split}.h5"


def converted(folder: Path, stem: str, **info: Any) -> Path:
    folder.mkdir(exist_ok=True)
    content: dict[str, Any] = {key: [] for key in ("videos", "images", "annotations")}
    path = folder / f"{stem}.json"
    path.write_text(json.dumps({"info": info, **content, "categories": [{"id": 1, "name": "dog"}]}))
    return path


def sha256(*parts: str) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def test_facts_of_a_generated_set(tmp_path: Path) -> None:
    folder = tmp_path / "moving_digits-mnist"
    train, test = generated(folder, "train", "aa"), generated(folder, "test", "bb")
    assert split_files(folder, "train") == [train] and split_files(folder, "test") == [test]
    assert data_facts("moving_digits", folder) == {
        "name": "MovingDigits", "source": "mnist", "digest": sha256("aa", "bb"), "folder": "moving_digits-mnist",
    }  # fmt: skip


def test_facts_of_a_converted_set_with_a_further_training_file(tmp_path: Path) -> None:
    folder = tmp_path / "imagenet_vid-ilsvrc2015"
    files = [converted(folder, stem, name="ILSVRC2015 VID", source=stem) for stem in ("train", "train_det", "test")]
    assert split_files(folder, "train") == files[:2] and split_files(folder, "test") == files[2:]
    facts = data_facts("moving_digits", folder)
    assert facts["name"] == "ILSVRC2015 VID" and facts["folder"] == "imagenet_vid-ilsvrc2015"
    assert facts["digest"] == sha256(*(sha256(file.read_text()) for file in files))
    converted(folder, "train_det", name="changed")
    assert data_facts("moving_digits", folder)["digest"] != facts["digest"], "every file counts"


def test_an_experiment_asks_its_context_for_files_and_images(tmp_path: Path) -> None:
    folder = tmp_path / "vid"
    train, det, _ = (converted(folder, stem) for stem in ("train", "train_det", "test"))
    images = {"digits/train_det": Path("DET"), "digits": Path("VID")}
    context = Context({"digits": folder}, torch.device("cpu"), 0, tmp_path / "run", images)
    assert context.files("digits", "train") == [train, det]
    assert [context.image_folder("digits", file) for file in (train, det)] == [Path("VID"), Path("DET")]
    assert Context({"digits": folder}, torch.device("cpu"), 0, tmp_path).image_folder("digits", train) is None


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    generated(folder, "train")
    with pytest.raises(UsageError, match=r"holds neither test\.h5 .* nor test\.json"):
        data_facts("digits", folder)
    (folder / "test.h5").write_bytes(b"no HDF5")
    with pytest.raises(UsageError, match=r"test\.h5: not a readable HDF5 file .*build it again"):
        data_facts("digits", folder)
    converted(folder, "train")
    with pytest.raises(UsageError, match=r"holds both train\.h5 and train\.json"):
        split_files(folder, "train")
    broken = tmp_path / "broken"
    for split in ("train", "test"):
        converted(broken, split).write_text("{")
    with pytest.raises(Exception, match=r"train\.json.*not JSON") as caught:
        data_facts("digits", broken)
    assert type(caught.value).__name__ == "UsageError"
