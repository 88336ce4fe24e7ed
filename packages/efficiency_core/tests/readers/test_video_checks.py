"""What containers say about the number of their frames."""

import re
from itertools import islice
from pathlib import Path

import av
import pytest
from making_videos import COUNT, encode, pictures, read

from efficiency_core.errors import BrokenFile
from efficiency_core.readers.video import VideoFile, open_video
from efficiency_core.readers.video.checks import PacketChecks, count_blocks


def test_an_avi_whose_index_is_lost_is_measured_by_its_header(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.avi")
    content = clip.read_bytes()
    index = content.index(b"idx1")
    clip.write_bytes(content[:index])
    assert len(VideoFile(clip)) == COUNT  # all frames are there
    second = content.index(b"00dc", content.index(b"00dc") + 4)
    size = int.from_bytes(content[second + 4 : second + 8], "little")
    clip.write_bytes(content[:second] + content[second + 8 + size + size % 2 : index])
    assert read(clip)[1] == f"the header promises {COUNT} frames, {COUNT - 1} could be read"


def test_an_avi_may_declare_one_frame_too_many(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.avi")
    content = bytearray(clip.read_bytes())
    at = content.index(b"strh") + 8 + 32  # dwLength of the stream's header
    assert content[at] == COUNT
    content[at] = COUNT + 1
    clip.write_bytes(content)
    with open_video(clip) as video:
        assert video.frame_count == COUNT + 1 and len(list(video)) == COUNT
    assert video.damage is None


@pytest.mark.parametrize(
    ("name", "read", "shown", "said"),
    [
        ("clip.mp4", COUNT, 0.96, None),
        ("clip.mp4", COUNT, 0.84, "the packets end at 0.96 s, the frames at 0.84 s"),  # dropped by the decoder
        ("clip.mp4", 12, 0.96, f"lists {COUNT} frames, of which 12 could be read"),
        ("clip.avi", COUNT, 0.1, None),  # times in which frames of AVI are shown are guesses
        ("clip.avi", 12, 0.96, f"lists {COUNT} frames, of which 12 could be read"),
        ("clip.mkv", 12, 0.96, f"holds {COUNT} blocks, of which 12 could be read"),
    ],
)
def test_packets_that_could_not_be_read(tmp_path: Path, name: str, read: int, shown: float, said: str | None) -> None:
    path = encode(tmp_path / name, codec="mpeg4")
    with av.open(str(path)) as container:
        checks = PacketChecks(container, container.streams.video[0], path)
        for packet in islice((packet for packet in container.demux(video=0) if packet.size), read):
            checks.add(packet)
        found = checks.missing(shown)
    assert found is None if said is None else found is not None and found.startswith(said)


def test_blocks_of_a_webm_file(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.webm")
    assert count_blocks(clip) == COUNT
    content = clip.read_bytes()
    clip.write_bytes(content[:-1])  # in the index, which comes last
    assert count_blocks(clip) == COUNT
    clip.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="broken or cut off at byte"):
        count_blocks(clip)


CLUSTER = b"\x1f\x43\xb6\x75"


@pytest.mark.parametrize("header", [b"\x46\xf6\x61\x04", b"\xec\x87", b"\x00", b"\xff"])
@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_a_cluster_whose_header_is_damaged_is_noticed(tmp_path: Path, suffix: str, header: bytes) -> None:
    """FFmpeg goes on at the next cluster without a word; the size that a damaged header gives may lie inside the file."""
    clip = encode(tmp_path / f"clip{suffix}", pictures(3 * COUNT))
    content = clip.read_bytes()
    places = [found.start() for found in re.finditer(CLUSTER, content)]
    assert len(places) >= 2
    for at in places:
        clip.write_bytes(content[:at] + header + content[at + len(header) :])
        with pytest.raises(BrokenFile):
            len(VideoFile(clip))


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_bytes_after_the_last_cluster_break_no_file(tmp_path: Path, suffix: str) -> None:
    """Recorders reserve room and leave it filled with zeros."""
    clip = encode(tmp_path / f"clip{suffix}")
    clip.write_bytes(clip.read_bytes() + bytes(5000))
    frames, damage = read(clip)
    assert damage is None and len(frames) == len(VideoFile(clip)) == COUNT


def overwrite(path: Path, mark: bytes, offset: int, value: bytes) -> None:
    """Replace bytes at some offset from where a mark stands first."""
    content = path.read_bytes()
    at = content.index(mark) + offset
    path.write_bytes(content[:at] + value + content[at + len(value) :])


@pytest.mark.parametrize(
    ("name", "mark", "offset", "value"),
    [
        ("clip.avi", b"strh", 40, b"\x00\x01\x00\x00"),  # 256 frames
        ("clip.avi", b"avih", 24, b"\x00\x01\x00\x00"),
        ("clip.avi", b"RIFF", 4, b"\xff\xff\xff\x7f"),
        ("clip.mp4", b"mdhd", 20, b"\x7f\x00\x00\x00"),  # duration
        ("clip.mp4", b"mvhd", 20, b"\x7f\x00\x00\x00"),
        ("clip.mp4", b"tkhd", 24, b"\x7f\x00\x00\x00"),
        ("clip.mkv", b"\x44\x89\x88", 3, b"\x41\x50"),  # Duration of the segment
        ("clip.mkv", b"00:00:00", 3, b"59"),  # of the track
        ("clip.mkv", b"\x1c\x53\xbb\x6b", 4, b"\x8f"),  # size of the cues
        ("clip.mkv", b"\x18\x53\x80\x67", 8, b"\x7f"),  # size of the segment
    ],
)
def test_a_header_that_exaggerates_breaks_no_file(
    tmp_path: Path, name: str, mark: bytes, offset: int, value: bytes
) -> None:
    clip = encode(tmp_path / name)
    overwrite(clip, mark, offset, value)
    frames, damage = read(clip)
    assert damage is None and len(frames) == len(VideoFile(clip)) == COUNT
