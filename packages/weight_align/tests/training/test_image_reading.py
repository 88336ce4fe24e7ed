"""Image files: what Pillow would give, whatever they hold, in order, and errors that name them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from weight_align.errors import BrokenImage, UsageError
from weight_align.image_reading import list_images, mapped, read_all, read_image, resized


def test_jpeg_is_what_pillow_decodes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    for name, image in (("colour", Image.fromarray(pixels)), ("grey", Image.fromarray(pixels[:, :, 0]))):
        path = tmp_path / f"{name}.jpg"
        image.save(path, quality=90)
        with Image.open(path) as file:
            wanted = np.asarray(file.convert("RGB"))
        found = read_image(path)
        assert found.dtype == torch.uint8 and found.shape == (3, 20, 31)
        assert np.array_equal(found.permute(1, 2, 0).numpy(), wanted)


def test_jpeg_is_upright(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 3), dtype=np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    found = read_image(tmp_path / "turned.jpg")
    assert found.shape == (3, 16, 8) and found[:, :7].min() > 200 and found[:, 9:].max() < 60


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp"])
def test_other_files_come_in_colour(tmp_path: Path, suffix: str) -> None:
    grey = Image.new("L", (5, 4), 100)
    grey.save(tmp_path / f"grey{suffix}", lossless=True)
    assert torch.equal(read_image(tmp_path / f"grey{suffix}"), torch.full((3, 4, 5), 100, dtype=torch.uint8))


def test_deep_grey_and_transparency(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 100 << 8, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png") == 100).all()
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:200])
    (tmp_path / "text.png").write_text("no image")
    for name, why in (("cut.jpg", "cannot be decoded"), ("text.png", "is no image"), ("none.png", "no such file")):
        with pytest.raises(BrokenImage, match=f"^mine: {why}"):
            read_image(tmp_path / name, "mine")


def test_listing(tmp_path: Path) -> None:
    for name in ("a/2.jpg", "a/10.JPEG", "a/deep/1.png", "a/.hidden.jpg", "a/.git/3.jpg", "a/notes.txt", "b/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path, "a") == ["a/10.JPEG", "a/2.jpg", "a/deep/1.png"]
    (tmp_path / "empty").mkdir()
    for folder, message in (("empty", "holds no image"), ("c", "no such folder"), ("b/1.jpg", "is a file")):
        with pytest.raises(UsageError, match=message):
            list_images(tmp_path, folder)


def test_many_files_come_in_order(tmp_path: Path) -> None:
    names = [f"{number:03d}.png" for number in range(300)]  # more than threads take at a time
    for number, name in enumerate(names):
        Image.new("RGB", (4, 3), (number % 256, number // 256, 7)).save(tmp_path / name)
    whole = read_all(tmp_path, names)
    assert whole.shape == (300, 3, 3, 4)
    assert torch.equal(whole[:, 0, 0, 0].long() + 256 * whole[:, 1, 0, 0].long(), torch.arange(300))
    assert read_all(tmp_path, names[:2], size=8).shape == (2, 3, 8, 8)
    Image.new("RGB", (5, 3)).save(tmp_path / "odd.png")
    with pytest.raises(UsageError, match=r"^odd\.png is 5 x 3 pixels, 000\.png 4 x 3; give the option size"):
        read_all(tmp_path, [names[0], "odd.png"])
    (tmp_path / names[7]).write_bytes(b"")
    with pytest.raises(BrokenImage, match=r"^007\.png"):
        read_all(tmp_path, names)


def test_resizing_averages() -> None:
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    image[:, ::2] = 200  # every other line: without antialiasing all or nothing would be left of it
    small = resized(image, 2, 2)
    assert ((small - 100.0).abs() <= 26).all()
    assert resized(image, 8, 8) is image


@pytest.mark.parametrize("threads", [1, 3])
def test_mapped_keeps_order_and_raises(threads: int) -> None:
    assert list(mapped(lambda value: value * value, range(50), threads)) == [value**2 for value in range(50)]

    def fails(value: int) -> int:
        if value == 5:
            raise ValueError("five")
        return value

    found: list[int] = []
    with pytest.raises(ValueError, match="five"):
        found.extend(mapped(fails, range(50), threads))


def test_mapped_runs_only_a_few_ahead() -> None:
    made: list[int] = []
    take: Callable[[int], None] = made.append
    stream = mapped(take, range(1000), 2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(made) <= 5
