"""The pixels of decoded frames, upright."""

from typing import Any

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

Turn = tuple[bool, bool, bool]
"""Swap rows and columns; then mirror left to right; then turn upside down."""
_QUARTERS: tuple[Turn, ...] = ((False, False, False), (True, False, True), (False, True, True), (True, True, False))


def frame_pixels(
    frame: VideoFrame, format: str = "rgb24", converter: VideoReformatter | None = None, turn: Turn | None = None
) -> NDArray[np.uint8]:
    """Pixels of a decoded frame, upright by the file's display matrix: uint8 (H, W, 3), or (H, W) for ``gray``.

    ``converter`` keeps what FFmpeg prepares for a conversion, threads included, from frame to frame. Preparing takes
    longer than converting. ``turn`` replaces what the frame says.
    """
    pixels = (converter or VideoReformatter()).reformat(frame, format=format).to_ndarray()
    transposed, mirrored, upended = frame_turn(frame) if turn is None else turn
    pixels = pixels.swapaxes(0, 1) if transposed else pixels
    pixels = pixels[:: -1 if upended else 1, :: -1 if mirrored else 1]
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def frame_turn(frame: VideoFrame) -> Turn:
    """How a frame is turned upright, which is one of eight ways; other angles go to the nearest, as no pixel is lost then."""
    try:
        data: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV refuses all side data where it does not know one kind; it still tells the angle
        return _QUARTERS[round(frame.rotation / 90) % 4]
    if data is None:
        return _QUARTERS[0]
    # A pixel (x, y) of the file is shown at (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    return (True, c < 0, b < 0) if transposed else (False, a < 0, d < 0)
