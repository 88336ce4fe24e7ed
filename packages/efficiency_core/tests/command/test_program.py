"""A console command: help, options, settings file, errors, and what it imports."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from efficiency_core import memory
from efficiency_core.command import CONTINUES, Command, Group, Program, progress
from efficiency_core.errors import UsageError, WorkError

OPTIONS = '''
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from efficiency_core.command.options import Pairs, Positional

@dataclass(frozen=True)
class Recipe:
    epochs: int = 50
    """Passes over the videos, of :class:`~demo.Videos`. An epoch has
    as many batches as there are."""
    milestones: tuple[int, ...] = (20, 40)
    """Epochs after which ``step`` divides by ten."""
    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")

@dataclass(frozen=True)
class Training(Recipe):
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """How it steps."""

@dataclass(frozen=True)
class Network:
    """The model."""
    clusters: int = 0
    """Averages of frames."""
    shift: bool = True
    """Temporal shift."""
    share: float | None = None
    """Share of outliers."""
    width: int = 64

@dataclass(frozen=True)
class Student:
    width: int = 32

@dataclass(frozen=True)
class Data:
    data: Positional[Path]
    """Folder of a data set."""
    option: Pairs = ()
    """An option of the format."""

@dataclass(frozen=True, kw_only=True)
class Options(Data):
    out: Path
    """Folder of checkpoints."""
    top: int = 5
    """Classes to name."""
    network: Network = Network()
    student: Student = Student()
    training: Training = Training(epochs=7)
    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"--top must be at least 1, got {self.top}")
'''
RUN = """
import torch
def train(options, device):
    print("train on", device)
