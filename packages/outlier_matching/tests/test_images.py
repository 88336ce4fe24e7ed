"""Image files of every kind become three channels of eight bits, and what cannot be read says so."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from outlier_matching.errors import BrokenImage, UsageError
from outlier_matching.images import list_images, read_image, resized


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def test_rgb_comes_back_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = read_image(saved(tmp_path / "a.png", Image.fromarray(pixels)))
    assert image.dtype == torch.uint8 and image.shape == (3, 5, 7) and image.is_contiguous()
    assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels)


def test_grey_has_three_equal_channels(tmp_path: Path) -> None:
    grey = np.arange(35, dtype=np.uint8).reshape(5, 7)
    image = read_image(saved(tmp_path / "a.png", Image.fromarray(grey)))
    assert all(np.array_equal(channel.numpy(), grey) for channel in image)


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    grey = np.array([[0, 255, 256, 65535]], dtype=np.uint16)
    image = read_image(saved(tmp_path / "a.png", Image.fromarray(grey)))
    assert image[0].tolist() == [[0, 0, 1, 255]]


def test_transparent_pixels_lie_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], dtype=np.uint8)
    image = read_image(saved(tmp_path / "a.png", Image.fromarray(pixels)))
    assert image[:, 0, 0].tolist() == [10, 20, 30]
    assert image[:, 0, 1].tolist() == [255, 255, 255]
    assert image[:, 0, 2].tolist() == [127, 127, 127]


def test_palettes_with_and_without_transparency(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    assert read_image(saved(tmp_path / "a.png", palette))[:, 0].T.tolist() == [[255, 0, 0], [0, 0, 255]]
    with_hole = saved(tmp_path / "b.png", palette, transparency=1)
    assert read_image(with_hole)[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255]]


def test_cmyk_and_two_colours_and_animations(tmp_path: Path) -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    image = read_image(saved(tmp_path / "a.jpg", red, quality=100)).float().mean(dim=(1, 2))
    assert image[0] > 200 and image[1:].max() < 60
    assert read_image(saved(tmp_path / "b.png", Image.new("1", (2, 2), 1))).tolist() == [[[255] * 2] * 2] * 3
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("lime", "blue")]
    moving = saved(tmp_path / "c.gif", frames[0], save_all=True, append_images=frames[1:])
    assert read_image(moving)[:, 0, 0].tolist() == [0, 255, 0]


def test_a_picture_taken_sideways_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turn a quarter clockwise
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[0, 0] = 255  # top left goes to top right
    image = read_image(saved(tmp_path / "a.png", Image.fromarray(pixels), exif=exif))
    assert image.shape == (3, 3, 2) and image[0].tolist() == [[0, 255], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no image that Pillow can read"),
        (b"not an image", "is no image that Pillow can read"),
        (b"\x89PNG\r\n\x1a\n", "cannot be|is no image"),
    ],
)
def test_what_is_no_image(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BrokenImage, match=why) as caught:
        read_image(tmp_path / "a.png", "pictures/a.png")
    assert caught.value.name == "pictures/a.png" and str(caught.value).startswith("pictures/a.png: ")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own remarks on damage
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
def test_damaged_files_are_named_whatever_is_wrong(tmp_path: Path, format: str) -> None:
    """Cut short, or with bytes changed: a picture or a BrokenImage, never another exception."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(buffer, format)
    whole = buffer.getvalue()
    path = tmp_path / f"a.{format.lower()}"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenImage):
        read_image(path)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 200), 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            assert read_image(path).dtype == torch.uint8
        except BrokenImage as error:
            assert error.name == str(path) and error.why


def test_missing_files_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrokenImage, match=r"a\.png: no such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(BrokenImage, match="cannot be decoded"):
        read_image(tmp_path)
    path = saved(tmp_path / "b.png", Image.new("RGB", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(BrokenImage, match="cannot be decoded"):
        read_image(path)


def test_listing_is_sorted_and_goes_down(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.png", "a/.hidden.png", ".cache/d.png", "notes.txt", "a/b.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)] == ["a/b.webp", "a/c.png", "b.JPG"]


def test_folders_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: no such folder; expected a folder of images"):
        list_images(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UsageError, match="holds no image"):
        list_images(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        list_images(tmp_path / "notes.txt")


def test_resizing_keeps_flat_images_and_does_nothing_at_the_right_size() -> None:
    image = torch.full((3, 20, 30), 77, dtype=torch.uint8)
    assert resized(image, 20).shape == (3, 20, 20) and (resized(image, 20) == 77).all()
    square = image[..., :20]
    assert resized(square, 20) is square
    # Antialiased: every other column black and white is grey at half the size.
    stripes = torch.tensor([0, 255], dtype=torch.uint8).repeat(3, 16, 8)
    assert abs(resized(stripes, 8).float().mean() - 127.5) < 2 and resized(stripes, 8).float().std() < 40
