"""Image files of every kind become upright RGB of eight bits; what cannot be read says so."""

import io
import os
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from efficiency_core.errors import BrokenFile
from efficiency_core.readers.images import (
    decode_image,
    decoding,
    image_size,
    read_image,
)

SIDEWAYS = Image.Exif()
SIDEWAYS[0x0112] = 6  # to be turned a quarter clockwise


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def noise(height: int = 40, width: int = 50) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".webp"])
def test_rgb_comes_back_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}", noise(), lossless=True)
    image = read_image(path)
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.flags.writeable
    assert np.array_equal(image, np.asarray(noise())) and image_size(path) == (40, 50)
    assert np.array_equal(decode_image(path.read_bytes(), "a"), image)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_is_what_pillow_decodes(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path / "a.jpg", noise().convert(mode), quality=90)
    with Image.open(path) as file:
        assert np.array_equal(read_image(path), np.asarray(file.convert("RGB")))


@pytest.mark.parametrize(("suffix", "options"), [(".jpg", {"quality": 95}), (".png", {}), (".tif", {}), (".webp", {})])
def test_exif_turns_every_format(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:8, :16] = 255  # top left goes to top right
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(pixels), exif=SIDEWAYS, **options)
    image = read_image(path)
    assert image.shape == (32, 16, 3) and image_size(path) == (32, 16)
    assert image[2:14, 10:].min() > 200 and image[:, :6].max() < 60 and image[18:].max() < 60


def picture(values: list[Any], dtype: Any = np.uint8, mode: str | None = None) -> Image.Image:
    return Image.fromarray(np.array(values, dtype), mode)


PALETTE = picture([[0, 1]], mode="P")
PALETTE.putpalette([255, 0, 0, 0, 0, 255])


@pytest.mark.parametrize(
    ("suffix", "image", "options", "expected"),
    [
        ("png", picture([[0, 255, 256, 65535]], np.uint16), {}, [[0] * 3, [0] * 3, [1] * 3, [255] * 3]),
        ("tif", picture([[0, 255, 256, 65535]], np.uint16), {}, [[0] * 3, [0] * 3, [1] * 3, [255] * 3]),
        ("tif", picture([[-5, 512, 1 << 20]], np.int32), {}, [[0] * 3, [2] * 3, [255] * 3]),
        (
            "png",
            picture([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]]),
            {},
            [[10, 20, 30], [255] * 3, [127] * 3],
        ),
        ("png", picture([[[9, 255], [9, 0]]], mode="LA"), {}, [[9] * 3, [255] * 3]),
        ("png", Image.new("RGB", (1, 1), (1, 2, 3)), {"transparency": (1, 2, 3)}, [[255] * 3]),
        ("png", PALETTE, {}, [[255, 0, 0], [0, 0, 255]]),
        ("png", PALETTE, {"transparency": 1}, [[255, 0, 0], [255] * 3]),
        ("png", Image.new("1", (2, 1), 1), {}, [[255] * 3] * 2),
    ],
)
def test_other_kinds_of_pixels(
    tmp_path: Path, suffix: str, image: Image.Image, options: dict[str, Any], expected: list[list[int]]
) -> None:
    """16 bits keep the upper eight; transparent pixels lie on white."""
    assert read_image(saved(tmp_path / f"a.{suffix}", image, **options)).tolist() == [expected]


