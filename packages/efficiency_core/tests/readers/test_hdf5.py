"""HDF5 files of samples: what is checked, what is read, in other processes and after damage."""

import json
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.readers.hdf5 import ArraySpec, Hdf5File

ARRAYS = {
    "video": ArraySpec("uint8", "S T H W [3]"),
    "boxes": ArraySpec("f", "S T o 4"),
    "label": ArraySpec("iu", "S"),
    "kind": ArraySpec("uint8", "S T", optional=True),
    "outlier": ArraySpec("b", "S", optional=True),
}
Write = Callable[..., tuple[Path, dict[str, Any]]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes ``train.h5``; None leaves an array or an attribute out."""

    def write(name: str = "train.h5", attributes: dict[str, Any] | None = None, **arrays: Any) -> Any:
        rng = np.random.default_rng(0)
        content: dict[str, Any] = {
            "video": rng.integers(0, 256, (5, 12, 16, 8), dtype=np.uint8),
            "boxes": rng.random((5, 12, 2, 4), dtype=np.float32),
            "label": np.arange(5, dtype=np.uint16),
            "extra": np.zeros((3, 3)),
        } | arrays
        facts = {
            "format": "track-video", "format_version": 1, "split": "train", "name": "Squares", "source": "generated",
            "content_digest": "0123", "class_names": json.dumps(["left", "right"]),
        } | (attributes or {})  # fmt: skip
        with h5py.File(tmp_path / name, "w") as file:
            for key, array in content.items():
                if array is not None:
                    chunks = (1, 4, *array.shape[2:]) if key == "video" and array.shape[1] == 12 else None
                    file.create_dataset(key, data=array, chunks=chunks, compression="gzip" if chunks else None)
            file.create_group("notes")
            file.attrs.update({key: value for key, value in facts.items() if value is not None})
        return tmp_path / name, content

    return write


def opened(path: Path, **options: Any) -> Hdf5File:
    return Hdf5File(path, "track-video", ARRAYS, **options)


def test_what_was_written_is_read(write: Write) -> None:
    path, content = write()
    file = opened(path)
    assert len(file) == 5 and file.path == path
    assert (file.name, file.source, file.content_digest) == ("Squares", "generated", "0123")
    assert file.names("class_names") == ("left", "right")
    assert file.shapes["extra"] == (3, 3) and "notes" not in file.shapes
    assert type(file.attributes["format_version"]) is int
    assert np.array_equal(file.read("boxes"), content["boxes"])
    labels = file.integers("label", 0, 4, "video")
    assert labels.dtype == np.int64 and labels.tolist() == [0, 1, 2, 3, 4]
    video = content["video"]
    assert np.array_equal(file.row("video", 3), video[3]) and file.row("video", 3).dtype == np.uint8
    assert np.array_equal(file.row("video", -1, 7), video[4, 7])
    assert np.array_equal(file.row("video", 2, slice(3, 9)), video[2, 3:9])
    assert np.array_equal(file.row("video", 2, np.array([0, 5, 11])), video[2, [0, 5, 11]])
    assert file.item_name(3) == "train/000003"
    for wrong in (5, -6):
        with pytest.raises(IndexError):
            file.row("video", wrong)


def test_a_folder_holds_a_file_a_split(write: Write, tmp_path: Path) -> None:
    write("train.h5")
    path, _ = write("other.h5", attributes={"split": "test"})
    assert opened(tmp_path, split="train").path == tmp_path / "train.h5"
    assert opened(path).path == path
    with pytest.raises(UsageError, match=r"other\.h5: is the test split, expected train$"):
        opened(path, split="train")
    assert len(opened(write("free.h5", attributes={"split": None})[0], split="train")) == 5
    with pytest.raises(UsageError, match=r"val\.h5: no such file; expected a track-video file"):
        opened(tmp_path, split="val")


def test_colour_axes_and_empty_axes(write: Write) -> None:
    path, content = write(video=np.ones((2, 3, 4, 5, 3), np.uint8), boxes=np.ones((2, 3, 0, 4)), label=np.arange(2))
    assert np.array_equal(opened(path).row("video", 1), content["video"][1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, "array 'label' is missing; build it again"),
        ({"label": np.zeros(4, int)}, r"array 'label' has shape \(4,\), expected \(5\)"),
        ({"label": np.zeros(5)}, "array 'label' has type float64, expected int or uint"),
        ({"kind": np.zeros((5, 3), np.uint8)}, r"array 'kind' has shape \(5, 3\), expected \(5, 12\)"),
        ({"outlier": np.zeros(5, np.uint8)}, "array 'outlier' has type uint8, expected bool"),
        ({"video": np.zeros((5, 12, 8), np.uint8)}, r"'video' has shape \(5, 12, 8\), expected \(S, T, H, W, \[3\]\)"),
        ({"video": np.zeros((5, 12, 8, 8, 4), np.uint8)}, r"has shape .*8, 4\), expected \(5, 12, 8, 8, \[3\]\)"),
        ({"video": np.zeros((5, 0, 8, 8), np.uint8)}, r"'video' has shape \(5, 0, 8, 8\), expected \(5, T, H, W"),
        ({"video": np.zeros((5, 12, 8, 8), np.uint16)}, "array 'video' has type uint16, expected uint8"),
        ({"boxes": np.zeros((5, 12, 2, 3))}, r"'boxes' has shape \(5, 12, 2, 3\), expected \(5, 12, 2, 4\)"),
        ({"attributes": {"format": "image-set"}}, "not a track-video file .its attribute 'format' is 'image-set'"),
        ({"attributes": {"format": None}}, "not a track-video file .its attribute 'format' is None"),
        ({"attributes": {"format_version": 2}}, "format version 2, expected 1"),
    ],
)
def test_files_that_make_no_sense(write: Write, change: dict[str, Any], message: str) -> None:
    path, _ = write(**change)
    with pytest.raises(UsageError, match=rf"train\.h5: .*{message}"):
        opened(path)


def test_names_and_numbers_that_make_no_sense(write: Write) -> None:
    file = opened(write(attributes={"class_names": '{"left": 0}', "more": "left right"})[0], mend="fetch it")
    for attribute in ("class_names", "more", "none"):
        with pytest.raises(UsageError, match=f"attribute '{attribute}' is not a JSON list .*; fetch it"):
            file.names(attribute)
    with pytest.raises(UsageError, match="video 3 has label 3, expected 0 to 2; fetch it"):
        file.integers("label", 0, 2, "video")
    with pytest.raises(UsageError, match="video 0 has label 0, expected 1 or more"):
        file.integers("label", 1, None, "video")
    with pytest.raises(UsageError, match="has no array 'kind'; it has boxes, extra, label, video"):
        file.read("kind")


def test_any_format_is_read_without_a_format(write: Write) -> None:
    assert len(Hdf5File(write()[0], None, {})) > 0
    with pytest.raises(UsageError, match="not a file of samples"):
        Hdf5File(write(attributes={"format": None})[0], None, {})


def test_no_hdf5_and_no_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.h5").write_text("words")
    with pytest.raises(UsageError, match=r"words\.h5: not a readable HDF5 file .*; build it again"):
        opened(tmp_path / "words.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match="pip install h5py"):
        opened(tmp_path / "words.h5")


def test_one_damaged_sample_among_sound_ones(write: Write) -> None:
    path, content = write()
    with h5py.File(path) as file:
        place = file["video"].id.get_chunk_info_by_coord((3, 4, 0, 0))
    damaged = bytearray(path.read_bytes())
    damaged[place.byte_offset + 20 : place.byte_offset + 60] = bytes(40)
    path.write_bytes(damaged)
    file = opened(path)
    with pytest.raises(BrokenFile, match=r"^train/000003: is damaged in .*train\.h5 .*; build it again") as caught:
        file.row("video", 3)
    assert caught.value.name == "train/000003"
    assert np.array_equal(file.row("video", 3, slice(0, 4)), content["video"][3, :4])
    with pytest.raises(UsageError, match="not a readable HDF5 file"):
        file.read("video")


WRITER = """
import sys, h5py
with h5py.File(sys.argv[1], "a"):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_file_that_another_process_writes_is_not_called_damaged(write: Write) -> None:
    path, content = write()
    file = opened(path)
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "open\n"
        busy = "another process has it open for writing .*; wait for its end, then start again$"
        with pytest.raises(UsageError, match=rf"^{path}: {busy}"):
            opened(path)
        with pytest.raises(BrokenFile, match=f"train/000001: cannot be read: {path}: {busy}"):
            file.row("video", 1)
        writer.communicate()
    assert np.array_equal(opened(path).row("video", 1), content["video"][1])


def test_a_file_that_was_cut(write: Write) -> None:
    path, _ = write()
    file = opened(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(BrokenFile, match="train/000001: is damaged"):
        file.row("video", 1)
    with pytest.raises(UsageError, match="not a readable HDF5 file"):
        opened(path)


def _sum(file: Hdf5File) -> int:
    return int(file.row("video", 2).sum())


def test_pickling_and_threads(write: Write) -> None:
    path, content = write()
    file, wanted = opened(path), int(content["video"][2].sum())
    assert _sum(file) == wanted  # the file is open now
    assert _sum(pickle.loads(pickle.dumps(file))) == wanted
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(_sum, [opened(path)] * 8)) == [wanted] * 8


def test_each_process_opens_the_file_once_with_room_for_a_chunk(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    video = np.zeros((2, 12, 512, 1024), np.uint8)  # chunks of 4 frames, 2 MiB
    file = opened(write(video=video, boxes=np.zeros((2, 12, 1, 4)), label=np.arange(2))[0])
    rooms: list[int] = []
    h5py_file = h5py.File

    def opening(*names: Any, **options: Any) -> Any:
        rooms.append(options["rdcc_nbytes"])
        return h5py_file(*names, **options)

    monkeypatch.setattr(h5py, "File", opening)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def work() -> None:
        results.put((file.row("video", 1).shape, file.row("video", 0).shape, rooms))

    work()
    assert results.get() == ((12, 512, 1024), (12, 512, 1024), [1 << 21])
    process = context.Process(target=work)
    process.start()
    assert results.get()[2] == [1 << 21] * 2  # the handle of its parent is not used
    process.join()


def test_reading_whole_arrays_leaves_no_file_open(write: Write) -> None:
    path, _ = write()
    file = opened(path)
    file.read("label")
    with h5py.File(path, "a"):  # HDF5 refuses this while the file is open for reading
        pass
    file.row("video", 0)
    with pytest.raises(OSError, match=r"already open|unable to"), h5py.File(path, "a"):
        pass
