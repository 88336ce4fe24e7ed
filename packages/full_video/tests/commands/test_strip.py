"""The picture of clusters over frames: colours where they belong, and room for long videos."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from full_video.commands.strip import cluster_color, draw_strip

WHITE = (255, 255, 255)


def video(frames: int, height: int = 36, width: int = 48) -> torch.Tensor:
    """Frame t is grey of value t."""
    values = torch.arange(frames) % 256
    return values.to(torch.uint8)[:, None, None, None].expand(-1, 3, height, width)


def band(image: np.ndarray, colors: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The one row of the picture that shows all of ``colors``, from left to right."""
    for row in image:
        found = [tuple(int(v) for v in pixel) for pixel in row]
        inner = found[12:-12]
        if all(color in inner for color in colors) and WHITE not in inner:
            return inner
    raise AssertionError("no row shows all clusters")


def test_the_band_shows_how_long_each_cluster_is() -> None:
    clusters = np.array([0] * 5 + [1] * 10 + [2] * 25)
    colors = [cluster_color(k) for k in range(3)]
    image = draw_strip(video(40), np.arange(40), clusters, np.arange(39), "title", width=424)
    assert image.dtype == np.uint8 and image.shape[1:] == (424, 3)
    row = band(image, colors)
    assert len(row) == 400
    assert [row.count(color) for color in colors] == [50, 100, 250]
    assert row == sorted(row, key=colors.index)


def test_the_means_are_those_of_the_frames() -> None:
    clusters = np.array([0] * 10 + [1] * 30)
    image = draw_strip(video(40), np.arange(40), clusters, None, "")
    greys = {int(pixel[0]) for pixel in image[-60].tolist() if pixel[0] == pixel[1] == pixel[2]}
    assert greys - {255} == {round(4.5), round(24.5)}


@pytest.mark.parametrize(
    ("frames", "clusters"),
    [(1, 1), (2, 8), (7, 3), (3000, 8), (300, 100), (40, 1)],
)
def test_every_length_has_a_picture(frames: int, clusters: int) -> None:
    ids = np.minimum(np.arange(frames) * clusters // frames, clusters - 1)
    image = draw_strip(video(frames), np.arange(frames), ids, np.zeros(frames - 1, dtype=np.int64), "a" * 500)
    assert image.shape[1] == 1280 and 150 < image.shape[0] < 1500
    used = sorted({int(k) for k in ids})
    assert set(band(image, [cluster_color(k) for k in used])) <= {cluster_color(k) for k in used}


def test_it_reads_chunks_of_the_frames_the_network_saw(source: Callable[..., Any]) -> None:
    frames, seen = source(video(90)), np.arange(0, 90, 3)
    draw_strip(frames, seen, np.repeat([0, 1, 2], 10), None, "")
    assert frames.asked == [seen[k : k + 8].tolist() for k in range(0, 30, 8)]  # each once, in order


def test_without_clusters_there_are_only_frames() -> None:
    image, more = (
        draw_strip(video(8), np.arange(8), *ids, "title") for ids in ((None, None), (np.arange(8), np.arange(7)))
    )
    assert image.shape[0] < more.shape[0]


def test_frames_in_no_cluster_are_grey() -> None:
    image = draw_strip(video(10), np.arange(10), np.array([0] * 5 + [-1] * 5), None, "", width=424)
    row = band(image, [cluster_color(0)])
    assert row.count((225, 225, 225)) == 200


def test_what_cannot_be_drawn() -> None:
    for frames, clusters, distances, message in (
        (0, None, None, "at least one frame"),
        (3, np.arange(2), None, "2 cluster ids for 3 frames"),
        (3, None, np.arange(3), "3 distances for 3 frames"),
    ):
        with pytest.raises(ValueError, match=message):
            draw_strip(video(3), np.arange(frames), clusters, distances, "")