def test_sixteen_bits_are_turned_too(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", picture([[0, 255, 256]], np.uint16), exif=SIDEWAYS)
    assert read_image(path).shape == (3, 1, 3)


FULL = np.array([[0, 16, 2048, 4095]])  # of 12 bits
DARK = [[0] * 3, [1] * 3, [128] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("name", "pixels", "tags", "expected"),
    [
        ("a.tif", FULL.astype(np.uint16), {}, DARK),
        ("a.tif", (FULL >> 2).astype(np.uint16), {}, DARK),  # 10 bits
        ("a.tif", (FULL << 2).astype(np.uint16), {}, DARK),  # 14 bits
        ("a.tif", (FULL >> 4).astype(np.uint16), {}, DARK),  # 8 bits
        ("a.tif", FULL.astype(np.int32), {}, DARK),
        ("a.tif", np.array([[0, 255]], np.uint16), {281: 4095}, [[0] * 3, [15] * 3]),  # dark, but with a named white
        ("a.png", FULL.astype(np.uint16), {}, [[0] * 3, [0] * 3, [8] * 3, [15] * 3]),  # a PNG has all 16 bits
        ("a.tif", np.array([[0, 0.25, 0.5, 1]], np.float32), {}, [[0] * 3, [64] * 3, [128] * 3, [255] * 3]),
        ("a.tif", np.array([[0, 0.4, 1.02]], np.float32), {}, [[0] * 3, [102] * 3, [255] * 3]),
        ("a.tif", np.array([[0, 17, 128, 255]], np.float32), {}, [[0] * 3, [17] * 3, [128] * 3, [255] * 3]),
        ("a.tif", FULL.astype(np.float32), {}, DARK),
        ("a.tif", np.array([[-1, np.nan, np.inf, 1]], np.float32), {}, [[0] * 3, [0] * 3, [0] * 3, [255] * 3]),
        ("a.pfm", np.array([[0, 0.25, 1]], np.float32), {}, [[0] * 3, [64] * 3, [255] * 3]),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_white_of_deep_pixels(
    tmp_path: Path, name: str, pixels: NDArray[Any], tags: dict[int, int], expected: list[list[int]], turned: bool
) -> None:
    exif = Image.Exif()
    exif.update(tags | ({0x0112: 6} if turned else {}))
    path = saved(tmp_path / name, Image.fromarray(pixels), exif=exif)
    image = read_image(path)
    assert (image[:, 0] if turned and name != "a.pfm" else image[0]).tolist() == expected
    assert image_size(path) == image.shape[:2]


@pytest.mark.parametrize("compression", ["raw", "packbits", "lzw", "deflate"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_colour_tiff_of_16_bits(compression: str, bits: int) -> None:
    """Pillow decodes the upper eight of 16 bits, which are black or dark here."""
    pixels = np.random.default_rng(0).integers(0, 2**bits, (6, 8, 3), dtype=np.uint16)
    pixels[0, 0] = 2**bits - 1
    codec: Any = av.CodecContext.create("tiff", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 8, 6, "rgb48le", Fraction(1)
    codec.options = {"compression_algo": compression}
    packets = codec.encode(av.VideoFrame.from_ndarray(pixels, format="rgb48le")) + codec.encode(None)
    assert np.array_equal(decode_image(b"".join(map(bytes, packets)), "a"), pixels >> (bits - 8))


def test_packed_tiff_of_12_bits() -> None:
    """Its white is that of the file, although no pixel is so light."""
    data = bytes.fromhex("00001012c3e8")  # 0, 16, 300, 1000
    tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags.items())
    content = b"II" + struct.pack("<HI", 42, 14) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert decode_image(content, "a")[0, :, 0].tolist() == [0, 1, 18, 62]


def test_cmyk_and_animations(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100))
    assert image[..., 0].min() > 200 and image[..., 1:].max() < 60
    frames = [Image.new("RGB", (4, 4), color) for color in ("lime", "blue")]
    moving = saved(tmp_path / "c.gif", frames[0], save_all=True, append_images=frames[1:])
    assert read_image(moving)[0, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(BrokenFile, match=r"is no image|cannot be decoded") as caught:
            read(tmp_path / "a.png", "pictures/a.png")
        assert caught.value.name == "pictures/a.png" and "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own remarks on damage
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
def test_damaged_files_are_named_whatever_is_wrong(format: str) -> None:
    """Cut short, or with bytes changed: pixels or a BrokenFile, never another exception."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    noise().save(buffer, format, exif=SIDEWAYS)
    whole = buffer.getvalue()
    with pytest.raises(BrokenFile):
        decode_image(whole[: len(whole) // 2], "a")
    broken = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 200), 4):
            damaged[place] = rng.integers(256)
        try:
            assert decode_image(bytes(damaged), "a").dtype == np.uint8
        except BrokenFile as error:
            broken += 1
            assert error.name == "a" and error.why
    assert broken


def test_missing_files_and_folders_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = saved(tmp_path / "b.png", Image.new("RGB", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for read in (read_image, image_size):
        with pytest.raises(BrokenFile, match=r"a\.png: no such file$"):
            read(tmp_path / "a.png")
        with pytest.raises(BrokenFile, match="cannot be read"):
            read(tmp_path)
        with pytest.raises(BrokenFile, match=r"is too large .Image size .10000 pixels. exceeds .*make it smaller$"):
            read(bomb)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    for path in (tmp_path / "a.jpg", Path("/dev/zero")):
        for work in (read_image, image_size):
            with pytest.raises(BrokenFile, match="is a pipe or a device, not a file"):
                work(path)


def test_a_size_needs_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even those of a PNG file, whose orientation may stand behind them."""
    paths = [saved(tmp_path / name, noise(), exif=SIDEWAYS) for name in ("a.jpg", "a.png", "a.webp")]
    paths.append(saved(tmp_path / "plain.png", noise()))

    def load(self: ImageFile.ImageFile) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert [image_size(path) for path in paths] == [(50, 40), (50, 40), (50, 40), (40, 50)]


def test_a_header_that_lies_is_found_when_pixels_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", noise())
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60, 70)  # width and height of a larger image
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    assert image_size(path) == (70, 60)
    with pytest.raises(BrokenFile, match="cannot be decoded"):
        read_image(path)


def test_own_decoding_reports_in_the_same_way() -> None:
    with pytest.raises(BrokenFile, match=r"^mask: cannot be decoded \(odd\)$"), decoding("mask"):
        raise ZeroDivisionError("odd\nsecond line")
    with pytest.raises(BrokenFile, match=r"^mask: does not fit into memory; make it smaller$"), decoding("mask"):
        raise MemoryError
    with pytest.raises(BrokenFile, match=r"^other: why$"), decoding("mask"):
        raise BrokenFile("other", "why")
