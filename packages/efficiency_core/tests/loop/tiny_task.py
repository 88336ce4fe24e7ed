"""A training of a few seconds' part for the tests of the loop; also a program: ``python tiny_task.py FOLDER '{"epochs": 4}'``."""

import hashlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD

from efficiency_core.errors import WorkError
from efficiency_core.loop.accelerator import Accelerator
from efficiency_core.loop.config import LoopConfig, recipe
from efficiency_core.loop.runner import LoopResult, run
from efficiency_core.loop.schedule import Schedule, rate_at
from efficiency_core.loop.seeds import epoch_order, torch_seed
from efficiency_core.loop.task import Task
from efficiency_core.network_file import save_network

SAMPLES = 22


@dataclass(frozen=True)
class TinyConfig(LoopConfig):
    epochs: int = 2
    steps: int = 0
    batch_size: int = 4
    learning_rate: float = 0.05
    schedule: Schedule = "step"
    clip_norm: float = 1.0
    dropout: float = 0.2
    reading: Literal["here", "threads", "processes"] = "threads"
    reseeds: bool = True
    validates: bool = False
    per_epoch: bool = False
    """Batches depend on what the end of the last epoch has set."""
    end_after: int = 0
    """Epochs after which the task ends the training."""
    whole_batch_loss: bool = False
    kill_at: int = -1
    """Step at which the process kills itself, before the step."""
    kill_rank: int = 0
    poison_at: int = -1
    """Step whose batch is not finite."""
    fail_rank: int = -1
    """Process that raises a WorkError at step 1."""


FREE = (
    "epochs", "steps", "reading", "kill_at", "kill_rank", "fail_rank", "poison_at", "validates", "end_after",
)  # fmt: skip


class TinyTask(Task[tuple[Tensor, Tensor]]):
    name = "tiny"
    loss_names = ("square", "absolute")

    def __init__(self, accelerator: Accelerator, config: TinyConfig) -> None:
        random = torch.Generator().manual_seed(7)
        self.inputs = torch.randn(SAMPLES, 6, 3, 3, generator=random)
        self.targets = torch.randn(SAMPLES, 2, generator=random)
        self.config, self.accelerator = config, accelerator
        self.model = nn.Sequential(
            nn.Conv2d(6, 8, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(config.dropout), nn.Flatten(), nn.Linear(32, 2)
        ).to(accelerator.device)
        self.optimizers = [SGD(self.model.parameters(), 0.1, 0.9, weight_decay=1e-3, fused=True)]
        self.reading, self.reseeds, self.clip_norm = config.reading, config.reseeds, config.clip_norm
        self.ahead_over_epochs = not config.per_epoch
        self.validation = "score" if config.validates else None
        self.batch_size = config.batch_size
        self.epoch_steps = SAMPLES // config.batch_size
        self.total = config.steps or self.epoch_steps * config.epochs
        self.shift = 0.0
        self.calls: list[tuple[str, Any]] = []

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        epoch, place = divmod(step, self.epoch_steps)
        rows = epoch_order(SAMPLES, self.config.seed, epoch)[place * self.batch_size : (place + 1) * self.batch_size]
        chosen = torch.from_numpy(self.accelerator.part(rows).copy())
        inputs = self.inputs[chosen] + self.shift
        return inputs * float("nan") if step == self.config.poison_at else inputs, self.targets[chosen]

    def rate(self, step: int, total: int) -> float:
        return rate_at(step, total, self.config.learning_rate, warmup=3, schedule=self.config.schedule)

    def losses(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        if step == self.config.kill_at and self.accelerator.rank == self.config.kill_rank:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == 1 and self.accelerator.rank == self.config.fail_rank:
            raise WorkError("this process fails")
        inputs, targets = (part.to(self.accelerator.device) for part in batch)
        outputs = self.accelerator.forward(self.model, inputs)
        if self.config.whole_batch_loss:
            outputs = self.accelerator.gather(outputs, self.batch_size)
            targets = self.accelerator.gather(targets, self.batch_size)
            return {"square": (outputs.mean(0) - targets.mean(0)).square().sum(), "absolute": outputs.abs().amax()}
        return {"square": (outputs - targets).square().mean(), "absolute": (outputs - targets).abs().mean()}

    def end_epoch(self, epoch: int, losses: list[float]) -> bool:
        if self.config.per_epoch:
            self.shift += losses[0] / 10
        return epoch + 1 == self.config.end_after

    def after_epoch(self, epochs: int) -> None:
        self.calls.append(("epoch", epochs))

    def after_step(self, steps: int) -> None:
        self.calls.append(("step", steps))

    def validate(self) -> float:
        self.model.eval()
        torch.rand(3)  # what is drawn here changes nothing
        with torch.no_grad():
            return -float((self.model(self.inputs) - self.targets).square().mean())

    def save(self, path: Path) -> None:
        save_network(path, "tiny.network/1", {}, {}, self.model.state_dict())

    def state(self) -> dict[str, Any]:
        return super().state() | {"shift": self.shift}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self.shift = state["shift"]


def train(folder: Path | str, config: TinyConfig) -> tuple[TinyTask, LoopResult]:
    with Accelerator("cpu", config) as accelerator:
        torch.manual_seed(torch_seed(config.seed, 0))
        task = TinyTask(accelerator, config)
        result = run(task, config, folder, {"train": recipe(config, *FREE), "data": SAMPLES})
    return task, result


def train_twice(folder: Path, config: TinyConfig) -> None:
    for name in ("first", "second"):
        train(folder / name, config)


def weights(task: TinyTask) -> dict[str, list[float]]:
    """All weights, as exact numbers."""
    return {name: value.double().flatten().tolist() for name, value in task.model.state_dict().items()}


def digest(task: TinyTask, result: LoopResult) -> str:
    return hashlib.sha256(json.dumps([weights(task), result.history, result.epochs]).encode()).hexdigest()


if __name__ == "__main__":
    trained, ended = train(sys.argv[1], TinyConfig(**json.loads(sys.argv[2])))
    print(json.dumps({"weights": weights(trained), "epochs": ended.epochs}))
