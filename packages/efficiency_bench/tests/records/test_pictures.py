"""Series and groupings: how runs hand them over, and what a figure reads back."""

import numpy as np
import pytest

from efficiency_bench.records.pictures import Grouping, Pictures, Series
from efficiency_core.errors import UsageError


def test_series_of_different_lengths_are_padded_with_no_points() -> None:
    series = Series.of([("a", [1, 2, 3], [4, 5, 6]), ("b", [7], [8])])
    assert series.x.tolist()[0] == [1, 2, 3] and series.names.tolist() == ["a", "b"]
    assert series.y[1, 0] == 8 and np.isnan(series.y[1, 1:]).all() and np.isnan(series.x[1, 1:]).all()
    arrays = series.arrays("one")
    assert set(arrays) == {"one/x", "one/y", "one/names"}
    back = Series.read(arrays, "one", "run")
    np.testing.assert_array_equal(back.x, series.x)


def test_a_grouping_with_and_without_frames() -> None:
    bare = Grouping.of([("cumulative", [0, 0, 1]), ("slope", [0, 1, -1])])
    assert bare.ids.tolist() == [[0, 0, 1], [0, 1, -1]] and bare.index.tolist() == [0, 1, 2]
    assert bare.frames.shape == (0, 0, 0) and bare.kinds.tolist() == ["", "", ""]
    full = Grouping.of([("a", [0, 1])], kinds=["black", "motion"], frames=np.zeros((2, 4, 4, 3)), index=[8, 9])
    back = Grouping.read(full.arrays("video"), "video", "run")
    assert back.index.tolist() == [8, 9] and back.frames.dtype == np.uint8
    assert back.kinds.tolist() == ["black", "motion"]


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one series"):
        Series.of([])
    with pytest.raises(ValueError, match="series 'a': expected as many y as x, got 1 and 2"):
        Series.of([("a", [1, 2], [3])])
    with pytest.raises(ValueError, match="at least one way"):
        Grouping.of([])
    with pytest.raises(ValueError, match="each of 2 frames, got 3"):
        Grouping.of([("a", [0, 1]), ("b", [0, 1, 1])])
    with pytest.raises(ValueError, match="each of 2 frames, got 1"):
        Grouping.of([("a", [0, 1])], kinds=["black"])


def test_what_a_run_lacks_is_named_beside_what_it_has() -> None:
    arrays = Series.of([("a", [1], [2])]).arrays("points") | Grouping.of([("a", [0])]).arrays("video")
    with pytest.raises(UsageError, match="run: has no series 'lines'; it hands over points"):
        Series.read(arrays, "lines", "run")
    with pytest.raises(UsageError, match="run: has no grouping 'points'; it hands over video"):
        Grouping.read(arrays, "points", "run")


def test_series_of_several_runs_are_one_set_with_the_runs_names() -> None:
    one = Series.of([("precision", [0, 0.5, 1], [1, 0.5, 0.1])])
    two = Series.of([("train", [0, 1], [1, 2]), ("test", [0], [3])])
    both = Series.joined([("Siamese", one), ("SiameseDA", two), ("", two)])
    assert both.names.tolist() == ["Siamese", "SiameseDA, train", "SiameseDA, test", "train", "test"]
    np.testing.assert_array_equal(both.y[0], [1, 0.5, 0.1])
    assert both.x[2, 0] == 0 and np.isnan(both.x[2, 1:]).all()


def test_images_in_rows_of_different_lengths() -> None:
    grey, white = np.full((4, 6, 3), 128, np.uint8), np.full((4, 6, 3), 255, np.uint8)
    pictures = Pictures.of([("source", [(3, "circle", grey), (5, "star", grey)]), ("outliers", [(9, "", grey)])])
    assert pictures.images.shape == (2, 2, 4, 6, 3) and pictures.index.tolist() == [[3, 5], [9, -1]]
    np.testing.assert_array_equal(pictures.images[1, 1], white)
    back = Pictures.read(pictures.arrays("examples"), "examples", "run")
    assert back.rows.tolist() == ["source", "outliers"] and back.names.tolist() == [["circle", "star"], ["", ""]]
    with pytest.raises(ValueError, match="at least one image"):
        Pictures.of([("source", [])])
    with pytest.raises(ValueError, match=r"one size, got \(4, 6\)"):
        Pictures.of([("source", [(0, "", grey), (1, "", grey[..., 0])])])
    with pytest.raises(UsageError, match="run: has no series 'examples'; it hands over none"):
        Series.read(pictures.arrays("examples"), "examples", "run")
