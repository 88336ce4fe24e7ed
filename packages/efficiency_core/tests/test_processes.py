"""Signals end a command as an error does: nothing half is left, and the status tells the signal. A command ends with its
owner."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = '''
import sys
from dataclasses import dataclass
from pathlib import Path
from efficiency_core.command import Command, OutputFile, Program
from efficiency_core.files import atomic_path, locked

@dataclass(frozen=True)
class Options:
    out: OutputFile[Path]
    """The file."""

def write(options):
    with locked(options.out.parent), atomic_path(options.out) as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        sys.stdin.read()

Program("demo", "A demonstration.", {"write": Command("write", Options, write)}, "efficiency_core").command()
'''


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ([signal.SIGTERM], 143, "error: ended by SIGTERM; nothing was written\n"),
        ([signal.SIGTERM, signal.SIGTERM], 143, "error: ended by SIGTERM; nothing was written\n"),  # as `timeout` does
        ([signal.SIGHUP], 129, "error: ended by SIGHUP; nothing was written\n"),
        ([signal.SIGINT], 130, "error: interrupted; nothing was written\n"),
        (["ignored", signal.SIGHUP, signal.SIGTERM], 143, "error: ended by SIGTERM; nothing was written\n"),  # nohup
    ],
    ids=str,
)
def test_a_signal_leaves_nothing(sent: list[signal.Signals], status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "demo.py").write_text(SCRIPT)
    out = tmp_path / "out" / "result.json"

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if "ignored" in sent else signal.SIG_DFL)

    command = subprocess.Popen(
        [sys.executable, str(tmp_path / "demo.py"), "write", "--out", str(out)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=prepare,
    )  # fmt: skip
    assert command.stdout is not None and command.stdout.readline() == "ready\n"
    assert len(os.listdir(out.parent)) == 2  # the lock and the half file
    for number in sent:
        if number != "ignored":
            command.send_signal(number)
    _, error = command.communicate(timeout=60)
    assert (command.returncode, error) == (status, said)
    assert os.listdir(out.parent) == []


def test_a_command_ends_with_its_owner_however_that_ends(tmp_path: Path) -> None:
    (tmp_path / "demo.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "demo.py"), "write", "--out", str(tmp_path / "result.json")]
    for early in (False, True):
        owner = subprocess.Popen(["sleep", "600"])
        if early:
            owner.kill()
            owner.wait()
        started = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"EFFICIENCY_OWNER": str(owner.pid)},
        )  # fmt: skip
        if not early:
            assert started.stdout is not None and started.stdout.readline() == "ready\n"
            owner.kill()  # and nobody asks for its status
        assert started.wait(60) == 1
        owner.wait()
    unowned = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=os.environ | {"EFFICIENCY_OWNER": ""}, check=True
    )
    assert unowned.stdout == b"ready\n" and (tmp_path / "result.json").read_text() == "half"
    assert sorted(os.listdir(tmp_path)) == ["demo.py", "result.json"], "the next start takes away what was left"


@pytest.mark.parametrize(
    ("number", "status", "error"),
    [
        (signal.SIGTERM, 1, "efficiency_core.errors.Stopped: 15"),
        (signal.SIGINT, -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_a_signal_while_an_object_is_deleted_ends_the_block(number: int, status: int, error: str) -> None:
    code = (
        "import os, signal, time\n"
        "from efficiency_core.processes import stoppable\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # what a shell starts in the background ignores it
        "class Deleted:\n"
        f"    def __del__(self): os.kill(os.getpid(), {int(number)}); time.sleep(0.01)\n"
        "class Broken:\n"
        "    def __del__(self): raise ValueError('of its own')\n"
        "with stoppable():\n"
        "    Broken(); Deleted()\n"
        "    print('dropped', flush=True)\n"
        "    time.sleep(50)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=45)
    assert (done.stdout, done.returncode) == ("dropped\n", status)
    assert done.stderr.rstrip().endswith(error)
    assert "ValueError: of its own" in done.stderr and "Exception ignored" in done.stderr
