"""Where a moving patch is in every frame: a start, a constant velocity and a rule for the border.

Positions are those of the patch's top left corner in pixels, x to the right and y down, before rounding.
Every rule is a closed formula of the frame number, so an error of one frame never grows into the next.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Border = Literal["hold", "stop", "bounce", "leave"]
BORDERS: tuple[str, ...] = get_args(Border)

Points = NDArray[np.float64]


def velocity(direction: float, speed: float) -> Points:
    """(2,) px per frame, ``speed * (cos direction, sin direction)`` with y pointing down.

    So 0 is to the right, a quarter turn is down, and a growing angle turns clockwise on the screen. Rounded
    to 1e-12: the sine of half a turn is then zero, not a drift of 1e-16 px.
    """
    step = speed * np.array([np.cos(direction), np.sin(direction)], np.float64)
    return np.asarray(np.round(step, 12))


def trajectory(start: Points, step: Points, frames: int, limit: Points, border: str) -> Points:
    """(frames, 2) positions of the corner, from ``start`` (2,) at frame 0 by ``step`` (2,) a frame.

    ``limit`` (2,) is frame size minus patch size. With p = start + t * step, the free motion:

    - ``hold``: each coordinate alone is held at the border it reaches, p clamped to [0, limit]; the patch
      slides on along the border.
    - ``stop``: the whole patch stops where its first coordinate touches the border.
    - ``bounce``: each coordinate is reflected at both borders, a triangle wave of p.
    - ``leave``: p itself; the patch leaves the frame.

    Raises:
        InputError: ``border`` is none of these.
    """
    free = start + np.arange(frames)[:, None] * step
    if border == "hold":
        return np.minimum(np.maximum(free, 0), limit)
    if border == "stop":
        return start + np.minimum(np.arange(frames), _first_touch(start, step, limit))[:, None] * step
    if border == "bounce":
        period = np.maximum(2 * limit, 1)  # never 0; a patch that fills the frame is kept at 0 by the limit below
        phase = np.mod(free, period)
        folded: Points = np.minimum(np.minimum(phase, period - phase), limit)
        return folded
    if border == "leave":
        return free
    raise InputError(f"border: {border!r} is unknown; one of {', '.join(BORDERS)}")


def whole_pixels(positions: Points) -> NDArray[np.int64]:
    """Positions rounded to the nearest pixel, halves up: where the patch is drawn and its box lies."""
    return np.floor(positions + 0.5).astype(np.int64)


def _first_touch(start: Points, step: Points, limit: Points) -> float:
    """Frames, not necessarily whole, until a coordinate reaches the border it moves to; infinite at rest."""
    times = [
        ((edge if pace > 0 else 0.0) - at) / pace
        for at, pace, edge in zip(start.tolist(), step.tolist(), limit.tolist(), strict=True)
        if pace
    ]
    return min(times, default=np.inf)
