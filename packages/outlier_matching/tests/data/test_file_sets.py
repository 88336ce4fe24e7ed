"""Data sets of images in files: folders per class, Office-31 and Pittsburgh, in the layouts they come in."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efficiency_core.errors import BrokenFile, UsageError
from outlier_matching.data.formats import open_images
from outlier_matching.data.pittsburgh import parse_view


def write(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number, 2 * number, 0)).save(root / name)
    return root


def test_a_folder_per_class(tmp_path: Path) -> None:
    write(tmp_path, *(f"{c}/{k}.png" for c in ("cat", "ant") for k in range(5)), "ant/deep/er.png")
    (tmp_path / "cat" / "notes.txt").write_text("")
    images = open_images(tmp_path, "folder", "all")
    assert images.info.class_names == ("ant", "cat") and images.info.domain_names == (tmp_path.name,)
    assert [images.name(i) for i in (0, 5, 6)] == ["ant/0.png", "ant/deep/er.png", "cat/0.png"]
    assert images.labels.tolist() == [0] * 6 + [1] * 5
    assert not images.domains.any() and not images.outliers.any()
    assert images.image(6).shape == (3, 6, 8)
    train, test = (open_images(tmp_path, "folder", split) for split in ("train", "test"))
    assert [test.name(i) for i in range(len(test))] == ["ant/4.png", "cat/4.png"]
    assert len(train) == 9 and train.info.content_digest != test.info.content_digest


def test_domains_and_splits_of_their_own(tmp_path: Path) -> None:
    write(
        tmp_path, "train/photo/cat/1.png", "train/photo/dog/1.png", "train/paint/cat/2.png", "test/photo/cat/3.png",
        "test/paint/sky/4.png",
    )  # fmt: skip
    train = open_images(tmp_path, "folder", "train", domains="photo,paint")
    assert train.info.domain_names == ("photo", "paint")
    assert [(train.name(i), train.labels[i], train.domains[i]) for i in range(3)] == [
        ("train/photo/cat/1.png", 0, 0), ("train/photo/dog/1.png", 1, 0), ("train/paint/cat/2.png", 0, 1),
    ]  # fmt: skip
    test = open_images(tmp_path, "folder", "test", domains="photo,paint", outliers="sky")
    assert test.outliers.tolist() == [False, True]
    assert len(open_images(tmp_path, "folder", "all", domains="photo,paint")) == 5
    with pytest.raises(UsageError, match="has no split 'val'; it has train, test"):
        open_images(tmp_path, "folder", "val", domains="photo,paint")


def test_a_broken_file_is_found_when_it_is_read(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "dog" / "1.png").write_bytes(b"x")
    images = open_images(tmp_path, "folder", "all")
    with pytest.raises(BrokenFile, match=r"^dog/1\.png: is no image"):
        images.image(1)


@pytest.mark.parametrize(("names", "options", "message"), [
    ((), {}, "has no folder of a class"),
    (("1.png",), {}, "has no folder of a class"),
    (("cat/1.png",), {"domains": "photo"}, "photo: no such folder; expected a folder of images per class"),
    (("cat/1.png",), {"outliers": "sky"}, "has no class 'sky' for outliers; it has cat"),
    (("cat/1.txt.png", "dog/x/"), {}, "dog: holds no image"),
])  # fmt: skip
def test_folders_that_cannot_be_used(
    tmp_path: Path, names: tuple[str, ...], options: dict[str, str], message: str
) -> None:
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir(parents=True)
        else:
            write(tmp_path, name)
    with pytest.raises(UsageError, match=message):
        open_images(tmp_path, "folder", "all", **options)


def test_splits_and_domains_that_do_not_exist(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png")
    with pytest.raises(UsageError, match="split must be one of train, test, all, got 'val'"):
        open_images(tmp_path, "folder", "val")
    with pytest.raises(UsageError, match="has no image here"):
        open_images(tmp_path, "folder", "test")
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        open_images(tmp_path / "nowhere", "folder", "all")
    write(tmp_path, "dslr/mug/1.jpg", "dslr/scissors/1.jpg", "dslr/speaker/1.jpg")
    with pytest.raises(UsageError, match=r"amazon: no such folder; expected Office-31 as .*/amazon/images/<class>"):
        open_images(tmp_path, "office31", "all")


def test_office31(tmp_path: Path) -> None:
    folders = product(("amazon", "dslr", "webcam"), ("back_pack", "mug", "scissors", "speaker"), range(5))
    write(tmp_path, *(f"{domain}/images/{name}/frame_{k:04d}.jpg" for domain, name, k in folders))
    images = open_images(tmp_path, "office31", "all")
    assert images.info.domain_names == ("dslr", "amazon", "webcam")
    assert images.info.class_names == ("back_pack", "mug", "scissors", "speaker")
    assert np.bincount(images.domains).tolist() == [20, 20, 20]
    for i in range(len(images)):
        domain, _, name, _ = images.name(i).split("/")
        assert images.info.domain_names[images.domains[i]] == domain
        assert images.info.class_names[images.labels[i]] == name
        assert images.outliers[i] == (name in ("scissors", "speaker"))
    train, test = (open_images(tmp_path, "office31", split) for split in ("train", "test"))
    assert len(train) == 48 and len(test) == 12
    assert not {train.name(i) for i in range(48)} & {test.name(i) for i in range(12)}
    assert not open_images(tmp_path, "office31", "all", outliers="").outliers.any()


@pytest.mark.parametrize(("stem", "view"), [
    ("000012_pitch1_yaw12", (12, 1, 12)), ("AtoB_000012_pitch2_yaw3", (12, 2, 3)),
    ("@584912.30@4477222.10@17@T@40.44@-79.99@000012@00@@@@@@pitch1_yaw7@", (12, 1, 7)), ("IMG_1234", None),
    ("000012_pitch1", None),
])  # fmt: skip
def test_names_of_views(stem: str, view: tuple[int, int, int] | None) -> None:
    assert parse_view(stem) == view


def test_pittsburgh_and_its_paintings(tmp_path: Path) -> None:
    views = [f"000/{p:06d}_pitch{h}_yaw{y}.jpg" for p in range(3) for h in (1, 2) for y in (1, 2, 3, 12)]
    street = write(tmp_path / "street", *views, "queries_real/000/000000_pitch1_yaw1.jpg", "other.jpg")
    painting = write(tmp_path / "painting", *(f"AtoB_{view.split('/')[1]}" for view in views))
    images = open_images(street, "pittsburgh", "all", target=str(painting))
    assert images.info.domain_names == ("street", "painting")
    assert np.bincount(images.domains).tolist() == [12, 24]
    seen = {images.name(i): (int(images.labels[i]), bool(images.outliers[i])) for i in range(len(images))}
    # Yaws 1, 2 and 12 (last digit 2) of a place match; yaw 3 is another class.
    assert seen["000/000001_pitch1_yaw1.jpg"] == seen["000/000001_pitch1_yaw12.jpg"] == (2, False)
    assert seen["000/000001_pitch1_yaw3.jpg"] == (3, False)
    assert seen["AtoB_000001_pitch1_yaw2.jpg"] == (2, False)
    assert seen["AtoB_000001_pitch2_yaw2.jpg"] == (-1, True)
    assert "000/000001_pitch2_yaw1.jpg" not in seen and "queries_real/000/000000_pitch1_yaw1.jpg" not in seen
    # The same places in the flat layout match the same paintings.
    for view in (v for v in street.rglob("*_pitch*.jpg") if "queries" not in str(v)):
        place, note = view.stem.split("_", 1)
        flat = tmp_path / "flat" / f"@584912.30@4477222.10@17@T@40.44@-79.99@{place}@00@@@@@@{note}@.jpg"
        flat.parent.mkdir(exist_ok=True)
        flat.write_bytes(view.read_bytes())
    copied = open_images(tmp_path / "flat", "pittsburgh", "all", target=str(painting))
    assert copied.labels.tolist() == images.labels.tolist() and len(copied) == len(images)
    upward = open_images(street, "pittsburgh", "all", upward="true")
    assert len(upward) == 24 and upward.info.domain_names == ("street",) and not upward.outliers.any()
    assert (upward.labels == -1).sum() == 12


def test_pittsburgh_splits_by_place(tmp_path: Path) -> None:
    root = write(tmp_path, *(f"{p:06d}_pitch1_yaw{y}.jpg" for p in range(20) for y in (1, 5)))
    train, test = (open_images(root, "pittsburgh", split) for split in ("train", "test"))
    assert [test.name(i)[:6] for i in range(len(test))] == ["000009", "000009", "000019", "000019"]
    assert len(train) == 36 and not set(train.labels) & set(test.labels)


def test_pittsburgh_that_is_none(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    with pytest.raises(UsageError, match="holds images but no view named like"):
        open_images(tmp_path, "pittsburgh", "all")
    with pytest.raises(UsageError, match="option upward must be true or false, got 'yes'"):
        open_images(tmp_path, "pittsburgh", "all", upward="yes")
    write(tmp_path, "000000_pitch1_yaw1.jpg")
    write(tmp_path, "000/000001_pitch1_yaw1.jpg", "001/000001_pitch1_yaw1.jpg")
    with pytest.raises(UsageError, match=r"001/000001_pitch1_yaw1\.jpg: shows the same view as .*000/000001_pitch1"):
        open_images(tmp_path, "pittsburgh", "all")
    (tmp_path / "001" / "000001_pitch1_yaw1.jpg").unlink()
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        open_images(tmp_path, "pittsburgh", "all", target=str(tmp_path / "nowhere"))
