"""Video files of every container people have: all frames in order, or an error that names the file and says why."""

import os
import pickle
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from full_video import video_file
from full_video.errors import BrokenVideo, WorkError
from full_video.frames import frame_chunks
from full_video.matroska import count_blocks
from full_video.video_file import VideoFile

CONTAINERS = {"clip.avi": "mpeg4", "clip.mp4": "libx264", "clip.webm": "libvpx-vp9", "clip.mkv": "libx264"}
CLIPS = Path(os.environ.get("EFFICIENCY_DATA", "")) / "videos"


def level(number: int) -> int:
    """Grey value of a frame, which tells it from its neighbours after compression."""
    return 20 + 53 * number % 200


def write_video(
    path: Path, count: int = 30, size: tuple[int, int] = (48, 64), noise: bool = False, title: str = ""
) -> Path:
    """Grey frames with a border of noise or without."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", metadata_encoding="latin-1") as container:
        if title:
            container.metadata["title"] = title
        stream = container.add_stream(CONTAINERS[f"clip{path.suffix}"], rate=15)
        stream.height, stream.width = size
        stream.pix_fmt, stream.gop_size, stream.bit_rate = "yuv420p", 10, 400_000
        for number in range(count):
            pixels = np.full((*size, 3), level(number), dtype=np.uint8)
            if noise:
                pixels[:, : size[1] // 2] = (
                    rng.integers(0, 255, (size[0] // 4, size[1] // 8, 3)).repeat(4, 0).repeat(4, 1)
                )
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        container.mux(stream.encode())
    return path


def numbers(frames: torch.Tensor) -> list[int]:
    """Which frames of :func:`write_video` these are."""
    centre = frames[:, :, 16:32, 40:56].float().mean((1, 2, 3))
    levels = torch.tensor([level(number) for number in range(30)])
    assert (centre[:, None] - levels).abs().min(1).values.max() < 6
    return (centre[:, None] - levels).abs().argmin(1).tolist()


@pytest.fixture(params=sorted(CONTAINERS))
def clip(request, tmp_path):
    return write_video(tmp_path / request.param)


def test_the_levels_tell_frames_apart():
    levels = sorted(level(number) for number in range(30))
    assert min(np.diff(levels)) > 1
    assert all(abs(level(number) - level(number + 1)) > 40 for number in range(29))


@pytest.mark.parametrize("size", [1, 4, 30, 100])
def test_chunks_are_all_frames_in_order_once(clip, size):
    chunks = list(frame_chunks(VideoFile(clip), size))
    assert all(chunk.dtype == torch.uint8 and chunk.shape[1:] == (3, 48, 64) for chunk in chunks)
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert numbers(torch.cat(chunks)) == list(range(30))


def test_any_rising_part_is_the_same_frames(clip):
    source = VideoFile(clip)
    whole = source[:]
    assert len(source) == 30 and torch.equal(whole, torch.cat(list(frame_chunks(source, 7))))
    for start in range(0, 30, 8):
        assert torch.equal(source[start : start + 8], whole[start : start + 8])
    assert torch.equal(source[np.array([0, 0, 5, 29, 29])], whole[[0, 0, 5, 29, 29]])
    assert torch.equal(source[np.array([3])], whole[[3]])  # back again
    assert source[4:4].shape == (0, 3, 48, 64)


def test_reading_on_does_not_start_again(tmp_path, monkeypatch):
    passes = []
    decoded = video_file._decoded
    monkeypatch.setattr(video_file, "_decoded", lambda path, name: passes.append(name) or decoded(path, name))
    source = VideoFile(write_video(tmp_path / "clip.mp4"))
    for start in range(0, 30, 10):
        source[start : start + 10]
    assert len(passes) == 2  # one to count, one to read
    counts = {}
    list(frame_chunks(VideoFile(source.path, counts=counts), 8))
    assert len(passes) == 3
    assert len(VideoFile(source.path, counts=counts)) == 30
    assert len(passes) == 3


def test_a_source_survives_pickling_between_reads(tmp_path):
    source = VideoFile(write_video(tmp_path / "clip.mp4"))
    first = source[:10]
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy[:10], first) and torch.equal(copy[10:20], source[10:20])


@pytest.mark.parametrize("part", [0.0, 0.02, 0.3, 0.6, 0.9])
def test_a_file_that_was_cut_off_is_broken(clip, part):
    write_video(clip, noise=True)
    clip.write_bytes(clip.read_bytes()[: int(part * clip.stat().st_size)])
    source = VideoFile(clip, "folder/clip")
    with pytest.raises(BrokenVideo) as counting:
        len(source)
    with pytest.raises(BrokenVideo) as reading:
        list(frame_chunks(source, 8))
    for raised in (counting, reading):
        assert raised.value.name == "folder/clip"
        assert raised.value.why and str(raised.value) == f"folder/clip: {raised.value.why}"
        assert isinstance(raised.value, WorkError)


@pytest.mark.parametrize("name", ["clip.avi", "clip.webm", "clip.mkv", "clip.mp4"])
def test_frames_that_are_lost_in_the_middle_make_a_video_broken(tmp_path, name):
    clip = write_video(tmp_path / name, noise=True)
    content = clip.read_bytes()
    rng = np.random.default_rng(1)
    shorter = broken = 0
    for at in range(len(content) // 3, 3 * len(content) // 4, len(content) // 30):
        damaged = bytearray(content)
        damaged[at : at + len(content) // 25] = rng.bytes(len(content) // 25)
        clip.write_bytes(damaged)
        try:
            shorter += len(VideoFile(clip)) != 30
        except BrokenVideo:
            broken += 1
    assert not shorter and broken >= 8


def test_an_avi_whose_index_is_damaged_is_measured_by_its_header(tmp_path):
    clip = write_video(tmp_path / "clip.avi", noise=True)
    content = clip.read_bytes()
    index = content.index(b"idx1")
    clip.write_bytes(content[:index])
    assert len(VideoFile(clip)) == 30  # all frames are there
    second = content.index(b"00dc", content.index(b"00dc") + 4)
    size = int.from_bytes(content[second + 4 : second + 8], "little")
    clip.write_bytes(content[:second] + content[second + 8 + size + size % 2 : index])
    with pytest.raises(BrokenVideo, match="promises 30 frames, 29 could be read"):
        len(VideoFile(clip))


def test_blocks_of_a_webm_file(tmp_path):
    clip = write_video(tmp_path / "clip.webm")
    assert count_blocks(clip) == 30
    clip.write_bytes(clip.read_bytes()[:-1])
    with pytest.raises(ValueError, match="broken or cut off at byte"):
        count_blocks(clip)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "not a readable video"), (b"words\n" * 50, "not a readable video"), (None, "no such file")],
)
def test_what_is_no_video(tmp_path, content, why):
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BrokenVideo, match=why):
        len(VideoFile(path))


@pytest.mark.parametrize("name", ["clip.avi", "clip.mkv"])
def test_a_title_that_is_no_utf8_does_not_matter(tmp_path, name):
    path = write_video(tmp_path / name, count=5, title="caf\xe9")
    assert b"caf\xe9" in path.read_bytes()
    assert len(VideoFile(path)) == 5


def test_a_name_with_a_colon_is_no_address(tmp_path, monkeypatch):
    write_video(tmp_path / "clip.avi", count=5).rename(tmp_path / "clip:1.avi")
    monkeypatch.chdir(tmp_path)
    assert len(VideoFile("clip:1.avi")) == 5


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "clip.avi"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    with pytest.raises(BrokenVideo, match="no video stream"):
        list(frame_chunks(VideoFile(path), 8))


def test_fewer_frames_than_declared(tmp_path):
    path = write_video(tmp_path / "clip.mp4", count=5)
    assert len(VideoFile(path, least=5)) == 5
    with pytest.raises(BrokenVideo, match="6 frames are declared, the file holds 5"):
        len(VideoFile(path, least=6))
    with pytest.raises(BrokenVideo, match="6 frames are declared, the file holds 5"):
        list(frame_chunks(VideoFile(path, least=6), 8))


def test_a_file_that_changed_meanwhile(tmp_path):
    counts: dict[Path, int] = {}
    path = write_video(tmp_path / "clip.mp4", count=8)
    assert len(VideoFile(path, counts=counts)) == 8
    write_video(path, count=6)
    for read in (lambda source: source[:], lambda source: list(frame_chunks(source, 4))):
        with pytest.raises(BrokenVideo, match="had 8 frames before and now 6"):
            read(VideoFile(path, counts=counts))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's count of resident memory")
@pytest.mark.slow
def test_memory_is_flat(tmp_path):
    source = VideoFile(write_video(tmp_path / "clip.mp4", count=300, size=(256, 320)))  # 74 MB of pixels
    resident = []
    for _ in frame_chunks(source, 8):
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    for start in range(0, len(source), 8):
        source[start : start + 8]
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    assert max(resident) - resident[2] < 25e6


@pytest.mark.skipif(not (CLIPS / "clip-a.avi").is_file(), reason="needs EFFICIENCY_DATA with videos/")
@pytest.mark.parametrize(("name", "count"), [("clip-a.avi", 164), ("clip-b.mp4", 280), ("clip-c.mp4", 300)])
def test_real_clips(name, count):
    source = VideoFile(CLIPS / name)
    assert sum(len(chunk) for chunk in frame_chunks(source, 32)) == count == len(source)
