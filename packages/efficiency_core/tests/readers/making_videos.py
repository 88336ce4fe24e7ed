"""Video files of every container people have, made by the tests, and what is read from them."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from efficiency_core.readers.video import open_video

WIDTH, HEIGHT, COUNT = 64, 48, 24
CONTAINERS = {".avi": "mpeg4", ".mp4": "libx264", ".webm": "libvpx-vp9", ".mkv": "libx264"}
# Frames are not stored in the order in which they are shown.
REORDERED = {"x264-params": "bframes=3:b-adapt=0:scenecut=0"}


def level(number: int) -> int:
    """Grey value of a frame, which tells it from its neighbours after compression."""
    return 20 + 53 * number % 200


def pictures(count: int = COUNT, width: int = WIDTH, height: int = HEIGHT) -> list[NDArray[np.uint8]]:
    """Grey frames, the left half noise, which makes files large; the upper left corner is white."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        pixels = np.full((height, width, 3), level(number), dtype=np.uint8)
        noise = rng.integers(0, 120, (height // 4, width // 8, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        pixels[: len(noise), : noise.shape[1]] = noise
        pixels[:12, :12] = 255
        made.append(pixels)
    return made


def encode(
    path: Path, images: list[NDArray[np.uint8]] | None = None, codec: str = "", pix_fmt: str = "yuv420p", **more: Any
) -> Path:
    images = pictures() if images is None else images
    with av.open(str(path), "w", options=more.get("options", {}), metadata_encoding="latin-1") as container:
        container.metadata["title"] = more.get("title", "")
        stream: Any = container.add_stream(codec or CONTAINERS[path.suffix], rate=25, options=more.get("coder", {}))
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pix_fmt
        stream.gop_size, stream.bit_rate = 10, 400_000
        if "rotation" in more:
            stream.set_display_rotation(more["rotation"])
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def remux(path: Path, name: str, **options: str) -> Path:
    """The same packets in another container."""
    target = path.with_name(name)
    with av.open(str(path)) as source, av.open(str(target), "w", options=options) as container:
        came = source.streams.video[0]
        stream = container.add_stream_from_template(came)
        annex_b = came.codec_context.name == "h264" and target.suffix == ".avi"
        bits = av.BitStreamFilterContext("h264_mp4toannexb" if annex_b else "null", came, stream)
        for packet in source.demux(came):
            for changed in bits.filter(packet if packet.size else None):
                changed.stream = stream
                container.mux(changed)
    return target


def plain_count(path: Path) -> int:
    """Number of frames that FFmpeg makes of a file in one thread, as ``ffprobe -count_frames`` counts them."""
    count = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        packets = container.demux(stream)
        more = True
        while more:
            with suppress(av.FFmpegError, IndexError):
                packet = next(packets, None)
                more = packet is not None
                if packet is None or packet.size:
                    count += len(stream.decode(packet))
    return count


def numbers(frames: list[NDArray[np.uint8]]) -> list[int]:
    """Which frames of :func:`pictures` these are, by the grey of their right halves."""
    levels = np.array([level(number) for number in range(COUNT)])
    away = [np.abs(levels - frame[16:40, 40:60].mean()) for frame in frames]
    assert max((distances.min() for distances in away), default=0) < 6
    return [int(distances.argmin()) for distances in away]


def read(path: Path) -> tuple[list[NDArray[np.uint8]], str | None]:
    with open_video(path) as video:
        return [video.rgb(frame) for frame in video], video.damage
