"""Motion supervision: the boxes between two keyframes in training (sections 2.3.2, 2.4.1, appendix 2.6.2).

    annotated   the true boxes of every frame
    linear      straight lines between the true boxes of the two keyframes (sparse annotation)
    simulated   a parabola between them, width and height interpolated (equation 2.5; sparse annotation)
    random      anywhere in the image between the keyframes: motion, but not smooth
    none        no supervision in between: a plain detector

``linear``, ``simulated`` and ``random`` use the boxes of the two keyframes only. Where the second keyframe is missing
(the video ends, the object leaves) they mark the whole trajectory as not valid.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from location_anticipation.model.config import check_choices, check_least

Motion = Literal["annotated", "simulated", "linear", "random", "none"]
BETWEEN = ("simulated", "linear", "random")
"""Motions that lead from one annotated frame to another."""
FOCUS = 8.0
"""Focus f of the parabola in pixels (appendix 2.6.2)."""

Boxes = NDArray[np.float32]
Mask = NDArray[np.bool_]
Rng = np.random.Generator | None


@dataclass(frozen=True)
class Supervision:
    """Which frames are keyframes in training, and which boxes stand between them."""

    motion: Motion = "annotated"
    """Boxes between keyframes: ``annotated`` ones, a ``simulated`` parabola (equation 2.5), ``linear`` interpolation, ``random``
    positions, or ``none``."""
    keyframe_step: int = 1
    """Only every N-th frame of a video is a keyframe in training; 1 makes every annotated frame one."""
    label_step: int = 1
    """Only the annotation of every N-th frame is used; ``linear``, ``simulated`` and ``random`` motion lead over the frames in
    between (section 2.3.2)."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_least(self, 1, "keyframe_step", "label_step")


def _fractions(horizon: int) -> NDArray[np.float64]:
    return np.arange(1, horizon + 1, dtype=np.float64) / horizon


def linear_boxes(start: Boxes, end: Boxes, horizon: int) -> Boxes:
    """Boxes at l = 1..T on straight lines from ``start`` (N, 4) to ``end`` (N, 4); returns (N, T, 4)."""
    s = _fractions(horizon)[None, :, None]
    return np.asarray(start[:, None] + s * (end - start)[:, None], dtype=np.float32)


def parabola_boxes(start: Boxes, end: Boxes, horizon: int, focus: float = FOCUS) -> Boxes:
    r"""Boxes at l = 1..T whose centres move along the parabola of equation 2.5 from ``start`` to ``end``.

    The thesis fixes y = x^2/(4f) - v1 x/(2f) + v1^2/(4f) + v2, that is y = (x - v1)^2/(4f) + v2, through both centres.
    With x = x_t + s (x_{t+T} - x_t), s = l/T, eliminating the vertex (v1, v2) leaves the chord and a bow,

        y = y_t + s (y_{t+T} - y_t) - s (1 - s) (x_{t+T} - x_t)^2 / (4f),

    which also holds in the limit x_{t+T} = x_t, where the vertex does not exist and the bow is zero.

    Args:
        start, end: (N, 4) boxes x1 y1 x2 y2 of the two keyframes, pixels.
        horizon: T.
        focus: f in pixels; its sign says to which side the parabola bows. The thesis alternates it from one pair of
            keyframes to the next so that the pieces join smoothly.

    Returns:
        (N, T, 4) boxes; the last one is ``end``.
    """
    if focus == 0:
        raise ValueError("the focus of the parabola must not be 0")
    boxes = linear_boxes(start, end, horizon).astype(np.float64)
    s = _fractions(horizon)[None, :]
    dx = ((end[:, 0] + end[:, 2]) - (start[:, 0] + start[:, 2])).astype(np.float64)[:, None] / 2
    bow = -s * (1 - s) * dx**2 / (4 * focus)
    boxes[..., 1] += bow
    boxes[..., 3] += bow
    return boxes.astype(np.float32)


def random_boxes(
    start: Boxes, end: Boxes, horizon: int, image_size: tuple[int, int], rng: np.random.Generator
) -> Boxes:
    """Boxes at l = 1..T-1 uniformly anywhere in the image, of interpolated size; ``end`` at l = T. (N, T, 4).

    ``image_size`` is (height, width). The two keyframes keep their true boxes (thesis 2.4.1: "the boxes in-between the
    keyframes can occur at any random position in the image").
    """
    boxes = linear_boxes(start, end, horizon)
    size = boxes[..., 2:] - boxes[..., :2]
    room = np.maximum(np.array([image_size[1], image_size[0]], dtype=np.float32) - size, 0)
    corner = (rng.random(room.shape) * room).astype(np.float32)
    moved = np.concatenate((corner, corner + size), axis=-1)
    moved[:, -1] = boxes[:, -1]
    return moved


