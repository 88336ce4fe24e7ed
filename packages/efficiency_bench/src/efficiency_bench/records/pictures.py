"""What a run hands over for a picture: series of points, frames in groups, and images (boxes are in `artifacts`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class ArraySet:
    """A named set of arrays among a run's artifacts; a figure's panel names the set."""

    what: ClassVar[str]
    """What messages call it."""

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The set as artifacts called `name/FIELD`: what `Outcome.artifacts` takes."""
        return {f"{name}/{part.name}": getattr(self, part.name) for part in fields(self)}

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], name: str, where: str) -> Self:
        """The set called `name` among a run's artifacts; a `UsageError` lists those there are."""
        parts = [part.name for part in fields(cls)]
        if any(f"{name}/{part}" not in arrays for part in parts):
            names = {key.rpartition("/")[0] for key in arrays}
            known = sorted(found for found in names if all(f"{found}/{part}" in arrays for part in parts))
            raise UsageError(f"{where}: has no {cls.what} {name!r}; it hands over {', '.join(known) or 'none'}")
        return cls(**{part: arrays[f"{name}/{part}"] for part in parts})


@dataclass(frozen=True)
class Series(ArraySet):
    """S series of up to P points; a place without a point has NaN there."""

    what = "series"
    x: NDArray[np.float64]
    """(S, P)."""
    y: NDArray[np.float64]
    """(S, P)."""
    names: NDArray[np.str_]
    """(S,) what each is called; series of the same name share colour, marker and place in the legend."""

    @classmethod
    def of(cls, series: Sequence[tuple[str, ArrayLike, ArrayLike]]) -> "Series":
        """From (name, x (P,), y (P,)) of each, P as it comes; `ValueError` without any, or if lengths differ."""
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

    @classmethod
    def joined(cls, parts: Sequence[tuple[str, "Series"]]) -> "Series":
        """The series of several sets in one, with their set's name where it has one; of a set with more than one series the
        series' own follows."""
        named = []
        for label, part in parts:
            for name, x, y in zip(part.names.tolist(), part.x, part.y, strict=True):
                own = [label] if label and len(part.names) == 1 else [label, name]
                there = np.isfinite(x) & np.isfinite(y)
                named.append((", ".join(text for text in own if text), x[there], y[there]))
        return cls.of(named)


@dataclass(frozen=True)
class Grouping(ArraySet):
    """The F frames of one video, and R ways to put them into clusters."""

    what = "grouping"
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
        """From (name, ids (F,)) of each way; `ValueError` without any, or if lengths differ."""
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


@dataclass(frozen=True)
class Pictures(ArraySet):
    """R rows of up to N images of one size; a place without an image has -1 as its index."""

    what = "set of images"
    images: NDArray[np.uint8]
    """(R, N, H, W, 3)."""
    rows: NDArray[np.str_]
    """(R,) what each row is called."""
    index: NDArray[np.int64]
    """(R, N) each image's number in its file, from 0."""
    names: NDArray[np.str_]
    """(R, N) what each image shows."""

    @classmethod
    def of(cls, rows: Sequence[tuple[str, Sequence[tuple[int, str, ArrayLike]]]]) -> "Pictures":
        """From (name of the row, [(number, what it shows, image (H, W, 3)), ...]) of each row; `ValueError` without any
        image, or if they are not of one size."""
        every = [np.asarray(image, np.uint8) for _, row in rows for _, _, image in row]
        if not every:
            raise ValueError("expected at least one image")
        if wrong := [image.shape for image in every if image.shape != every[0].shape or image.shape[2:] != (3,)]:
            raise ValueError(f"expected images (H, W, 3) of one size, got {wrong[0]} beside {every[0].shape}")
        most = max(len(row) for _, row in rows)
        images = np.full((len(rows), most, *every[0].shape), 255, np.uint8)
        index = np.full((len(rows), most), -1, np.int64)
        names = [["" for _ in range(most)] for _ in rows]
        for at, (_, row) in enumerate(rows):
            for column, (number, name, image) in enumerate(row):
                images[at, column], index[at, column], names[at][column] = image, number, name
        return cls(images, np.asarray([name for name, _ in rows], np.str_), index, np.asarray(names, np.str_))
