"""Output files appear whole or not at all, and only their own failures are told as theirs."""

import errno
import os
import stat
from pathlib import Path

import pytest

from weight_align.errors import UsageError, WorkError
from weight_align.files import atomic_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_at_the_end_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "out.json"
    with atomic_path(path) as temporary:
        temporary.write_text("done")
        assert temporary.parent == path.parent and temporary.suffix == ".json"
        assert not path.exists()
    assert path.read_text() == "done"
    assert names(path.parent) == ["out.json"]


def test_the_file_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "out") as temporary:
            temporary.write_text("done")
    finally:
        assert os.umask(before) == 0o027
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [ValueError("odd"), UsageError("wrong"), KeyboardInterrupt()])
def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(type(error)) as caught, atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert caught.value is error
    assert names(tmp_path) == ["out.txt"] and path.read_text() == "old"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS])
def test_errors_of_the_storage_are_the_file_not_being_written(tmp_path: Path, code: int) -> None:
    path = tmp_path / "out.txt"
    with pytest.raises(WorkError) as caught, atomic_path(path):
        raise OSError(code, os.strerror(code))
    assert str(caught.value) == f"{path}: cannot be written ({os.strerror(code)})"
    assert names(tmp_path) == []


@pytest.mark.parametrize("final", [False, True])
def test_errors_that_name_the_file_are_its_own(tmp_path: Path, final: bool) -> None:
    path = tmp_path / "out.txt"
    expected = r"out\.txt: cannot be written \(Permission denied\)"
    with pytest.raises(WorkError, match=expected), atomic_path(path) as temporary:
        raise PermissionError(errno.EACCES, "Permission denied", str(path if final else temporary))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "weights.pt"),
        OSError(errno.EIO, "Input/output error", "in.mp4"),  # an input on a bad disk
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        OSError("no number"),
    ],
    ids=["missing input", "bad input", "network", "other"],
)
def test_other_system_errors_pass_through(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "out.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert caught.value is error
    assert names(tmp_path) == []


def test_a_really_full_file_system_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WorkError) as caught, atomic_path(tmp_path / "out") as temporary:
        temporary.write_text("half")
        with open("/dev/full", "w") as full:
            full.write("x")
    assert str(caught.value) == f"{tmp_path / 'out'}: cannot be written (No space left on device)"
    assert names(tmp_path) == []


def test_a_folder_in_the_way_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    expected = r"out: cannot be written \(a folder has this name\)"
    with pytest.raises(WorkError, match=expected), atomic_path(tmp_path / "out"):
        pytest.fail("the block must not run")


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match=r"file/out: cannot be written \(.+\)"), atomic_path(tmp_path / "file" / "out"):
        pytest.fail("the block must not run")


def test_a_folder_that_goes_away_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "out"
    with pytest.raises(WorkError, match="out: cannot be written"), atomic_path(path) as temporary:
        temporary.unlink()
        path.parent.rmdir()
