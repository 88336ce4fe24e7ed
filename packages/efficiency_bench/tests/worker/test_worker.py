"""The worker: a command carried out by it is the command itself, and it never outlives those who need it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from efficiency_bench import experiments
from efficiency_bench.records.run_record import load_record
from efficiency_bench.worker.client import server_name
from efficiency_bench.worker.server import Server, fingerprint
from efficiency_core.settings import flatten, to_json

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the worker needs Linux")
CALL = "import sys; from efficiency_bench.worker.client import call; sys.exit(call(*sys.argv[1:2], sys.argv[2:]))"
CLIENT = [sys.executable, "-c", CALL]
# A server whose children run a Python program in place of effbench, so that nothing has to be imported.
SERVER = """
import os, socket, sys
from pathlib import Path
from efficiency_bench.worker.server import Server, fingerprint
path, owner, idle = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(path))
listener.listen()
print("ready", flush=True)
request = Server(listener, path, fingerprint(), os.pidfd_open(owner) if owner else None, idle).serve()
if request is not None:
    request.take_over()
    exec(request.arguments[0])
"""


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until the condition holds; fail only where it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has asked for its status counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Where these tests run in the background of a shell, SIGINT is ignored and every process that they start ignores it, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def serve(folder: Path, owner: int, idle: float = 600) -> subprocess.Popen[str]:
    path = folder / f"{server_name(os.environ)}.sock"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(path), str(owner), str(idle)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None and server.stdout.readline() == "ready\n"
    return server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A server for the clients of `tmp_path`, whose owner is this process."""
    process = serve(tmp_path, os.getpid())
    yield process
    process.kill()
    process.wait()


def client(folder: Path, program: str, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CLIENT, str(folder), program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )  # type: ignore[call-overload,no-any-return]


@pytest.mark.usefixtures("server")
def test_a_child_has_the_clients_directory_environment_streams_and_arguments(tmp_path: Path) -> None:
    program = (
        "import json, os, sys; print(json.dumps([os.getcwd(), os.environ['WHO'], sys.argv[0], sys.stdin.read()])); "
        "print('oops', file=sys.stderr); os.umask(0) == 0o27 and sys.exit(3)"
    )
    (tmp_path / "in").write_text("said")
    with (tmp_path / "in").open() as file:
        started = client(tmp_path, program, cwd=tmp_path, env=os.environ | {"WHO": "me"}, stdin=file, umask=0o27)
        out, error = started.communicate()
    assert (started.returncode, error) == (3, "oops\n")
    assert json.loads(out) == [str(tmp_path), "me", "effbench", "said"]


@pytest.mark.usefixtures("server")
def test_a_child_that_a_signal_ends_is_told_from_one_that_fails(tmp_path: Path) -> None:
    killed = "error: killed (SIGKILL), as the system does where memory runs out"
    for program, status, said in (
        ("import os; os.kill(os.getpid(), 9)", 137, killed),
        ("raise SystemExit(2)", 2, ""),
        ("1 / 0", 1, "Traceback"),
    ):
        started = client(tmp_path, program)
        error = started.communicate()[1]
        assert started.returncode == status and error.startswith(said) and (said or not error)


def waiting(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A client whose command waits, and the process id of the child that carries it out."""
    started = client(folder, "import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    assert started.stdout is not None
    return started, int(started.stdout.readline())


def forwards(pid: int) -> bool:
    """Whether the client handles SIGHUP, the last of the signals that it forwards."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
    return caught is not None and bool(int(caught[1], 16) & 1 << signal.SIGHUP - 1)


@pytest.mark.usefixtures("server")
def test_a_signal_to_the_client_reaches_the_child(tmp_path: Path) -> None:
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 1)):
        started, child = waiting(tmp_path)
        until(
            partial(forwards, started.pid)
        )  # before that, a signal ends the client and the child is killed soon after
        started.send_signal(number)
        started.wait()
        assert gone(child) and started.returncode in (status, 128 + number)


def test_a_child_ends_with_its_client_or_its_server(tmp_path: Path, server: subprocess.Popen[str]) -> None:
    ended: list[subprocess.Popen[str]] = []
    for process in (None, server):
        started, child = waiting(tmp_path)
        (process or started).kill()
        until(lambda child=child: gone(child))  # type: ignore[misc]
        ended.append(started)
    assert ended[1].wait() == 1
    assert ended[1].stderr is not None and "the worker ended before the command did" in ended[1].stderr.read()


