"""The files: their layout, their digest, lazy reading from many processes, and every way they can be bad."""

import errno
import hashlib
import json
import multiprocessing
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from efficiency_core.errors import BrokenFile, UsageError
from synthetic_datasets import Digits, Field, LabelVideoFile, MovingDigitsConfig, Sample, SampleFile, TrackVideoFile
from synthetic_datasets.generators.moving_digits import GENERATOR, generate, layout
from synthetic_datasets.storage.building import build, staging
from synthetic_datasets.storage.hdf5 import Sink, write

CONFIG = MovingDigitsConfig(train=12, test=10, objects=2, frames=9, background="noise")
LAYOUT = {"b": Field((2, 3), "<f4", "values"), "a": Field((), "<i8", "numbers")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built")
    build(GENERATOR, CONFIG, out)
    return out


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copy(folder / "train.h5", tmp_path / "copy.h5"))


def some_samples(count: int) -> Iterator[Sample]:
    for index in range(count):
        yield Sample({"b": np.full((2, 3), index, "<f4"), "a": np.array(index, "<i8")})


def test_layout_of_the_file(folder: Path) -> None:
    with h5py.File(folder / "test.h5") as file:
        shapes = {name: (array.shape, array.dtype.str) for name, array in file.items()}
        assert shapes == {
            "video": ((10, 9, 64, 64), "|u1"), "boxes": ((10, 9, 2, 4), "<f4"), "present": ((10, 9, 2), "|b1"),
            "labels": ((10, 2), "<i8"), "tracks": ((10, 2), "<i8"), "direction": ((10, 2), "<f4"),
            "speed": ((10, 2), "<f4"), "source_index": ((10, 2), "<i8"), "start": ((10, 2, 2), "<f4"),
        }  # fmt: skip
        video = file["video"]
        assert video.chunks == (1, 9, 64, 64) and video.shuffle
        assert (video.compression, video.compression_opts) == ("gzip", 4)
        attributes = dict(file.attrs)
    assert attributes["format"] == "track-video" and attributes["format_version"] == 1
    assert attributes["name"] == "MovingDigits" and attributes["split"] == "test"
    assert attributes["source"] == "sklearn-digits" and attributes["generator_version"] == "1.1.0"
    assert json.loads(attributes["config"])["frames"] == 9
    assert json.loads(attributes["class_names"])[:2] == ["zero", "one"]


