"""Image files as tensors: in order, of one size, and errors that name them."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from efficiency_core.errors import BrokenFile, UsageError
from weight_align.data.decoding import read_all, read_image, resized


def test_planes_and_resizing(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4), (10, 20, 30)).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert pixels.dtype == torch.uint8 and pixels.shape == (3, 4, 5) and pixels.is_contiguous()
    assert pixels[:, 0, 0].tolist() == [10, 20, 30]
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    image[:, ::2] = 200  # every other line: without antialiasing all or nothing would be left of it
    small = resized(image, 2, 2)
    assert ((small - 100.0).abs() <= 26).all()
    assert resized(image, 8, 8) is image


def test_many_files_come_in_order(tmp_path: Path) -> None:
    names = [f"{number:03d}.png" for number in range(300)]  # more than threads take at a time
    for number, name in enumerate(names):
        Image.new("RGB", (4, 3), (number % 256, number // 256, 7)).save(tmp_path / name)
    whole = read_all(tmp_path, names)
    assert whole.shape == (300, 3, 3, 4)
    assert torch.equal(whole[:, 0, 0, 0].long() + 256 * whole[:, 1, 0, 0].long(), torch.arange(300))
    assert read_all(tmp_path, names[:2], size=8).shape == (2, 3, 8, 8)
    Image.new("RGB", (5, 3)).save(tmp_path / "odd.png")
    with pytest.raises(UsageError, match=r"^odd\.png is 5 x 3 pixels, 000\.png 4 x 3; the option size"):
        read_all(tmp_path, [names[0], "odd.png"])
    (tmp_path / names[7]).write_bytes(b"")
    with pytest.raises(BrokenFile, match=r"^007\.png"):
        read_all(tmp_path, names)
