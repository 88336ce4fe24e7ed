"""Crops, flips and turns of whole videos: one draw for all frames, so that reading them in chunks changes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

from full_video.errors import UsageError

__all__ = ["Augmentation", "Crop", "Draw", "Flip", "direction_labels", "mirror_labels"]

Crop = Literal["multiscale", "random", "centre"]
Flip = Literal["none", "horizontal", "labels", "directions"]

# A word of its own, also in turn_left and TurnLeft. Something-Something has a class "... but pulling it right out as you
# remove your hand".
_SIDE = re.compile(
    r"(?:(?<![^\W_])|(?<=[a-z0-9])(?=[LR]))"
    r"(?i:left|right(?![ _]out\b))"
    r"(?:(?![^\W_])|(?<=[a-z])(?=[A-Z]))"
)
_OTHER = {"left": "right", "right": "left"}
_TURNED = ("right", "up", "left", "down")  # each a quarter turn against the clock from the one before
# TSN's places of a crop, (down, right) as parts of the room there is: corners, middles of sides, centre, quarters.
_PLACES = (
    (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5),
    (0.5, 0.0), (0.5, 1.0), (1.0, 0.5), (0.0, 0.5),
    (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75),
)  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """What was decided for one video. A test draw crops the centre and flips nothing."""

    pair: tuple[float, float] | None = None
    """Height and width of the crop as parts of the short side (``multiscale``)."""
    place: tuple[float, float] = (0.5, 0.5)
    """Where the crop lies, (down, right), as parts of the room there is."""
    flip: bool = False
    """Whether left and right are exchanged."""
    turns: int = 0
    """Quarter turns against the clock, after the flip."""


@dataclass(frozen=True)
class Augmentation:
    """Size, crop and flip of frames, uint8 in and out.

    - ``multiscale`` (TSN, TSM): height and width of the crop are two neighbours of ``scales`` times the short side, at
      one of 13 places; it is resized to ``size``.
    - ``random``: the short side is resized to ``resize``, the crop of ``size`` lies anywhere.
    - ``centre``: the same in the middle. Tests always do this, as TSM's one centre crop does.
    """

    size: int = 224
    """Side of the square that the network sees, in pixels."""
    resize: int = 256
    """Length of the short side before a crop that is not ``multiscale``, in pixels."""
    crop: Crop = "multiscale"
    """How training crops."""
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    """Sides of a ``multiscale`` crop as parts of the short side."""
    flip: Flip = "none"
    """Training flips half of the videos: ``horizontal`` keeps the label; ``labels`` exchanges the labels of classes that
    differ in left and right, and leaves alone those that have no counterpart. TSM flips, but not Something-Something.
    ``directions`` also turns them, which makes eight videos of one; it is for sets whose classes are left, right, up and
    down alone, as Move4MNIST's are, and their labels turn with them."""

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.resize:
            raise ValueError(f"expected 1 <= size <= resize, got size {self.size} and resize {self.resize}")
        for name, value, known in (("crop", self.crop, get_args(Crop)), ("flip", self.flip, get_args(Flip))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if not self.scales or not all(0 < scale <= 1 for scale in self.scales):
            raise ValueError(f"scales must be parts above 0 and up to 1, got {self.scales}")

    def draw(self, rng: np.random.Generator | None) -> Draw:
        """Decide for one video; ``rng`` None is a test. Whatever ``flip`` says, the crop is the same."""
        if rng is None:
            return Draw()
        flip = bool(rng.random() < 0.5) and self.flip != "none"
        pair: tuple[float, float] | None = None
        if self.crop == "multiscale":
            pairs = [(high, wide) for i, high in enumerate(self.scales) for wide in self.scales[max(0, i - 1) : i + 2]]
            pair = pairs[rng.integers(len(pairs))]
            place = _PLACES[rng.integers(len(_PLACES))]
        else:
            down, right = rng.random(2).tolist()
            place = (down, right) if self.crop == "random" else (0.5, 0.5)
        return Draw(pair, place, flip, int(rng.integers(4)) if self.flip == "directions" else 0)

    def apply(self, frames: Tensor, draw: Draw) -> Tensor:
        """uint8 (n, 3, H, W) -> uint8 (n, 3, ``size``, ``size``), every frame alike and by itself."""
        height, width = frames.shape[-2:]
        short = min(height, width)
        if draw.pair is None:
            scale = self.resize / short
            frames = _resized(frames, max(self.resize, round(height * scale)), max(self.resize, round(width * scale)))
            box = [self.size, self.size]
        else:
            # TSN: a side within 3 pixels of the final size is taken as that, which saves a resize by next to nothing.
            sides = [max(1, int(short * part)) for part in draw.pair]
            box = [min(self.size, short) if abs(side - self.size) < 3 else side for side in sides]
        frames = _cropped(frames, box, draw.place)
        frames = _resized(frames, self.size, self.size)
        if draw.flip:
            frames = frames.flip(-1)
        if draw.turns:
            frames = frames.rot90(draw.turns, (-2, -1))
        return frames.contiguous()


def _cropped(frames: Tensor, box: Sequence[int], place: tuple[float, float]) -> Tensor:
    rooms = [side - part for side, part in zip(frames.shape[-2:], box, strict=True)]
    top, left = (min(room, int(where * (room + 1))) for room, where in zip(rooms, place, strict=True))
    return frames[..., top : top + box[0], left : left + box[1]]


def _resized(frames: Tensor, height: int, width: int) -> Tensor:
    if tuple(frames.shape[-2:]) == (height, width) or not len(frames):
        return frames.new_empty((0, frames.shape[1], height, width)) if not len(frames) else frames
    return interpolate(frames, (height, width), mode="bilinear", antialias=True)


def direction_labels(class_names: Sequence[str], draw: Draw) -> tuple[int, ...]:
    """Class of a flipped and turned video of each class, where the classes are the directions left, right, up and down.

    Raises:
        UsageError: if they are not just these four, in any order.
    """
    names = [name.casefold() for name in class_names]
    if sorted(names) != sorted(_TURNED):
        some = ", ".join(class_names[:6]) + (", ..." if len(class_names) > 6 else "")
        raise UsageError(
            f"flip='directions' needs the classes left, right, up and down, got {len(class_names)}: {some}; "
            "flip='labels' goes with any classes"
        )
    places = [_TURNED.index(name) for name in names]
    if draw.flip:
        places = [(2 - place) % 4 for place in places]
    return tuple(names.index(_TURNED[(place + draw.turns) % 4]) for place in places)


def mirror_labels(class_names: Sequence[str]) -> tuple[int | None, ...]:
    """Class of a mirrored video of each class, from the names: the words left and right are exchanged, in ``turn_left`` and
    ``TurnLeft`` too.

    ``Pulling something from left to right`` becomes ``Pulling something from right to left``; a class that names no side
    stays itself; one whose counterpart is not among the classes is None and must not be mirrored. In the sorted list of
    Something-Something's templates the pairs are 86-87, 93-94 and 166-167, as mmaction2 has them for V2; its 2-4, 30-41
    and 52-66 of V1 are the same classes in a list of another order.
    """
    labels = {name.casefold(): label for label, name in enumerate(class_names)}
    mirrored = [_SIDE.sub(lambda match: _OTHER[match[0].casefold()], name) for name in class_names]
    return tuple(
        label if other == name else labels.get(other.casefold())
        for label, (name, other) in enumerate(zip(class_names, mirrored, strict=True))
    )
