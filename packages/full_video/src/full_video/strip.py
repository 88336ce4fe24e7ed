"""A picture of how a video was grouped: its frames, where the clusters cut it, and what the tail of the network sees."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from full_video.files import atomic_path
from full_video.frames import FrameSource

__all__ = ["cluster_color", "draw_strip", "write_strip"]

Color = tuple[int, int, int]
Indices = NDArray[np.int64]

_GOLDEN_RATIO = 0.618034
_MARGIN = 12
_THUMB = 72  # height of a frame in the film
_GREY: Color = (110, 110, 110)
_BLACK: Color = (0, 0, 0)
_WHITE: Color = (255, 255, 255)


def cluster_color(cluster: int) -> Color:
    """The RGB colour of a cluster: always the same, and far in hue from those of its neighbours."""
    red, green, blue = colorsys.hls_to_rgb(cluster * _GOLDEN_RATIO % 1.0, 0.55, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)


def write_strip(
    path: str | Path,
    source: FrameSource,
    frames: Indices,
    clusters: Indices | None,
    distances: Indices | None,
    title: str,
    *,
    width: int = 1280,
    chunk: int = 8,
) -> None:
    """Draw the picture of :func:`draw_strip` into a PNG file.

    Raises:
        BrokenVideo: if a frame cannot be read.
        WorkError: if the file cannot be written.
    """
    image = draw_strip(source, frames, clusters, distances, title, width=width, chunk=chunk)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        Image.fromarray(image).save(file, format="PNG")


def draw_strip(
    source: FrameSource,
    frames: Indices,
    clusters: Indices | None,
    distances: Indices | None,
    title: str,
    *,
    width: int = 1280,
    chunk: int = 8,
) -> NDArray[np.uint8]:
    """The frames the network saw, in time from left to right, and below them the clusters.

    From top to bottom: the title; the distance from each frame to the one before; frames, evenly picked where all do not
    fit; a band with a colour for each cluster; and the mean of each cluster's frames with the numbers of its first and
    last. Without clusters, title and frames only. The video is read once, a chunk at a time.

    Args:
        source: the video.
        frames: rising indices (n,) of the frames that the network saw.
        clusters: the cluster of each of them (n,), -1 for none; or None.
        distances: between each of them and the next (n - 1,); or None.
        title: a line of text.
        width: of the picture in pixels.
        chunk: frames read at once.

    Returns:
        (H, width, 3) uint8 RGB.

    Raises:
        BrokenVideo: if a frame cannot be read.
        ValueError: if there is no frame, or clusters or distances are not of that many.
    """
    count = len(frames)
    if count == 0:
        raise ValueError("a strip needs at least one frame")
    if clusters is not None and len(clusters) != count:
        raise ValueError(f"{len(clusters)} cluster ids for {count} frames")
    if distances is not None and len(distances) != count - 1:
        raise ValueError(f"{len(distances)} distances for {count} frames")
    film = _read_film(source, frames, clusters, width - 2 * _MARGIN, chunk)
    canvas = _Canvas(width, title)
    if distances is not None and count > 1:
        canvas.distances(distances)
    canvas.film(film.thumbs, film.picked, count)
    if clusters is not None:
        canvas.clusters(frames, clusters, film.means)
    return canvas.finished()


@dataclass(frozen=True)
class _Film:
    """Small pictures of a video."""

    thumbs: list[NDArray[np.uint8]]
    """(h, w, 3) each."""
    picked: list[int]
    """Which of the n frames each thumb is."""
    means: dict[int, NDArray[np.uint8]]
    """Mean frame (h, w, 3) of every cluster that has one, by cluster."""


def _read_film(source: FrameSource, frames: Indices, clusters: Indices | None, width: int, chunk: int) -> _Film:
    thumbs: list[NDArray[np.uint8]] = []
    picked: list[int] = []
    wanted: set[int] = set()
    sums: dict[int, Tensor] = {}
    counts: dict[int, int] = {}
    for first in range(0, len(frames), chunk):
        pixels = source[frames[first : first + chunk]]
        small = _shrunk(pixels)
        if first == 0:
            wanted = set(_evenly(len(frames), max(1, width // small.shape[3])))
        for offset, picture in enumerate(small):
            place = first + offset
            if place in wanted:
                thumbs.append(_array(picture))
                picked.append(place)
            if clusters is not None and clusters[place] >= 0:
                cluster = int(clusters[place])
                sums[cluster] = sums[cluster] + picture if cluster in sums else picture.clone()
                counts[cluster] = counts.get(cluster, 0) + 1
    means = {cluster: _array(sums[cluster] / counts[cluster]) for cluster in sorted(sums)}
    return _Film(thumbs, picked, means)


def _shrunk(pixels: Tensor) -> Tensor:
    """uint8 (n, 3, H, W) to float (n, 3, h, w) of the height of a thumb, at most three times as wide."""
    height, width = pixels.shape[2:]
    size = (_THUMB, min(3 * _THUMB, max(1, round(width * _THUMB / height))))
    return interpolate(pixels.float(), size, mode="bilinear", antialias=True, align_corners=False)


def _array(picture: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = picture.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return array


def _evenly(count: int, most: int) -> list[int]:
    """All of ``count`` frames, or the middles of ``most`` equal parts."""
    if count <= most:
        return list(range(count))
    return [int((2 * k + 1) * count / (2 * most)) for k in range(most)]


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


class _Canvas:
    """Rows of the picture, drawn from top to bottom on a sheet that grows where needed and is cut in the end."""

    def __init__(self, width: int, title: str) -> None:
        self._image = Image.new("RGB", (width, 400), _WHITE)
        self._draw = ImageDraw.Draw(self._image)
        self._left, self._right = _MARGIN, width - _MARGIN
        font = _font(15)
        while title and font.getlength(title) > self._right - self._left:
            title = title[:-2].rstrip("… ") + "…" if len(title) > 2 else ""
        self._draw.text((self._left, _MARGIN), title, _BLACK, font)
        self._top = _MARGIN + 28

    def finished(self) -> NDArray[np.uint8]:
        return np.array(self._image.crop((0, 0, self._image.width, self._top + _MARGIN)))

    def _reserve(self, bottom: int) -> None:
        """Make the sheet reach down to ``bottom`` and a margin."""
        if bottom + _MARGIN > self._image.height:
            longer = Image.new("RGB", (self._image.width, bottom + _MARGIN), _WHITE)
            longer.paste(self._image)
            self._image, self._draw = longer, ImageDraw.Draw(longer)

    def _x(self, place: float, count: int) -> int:
        """Where frame ``place`` of ``count`` begins."""
        return self._left + round(place * (self._right - self._left) / count)

    def distances(self, distances: Indices) -> None:
        height = 48
        count = len(distances) + 1
        bottom = self._top + height
        # The distance to frame i + 1 stands where that frame begins; of several in a pixel the largest is drawn.
        columns: dict[int, int] = {}
        for place, distance in enumerate(distances.tolist(), start=1):
            x = self._x(place, count)
            columns[x] = max(columns.get(x, 0), distance)
        highest = max(max(columns.values()), 1)
        step = max(1, (self._right - self._left) // count // 6)
        for x, distance in columns.items():
            top = bottom - round(distance / highest * height)
            self._draw.rectangle((x - step // 2, top, x - step // 2 + step - 1, bottom), fill=_GREY)
        self._draw.line((self._left, bottom, self._right, bottom), _GREY)
        self._caption(f"Hamming distance to the frame before, highest {int(distances.max()):,}", bottom + 3)
        self._top = bottom + 22

    def film(self, thumbs: Sequence[NDArray[np.uint8]], picked: Sequence[int], count: int) -> None:
        """Where not all frames fit, a thumb stands in the middle of the stretch of time it was picked from."""
        width = thumbs[0].shape[1]
        slot = (self._right - self._left) / len(thumbs)
        for k, thumb in enumerate(thumbs):
            x = self._left + round((k + 0.5) * slot - width / 2) if len(thumbs) < count else self._x(k, count)
            room = thumb if len(thumbs) < count else thumb[:, : max(1, self._x(k + 1, count) - x)]
            self._image.paste(Image.fromarray(np.ascontiguousarray(room)), (x, self._top))
        self._top += _THUMB + 4

    def clusters(self, frames: Indices, clusters: Indices, means: dict[int, NDArray[np.uint8]]) -> None:
        band, gap = 16, 34
        count = len(clusters)
        top = self._top
        runs = _runs(clusters)
        for cluster, first, last in runs:
            box = (self._x(first, count), top, max(self._x(first, count), self._x(last + 1, count) - 1), top + band)
            self._draw.rectangle(box, fill=(225, 225, 225) if cluster < 0 else cluster_color(cluster))
        if not means:
            self._top = top + band + 4
            return
        columns, size = _grid(len(means), self._right - self._left, next(iter(means.values())).shape[1])
        below = top + band + gap
        row_height = size[1] + 22
        self._reserve(below + math.ceil(len(means) / columns) * row_height)
        for order, (cluster, mean) in enumerate(means.items()):
            row, column = divmod(order, columns)
            slot = (self._right - self._left) / columns
            x = self._left + round((column + 0.5) * slot - size[0] / 2)
            y = below + row * row_height
            color = cluster_color(cluster)
            own = [(first, last) for c, first, last in runs if c == cluster]
            if row == 0:  # lines to further rows would run across the first
                for first, last in own:
                    start = (self._x(first, count) + self._x(last + 1, count)) // 2
                    self._draw.line((start, top + band + 1, x + size[0] // 2, y - 3), color, 2)
            self._image.paste(Image.fromarray(mean).resize(size, Image.Resampling.LANCZOS), (x, y))
            self._draw.rectangle((x - 2, y - 2, x + size[0] + 1, y + size[1] + 1), outline=color, width=2)
            numbers = [(int(frames[first]), int(frames[last])) for first, last in own]
            self._caption(_range(numbers), y + size[1] + 4, x + size[0] / 2)
        self._top = below + math.ceil(len(means) / columns) * row_height

    def _caption(self, text: str, y: int, middle: float | None = None) -> None:
        font = _font(11)
        x = self._left if middle is None else round(middle - font.getlength(text) / 2)
        self._draw.text((x, y), text, _GREY, font)


def _runs(clusters: Indices) -> list[tuple[int, int, int]]:
    """(cluster, first, last) of each run of frames of one cluster."""
    cuts = np.flatnonzero(np.diff(clusters)) + 1
    firsts, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(clusters)]
    return [(int(clusters[first]), first, end - 1) for first, end in zip(firsts, ends, strict=True)]


def _grid(pictures: int, width: int, natural: int) -> tuple[int, tuple[int, int]]:
    """Columns and (width, height) of the means: one row if they stay wide enough to see, at most their own size."""
    columns = min(pictures, max(1, width // 64))
    wide = min(natural, width // columns - 8)
    return columns, (wide, max(1, round(wide * _THUMB / natural)))


def _range(runs: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)