"""
TORCH = """
print("torch is imported")
def set_flush_denormal(on):
    print("set_flush_denormal", on)
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `demo train` with arguments, in process: status, output, errors."""
    (tmp_path / "demo_options.py").write_text(OPTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "demo_options", raising=False)

    def run(
        *arguments: str, then: Callable[..., object] = print, device: bool = False, extra: str = "train"
    ) -> tuple[int, str, str]:
        train = Command("train a network", "demo_options:Options", then, device, extra, CONTINUES)  # type: ignore[arg-type]
        program = Program(
            "demo", "A demonstration.", {"train": train, "more": Group("others", {"a": train})}, "efficiency_core"
        )
        with pytest.raises(SystemExit) as left:
            program.main(arguments)
        assert isinstance(left.value.code, int)
        return left.value.code, *capsys.readouterr()

    return run


def test_help_shows_every_setting_with_sentence_type_choices_and_default(call: Run) -> None:
    status, out, err = call("train", "--help", device=True)
    text = " ".join(out.replace("│", " ").split())
    assert status == 0 and not err
    for expected in (
        "usage: demo train [-h] [OPTIONS] DATA train a network",
        "DATA Folder of a data set. (required)",
        "--option KEY=VALUE An option of the format. (repeatable)",
        "--out PATH Folder of checkpoints. (required)",
        "The model.",
        "--network.clusters INT Averages of frames. (default: 0)",
        "--network.shift, --network.no-shift Temporal shift. (default: True)",
        "--training.epochs INT Passes over the videos, of Videos. An epoch has as many batches as there are. (default: 7)",
        "--training.milestones [INT [INT ...]] Epochs after which step divides by ten. (default: 20 40)",
        "--training.optimizer {sgd,adamw} How it steps. (default: sgd)",
        "--device {auto,cpu,cuda} Where the work is done; auto takes CUDA where there is a device. (default: auto)",
        "--settings FILE.yaml",
        "--debug Show the traceback of an error.",
    ):
        assert expected in text
    assert "--device" not in call("train", "--help")[1]


def test_the_program_lists_its_commands_and_says_its_version(call: Run) -> None:
    status, out, _ = call("--help")
    assert status == 0 and "train  train a network" in out and "A demonstration." in out
    assert call("more", "-h")[1].startswith("usage: demo more [-h] COMMAND ...")
    assert call("--version")[1].startswith("demo 0.")
    assert call() == (2, "", "error: expected a command after demo; there are train, more\n")
    assert call("trian") == (2, "", "error: 'trian' is no command of demo; did you mean train?\n")


def test_options_have_short_names_where_they_are_unambiguous(call: Run) -> None:
    words = "d --out o --epochs 3 --no-shift --milestones 1 2 --share=1 --network.width 8 --option a=b --option c=d"
    status, out, err = call("more", "a", *words.split())
    assert status == 0 and not err
    assert "data=PosixPath('d'), option=('a=b', 'c=d'), out=PosixPath('o')" in out
    assert "Network(clusters=0, shift=False, share=1.0, width=8)" in out
    assert "Training(epochs=3, milestones=(1, 2), optimizer='sgd')" in out
    for data in ("./top", "a.out", "__width"):  # files that end as an option does
        assert (
            f"data=PosixPath('{Path(data)}'), option=(), out=PosixPath('{Path(data)}')"
            in call("train", data, "--out", data)[1]
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "missing: DATA, --out PATH (see demo train --help)"),
        ("d --out o --width 3", "--width may be --network.width or --student.width: write one of them in full"),
        ("d --out o --network.clustrs 3", "unknown option --network.clustrs; did you mean --network.clusters?"),
        ("d --out o --epoch=3", "unknown option --epoch; did you mean --epochs?"),
        ("d --out o --zzz", "unknown option --zzz; see demo train --help"),
        ("d --out o --clusters a", "--network.clusters: expected a whole number, got a"),
        (
            "d --out o --milestones 1 b",
            "--training.milestones: expected a list of any length (a whole number each), got 1 b",
        ),
        ("d --out o --optimizer=adam", "--training.optimizer: expected one of sgd, adamw, got adam"),
        ("d --out", "--out: expected path, got nothing"),
        ("d --out o --epochs 0", "training: epochs must be at least 1, got 0"),
        ("d --out o --top 0", "--top must be at least 1, got 0"),
        ("d e --out o", "unexpected argument: e"),
    ],
)
def test_wrong_options_are_named_in_one_line(words: str, message: str, call: Run) -> None:
    assert call("train", *words.split()) == (2, "", f"error: {message}\n")


def test_options_go_over_a_settings_file(call: Run, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("{data: d, out: o, device: cpu, network: {clusters: 4}, training: {epochs: 9, milestones: [1]}}\n")
    status, out, err = call("train", "--settings", str(file), "--epochs", "3", device=True)
    assert (status, err) == (0, "") and out.endswith(" cpu\n")
    assert "data=PosixPath('d')" in out and "clusters=4" in out and "Training(epochs=3, milestones=(1,)" in out
    file.write_text("network:\n  clustrs: 4\n")
    expected = "line 2: unknown setting 'network.clustrs'; did you mean 'network.clusters'?"
    assert call("train", f"--settings={file}") == (2, "", f"error: {file}, {expected}\n")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UsageError("no such folder"), 2, "no such folder"),
        (WorkError("the loss is not finite"), 1, "the loss is not finite"),
        (KeyboardInterrupt(), 130, f"interrupted; {CONTINUES}"),
        (ModuleNotFoundError(name="absent.part"), 2, 'this command needs absent: pip install "efficiency_core[train]"'),
        (torch.OutOfMemoryError("CUDA. Tried 2. More"), 1, "CUDA. Tried 2; a smaller batch or image size needs less"),
        (MemoryError(), 1, "not enough memory; a smaller batch or image size needs less"),
        (PermissionError(13, "Permission denied", "file"), 1, "file: Permission denied"),
    ],
)
def test_errors_end_in_one_line_and_a_status(error: BaseException, status: int, message: str, call: Run) -> None:
    def fail(options: object) -> None:
        raise error

    assert call("train", "d", "--out", "o", then=fail) == (status, "", f"error: {message}\n")
    assert "Traceback" in call("train", "d", "--out", "o", "--debug", then=fail)[2]


def test_a_library_that_comes_with_the_package_is_named(call: Run) -> None:
    def fail(options: object) -> None:
        raise ModuleNotFoundError(name="absent.part")

    said = "this command needs absent, which comes with efficiency_core; install efficiency_core again, or pip install absent"
    assert call("train", "d", "--out", "o", then=fail, extra="") == (2, "", f"error: {said}\n")


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError(name="efficiency_core.absent"), KeyError("x"), BrokenPipeError()]
)
def test_mistakes_of_the_program_keep_their_traceback(error: Exception, call: Run) -> None:
    def fail(options: object) -> None:
        raise error

    with pytest.raises(type(error)):
        call("train", "d", "--out", "o", then=fail)


def test_a_status_is_handed_on_and_main_leaves_torch_as_it_is(call: Run) -> None:
    words = ("train", "d", "--out", "o", "--device", "cpu")
    assert call(*words, then=lambda options, device: 1, device=True)[0] == 1
    assert torch.tensor(1e-40) * 1 != 0


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the console script of a program in a process of its own, with a torch that says what is done to it."""
    (tmp_path / "torch.py").write_text(TORCH)
    (tmp_path / "demo_options.py").write_text(OPTIONS)
    (tmp_path / "demo_run.py").write_text(RUN)

    def run(*words: str, after: str = "") -> subprocess.CompletedProcess[str]:
        code = (
            "from efficiency_core.command.program import Command, Program\n"
            "train = Command('train', 'demo_options:Options', 'demo_run:train', device=True)\n"
            f"{after}\n"
            "Program('demo', 'A demonstration.', {'train': train, 'other': Command('x', 'absent:A', 'absent:b')},"
            " 'efficiency_core', flush_denormal=True).command()"
        )
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", code, *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("train", "--help"), ("train", "--zzz")])
def test_help_imports_no_torch(words: tuple[str, ...], script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert "torch is imported" not in script(*words).stdout


def test_the_console_script_flushes_denormal_numbers(script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    ended = script("train", "d", "--out", "o", "--device", "cpu")
    assert ended.stdout == "torch is imported\nset_flush_denormal True\ntrain on cpu\n"


def without_limits() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in memory._OWN_SETTINGS}


@pytest.mark.parametrize(("word", "blocks"), [("command", 1), ("main", 0)])
def test_only_a_process_of_its_own_keeps_freed_memory(word: str, blocks: int) -> None:
    code = (
        "from efficiency_core import memory\n"
        "from efficiency_core.command.program import Command, Program\n"
        "def run(options, device): print(memory._blocks)\n"
        "class Options: pass\n"
        "options = __import__('dataclasses').dataclass(frozen=True)(Options)\n"
        f"Program('demo', 'A.', {{'x': Command('x', options, run, device=True)}}, 'efficiency_core').{word}()"
    )
    ended = subprocess.run([sys.executable, "-c", code, "x"], env=without_limits(), capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == (f"{blocks if memory._glibc() else 0}\n", "")


def test_a_reader_that_has_gone_is_no_error(script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    gone = "import os; r, w = os.pipe(); os.dup2(w, 1); os.close(w); os.close(r)"
    ended = script("train", "--help", after=gone)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(3, unit="batch") as bar:
        bar.update()
    assert capsys.readouterr() == ("", "")
