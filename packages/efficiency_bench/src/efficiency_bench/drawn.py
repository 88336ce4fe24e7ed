"""What a run hands over for a picture beside boxes (`artifacts.Example`): series of points, and frames in groups.

Both are named sets of arrays among a run's artifacts, as an example is: `Outcome.artifacts` takes what `arrays` gives, and
a figure's panel names the set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import UsageError

_SERIES = ("x", "y", "names")
_GROUPING = ("ids", "rows", "index", "kinds", "frames")


@dataclass(frozen=True)
class Series:
    """S series of up to P points; a place without a point has NaN there."""

    x: NDArray[np.float64]
    """(S, P)."""
    y: NDArray[np.float64]
    """(S, P)."""
    names: NDArray[np.str_]
    """(S,) what each is called; series of the same name share colour, marker and place in the legend."""

    @classmethod
    def of(cls, series: Sequence[tuple[str, ArrayLike, ArrayLike]]) -> "Series":
        """From (name, x (P,), y (P,)) of each, P as it comes.

        Raises:
            ValueError: there is no series, or x and y of one are not of the same length.
        """
        if not series:
            raise ValueError("expected at least one series")
        parts = [(name, np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()) for name, x, y in series]
        for name, x, y in parts:
            if len(x) != len(y):
                raise ValueError(f"series {name!r}: expected as many y as x, got {len(y)} and {len(x)}")
        most = max(len(x) for _, x, _ in parts)
        places = np.full((2, len(parts), most), np.nan)
        for row, (_, x, y) in enumerate(parts):
            places[0, row, : len(x)], places[1, row, : len(y)] = x, y
        return cls(places[0], places[1], np.asarray([name for name, _, _ in parts], np.str_))

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The series as artifacts called `name/x`, `name/y`, `name/names`."""
        return {f"{name}/{part}": getattr(self, part) for part in _SERIES}


@dataclass(frozen=True)
class Grouping:
    """The F frames of one video, and R ways to put them into clusters."""

    ids: NDArray[np.int64]
    """(R, F) cluster of each frame, from 0; -1 where it is in none."""
    rows: NDArray[np.str_]
    """(R,) what each way is called."""
    index: NDArray[np.int64]
    """(F,) the frames' numbers in the video, from 0."""
    kinds: NDArray[np.str_]
    """(F,) what each frame truly shows, empty where that is not known."""
    frames: NDArray[np.uint8]
    """(F, H, W) grey or (F, H, W, 3) in colour; (0, 0, 0) where the frames themselves are not shown."""

    @classmethod
    def of(
        cls,
        ids: Sequence[tuple[str, ArrayLike]],
        *,
        kinds: Sequence[str] | None = None,
        frames: ArrayLike | None = None,
        index: ArrayLike | None = None,
    ) -> "Grouping":
        """From (name, ids (F,)) of each way.

        Raises:
            ValueError: there is none, or the parts have different numbers of frames.
        """
        if not ids:
            raise ValueError("expected at least one way to group the frames")
        count = len(np.asarray(ids[0][1]))
        pictures = np.zeros((0, 0, 0), np.uint8) if frames is None else np.asarray(frames, np.uint8)
        names = [""] * count if kinds is None else list(kinds)
        numbers = np.arange(count) if index is None else np.asarray(index, np.int64)
        lengths = [*(len(np.asarray(row)) for _, row in ids), len(names), len(numbers), len(pictures) or count]
        if wrong := [length for length in lengths if length != count]:
            raise ValueError(f"expected one entry for each of {count} frames, got {wrong[0]}")
        return cls(
            np.asarray([np.asarray(row, np.int64) for _, row in ids]),
            np.asarray([name for name, _ in ids], np.str_),
            numbers.astype(np.int64),
            np.asarray(names, np.str_),
            pictures,
        )

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The grouping as artifacts called `name/ids`, `name/rows`, ..."""
        return {f"{name}/{part}": getattr(self, part) for part in _GROUPING}


def read_series(arrays: Mapping[str, NDArray[Any]], name: str, where: str) -> Series:
    """The series called `name` among a run's artifacts; a `UsageError` lists those there are."""
    return Series(**_read(arrays, name, _SERIES, "series", where))


def read_grouping(arrays: Mapping[str, NDArray[Any]], name: str, where: str) -> Grouping:
    """The grouping called `name` among a run's artifacts; a `UsageError` lists those there are."""
    return Grouping(**_read(arrays, name, _GROUPING, "grouping", where))


def _read(
    arrays: Mapping[str, NDArray[Any]], name: str, parts: tuple[str, ...], what: str, where: str
) -> dict[str, NDArray[Any]]:
    if any(f"{name}/{part}" not in arrays for part in parts):
        last = parts[-1]
        known = sorted(key.rpartition("/")[0] for key in arrays if key.rpartition("/")[2] == last)
        raise UsageError(f"{where}: has no {what} {name!r}; it hands over {', '.join(known) or 'none'}")
    return {part: arrays[f"{name}/{part}"] for part in parts}