def test_digest_is_the_documented_one(folder: Path) -> None:
    lines = []
    with h5py.File(folder / "train.h5") as file:
        for name in sorted(file):
            values = file[name][:]
            shape = ",".join(map(str, values.shape))
            lines.append(f"{name} {values.dtype.str} {shape} {hashlib.sha256(values.tobytes()).hexdigest()}\n")
        assert file.attrs["content_digest"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_reader_gives_what_was_generated(folder: Path, digits: Digits) -> None:
    file = TrackVideoFile(folder / "train.h5")
    assert len(file) == 12
    for index, arrays in enumerate(file):
        expected = generate(CONFIG, "train", index, digits).arrays
        assert arrays.keys() == expected.keys() == layout(CONFIG).keys()
        assert all(np.array_equal(arrays[name], expected[name]) for name in arrays)
    assert np.array_equal(file[-1]["video"], file[11]["video"])
    assert file.read("labels")[:, 0].tolist() == [*range(10), 0, 1]
    assert file.facts["config"]["objects"] == 2
    for index in (12, -13):
        with pytest.raises(IndexError):
            file[index]
    with pytest.raises(UsageError, match="has no array 'flow'; it has boxes, direction"):
        file.read("flow")
    file.verify()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_several_processes_read_an_open_file(folder: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    file = TrackVideoFile(folder / "train.h5")
    expected = [arrays["video"] for arrays in file]
    copy = pickle.loads(pickle.dumps(file))  # leaves the handle behind
    assert np.array_equal([arrays["video"] for arrays in copy], expected)
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        read = [arrays["video"] for arrays in pool.map(TrackVideoFile.__getitem__, [file] * 12, range(12))]
    assert np.array_equal(read, expected)
    assert np.array_equal(expected[5], file[5]["video"])


def test_damage_is_noticed(damaged: Path) -> None:
    with h5py.File(damaged, "r+") as file:
        file["boxes"][3, 0, 0, 0] += 1
    with pytest.raises(UsageError, match="its arrays are not those that were written"):
        TrackVideoFile(damaged).verify()
    with h5py.File(damaged) as file:
        offset = file["video"].id.get_chunk_info(3).byte_offset
    data = bytearray(damaged.read_bytes())
    data[offset + 100 : offset + 140] = bytes(40)
    damaged.write_bytes(data)
    file = TrackVideoFile(damaged)
    file[2]
    with pytest.raises(BrokenFile, match=r"copy/000003: is damaged"):
        file[3]


def test_no_damage_gives_a_foreign_exception_or_wrong_values(damaged: Path) -> None:
    data = damaged.read_bytes()
    rng = np.random.default_rng(0)
    noticed = 0
    for _ in range(40):
        bad = bytearray(data)
        place = int(rng.integers(0, len(data) - 64))
        bad[place : place + 64] = rng.integers(0, 256, 64, dtype=np.uint8).tobytes()
        damaged.write_bytes(bad)
        try:
            TrackVideoFile(damaged).verify()
        except UsageError:
            noticed += 1
    assert noticed > 20  # the others hit unused bytes


def test_what_the_constructor_refuses(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"later\.h5: no such file; expected a track-video file"):
        TrackVideoFile(tmp_path / "later.h5")
    data = damaged.read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match=r"cut\.h5: not a readable HDF5 file .*; build it again with synthdata build"):
        SampleFile(tmp_path / "cut.h5")
    with pytest.raises(UsageError, match="not a label-video file"):
        LabelVideoFile(damaged)
    with h5py.File(damaged, "r+") as file:
        file.attrs["config"] = "{"
    with pytest.raises(UsageError, match="its attributes are damaged"):
        SampleFile(damaged)
    with h5py.File(damaged, "r+") as file:
        del file["tracks"]
        file["more"] = np.zeros(5)
    with pytest.raises(UsageError, match="'tracks' is missing"):
        TrackVideoFile(damaged)
    with pytest.raises(UsageError, match="arrays of unequal length"):
        SampleFile(damaged)


@pytest.mark.parametrize("made", [3, 5])
def test_the_writer_counts(tmp_path: Path, made: int) -> None:
    with pytest.raises(ValueError, match=r"expected 4 samples, got (3|more)"):
        write(tmp_path / "x.h5", some_samples(made), 4, LAYOUT, {})


def test_the_writer_never_asks_ahead(tmp_path: Path) -> None:
    alive = []

    def watched() -> Iterator[Sample]:
        for sample in some_samples(50):
            alive.append(sample.arrays["a"].item())
            yield sample

    write(tmp_path / "x.h5", watched(), 50, LAYOUT, {"text": "t", "number": 3, "list": [1, 2]})
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["a"][:].tolist() == alive == list(range(50))
        assert (file.attrs["text"], file.attrs["number"], file.attrs["list"]) == ("t", 3, "[1, 2]")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_plain_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write(Path("/dev/full"), some_samples(50), 50, LAYOUT, {})
    assert caught.value.errno == errno.ENOSPC
    assert capfd.readouterr() == ("", "")


def test_sink_is_a_file(tmp_path: Path) -> None:
    with Sink(tmp_path / "x") as sink:
        sink.write(b"hello world")
        sink.seek(6)
        buffer = bytearray(8)
        assert sink.readinto(memoryview(buffer)) == 8 and buffer == b"world\0\0\0"
        sink.truncate(5)
        assert sink.tell() == 11 and sink.error is None
    assert (tmp_path / "x").read_bytes() == b"hello"


def test_staging_is_all_or_nothing(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with pytest.raises(KeyboardInterrupt), staging(out) as folder:
        (folder / "a").write_text("new")
        raise KeyboardInterrupt
    assert not out.exists()
    with staging(out) as folder:
        (folder / "a").write_text("old")
        (folder / "b").write_text("old")
        assert not (out / "a").exists()
    with pytest.raises(OSError, match="full"), staging(out) as folder:
        (folder / "a").write_text("new")
        raise OSError(errno.ENOSPC, "full")
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "old", "b": "old"}
    with pytest.raises(UsageError, match="is a file; name a folder"), staging(out / "a"):
        pass
