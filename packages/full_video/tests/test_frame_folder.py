"""Folders of images as videos."""

import numpy as np
import pytest
import torch
from PIL import Image

from full_video.errors import BrokenVideo
from full_video.frame_folder import FrameFolder


def write_frames(folder, names, size=(20, 30), mode="RGB"):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        shape = (*size, 3) if mode == "RGB" else size
        Image.fromarray(np.full(shape, 10 + 20 * number, dtype=np.uint8)).save(folder / name)
    return folder


def levels(frames):
    return [round((value - 10) / 20) for value in frames.float().mean((1, 2, 3)).tolist()]


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{:05d}.jpg", [f"{n:05d}.jpg" for n in range(1, 8)]),
        ("img_{:05d}.jpg", [f"img_{n:05d}.jpg" for n in range(1, 8)]),
        (None, [f"{n}.jpg" for n in range(5, 12)]),
        (None, ["a.png", "b.png", "k2.png", "k10.png"]),
    ],
)
def test_frames_in_order(tmp_path, template, names):
    folder = write_frames(tmp_path / "video", names)
    (folder / "notes.txt").write_text("no image")
    (folder / "._0.jpg").write_bytes(b"what a Mac leaves behind")
    source = FrameFolder(folder, template=template)
    assert len(source) == len(names)
    frames = source[:]
    assert frames.dtype == torch.uint8 and frames.shape == (len(names), 3, 20, 30)
    assert levels(frames) == list(range(len(names)))
    assert levels(source[np.array([0, 2, 2, 3])]) == [0, 2, 2, 3]
    assert source[2:2].shape == (0, 3, 20, 30)


def test_grey_images_have_three_equal_channels(tmp_path):
    frames = FrameFolder(write_frames(tmp_path / "video", ["1.jpg", "2.jpg"], mode="L"))[:]
    assert torch.equal(frames[:, 0], frames[:, 1]) and torch.equal(frames[:, 0], frames[:, 2])


def test_a_declared_count(tmp_path):
    folder = write_frames(tmp_path / "video", [f"{n:05d}.jpg" for n in range(1, 8)])
    for template in ("{:05d}.jpg", None):
        assert levels(FrameFolder(folder, template=template, count=5)[:]) == [0, 1, 2, 3, 4]
    with pytest.raises(BrokenVideo, match=r"9 frames are declared, 00008\.jpg is missing"):
        len(FrameFolder(folder, template="{:05d}.jpg", count=9))
    with pytest.raises(BrokenVideo, match="9 frames are declared, the folder holds 7"):
        len(FrameFolder(folder, count=9))


@pytest.mark.parametrize("template", ["{:05d}.jpg", None])
def test_a_gap(tmp_path, template):
    folder = write_frames(tmp_path / "video", [f"{n:05d}.jpg" for n in (1, 2, 4)])
    with pytest.raises(BrokenVideo, match=r"missing") as raised:
        FrameFolder(folder, "videos/7", template)[:]
    assert raised.value.name == "videos/7" and "3" in raised.value.why


def test_what_is_broken(tmp_path):
    folder = tmp_path / "video"
    with pytest.raises(BrokenVideo, match="no such file or folder"):
        len(FrameFolder(folder))
    folder.mkdir()
    with pytest.raises(BrokenVideo, match="no images"):
        len(FrameFolder(folder))
    with pytest.raises(BrokenVideo, match=r"first should be 00001\.jpg"):
        len(FrameFolder(folder, template="{:05d}.jpg"))
    write_frames(folder, ["1.jpg", "2.jpg", "3.jpg"])
    content = (folder / "2.jpg").read_bytes()
    (folder / "2.jpg").write_bytes(content[: len(content) * 3 // 4])
    source = FrameFolder(folder)
    assert len(source[:1]) == 1
    with pytest.raises(BrokenVideo, match=r"2\.jpg is not a readable image"):
        source[:]


def test_images_of_two_sizes(tmp_path):
    folder = write_frames(tmp_path / "video", ["1.jpg", "2.jpg", "3.jpg"])
    Image.new("RGB", (8, 9)).save(folder / "3.jpg")
    with pytest.raises(BrokenVideo, match=r"3\.jpg is 8x9, 1\.jpg is 30x20"):
        FrameFolder(folder)[2:]


def test_sixteen_bits_are_refused(tmp_path):
    folder = tmp_path / "video"
    folder.mkdir()
    Image.fromarray(np.full((4, 4), 3000, dtype=np.uint16)).save(folder / "1.png")
    with pytest.raises(BrokenVideo, match="8 bits"):
        FrameFolder(folder)[:]
