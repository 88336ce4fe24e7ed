"""Where a moving patch is in every frame: its top left corner in pixels before rounding, x to the right and y down.
Every rule is a closed formula of the frame number, so an error of one frame never grows into the next."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Border = Literal["hold", "stop", "bounce", "leave"]
Points = NDArray[np.float64]
_TRIES = 64


def velocity(direction: float, speed: float) -> Points:
    """(2,) px per frame, ``speed * (cos direction, sin direction)`` with y pointing down. So 0 is to the right, a
    quarter turn is down, and a growing angle turns clockwise on the screen. Rounded to 1e-12: the sine of half a turn
    is then zero, not a drift of 1e-16 px."""
    step = speed * np.array([np.cos(direction), np.sin(direction)], np.float64)
    return np.asarray(np.round(step, 12))


def trajectory(start: Points, step: Points, frames: int, limit: Points, border: Border) -> Points:
    """(frames, 2) positions of the corner, from ``start`` (2,) at frame 0 by ``step`` (2,) a frame; ``limit`` (2,) is
    frame size minus patch size. With p = start + t * step, the free motion:

    - ``hold``: each coordinate alone is held at the border, p clamped to [0, limit]; the patch slides along it.
    - ``stop``: the whole patch stops where its first coordinate touches the border.
    - ``bounce``: each coordinate is reflected at both borders, a triangle wave of p.
    - ``leave``: p itself; the patch leaves the frame."""
    free = start + np.arange(frames)[:, None] * step
    if border == "hold":
        return np.minimum(np.maximum(free, 0), limit)
    if border == "stop":
        ways = zip(start.tolist(), step.tolist(), limit.tolist(), strict=True)
        touches = [((edge if pace > 0 else 0.0) - at) / pace for at, pace, edge in ways if pace]
        return start + np.minimum(np.arange(frames), min(touches, default=np.inf))[:, None] * step
    if border == "bounce":
        period = np.maximum(2 * limit, 1)  # never 0; a patch that fills the frame is kept at 0 by the limit below
        phase = np.mod(free, period)
        return np.minimum(np.minimum(phase, period - phase), limit)
    return free


def whole_pixels(positions: Points) -> NDArray[np.int64]:
    """Positions rounded to the nearest pixel, halves up: where the patch is drawn and its box lies."""
    return np.floor(positions + 0.5).astype(np.int64)


def away_from(
    centre: Points, distance: float, room: Points, sides: Points, rng: np.random.Generator
) -> tuple[int, int]:
    """A place for ink: uniform where its centre is ``distance`` or more from ``centre``, so where a distractor is says
    nothing about the way; the farthest of many where there is none."""
    corners = whole_pixels(room * rng.random((_TRIES, 2)))
    far = np.linalg.norm(corners + sides / 2 - centre, axis=1)
    x, y = corners[int(np.argmax(far >= distance) if (far >= distance).any() else np.argmax(far))].tolist()
    return x, y
