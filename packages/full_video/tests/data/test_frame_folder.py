"""Folders of images as videos."""

import numpy as np
import pytest
import torch
from PIL import Image

from efficiency_core.errors import BrokenFile
from full_video.data.frame_folder import FrameFolder


def write_frames(folder, names, size=(20, 30), mode="RGB"):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        shape = (*size, 3) if mode == "RGB" else size
        Image.fromarray(np.full(shape, 10 + 20 * number, dtype=np.uint8)).save(folder / name)
    return folder


def levels(frames):
    return [round((value - 10) / 20) for value in frames.float().mean((1, 2, 3)).tolist()]


@pytest.mark.parametrize(("template", "names"), [
    ("{:05d}.jpg", [f"{n:05d}.jpg" for n in range(1, 8)]),
    ("img_{:05d}.jpg", [f"img_{n:05d}.jpg" for n in range(1, 8)]),
    (None, [f"{n}.jpg" for n in range(5, 12)]),
    (None, ["a.png", "b.png", "k2.png", "k10.png"]),
])  # fmt: skip
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
    with pytest.raises(BrokenFile, match=r"9 frames are declared, 00008\.jpg is missing"):
        len(FrameFolder(folder, template="{:05d}.jpg", count=9))
    with pytest.raises(BrokenFile, match="9 frames are declared, the folder holds 7"):
        len(FrameFolder(folder, count=9))


@pytest.mark.parametrize("template", ["{:05d}.jpg", None])
def test_a_gap(tmp_path, template):
    folder = write_frames(tmp_path / "video", [f"{n:05d}.jpg" for n in (1, 2, 4)])
    with pytest.raises(BrokenFile, match=r"missing") as raised:
        FrameFolder(folder, "videos/7", template)[:]
    assert raised.value.name == "videos/7" and "3" in raised.value.why


def test_what_is_broken(tmp_path):
    folder = tmp_path / "video"
    with pytest.raises(BrokenFile, match="no such file or folder"):
        len(FrameFolder(folder))
    folder.mkdir()
    with pytest.raises(BrokenFile, match="no images"):
        len(FrameFolder(folder))
    with pytest.raises(BrokenFile, match=r"first should be 00001\.jpg"):
        len(FrameFolder(folder, template="{:05d}.jpg"))
    write_frames(folder, ["1.jpg", "2.jpg", "3.jpg"])
    content = (folder / "2.jpg").read_bytes()
    (folder / "2.jpg").write_bytes(content[: len(content) * 3 // 4])
    source = FrameFolder(folder)
    assert len(source[:1]) == 1
    with pytest.raises(BrokenFile, match=r"video: 2\.jpg: cannot be decoded"):
        source[:]
    Image.new("RGB", (8, 9)).save(folder / "3.jpg")
    with pytest.raises(BrokenFile, match=r"3\.jpg is 8x9, 1\.jpg is 30x20"):
        FrameFolder(folder)[2:]


def series(*patterns, numbers=range(1, 4)):
    return [pattern.format(number) for pattern in patterns for number in numbers]


@pytest.mark.parametrize(("frames", "others", "count"), [
    ("img_{:05d}.jpg", ["flow_x_{:05d}.jpg", "flow_y_{:05d}.jpg"], None),
    ("img_{:05d}.jpg", ["flow_x_{:05d}.jpg"], 3),
    ("{:05d}.png", ["flow_{:05d}.png"], None),
    ("z{}.jpg", ["FLOW_{}.JPG"], None),
    ("cam1_{:03d}.jpg", ["Cam1_{:03d}_flow.png"], 2),
    ("flow_x_{:05d}.jpg", [], None),
])  # fmt: skip
def test_optical_flow_beside_the_frames_is_left_out(tmp_path, frames, others, count):
    folder = write_frames(tmp_path / "video", series(frames, *others))
    assert levels(FrameFolder(folder, count=count)[:]) == [0, 1, 2][:count]
    assert levels(FrameFolder(folder, template=frames, count=count)[:]) == [0, 1, 2][:count]


@pytest.mark.parametrize("patterns", [
    ["img_{:05d}.jpg", "depth_{:05d}.jpg"],
    ["left_{}.png", "right_{}.png", "flow_{}.png"],
    ["{}.jpg", "{}.png"],
    ["flow_x_{:05d}.jpg", "flow_y_{:05d}.jpg"],
    ["img_{}.jpg", "img_{}_mask.jpg"],
])  # fmt: skip
def test_series_that_may_all_be_the_frames_need_a_template(tmp_path, patterns):
    folder = write_frames(tmp_path / "video", series(*patterns))
    with pytest.raises(
        BrokenFile, match=r"video: several series of images \(.*\*.*, .*\*.*\); name the frames by a template"
    ):
        len(FrameFolder(folder))
    assert levels(FrameFolder(folder, template=patterns[1])[:]) == [3, 4, 5]


def test_names_that_go_on_are_one_video(tmp_path):
    names = ["2024-01-01_10-00-58.jpg", "2024-01-01_10-00-59.jpg", "2024-01-01_10-01-00.jpg", "2024-01-01_10-01-58.jpg"]
    assert levels(FrameFolder(write_frames(tmp_path / "video", names))[:]) == [0, 1, 2, 3]


@pytest.mark.parametrize("first", [0, 1, 7])
@pytest.mark.parametrize("template", ["{:05d}.jpg", "img_{:05d}.jpg", "cam2-{}.jpg"])
def test_a_template_counts_from_any_number(tmp_path, template, first):
    folder = write_frames(tmp_path / "video", series(template, numbers=range(first, first + 5)))
    for count in (None, 5, 4):
        assert levels(FrameFolder(folder, template=template, count=count)[:]) == [0, 1, 2, 3, 4][:count]
    with pytest.raises(BrokenFile, match=f"6 frames are declared, {template.format(first + 5)} is missing"):
        len(FrameFolder(folder, template=template, count=6))
    (folder / template.format(first + 2)).unlink()
    with pytest.raises(BrokenFile, match=f"{template.format(first + 2)} is missing"):
        len(FrameFolder(folder, template=template))
    with pytest.raises(BrokenFile, match=r"no image has a name of the template x\{\}\.jpg; the first image is"):
        len(FrameFolder(folder, template="x{}.jpg"))