def test_a_server_and_its_children_end_with_the_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen(["sleep", "600"])
    server = serve(tmp_path, owner.pid)
    started, child = waiting(tmp_path)
    owner.kill()  # and nobody asks for its status
    path = tmp_path / f"{server_name(os.environ)}.sock"
    until(lambda: gone(child) and not path.exists())
    assert started.wait() == 137 and server.wait() == 0, "who starts the work again does not find it being done"
    late = client(tmp_path, "", env=os.environ | {"EFFICIENCY_OWNER": str(owner.pid)})
    owner.wait()
    until(lambda: late.poll() is not None)
    assert late.returncode == 1 and not path.exists()


def test_a_server_without_owner_ends_when_it_is_idle(tmp_path: Path) -> None:
    server = serve(tmp_path, 0, idle=1)
    started = client(tmp_path, "import sys, time; print('on', flush=True); sys.stdin.readline()", stdin=subprocess.PIPE)
    assert started.stdout is not None and started.stdin is not None and started.stdout.readline() == "on\n"
    time.sleep(1.2)
    started.communicate("\n")
    assert started.returncode == 0, "what has begun comes to its end"
    assert server.wait() == 0 and not (tmp_path / f"{server_name(os.environ)}.sock").exists()


def test_a_server_of_other_sources_refuses_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "one.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as visitor:
        listener.bind(str(path))
        listener.listen()
        server = Server(listener, path, fingerprint() | {"edited.py": (0, 0)}, None)
        visitor.connect(str(path))
        assert server.serve() is None and not path.exists()
        assert visitor.recv(1) == b""


def test_a_folder_of_packages_counts_from_when_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = tmp_path / "dist-packages"  # as Debian's Python names one
    monkeypatch.setattr("site.getsitepackages", lambda: [str(tmp_path), str(later)])
    before = fingerprint()
    assert str(tmp_path) in before and str(later) not in before
    later.mkdir()
    assert str(later) in fingerprint()


def test_other_variables_that_libraries_read_ask_for_another_server() -> None:
    one = server_name({"OMP_NUM_THREADS": "1", "HOME": "/root"})
    assert one == server_name({"OMP_NUM_THREADS": "1", "HOME": "/tmp", "EFFICIENCY_DATA": "x"})
    assert one != server_name({"OMP_NUM_THREADS": "2", "HOME": "/root"})


def test_a_server_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("raise RuntimeError('no torch today')")
    path = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")])
    started = client(tmp_path, "", env=os.environ | {"PYTHONPATH": path})
    error = started.communicate()[1]
    assert started.returncode == 1 and error.startswith("error: the worker does not start; ") and error.count("\n") == 1
    (log,) = tmp_path.glob("*.log")
    assert "no torch today" in log.read_text()


def test_a_run_through_the_worker_is_the_run_of_a_fresh_process(tmp_path: Path) -> None:
    """Two clients at once start one server; `effbench` is found beside Python."""
    settings = flatten(to_json(experiments.get("matching_toy").settings_type()))
    epochs = next(name for name in settings if f".{name}".endswith(".epochs"))
    words = f"run matching_toy --set {epochs}=2 --device cpu".split()
    command = [str(Path(sys.executable).with_name("effbench")), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "EFFICIENCY_OWNER": str(os.getpid())}
    worker = environment | {"EFFBENCH_WORKER": str(tmp_path / "worker folder")}
    places = {"fresh": environment, "first": worker, "second": worker}
    runs = {
        name: subprocess.Popen([*command, "--out", str(tmp_path / f"{name}.json")], env=place)
        for name, place in places.items()
    }
    assert [run.wait() for run in runs.values()] == [0, 0, 0]
    fresh, *others = (load_record(tmp_path / f"{name}.json") for name in places)
    for other in others:
        timeless = {name for name, metric in fresh.metrics.items() if metric.unit != "s"}
        assert {name: fresh.metrics[name] for name in timeless} == {name: other.metrics[name] for name in timeless}
        assert fresh.protocol["artifacts"]["arrays"] == other.protocol["artifacts"]["arrays"]
        assert fresh.device == other.device and fresh.sources == other.sources
    (socket_file,) = (tmp_path / "worker folder").glob("*.sock")
    assert socket_file.stat().st_mode & 0o777 == 0o600


def test_the_client_imports_nothing_heavy() -> None:
    code = "import sys, efficiency_bench.cli, efficiency_bench.worker.client; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "yaml", "tyro", "efficiency_core"} & set(modules)
