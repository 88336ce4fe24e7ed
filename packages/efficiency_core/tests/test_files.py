"""Output files: whole or not at all, into links, devices and pipes; checks before the work; the lock of a folder."""

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from efficiency_core import files
from efficiency_core.errors import UsageError, WorkError
from efficiency_core.files import atomic_path, check_output, file_sha256, locked, why_no_file


def write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def device(path: Path, minor: int) -> Path:
    """A device as /dev/null (3) or /dev/full (7), which a test may lose."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        path.write_bytes(b"")
    except OSError:
        pytest.skip("may not make devices")
    return path


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_file_is_replaced(there: bool, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    if there:
        (store / "real").write_text("old")
    (tmp_path / "second.json").symlink_to(Path("store", "real"))
    (tmp_path / "out.json").symlink_to(tmp_path / "second.json")
    write(tmp_path / "out.json", "new")
    assert os.readlink(tmp_path / "out.json") == str(tmp_path / "second.json")
    assert os.readlink(tmp_path / "second.json") == "store/real"
    assert (store / "real").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["out.json", "second.json", "store"] and os.listdir(store) == ["real"]


def test_a_file_keeps_its_permissions_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    (tmp_path / "private").touch(0o600)
    write(tmp_path / "private", "new")
    before = os.umask(0o027)
    write(tmp_path / "new", "new")
    os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("private", "new")] == [0o600, 0o640]


def test_devices_stay_devices(tmp_path: Path) -> None:
    null = device(tmp_path / "null", 3)
    (tmp_path / "link").symlink_to(null)
    for path in (null, tmp_path / "link"):
        check_output(path)
        write(path, "gone")
        assert stat.S_ISCHR(null.stat().st_mode) and null.read_text() == ""
    full = device(tmp_path / "full", 7)
    with pytest.raises(WorkError, match=r"full: cannot be written \(No space left on device\)"):
        write(full, "more than nothing")
    assert stat.S_ISCHR(full.stat().st_mode) and (tmp_path / "link").is_symlink()


def test_a_pipe_takes_the_whole(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    check_output(tmp_path / "pipe")
    text = "line\n" * 100_000
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe").read_text)
        write(tmp_path / "pipe", text)
        assert read.result() == text
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no /dev/stdout here")
@pytest.mark.parametrize("through", ["file", "pipe"])
def test_standard_output_by_name(through: str, tmp_path: Path) -> None:
    code = (
        "from efficiency_core.files import atomic_path\nprint('before')\n"
        "with atomic_path('/dev/stdout') as temporary: temporary.write_text('content\\n')\nprint('after')"
    )
    with (tmp_path / "log").open("w+") as log:
        out = log if through == "file" else subprocess.PIPE
        done = subprocess.run([sys.executable, "-c", code], stdout=out, text=True, check=True)
        log.seek(0)
        assert (done.stdout or log.read()) == "before\ncontent\nafter\n"


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 250}.json"
    check_output(path)
    write(path, "{}")
    assert path.read_text() == "{}"


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("folder", False, r"folder: is a folder; give the name of a file$"),
        ("link-to-folder", False, "is a folder; give the name of a file"),
        ("file", True, r"file: is a file; name a folder$"),
        ("file/out.json", False, r"file/out.json: cannot be written \(Not a directory\)"),
        ("file/deep/out", True, r"cannot be written \(Not a directory\)"),
        ("n" * 300, False, r"cannot be written \(File name too long\)"),
        ("loop", False, "is a link to itself"),
        ("/proc/out.json", False, "cannot be written"),
        ("/proc/deep/out", True, "cannot be written"),
    ],
)
def test_what_could_not_be_written_is_refused_before(name: str, folder: bool, message: str, tmp_path: Path) -> None:
    if name.startswith("/proc") and sys.platform != "linux":
        pytest.skip("/proc is Linux's")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link-to-folder").symlink_to("folder")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=message):
        check_output(tmp_path / name, folder)
    for good in ("file", "new.json", "deep/new.json"):
        check_output(tmp_path / good)
    check_output(tmp_path / "folder", folder=True)
    check_output(tmp_path / "deep" / "new", folder=True)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "link-to-folder", "loop"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize(("name", "mode"), [("shut/out.json", 0o500), ("shut", 0o400)])
def test_no_permission(name: str, mode: int, tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir() if name != "shut" else shut.touch()
    shut.chmod(mode)
    with pytest.raises(UsageError, match=r"cannot be written \(Permission denied\)"):
        check_output(tmp_path / name)


HOLD = """
import sys
from efficiency_core.files import locked
with locked(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_process_in_a_folder_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "locked\n"
    (tmp_path / "link").symlink_to(folder)
    for name in (folder, tmp_path / "link"):
        with pytest.raises(UsageError, match=f"^{name}: process {other.pid} on .* works in this folder"), locked(name):
            pass
    other.kill()
    other.communicate()
    with locked(folder), pytest.raises(UsageError, match=f"process {os.getpid()} on "), locked(folder):
        pass
    with locked(folder) as real:
        assert real and os.listdir(folder) == [".lock"]
    assert os.listdir(folder) == []
    (tmp_path / "file").touch()
    with pytest.raises(WorkError, match=r"file: cannot be written"), locked(tmp_path / "file"):
        pass


def test_a_lock_may_lie_beside_the_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "run", tmp_path / ".run.lock"):
        assert os.listdir(tmp_path) == [".run.lock"], "the folder itself is left to whoever works"
        with (
            pytest.raises(UsageError, match=f"^{tmp_path}/run: process {os.getpid()} on "),
            locked(tmp_path / "run", tmp_path / ".run.lock"),
        ):
            pass
    assert os.listdir(tmp_path) == []


KILLED = """
import os, sys
from efficiency_core.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_has_left_goes_with_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "train.index.json"
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9
        (left,) = os.listdir(tmp_path)
    (tmp_path / ".train.index-mine.json").write_text("no temporary file of ours")
    with atomic_path(path) as mine, atomic_path(path) as other:
        assert not (tmp_path / left).exists() and mine.exists(), "this process lives"
        for temporary in (mine, other):
            temporary.write_text("{}")
    assert sorted(os.listdir(tmp_path)) == [".train.index-mine.json", "train.index.json"]


def test_a_lock_that_its_owner_removes_meanwhile_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, calls = files._lock, []

    def late(file: IO[str], folder: Path) -> None:
        calls.append(folder)
        if len(calls) == 1:
            (folder / ".lock").unlink()
        lock(file, folder)

    monkeypatch.setattr(files, "_lock", late)
    with locked(tmp_path):
        assert len(calls) == 2 and (tmp_path / ".lock").exists()


def test_storage_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(file: IO[str], how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with locked(tmp_path) as real:
        assert (
            not real
            and "cannot be locked ([Errno 37] No locks available); make sure that no other process" in caplog.text
        )


def test_why_an_input_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert why_no_file(tmp_path) == "is a folder; name the file"
    assert why_no_file(tmp_path / "pipe") == "is a pipe or a device, not a file"
    assert why_no_file(tmp_path / "none") == "no such file"


def test_a_digest_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert file_sha256(tmp_path / "abc") == expected
