"""Damaged and cut videos: every frame that FFmpeg makes of them is given, and what is lost is noticed."""

from itertools import islice, product
from pathlib import Path

import av
import numpy as np
import pytest
from making_videos import COUNT, REORDERED, encode, numbers, pictures, plain_count, read, remux

from efficiency_core.errors import BrokenFile
from efficiency_core.readers.video import VideoFile


def packet_ends(path: Path) -> list[int]:
    """Where the frames end in the file, rising."""
    with av.open(str(path)) as container:
        return sorted((packet.pos or 0) + packet.size for packet in container.demux(video=0) if packet.size)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "coder", "complete"),
    [
        *(("clip.mp4", "libx264", "yuv420p", {}, complete) for complete in (3, 10)),
        *(("clip.mp4", "libx264", "yuv420p", REORDERED, complete) for complete in (3, 10, 18)),
        *(("clip.avi", "libx264", "yuv420p", REORDERED, complete) for complete in (10, 18)),
        *(("clip.avi", "mjpeg", "yuvj420p", {}, complete) for complete in (3, 18)),
        *(("clip.avi", "ffv1", "yuv420p", {}, complete) for complete in (3, 18)),
        *(("clip.mkv", "libx264", "yuv420p", REORDERED, complete) for complete in (3, 10, 18)),
        *(("clip.webm", "libvpx-vp9", "yuv420p", {}, complete) for complete in (3, 18)),
    ],
)
def test_a_cut_file_gives_the_frames_before_the_cut(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, coder: dict[str, str], complete: int
) -> None:
    """The frame in which the cut is may be given too, as far as it goes."""
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    clip = encode(tmp_path / name, codec=codec, pix_fmt=pix_fmt, options=options, coder=coder)
    expected, damage = read(clip)
    assert damage is None
    before, after = packet_ends(clip)[complete - 1 : complete + 1]
    clip.write_bytes(clip.read_bytes()[: (before + after) // 2])
    got, damage = read(clip)
    assert len(got) == plain_count(clip) and complete - 1 <= len(got) <= complete + 1
    sound = max(complete - 4, 0) if coder else complete
    assert all(np.array_equal(a, b) for a, b in zip(got[:sound], expected, strict=False))
    assert damage is not None and "\n" not in damage
    file = VideoFile(clip, "folder/clip")
    for attempt in (lambda: len(file), lambda: list(file)):
        with pytest.raises(BrokenFile, match=r"^folder/clip: .") as caught:
            attempt()
        assert damage.startswith(caught.value.why)


@pytest.mark.parametrize("kept", [6, 20])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.avi"])
def test_a_file_cut_between_two_frames_is_noticed(tmp_path: Path, name: str, kept: int) -> None:
    """Nothing fails to decode then: only the index or the header tells that there was more."""
    options = {} if name.endswith("avi") else {"movflags": "faststart"}
    whole = encode(tmp_path / name, codec="mpeg4", options=options)
    whole.write_bytes(whole.read_bytes()[: packet_ends(whole)[kept - 1]])
    frames, damage = read(whole)
    assert len(frames) == kept and damage is not None


def test_frames_that_are_lost_in_the_middle_are_noticed(clip: Path) -> None:
    content = clip.read_bytes()
    rng = np.random.default_rng(1)
    broken = 0
    for at in range(len(content) // 3, 3 * len(content) // 4, len(content) // 20):
        damaged = bytearray(content)
        damaged[at : at + len(content) // 25] = rng.bytes(len(content) // 25)
        clip.write_bytes(damaged)
        try:
            assert len(VideoFile(clip)) == COUNT
        except BrokenFile:
            broken += 1
    assert broken >= 5


def test_damage_inside_a_file_is_named_and_the_rest_is_given(tmp_path: Path) -> None:
    whole = encode(tmp_path / "clip.avi", codec="ffv1")
    with av.open(str(whole)) as container:
        places = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(whole.read_bytes())
    position, size = places[10]
    content[position + 8 : position + 8 + size] = b"\xff" * size
    whole.write_bytes(content)
    frames, damage = read(whole)
    assert damage is not None and damage.startswith("cannot be decoded at 0.40 s")
    assert numbers(frames) == [*range(10), *range(20, COUNT)]  # from the next keyframe on
    assert len(frames) == plain_count(whole)
    sound_part = list(islice(VideoFile(whole), 10))
    assert all(np.array_equal(a, b) for a, b in zip(sound_part, frames, strict=False))


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize(("first", "lost"), [(0.3, 1), (0.3, 40), (0.6, 1), (0.95, 2)])
def test_lost_packets_of_a_transport_stream_are_named_and_the_rest_is_given(
    tmp_path: Path, codec: str, first: float, lost: int
) -> None:
    path = encode(tmp_path / "clip.ts", pictures(4 * COUNT), codec)
    packets = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 188)
    pid = (packets[:, 1].astype(int) & 31) * 256 + packets[:, 2]
    picture = np.flatnonzero(pid == 256)
    at = int(first * len(picture))
    path.write_bytes(np.delete(packets, picture[at : at + lost], 0).tobytes())
    frames, damage = read(path)
    assert len(frames) == plain_count(path) >= 4 * COUNT - 1 - lost // 2
    assert damage is not None and " s" in damage and "\n" not in damage
    with pytest.raises(BrokenFile, match="bytes are missing at"):
        len(VideoFile(path))


@pytest.mark.parametrize("name", ["copy.avi", "copy.mkv", "copy.ts", "copy.mov"])
@pytest.mark.parametrize("coder", [REORDERED, {"x264-params": "bframes=16:b-pyramid=normal:b-adapt=0"}, {}])
def test_a_copy_into_another_container_is_whole(tmp_path: Path, name: str, coder: dict[str, str]) -> None:
    copy = remux(encode(tmp_path / "clip.mp4", coder=coder), name)
    frames, damage = read(copy)
    assert damage is None and numbers(frames) == list(range(COUNT)) and len(VideoFile(copy)) == COUNT


def fuzzed(path: Path, rng: np.random.Generator, bits: int) -> None:
    """Turn over some bits of a file, or for 0 cut it off."""
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    if bits:
        np.bitwise_xor.at(content, rng.integers(0, len(content), bits), 1 << rng.integers(0, 8, bits, dtype=np.uint8))
    path.write_bytes(content[: len(content) if bits else rng.integers(len(content) // 8, len(content))].tobytes())


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("name", ["copy.avi", "copy.mkv", "copy.ts", "copy.mov", "parts.mp4"])
def test_fuzzed_copies_give_what_ffmpeg_gives(tmp_path: Path, codec: str, name: str) -> None:
    """And a file in which FFmpeg finds nothing wrong, with all its frames, is not called broken."""
    options = {"movflags": "frag_keyframe+empty_moov"} if name == "parts.mp4" else {}
    whole = remux(encode(tmp_path / "clip.mp4", codec=codec, coder=REORDERED), name, **options)
    content = whole.read_bytes()
    rng = np.random.default_rng(0)
    for bits, _ in product((0, 1, 1, 30), range(2)):
        whole.write_bytes(content)
        fuzzed(whole, rng, bits)
        try:
            expected = plain_count(whole)
        except (av.FFmpegError, IndexError):
            expected = 0
        try:
            frames, damage = read(whole)
        except BrokenFile as error:
            frames, damage = [], error.why
        assert len(frames) == expected
        with_errors = errors(whole)
        assert damage is None or with_errors or len(frames) < COUNT


def errors(path: Path) -> list[str]:
    """What FFmpeg logs as errors while it decodes a file."""
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as logs:
            plain_count(path)
    except (av.FFmpegError, IndexError):
        return ["cannot be opened"]
    finally:
        av.logging.set_level(None)
    return [text for level, _, text in logs if level <= av.logging.ERROR]
