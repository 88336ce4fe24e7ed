"""Series and groupings: how runs hand them over, and what a figure reads back."""

import numpy as np
import pytest

from efficiency_bench.drawn import Grouping, Series, read_grouping, read_series
from efficiency_bench.errors import UsageError


def test_series_of_different_lengths_are_padded_with_no_points() -> None:
    series = Series.of([("a", [1, 2, 3], [4, 5, 6]), ("b", [7], [8])])
    assert series.x.tolist()[0] == [1, 2, 3] and series.names.tolist() == ["a", "b"]
    assert series.y[1, 0] == 8 and np.isnan(series.y[1, 1:]).all() and np.isnan(series.x[1, 1:]).all()
    arrays = series.arrays("one")
    assert set(arrays) == {"one/x", "one/y", "one/names"}
    back = read_series(arrays, "one", "run")
    np.testing.assert_array_equal(back.x, series.x)


def test_a_grouping_with_and_without_frames() -> None:
    bare = Grouping.of([("cumulative", [0, 0, 1]), ("slope", [0, 1, -1])])
    assert bare.ids.tolist() == [[0, 0, 1], [0, 1, -1]] and bare.index.tolist() == [0, 1, 2]
    assert bare.frames.shape == (0, 0, 0) and bare.kinds.tolist() == ["", "", ""]
    full = Grouping.of([("a", [0, 1])], kinds=["black", "motion"], frames=np.zeros((2, 4, 4, 3)), index=[8, 9])
    back = read_grouping(full.arrays("video"), "video", "run")
    assert (
        back.index.tolist() == [8, 9] and back.kinds.tolist() == ["black", "motion"] and back.frames.dtype == np.uint8
    )


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
        read_series(arrays, "lines", "run")
    with pytest.raises(UsageError, match="run: has no grouping 'points'; it hands over video"):
        read_grouping(arrays, "points", "run")
