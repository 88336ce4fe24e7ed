"""Trainings on several devices: CPU processes here."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_task
import torch
from tiny_task import TinyConfig, TinyTask, train, train_twice, weights

from efficiency_core.errors import UsageError, WorkError
from efficiency_core.loop.accelerator import Accelerator, resolved
from efficiency_core.loop.config import LoopConfig
from efficiency_core.loop.launch import Processes, together
from efficiency_core.loop.runner import run

CONFIG = TinyConfig(dropout=0.0, batch_size=5, epochs=3, checkpoint_every=5, workers=2)


def assert_close(weights: dict[str, list[float]], expected: dict[str, list[float]]) -> None:
    assert weights.keys() == expected.keys()
    for name, values in expected.items():
        assert weights[name] == pytest.approx(values, abs=1e-6), name


def test_command_on_two_devices_equals_one(tmp_path: Path) -> None:
    """Through the command line, inside a SLURM job of two tasks, continued in the middle."""
    task, result = train(tmp_path / "one", CONFIG)
    names = ("NTASKS", "JOB_ID", "PROCID", "LOCALID", "JOB_NUM_NODES", "STEP_NUM_TASKS")
    slurm = {f"SLURM_{name}": "2" for name in names}
    environment = os.environ | slurm | {"SLURM_JOB_NAME": "train", "RANK": "1", "WORLD_SIZE": "7", "LOCAL_RANK": "1"}
    program = [sys.executable, tiny_task.__file__, str(tmp_path / "two")]
    settings = {"dropout": 0.0, "batch_size": 5, "epochs": 3, "checkpoint_every": 5, "workers": 1, "devices": 2}
    answer = subprocess.run(
        [*program, json.dumps({**settings, "reading": "processes"})], capture_output=True, text=True, env=environment
    )
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert_close(said["weights"], weights(task))
    for losses, expected in zip(said["epochs"], result.epochs, strict=True):
        assert losses == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_loss_over_the_whole_batch(tmp_path: Path) -> None:
    config = replace(CONFIG, whole_batch_loss=True, epochs=1)
    task, _ = train(tmp_path / "one", config)
    kind = type(task.model[1])
    task2, _ = together(train, tmp_path / "two", replace(config, devices=2))
    assert_close(weights(task2), weights(task))
    assert type(task2.model[1]) is kind and not torch.distributed.is_initialized()  # all is as it was


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"fail_rank": 1}, r"^process 2 of 2 ended with status 1 \(this process fails\)$"),
        ({"kill_at": 2, "kill_rank": 1}, r"^process 2 of 2 ended by signal 9$"),
    ],
)
def test_process_that_fails_ends_all_with_one_line(change: dict[str, int], error: str, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=error):
        together(train, tmp_path, replace(CONFIG, devices=2, **change))
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_no_process_outlives_the_first(tmp_path: Path) -> None:
    settings = {"devices": 2, "workers": 2, "reading": "processes", "kill_at": 2}
    main = subprocess.Popen([sys.executable, tiny_task.__file__, str(tmp_path), json.dumps(settings)])
    mark = f"EFFICIENCY_CORE_PROCESS=1/2/\\d+/{main.pid}\0".encode()

    def left() -> list[str]:
        found = []
        for place in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                found += [place.parent.name] if re.search(mark, place.read_bytes()) else []
        return found

    seen = False
    while main.poll() is None:
        seen = seen or bool(left())
        time.sleep(0.05)
    assert seen and main.returncode == -9
    for _ in range(600):
        if not left():
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {left()}")


def test_program_that_cannot_be_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python"])
    with pytest.raises(
        UsageError, match=r"it is interactive; call each training through efficiency_core\..*launch\.together"
    ):
        Processes(2, 1)


@pytest.mark.slow
def test_each_call_trains_once(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1, devices=2)
    with pytest.raises(UsageError, match=r"it has started processes before; call each training through"):
        together(train_twice, tmp_path, config)
    assert (tmp_path / "first" / "training.pt").is_file() and not (tmp_path / "second").exists()


def test_what_cannot_be_had() -> None:
    with pytest.raises(UsageError, match="precision=16-mixed needs a GPU; on a CPU use bf16-mixed or 32-true"):
        Accelerator("cpu", LoopConfig(precision="16-mixed"))
    with pytest.raises(UsageError, match="devices=64, but torch finds"):
        Accelerator("cuda", LoopConfig(devices=64))


def test_more_devices_than_samples(tmp_path: Path) -> None:
    config = replace(CONFIG, batch_size=1)
    with Accelerator("cpu", config) as accelerator:
        task = TinyTask(accelerator, config)
        accelerator.world = 2
        with pytest.raises(UsageError, match="a batch of 1 cannot be divided among 2 devices"):
            run(task, config, tmp_path, {})
        accelerator.world = 1


def test_one_device_changes_nothing() -> None:
    with Accelerator("cpu", LoopConfig()) as accelerator:
        rows = torch.arange(6.0).view(3, 2)
        assert accelerator.part(rows) is rows and accelerator.gather(rows, 3) is rows and accelerator.mean(rows) is rows
        assert accelerator.everyone(5) == [5] and accelerator.total(2.5) == 2.5


def test_precision_of_the_forward_pass() -> None:
    layer = torch.nn.Linear(3, 2)
    inputs = torch.randn(4, 3)
    for precision, inner in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        with Accelerator("cpu", LoopConfig(precision=precision)) as accelerator:  # type: ignore[arg-type]
            result = accelerator.forward(lambda x: (layer(x), str(layer(x).dtype)), inputs)
        assert result[1] == str(inner) and result[0].dtype == torch.float32


@pytest.mark.parametrize(("capability", "slow"), [("AVX2", True), ("DEFAULT", True), ("AVX512", False)])
def test_bfloat16_by_conversion_is_said(
    capability: str, slow: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for precision, said in (("bf16-mixed", slow), ("32-true", False)):
        caplog.clear()
        with Accelerator("cpu", LoopConfig(precision=precision)):
            pass
        assert ("this CPU has no bfloat16" in caplog.text) == said


@pytest.mark.parametrize("has", [True, False])
def test_automatic_precision_is_what_the_processor_computes(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    found = resolved(LoopConfig(precision="auto", seed=3), "cpu")
    assert found == LoopConfig(precision="bf16-mixed" if has else "32-true", seed=3)
    assert Accelerator("cpu", LoopConfig(precision="auto")).precision == found.precision
    assert resolved(LoopConfig(precision="16-mixed"), "cpu").precision == "16-mixed"  # only `auto` is replaced
