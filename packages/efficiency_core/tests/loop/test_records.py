"""metrics.csv, TensorBoard events and validation, also of a training that was killed."""

import csv
import logging
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tiny_task import TinyConfig, TinyTask, digest, train

from efficiency_core.errors import WorkError
from efficiency_core.loop import run_log
from efficiency_core.loop.accelerator import Accelerator
from efficiency_core.loop.runner import run
from efficiency_core.network_file import load_network

CONFIG = TinyConfig(epochs=3, checkpoint_every=4, log_every=2, validates=True, validate_every=3)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """What TensorBoard shows: files in the order of their names, later starts drop what was at their step and after."""
    shown: dict[tuple[str, int], float] = {}
    for path in sorted((folder / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            if event.session_log.status == SessionLog.START:
                shown = {key: value for key, value in shown.items() if key[1] < event.step}
            shown |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
    return shown


def test_rows_are_means_of_the_steps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    task, result = train(tmp_path, CONFIG)
    rows = table(tmp_path)
    assert list(rows[0]) == ["step", "epoch", "learning_rate", "square", "absolute", "validation_score"]
    assert [int(row["step"]) for row in rows] == [2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 15]
    assert [int(row["step"]) for row in rows if row["validation_score"]] == [3, 6, 9, 12, 15]
    by_step = {int(row["step"]): row for row in rows}
    assert by_step[6]["epoch"] == "2" and float(by_step[2]["learning_rate"]) == task.rate(1, task.total)
    assert float(by_step[8]["square"]) == sum(row[0] for row in result.history[6:8]) / 2
    events = scalars(tmp_path)
    assert events["square", 8] == pytest.approx(float(by_step[8]["square"]), rel=1e-6)
    assert set(step for tag, step in events if tag == "validation_score") == {3, 6, 9, 12, 15}
    text = f"epoch 1/3  step 5/15  square {result.epochs[0][0]:.4f} absolute {result.epochs[0][1]:.4f}  ("
    assert any(record.getMessage().startswith(text) for record in caplog.records)


def test_records_after_kills_are_those_of_one_piece(tmp_path: Path, killed) -> None:
    train(tmp_path / "whole", CONFIG)
    for step in (2, 7, 11):
        killed(tmp_path / "pieces", replace(CONFIG, kill_at=step))
    train(tmp_path / "pieces", CONFIG)
    assert table(tmp_path / "pieces") == table(tmp_path / "whole")
    assert scalars(tmp_path / "pieces") == scalars(tmp_path / "whole")


def test_records_of_a_longer_training(tmp_path: Path) -> None:
    config = replace(CONFIG, validates=False, log_every=4)
    train(tmp_path / "whole", config)
    train(tmp_path / "pieces", replace(config, steps=7))
    assert [row["step"] for row in table(tmp_path / "pieces")] == ["4", "5", "7"]
    train(tmp_path / "pieces", config)
    assert table(tmp_path / "pieces") == table(tmp_path / "whole")
    assert scalars(tmp_path / "pieces") == scalars(tmp_path / "whole")


def test_best_network_is_kept_and_validation_changes_nothing(tmp_path: Path) -> None:
    class Peaked(TinyTask):
        def validate(self) -> float:
            super().validate()
            steps = int(self.model[1].num_batches_tracked)
            if steps == 6:
                self.peak = {name: value.clone() for name, value in self.model.state_dict().items()}
            return {3: 1.0, 6: 5.0, 9: 2.0, 12: 5.0, 15: 4.0}[steps]

    with Accelerator("cpu", CONFIG) as accelerator:
        torch.manual_seed(1)
        task = Peaked(accelerator, CONFIG)
        result = run(task, CONFIG, tmp_path, {})
    assert result.best == (6, 5.0)
    kept = load_network(tmp_path / "best.safetensors", "tiny.network/1").state
    assert all(torch.equal(value, task.peak[name]) for name, value in kept.items())
    plain = replace(CONFIG, validates=False)
    assert digest(*train(tmp_path / "with", CONFIG)) == digest(*train(tmp_path / "without", plain))


def test_kill_between_checkpoint_and_best_network(tmp_path: Path) -> None:
    class Unlucky(TinyTask):
        def save(self, path: Path) -> None:
            raise KeyboardInterrupt

    with Accelerator("cpu", CONFIG) as accelerator, pytest.raises(KeyboardInterrupt):
        run(Unlucky(accelerator, CONFIG), CONFIG, tmp_path, {})
    assert (tmp_path / "training.pt").exists() and not (tmp_path / "best.safetensors").exists()
    with Accelerator("cpu", CONFIG) as accelerator:
        config = replace(CONFIG, steps=3)
        run(TinyTask(accelerator, config), config, tmp_path, {})
    assert (tmp_path / "best.safetensors").exists()


def test_table_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(WorkError, match=r"metrics.csv: cannot be written"):
        train(tmp_path, CONFIG)


def test_log_has_a_line_at_the_start_and_during_a_long_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(run_log, "_SECONDS_BETWEEN_LINES", 0.2)
    monkeypatch.setattr(run_log, "_SECONDS_BETWEEN_LOOKS", 0.01)
    steps: list[int] = []

    class Slow(TinyTask):
        def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
            """Comes when the log has told twice that the step runs."""
            steps.append(step)
            while len([m for m in caplog.messages if m.startswith(f"step {step + 1}/3 has been running")]) < 2:
                time.sleep(0.01)
            return super().batch(step)

    config = replace(CONFIG, steps=3, reading="here")
    with Accelerator("cpu", config) as accelerator:
        run(Slow(accelerator, config), config, tmp_path, {})
    assert caplog.messages[0] == "training: step 0/3, 5 steps an epoch, batches of 4"
    assert steps == [0, 1, 2] and caplog.messages[-1].startswith("epoch 1/1  step 3/3  square")
    assert not [thread for thread in threading.enumerate() if thread.name == "run_log"]
