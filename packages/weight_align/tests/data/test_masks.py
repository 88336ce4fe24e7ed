"""Pictures with a class for every pixel: VOC's layout and mask-set files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from efficiency_core.errors import BrokenFile, UsageError
from weight_align.data import MaskTensor, open_dataset
from weight_align.data.voc import read_mask


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for number in range(3):
        mask = np.full((20, 30 + number), number, dtype=np.uint8)
        mask[:2] = 255
        palette = Image.fromarray(mask, mode="P")
        palette.putpalette([value % 256 for value in range(768)])
        palette.save(root / "SegmentationClass" / f"2007_{number}.png")
        Image.fromarray(mask + 1 - (mask == 255)).save(root / "SegmentationClassAug" / f"2007_{number}.png")
        Image.new("RGB", (30 + number, 20), (0, 50 * number, 0)).save(root / "JPEGImages" / f"2007_{number}.jpg")
    lists = root / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("2007_0\n2007_2\n")
    (lists / "trainaug.txt").write_text("/JPEGImages/2007_1.jpg /SegmentationClassAug/2007_1.png\n2007_2\n")
    return tmp_path


def test_voc(voc: Path) -> None:
    val = open_dataset(voc, "voc2012", "val")
    assert len(val) == 2 and len(val.info.class_names) == 21 and val.info.class_names[15] == "person"
    image, mask = val.pair(1)
    assert image.shape == (3, 20, 32) and mask.dtype == torch.uint8
    assert (mask[:2] == 255).all() and (mask[2:] == 2).all()
    for split in ("train_aug", "trainaug"):
        aug = open_dataset(voc / "VOCdevkit" / "VOC2012", "voc2012", split)
        assert [int(aug.pair(k)[1][5, 5]) for k in range(2)] == [2, 3]
        assert aug.info.content_digest != val.info.content_digest
    other = open_dataset(voc, "voc2012", "val", masks="SegmentationClassAug")
    assert int(other.pair(0)[1][5, 5]) == 1


def test_voc_that_makes_no_sense(voc: Path) -> None:
    root = voc / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    with pytest.raises(UsageError, match=r"test\.txt: no such list; there is trainaug, val"):
        open_dataset(voc, "voc2012", "test")
    with pytest.raises(UsageError, match="expected VOC2012 with its JPEGImages"):
        open_dataset(lists, "voc2012", "val")
    (lists / "odd.txt").write_text("2007_0\n\na b c\n")
    with pytest.raises(UsageError, match=r"odd\.txt, line 3: expected a name or two paths, got 'a b c'"):
        open_dataset(voc, "voc2012", "odd")
    (lists / "gone.txt").write_text("2007_9\n")
    with pytest.raises(UsageError, match=r"2007_9\.jpg: no such file, but a list names it"):
        open_dataset(voc, "voc2012", "gone")
    (lists / "none.txt").write_text("\n")
    with pytest.raises(UsageError, match=r"none\.txt: .*"):
        open_dataset(voc, "voc2012", "none")
    val = open_dataset(voc, "voc2012", "val")
    Image.fromarray(np.zeros((20, 31), dtype=np.uint8)).save(root / "SegmentationClass" / "2007_0.png")
    with pytest.raises(BrokenFile, match=r"2007_0\.jpg: is \(20, 30\) pixels, its mask \(20, 31\)"):
        val.pair(0)
    Image.fromarray(np.full((20, 30), 21, dtype=np.uint8)).save(root / "SegmentationClass" / "2007_0.png")
    with pytest.raises(BrokenFile, match="its mask has class 21, expected 0 to 20 or 255"):
        val.pair(0)
    Image.new("RGB", (4, 4)).save(root / "colour.png")
    with pytest.raises(BrokenFile, match="mine: expected class numbers"):
        read_mask(root / "colour.png", "mine")


def test_mask_sets(write_hdf5: Callable[..., Path], draw: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    pixels, labels = draw(4)
    masks = np.repeat(np.repeat(labels.astype(np.uint8)[:, None, None], 16, 1), 16, 2)
    masks[:, 0] = 255
    path = write_hdf5("scenes/test.h5", {"image": pixels, "mask": masks}, format="mask-set", split="test")
    scenes = open_dataset(path.parent, "mask-set", "test")
    assert isinstance(scenes, MaskTensor) and len(scenes) == 4 and scenes.info.class_names == ("bar", "disc", "cross")
    image, mask = scenes.pair(2)
    assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels[2]) and np.array_equal(mask.numpy(), masks[2])
    masks[1, 5, 5] = 3
    with pytest.raises(UsageError, match="Marks: pixels of class 3, expected 0 to 2 or 255"):
        open_dataset(write_hdf5("test.h5", {"image": pixels, "mask": masks}, format="mask-set"), "mask-set", "test")
    short = write_hdf5("test.h5", {"image": pixels, "mask": masks[:, :8]}, format="mask-set")
    with pytest.raises(UsageError, match=r"array 'mask' has shape \(4, 8, 16\), expected \(4, 16, 16\)"):
        open_dataset(short, "mask-set", "test")
    with pytest.raises(UsageError, match=r"not an image-set file .its attribute 'format' is 'mask-set'"):
        open_dataset(path, "image-set", "test")
