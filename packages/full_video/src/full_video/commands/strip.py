"""A picture of the clusters of a video: its frames, the clusters over time, and the mean frame of each cluster."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate

from efficiency_core.draw import Color, distinct_color, fitted, font
from full_video.networks.frames import FrameSource

Indices = NDArray[np.int64]
_Picture = NDArray[np.uint8]
_Film = tuple[list[_Picture], list[int], dict[int, _Picture]]

_MARGIN = 12
_THUMB = 72  # height of a frame in the film
_GREY, _BLACK, _WHITE = (110, 110, 110), (0, 0, 0), (255, 255, 255)


def cluster_color(cluster: int) -> Color:
    """The RGB colour of a cluster: always the same, and far in hue from those of its neighbours."""
    return distinct_color(cluster, 0.55, 0.75)


def draw_strip(
    source: FrameSource, frames: Indices, clusters: Indices | None, distances: Indices | None, title: str, *,
    width: int = 1280, chunk: int = 8,
) -> _Picture:  # fmt: skip
    """The frames that the network saw, in time from left to right, and below them the clusters.

    From top to bottom: the title; the distance from each frame to the one before; the frames, picked evenly if not all
    fit; a band with a colour for each cluster; and the mean frame of each cluster with the numbers of its first and
    last frame. Without clusters the picture has the title and the frames alone. The video is read once, a chunk at a
    time. Raises BrokenFile if a frame cannot be read; ValueError if there is no frame, or another number of clusters or
    distances.

    Args:
        frames: int64 (n,) rising numbers of the frames that the network saw.
        clusters: int64 (n,) cluster of each of them, -1 is no cluster; or None.
        distances: int64 (n - 1,) distance of each of them to the next; or None.

    Returns:
        (H, ``width``, 3) uint8 RGB."""
    count = len(frames)
    if count == 0:
        raise ValueError("a strip needs at least one frame")
    if clusters is not None and len(clusters) != count:
        raise ValueError(f"{len(clusters)} cluster ids for {count} frames")
    if distances is not None and len(distances) != count - 1:
        raise ValueError(f"{len(distances)} distances for {count} frames")
    thumbs, picked, means = _read_film(source, frames, clusters, width - 2 * _MARGIN, chunk)
    canvas = _Canvas(width, title)
    if distances is not None and count > 1:
        canvas.distances(distances)
    canvas.film(thumbs, picked, count)
    if clusters is not None:
        canvas.clusters(frames, clusters, means)
    return canvas.finished()


def _read_film(source: FrameSource, frames: Indices, clusters: Indices | None, width: int, chunk: int) -> _Film:
    """Small pictures (h, w, 3); index among the n frames of each; cluster -> mean frame, without empty clusters."""
    thumbs: list[_Picture] = []
    picked: list[int] = []
    wanted: set[int] = set()
    sums: dict[int, Tensor] = {}
    for first in range(0, len(frames), chunk):
        pixels = source[frames[first : first + chunk]]
        small = _shrunk(pixels)
        if first == 0:
            count, most = len(frames), max(1, width // small.shape[3])
            middles = (int((2 * k + 1) * count / (2 * most)) for k in range(most))  # of equal parts
            wanted = set(range(count) if count <= most else middles)
        for offset, picture in enumerate(small):
            place = first + offset
            if place in wanted:
                thumbs.append(_array(picture))
                picked.append(place)
            if clusters is not None and clusters[place] >= 0:
                cluster = int(clusters[place])
                sums[cluster] = sums[cluster] + picture if cluster in sums else picture.clone()
    means = {cluster: _array(sums[cluster] / int(np.count_nonzero(clusters == cluster))) for cluster in sorted(sums)}
    return thumbs, picked, means


def _shrunk(pixels: Tensor) -> Tensor:
    """uint8 (n, 3, H, W) -> float (n, 3, h, w) with the height of a thumb, at most three times as wide."""
    height, width = pixels.shape[2:]
    size = (_THUMB, min(3 * _THUMB, max(1, round(width * _THUMB / height))))
    return interpolate(pixels.float(), size, mode="bilinear", antialias=True, align_corners=False)


def _array(picture: Tensor) -> _Picture:
    return picture.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


class _Canvas:
    """Rows of the picture, drawn from top to bottom on a sheet that grows if needed and is cut at the end."""

    def __init__(self, width: int, title: str) -> None:
        self._image = Image.new("RGB", (width, 400), _WHITE)
        self._draw = ImageDraw.Draw(self._image)
        self._left, self._right = _MARGIN, width - _MARGIN
        title = fitted(title, font(15), self._right - self._left)
        self._draw.text((self._left, _MARGIN), title, _BLACK, font(15))
        self._top = _MARGIN + 28

    def finished(self) -> _Picture:
        return np.array(self._image.crop((0, 0, self._image.width, self._top + _MARGIN)))

    def _reserve(self, bottom: int) -> None:
        if bottom + _MARGIN > self._image.height:
            longer = Image.new("RGB", (self._image.width, bottom + _MARGIN), _WHITE)
            longer.paste(self._image)
            self._image, self._draw = longer, ImageDraw.Draw(longer)

    def _x(self, place: float, count: int) -> int:
        return self._left + round(place * (self._right - self._left) / count)

    def distances(self, distances: Indices) -> None:
        height, count = 48, len(distances) + 1
        bottom = self._top + height
        # The distance to frame i + 1 is drawn at the left edge of that frame; of several in one pixel, the largest.
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

    def film(self, thumbs: Sequence[_Picture], picked: Sequence[int], count: int) -> None:
        """If not all frames fit, a thumb is in the middle of the time span that it was picked from."""
        width = thumbs[0].shape[1]
        slot = (self._right - self._left) / len(thumbs)
        for k, thumb in enumerate(thumbs):
            x = self._left + round((k + 0.5) * slot - width / 2) if len(thumbs) < count else self._x(k, count)
            room = thumb if len(thumbs) < count else thumb[:, : max(1, self._x(k + 1, count) - x)]
            self._image.paste(Image.fromarray(np.ascontiguousarray(room)), (x, self._top))
        self._top += _THUMB + 4

    def clusters(self, frames: Indices, clusters: Indices, means: dict[int, _Picture]) -> None:
        band, gap = 16, 34
        count, top, runs = len(clusters), self._top, _runs(clusters)
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
            text = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in numbers)
            self._caption(text, y + size[1] + 4, x + size[0] / 2)
        self._top = below + math.ceil(len(means) / columns) * row_height

    def _caption(self, text: str, y: int, middle: float | None = None) -> None:
        x = self._left if middle is None else round(middle - font(11).getlength(text) / 2)
        self._draw.text((x, y), text, _GREY, font(11))


def _runs(clusters: Indices) -> list[tuple[int, int, int]]:
    """(cluster, first, last) of each run of frames of one cluster."""
    cuts = np.flatnonzero(np.diff(clusters)) + 1
    firsts, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(clusters)]
    return [(int(clusters[first]), first, end - 1) for first, end in zip(firsts, ends, strict=True)]


def _grid(pictures: int, width: int, natural: int) -> tuple[int, tuple[int, int]]:
    """Columns and (width, height) of the means: one row if they stay wide enough, at most their own size."""
    columns = min(pictures, max(1, width // 64))
    wide = min(natural, width // columns - 8)
    return columns, (wide, max(1, round(wide * _THUMB / natural)))
