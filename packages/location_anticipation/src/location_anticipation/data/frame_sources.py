"""Where frames come from: a video file or address, a folder of images, or a camera, all read in the same way."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from efficiency_core.errors import BrokenFile, UsageError, checking
from location_anticipation.data.image_folder import ImageFolder

if TYPE_CHECKING:
    from av import VideoFrame

    from efficiency_core.readers.video import VideoReader

Source = str | Path | int
"""A video file or folder of images, an address (text that begins with one of ``ADDRESSES``), or the number of a camera."""
ADDRESSES = ("http", "https", "rtmp", "rtmps", "rtsp", "rtsps")
_LIVE = ADDRESSES[2:]  # their clock starts anywhere
_log = logging.getLogger(__name__)


class FrameSource(Protocol):
    """One pass over frames of one size, converted to RGB only on request."""

    label: str
    """The source in messages."""
    name: str
    """The source in outputs."""
    file: str | None
    """Name of the video file; None for other sources."""
    width: int
    """Width of an upright frame in pixels."""
    height: int
    """Height of an upright frame in pixels."""
    rate: Fraction | None
    """Average frames per second; None where the source does not say."""
    frame_count: int | None
    """Number of frames as the source declares it; None where it does not."""
    pixel_aspect: Fraction
    """Width of a pixel over its height."""

    @property
    def damage(self) -> str | None:
        """None, or what is damaged or missing in the source; known when the iteration is over."""

    @property
    def broken(self) -> str | None:
        """``damage`` where frames are missing or ruined; None where FFmpeg has repaired it."""

    def __iter__(self) -> Iterator[Any]:
        """The frames in order, for :meth:`rgb`."""

    def seconds(self, frame: Any) -> float | None:
        """When a frame is shown, by the clock of the source; None where it has none."""

    def rgb(self, frame: Any) -> NDArray[np.uint8]:
        """Pixels of a frame, uint8 (H, W, 3), RGB; UsageError if it is damaged."""

    def file_name(self, index: int) -> str:
        """The image that stands for frame ``index`` in a list of images."""


def parse_source(text: str) -> Source:
    """``0``, ``1``, ... is a camera, ``rtsp://...`` an address, unless a file or folder has this name; else a path.

    Raises:
        UsageError: for an address of a kind that is not read.
    """
    if Path(text).exists():
        return Path(text)
    with checking(text):
        urlsplit(text)
    if "://" in text and not is_address(text):
        raise UsageError(f"{text}: addresses begin with {', '.join(f'{scheme}://' for scheme in ADDRESSES)}")
    return text if is_address(text) else int(text) if text.isdecimal() else Path(text)


def is_address(source: Source) -> bool:
    """Whether a source is on a server. An address is text, since a path would lose one of two slashes."""
    return isinstance(source, str) and urlsplit(source).scheme in ADDRESSES and "://" in source


def outputs_of(path: Path | None, sources: Sequence[Source]) -> list[Path | None]:
    """Where an output goes for each of the sources: ``{name}`` in ``path`` stands for the name of a source.

    Raises:
        UsageError: if several sources would go to one file.
    """
    if path is None:
        return [None] * len(sources)
    outputs: list[Path | None] = [Path(str(path).replace("{name}", _name(source))) for source in sources]
    for number, output in enumerate(outputs):
        if output in outputs[:number]:
            both = f"{source_label(sources[outputs.index(output)])} and {source_label(sources[number])} would both go to it"
            raise UsageError(
                f"{output}: {both}; put {{name}} into the name of the output, or rename one of the sources"
            )
    return outputs


def source_label(source: Source) -> str:
    """A source in messages: an address without password and query."""
    if not is_address(source):
        return str(source)
    parts = urlsplit(str(source))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _name(source: Source) -> str:
    if isinstance(source, int):
        return f"camera{source}"
    if is_address(source):
        parts = urlsplit(str(source))
        return Path(parts.path).stem or str(parts.hostname)
    return Path(source).resolve().name if Path(source).is_dir() else Path(source).stem


@contextmanager
def open_source(source: Source) -> Iterator[FrameSource]:
    """Open a video file or address, a folder of images, or camera number ``source``.

    Raises:
        UsageError: if it cannot be used, or PyAV, which reads videos and cameras, is not installed.
    """
    if not isinstance(source, int) and not is_address(source) and Path(source).is_dir():
        yield ImageFolder(source)
        return
    from efficiency_core.readers.video import open_address, open_video  # says how to install PyAV

    live = isinstance(source, int) or (is_address(source) and urlsplit(str(source)).scheme in _LIVE)
    try:
        if isinstance(source, int):
            opened = _open_camera(source)
        elif is_address(source):
            opened = open_address(str(source), source_label(source), _name(source), live=live)
        else:
            opened = open_video(source)
        with opened as reader:
            yield _VideoSource(reader, live)
    except BrokenFile as error:
        raise UsageError(str(error)) from error


class _VideoSource:
    """The frames of a video or a camera, as ``av.VideoFrame``; the log names damage. A ``live`` source starts at 0 s."""

    def __init__(self, reader: VideoReader, live: bool) -> None:
        self._reader = reader
        self.label, self.name = reader.label, reader.name
        self.file = reader.file_name
        self.width, self.height = reader.width, reader.height
        self.rate: Fraction | None = reader.rate
        self.frame_count = reader.frame_count
        self.pixel_aspect = reader.pixel_aspect
        self.rgb = reader.rgb
        self._start: float | None = None if live else 0.0

    @property
    def damage(self) -> str | None:
        return self._reader.damage

    @property
    def broken(self) -> str | None:
        return self._reader.broken

    def __iter__(self) -> Iterator[VideoFrame]:
        yield from self._reader
        if self.damage is not None:
            level = logging.INFO if self.broken is None else logging.WARNING
            _log.log(level, "%s: %s; %d frames were read", self.label, self.damage, self._reader.given)

    def seconds(self, frame: VideoFrame) -> float | None:
        """When a frame is shown, in seconds of the clock of the file, or from the first frame of a live source."""
        seconds = self._reader.seconds(frame)
        if self._start is None:
            self._start = seconds
        return None if seconds is None or self._start is None else seconds - self._start

    def file_name(self, index: int) -> str:
        """Where ``ffmpeg -i NAME.mp4 -start_number 0 NAME/%06d.jpg`` puts the frame."""
        return f"{self.name}/{index:06d}.jpg"


def camera_address(index: int, platform: str = sys.platform) -> tuple[str, str]:
    """FFmpeg's address of camera ``index``, counted from 0, and the capture device that reads it.

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
    import av

    if not hasattr(av, "enumerate_input_devices"):
        raise UsageError(f"camera {index}: this PyAV cannot list cameras: pip install --upgrade av")
    cameras = [device.name for device in av.enumerate_input_devices("dshow") if "video" in device.media_types]
    if index >= len(cameras):
        raise UsageError(f"camera {index}: there are {len(cameras)} cameras, counted from 0")
    return f"video={cameras[index]}", "dshow"


@contextmanager
def _open_camera(index: int) -> Iterator[VideoReader]:
    """A camera in its default size and rate; its frames do not end by themselves."""
    import av

    from efficiency_core.readers.video import VideoReader

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
