"""A build that is ended, killed or doubled, and one into linked files."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from synthetic_datasets.storage.building import staging

LONG = ("build", "moving-digits", "--train", "1000000", "--test", "1", "--workers", "2", "--out")


def wait_for(ready: Callable[[], bool]) -> None:
    for _ in range(1200):
        if ready():
            return
        time.sleep(0.05)
    raise AssertionError("waited for a minute")


def alive(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_ended_build_leaves_no_worker_and_no_lock(
    number: signal.Signals,
    status: int,
    tmp_path: Path,
    synthdata: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    code = "from synthetic_datasets.cli import command; command()"
    build = subprocess.Popen([sys.executable, "-c", code, *LONG, str(out)], stderr=subprocess.PIPE, text=True)

    def children() -> list[str]:
        return Path(f"/proc/{build.pid}/task/{build.pid}/children").read_text().split()

    wait_for(lambda: len(children()) == 2 and any(out.glob(".building-*")))
    workers = children()
    assert synthdata(*LONG, out) == 2
    assert f"{out}: process {build.pid} on " in capsys.readouterr().err
    build.send_signal(number)
    _, error = build.communicate(timeout=60)
    assert build.returncode == status
    wait_for(lambda: not any(map(alive, workers)))
    if status == 143:
        assert error == "error: ended by SIGTERM; no data set was changed\n" and not out.exists()
    assert synthdata("build", "moving-digits", "--out", out, "--train", "2", "--test", "1", "--frames", "2") == 0
    assert sorted(os.listdir(out)) == ["card.json", "preview.png", "test.h5", "train.h5"]


def test_linked_files_stay_links(tmp_path: Path) -> None:
    out, store = tmp_path / "out", tmp_path / "store"
    out.mkdir()
    store.mkdir()
    (store / "old.h5").write_text("old")
    (out / "train.h5").symlink_to(store / "old.h5")
    (out / "test.h5").symlink_to("../store/new.h5")
    with staging(out) as folder:
        for name in ("train.h5", "test.h5"):
            (folder / name).write_text(name)
    assert all((out / name).is_symlink() for name in ("train.h5", "test.h5"))
    assert {path.name: path.read_text() for path in store.iterdir()} == {"old.h5": "train.h5", "new.h5": "test.h5"}


def test_names_that_are_folders_are_refused_before_the_build(
    tmp_path: Path, synthdata: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "card.json").mkdir()
    assert synthdata(*LONG, tmp_path) == 2
    assert "card.json: is a folder; give the name of a file" in capsys.readouterr().err
