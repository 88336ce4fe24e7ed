"""Frames of a video by their number."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from making_videos import COUNT, encode, pictures

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.readers.video import VideoFile

CLIPS = Path(os.environ.get("EFFICIENCY_DATA", "")) / "videos"


def test_any_rising_frames_are_the_same_pixels(clip: Path) -> None:
    file = VideoFile(clip)
    whole = list(file)
    for wanted in ([0, 0, 5, 23, 23], [10], [3], [], [4, 5, 6], range(7, 24), range(24)):
        assert all(np.array_equal(a, whole[b]) for a, b in zip(file.at(wanted), wanted, strict=True))
    for wrong in ([2, 1], [-1], [3, -1]):
        with pytest.raises(IndexError, match="rising order from 0"):
            list(file.at(wrong))
    with pytest.raises(BrokenFile, match="frame 24 is asked for, the file holds 24"):
        list(VideoFile(clip).at([24]))


def test_reading_on_does_not_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[str] = []
    av_open = av.open
    path = encode(tmp_path / "clip.mp4")

    def opening(*names: Any, **options: Any) -> Any:
        passes.append(names[0])
        return av_open(*names, **options)

    monkeypatch.setattr(av, "open", opening)
    counts: dict[Path, int] = {}
    file = VideoFile(path, counts=counts)
    assert len(file) == COUNT
    for start in range(0, COUNT, 10):
        list(file.at(range(start, min(COUNT, start + 10))))
    assert len(passes) == 2  # one to count, one to read
    list(file.at([3]))
    assert len(passes) == 3 and len(VideoFile(path, counts=counts)) == COUNT
    list(VideoFile(path, counts=counts))
    assert len(passes) == 4


def test_a_file_survives_pickling_between_reads(tmp_path: Path) -> None:
    file = VideoFile(encode(tmp_path / "clip.mp4"))
    first = list(file.at(range(10)))
    copy = pickle.loads(pickle.dumps(file))
    assert all(np.array_equal(a, b) for a, b in zip(copy.at(range(10)), first, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(copy.at([10, 20]), file.at([10, 20]), strict=True))


def test_fewer_frames_than_declared_or_before(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", pictures(8))
    assert len(VideoFile(path, least=8)) == 8
    for count in (len, list):
        with pytest.raises(BrokenFile, match="9 frames are declared, the file holds 8"):
            count(VideoFile(path, least=9))
    counts: dict[Path, int] = {}
    assert len(VideoFile(path, counts=counts)) == 8
    encode(path, pictures(6))
    for attempt in (list, lambda file: list(file.at([7]))):
        with pytest.raises(BrokenFile, match="had 8 frames before and now 6"):
            attempt(VideoFile(path, counts=counts))


def test_without_pyav_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("efficiency_core.readers.video")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match="video files need PyAV: pip install av"):
        __import__("efficiency_core.readers.video")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's count of resident memory")
def test_memory_is_flat(tmp_path: Path) -> None:
    file = VideoFile(encode(tmp_path / "clip.mp4", pictures(1, 320, 256) * 300))  # 74 MB of pixels
    resident = []
    for frames in (file, file.at(range(300))):
        for _ in frames:
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    assert max(resident) - resident[20] < 25e6


@pytest.mark.skipif(not (CLIPS / "clip-a.avi").is_file(), reason="needs EFFICIENCY_DATA with videos/")
@pytest.mark.parametrize(("name", "count"), [("clip-a.avi", 164), ("clip-b.mp4", 280), ("clip-c.mp4", 300)])
def test_real_clips(name: str, count: int) -> None:
    assert sum(1 for _ in VideoFile(CLIPS / name)) == count == len(VideoFile(CLIPS / name))


FORKS = """
import gc, sys
from efficiency_core.readers.ahead import read_ahead
from efficiency_core.readers.video import VideoFile, open_video

file = VideoFile(sys.argv[1])
next(file.at([3]))  # a pass is open, and its decoder has threads

class Cycle: pass

cycle = Cycle()
cycle.own, cycle.video = cycle, open_video(sys.argv[1])
next(iter(cycle.video.__enter__()))
del cycle  # garbage with a decoder, which nobody has collected yet

def work(number):
    gc.collect()
    return int(next(file.at([number])).mean())

print(*read_ahead(work, [2, 5, 1], 1, processes=True), *(work(number) for number in [2, 5, 1]))
"""


def test_forked_workers_do_not_wait_for_decoders_of_their_parent(clip: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKS, clip], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    numbers = done.stdout.split()
    assert numbers[:3] == numbers[3:] and len(numbers) == 6
