"""Crops, flips and turns of whole videos: one draw for all frames, so that reading them in chunks changes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from efficiency_core.errors import UsageError
from efficiency_core.loop import check_choice

if TYPE_CHECKING:
    from torch import Tensor

Crop = Literal["multiscale", "random", "centre"]
Flip = Literal["none", "horizontal", "labels", "directions"]

# The word by itself, also in turn_left and TurnLeft, but not in Something-Something's "... but pulling it right out as you ...".
_SIDE = re.compile(
    r"(?:(?<![^\W_])|(?<=[a-z0-9])(?=[LR]))"
    r"(?i:left|right(?![ _]out\b))"
    r"(?:(?![^\W_])|(?<=[a-z])(?=[A-Z]))"
)
_OTHER = {"left": "right", "right": "left"}
_TURNED = ("right", "up", "left", "down")  # each a quarter turn counter-clockwise from the one before
# TSN's places of a crop, (down, right) as fractions of the free space: corners, middles of sides, centre, quarters.
_PLACES = (
    (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5),
    (0.5, 0.0), (0.5, 1.0), (1.0, 0.5), (0.0, 0.5),
    (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75),
)  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """Random decisions for one video. The defaults, used in tests, crop the centre and do not flip."""

    pair: tuple[float, float] | None = None
    """Height and width of the crop as fractions of the short side (``multiscale``)."""
    place: tuple[float, float] = (0.5, 0.5)
    """Place of the crop, (down, right), as fractions of the free space."""
    flip: bool = False
    """Whether the frames are mirrored left to right."""
    turns: int = 0
    """Quarter turns counter-clockwise, after the flip."""


@dataclass(frozen=True)
class Augmentation:
    """Size, crop and flip of frames, uint8 in and out. Tests always crop the centre and never flip."""

    size: int = 224
    """Side of the square that the network sees, in pixels."""
    resize: int = 256
    """Length of the short side before a crop that is not ``multiscale``, in pixels."""
    crop: Crop = "multiscale"
    """Crop in training: ``multiscale`` (TSN, TSM) takes two neighbours of ``scales`` times the short side as height and width,
    at one of 13 places, and resizes to ``size``; ``random`` resizes the short side to ``resize`` and takes a square of
    ``size`` anywhere; ``centre`` takes it in the middle."""
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    """Sides of a ``multiscale`` crop as fractions of the short side."""
    flip: Flip = "none"
    """Training mirrors half of the videos: ``horizontal`` keeps the label (TSM, but not on Something-Something) and is
    refused for left and right classes; ``labels`` exchanges the labels of classes that differ in left and right, and does not
    mirror classes without a counterpart; ``directions`` also turns videos and labels, for the four classes left, right,
    up and down (Move4MNIST)."""

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.resize:
            raise ValueError(f"expected 1 <= size <= resize, got size {self.size} and resize {self.resize}")
        check_choice(self, "crop", get_args(Crop))
        check_choice(self, "flip", get_args(Flip))
        if not self.scales or not all(0 < scale <= 1 for scale in self.scales):
            raise ValueError(f"scales must be fractions above 0 and up to 1, got {self.scales}")

    def draw(self, rng: np.random.Generator | None) -> Draw:
        """Random decisions for one video; ``rng`` None is a test. The crop does not depend on ``flip``."""
        if rng is None:
            return Draw()
        flip = bool(rng.random() < 0.5) and self.flip != "none"
        pair = None
        if self.crop == "multiscale":
            pairs = [(high, wide) for i, high in enumerate(self.scales) for wide in self.scales[max(0, i - 1) : i + 2]]
            pair = pairs[rng.integers(len(pairs))]
            place = _PLACES[rng.integers(len(_PLACES))]
        else:
            down, right = rng.random(2).tolist()
            place = (down, right) if self.crop == "random" else (0.5, 0.5)
        return Draw(pair, place, flip, int(rng.integers(4)) if self.flip == "directions" else 0)

    def apply(self, frames: Tensor, draw: Draw) -> Tensor:
        """uint8 (n, 3, H, W) -> uint8 (n, 3, ``size``, ``size``), each frame by itself."""
        height, width = frames.shape[-2:]
        short = min(height, width)
        if draw.pair is None:
            scale = self.resize / short
            frames = _resized(frames, max(self.resize, round(height * scale)), max(self.resize, round(width * scale)))
            box = [self.size, self.size]
        else:
            # As in TSN: a side within 3 pixels of the final size is taken as the final size, without a resize.
            sides = [max(1, int(short * part)) for part in draw.pair]
            box = [min(self.size, short) if abs(side - self.size) < 3 else side for side in sides]
        rooms = [side - part for side, part in zip(frames.shape[-2:], box, strict=True)]
        top, left = (min(room, int(where * (room + 1))) for room, where in zip(rooms, draw.place, strict=True))
        frames = _resized(frames[..., top : top + box[0], left : left + box[1]], self.size, self.size)
        if draw.flip:
            frames = frames.flip(-1)
        if draw.turns:
            frames = frames.rot90(draw.turns, (-2, -1))
        return frames.contiguous()


def _resized(frames: Tensor, height: int, width: int) -> Tensor:
    from torch.nn.functional import interpolate  # here, so that the settings need no torch

    if not len(frames):
        return frames.new_empty((0, frames.shape[1], height, width))
    same = tuple(frames.shape[-2:]) == (height, width)
    return frames if same else interpolate(frames, (height, width), mode="bilinear", antialias=True)


def direction_labels(class_names: Sequence[str], draw: Draw) -> tuple[int, ...]:
    """New class of a flipped and turned video of each class; a ``UsageError`` unless they are left, right, up and down."""
    names = [name.casefold() for name in class_names]
    if sorted(names) != sorted(_TURNED):
        some = ", ".join(class_names[:6]) + (", ..." if len(class_names) > 6 else "")
        raise UsageError(
            f"flip='directions' needs the classes left, right, up and down, got {len(class_names)}: {some}; "
            "flip='labels' fits any classes"
        )
    places = [_TURNED.index(name) for name in names]
    places = [(2 - place) % 4 if draw.flip else place for place in places]
    return tuple(names.index(_TURNED[(place + draw.turns) % 4]) for place in places)


def check_horizontal(class_names: Sequence[str]) -> None:
    """Raise UsageError if a mirrored video of one class shows another one, whose label ``horizontal`` does not give it."""
    for name, other in zip(class_names, mirror_labels(class_names), strict=True):
        if other is not None and class_names[other] != name:
            raise UsageError(
                f"flip='horizontal' would show videos of {name!r} as {class_names[other]!r} and keep their label; "
                "flip='labels' exchanges it"
            )


def mirror_labels(class_names: Sequence[str]) -> tuple[int | None, ...]:
    """New class of a mirrored video of each class: the words left and right are exchanged, in ``TurnLeft`` and ``turn_left`` too.

    A class without these words keeps its label. A class whose counterpart is not among the classes is None and must not be
    mirrored. In the sorted templates of Something-Something the pairs are 86-87, 93-94 and 166-167, as in mmaction2 for V2.
    """
    labels = {name.casefold(): label for label, name in enumerate(class_names)}
    mirrored = [_SIDE.sub(lambda match: _OTHER[match[0].casefold()], name) for name in class_names]
    return tuple(
        label if other == name else labels.get(other.casefold())
        for label, (name, other) in enumerate(zip(class_names, mirrored, strict=True))
    )
