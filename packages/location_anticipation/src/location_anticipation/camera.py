"""A camera as a source of frames, through FFmpeg's capture devices in PyAV."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from location_anticipation.errors import UsageError
from location_anticipation.video_reader import VideoReader, import_av

__all__ = ["camera_address", "open_camera"]


def camera_address(index: int, platform: str = sys.platform) -> tuple[str, str]:
    """What FFmpeg calls camera ``index``, counted from 0, and the capture device that reads it.

    Video4Linux on Linux, AVFoundation on macOS, DirectShow on Windows.

    Raises:
        UsageError: on other platforms, or where DirectShow, which knows cameras by name, has none of that number.
    """
    if platform.startswith("linux"):
        return f"/dev/video{index}", "v4l2"
    if platform == "darwin":
        return f"{index}:none", "avfoundation"
    if platform != "win32":
        raise UsageError(f"camera {index}: cameras are read on Linux, macOS and Windows, not on {platform}")
    av = import_av()
    if not hasattr(av, "enumerate_input_devices"):
        raise UsageError(f"camera {index}: this PyAV cannot list cameras: pip install --upgrade av")
    cameras = [device.name for device in av.enumerate_input_devices("dshow") if "video" in device.media_types]
    if index >= len(cameras):
        raise UsageError(f"camera {index}: there are {len(cameras)} cameras, counted from 0")
    return f"video={cameras[index]}", "dshow"


@contextmanager
def open_camera(index: int) -> Iterator[VideoReader]:
    """Open a camera for reading, in the size and rate it has by default; its frames do not end by themselves.

    Raises:
        UsageError: if there is no such camera or it gives no frames, or PyAV is not installed.
    """
    av = import_av()
    if index < 0:
        raise UsageError(f"camera {index}: cameras are counted from 0")
    label = f"camera {index}"
    address, device = camera_address(index)
    try:
        container = av.open(address, format=device)
    except (av.FFmpegError, ValueError) as error:  # ValueError: this build of FFmpeg has no such capture device
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{label}: cannot be opened as {address} ({reason})") from error
    with container:
        if not container.streams.video:
            raise UsageError(f"{label}: gives no pictures")
        # Frame threads hold back as many pictures as there are threads; slices do not.
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        yield VideoReader(label, f"camera{index}", container, stream)