def supervise(
    motion: str, boxes: Boxes, present: Mask, *, image_size: tuple[int, int], segment: int = 0, rng: Rng = None
) -> tuple[Boxes, Mask]:
    """Trajectory targets of one keyframe under the motion supervision called ``motion``.

    Args:
        motion: a :data:`Motion`.
        boxes: (N, T+1, 4) annotated boxes at l = 0..T of the objects of the keyframe, pixels.
        present: (N, T+1) where they are annotated; l = 0 is the keyframe.
        image_size: (height, width).
        segment: number of this pair of keyframes within its video; odd ones bow to the other side.
        rng: needed by ``random`` only.

    Returns:
        trajectories (N, T, 4) and their validity (N, T).

    Raises:
        ValueError: for an unknown motion, or ``random`` without ``rng``.
    """
    if motion not in get_args(Motion):
        raise ValueError(f"motion must be one of {', '.join(get_args(Motion))}, got {motion!r}")
    horizon = boxes.shape[1] - 1
    if motion == "annotated" or horizon == 0:
        return boxes[:, 1:], present[:, 1:]
    if motion == "none":
        return boxes[:, 1:], np.zeros_like(present[:, 1:])
    moved = _between(motion, boxes[:, 0], boxes[:, -1], horizon, image_size, segment, rng)
    return moved, np.repeat((present[:, 0] & present[:, -1])[:, None], horizon, axis=1)


def supervise_sparse(
    motion: str,
    boxes: Boxes,
    present: Mask,
    annotated: Mask,
    horizon: int,
    *,
    image_size: tuple[int, int],
    segment: int = 0,
    rng: Rng = None,
) -> tuple[Boxes, Mask]:
    """Trajectory targets of one keyframe in a video with frames that are not annotated.

    Between two consecutive annotated frames, however far apart, boxes move as ``motion`` says; the first T steps are
    kept. A step is valid between two annotated frames that both show the object, and on an annotated frame that shows
    it. An object that an annotated frame does not show is not led across that frame.

    Args:
        motion: ``linear``, ``simulated`` or ``random``.
        boxes: (N, S+1, 4) boxes at l = 0..S of the objects of the keyframe, pixels; S may end before T (the end of the
            video) and should otherwise reach to the first annotated frame at or after T.
        present: (N, S+1) where they are annotated; l = 0 is the keyframe.
        annotated: (S+1,) frames that are annotated at all; the keyframe is.
        horizon: T.
        segment: number of annotated frames of the video before the keyframe; after every odd one paths bow to the
            other side.
        image_size, rng: as of :func:`supervise`, which also says what is returned.

    Raises:
        ValueError: for another motion, a keyframe that is not annotated, or ``random`` without ``rng``.
    """
    if motion not in BETWEEN:
        raise ValueError(f"motion must be one of {BETWEEN}, got {motion!r}")
    if not annotated[0]:
        raise ValueError("the keyframe, l = 0, must be annotated")
    anchors = np.flatnonzero(annotated)
    steps = max(horizon, int(anchors[-1]))
    moved = np.zeros((len(boxes), steps, 4), dtype=np.float32)
    valid = np.zeros((len(boxes), steps), dtype=bool)
    for number, (first, last) in enumerate(pairwise(anchors)):
        if first >= horizon:
            break
        moved[:, first:last] = _between(
            motion, boxes[:, first], boxes[:, last], int(last - first), image_size, segment + number, rng
        )
        moved[:, last - 1] = boxes[:, last]
        valid[:, first:last] = (present[:, first] & present[:, last])[:, None]
        valid[:, last - 1] = present[:, last]
    return moved[:, :horizon], valid[:, :horizon]


def _between(
    motion: str, start: Boxes, end: Boxes, horizon: int, image_size: tuple[int, int], segment: int, rng: Rng
) -> Boxes:
    """Boxes at l = 1..horizon from ``start`` (N, 4) to ``end`` (N, 4) by one of ``BETWEEN``; (N, horizon, 4)."""
    if motion == "linear":
        return linear_boxes(start, end, horizon)
    if motion == "simulated":
        return parabola_boxes(start, end, horizon, FOCUS if segment % 2 == 0 else -FOCUS)
    if rng is None:
        raise ValueError("motion 'random' needs a generator: pass rng")
    return random_boxes(start, end, horizon, image_size, rng)
