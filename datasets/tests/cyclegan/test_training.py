"""Training of a CycleGAN: what it writes, bytes after a stop, refusals, and that it learns."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from efficiency_core.checkpoint import read_tensors
from efficiency_core.loop import Accelerator
from synthetic_datasets import UsageError, WorkError
from synthetic_datasets.cyclegan.checkpoint import NETWORK, load_cyclegan, save_cyclegan
from synthetic_datasets.cyclegan.material import Material, load_material
from synthetic_datasets.cyclegan.networks import ResnetGenerator
from synthetic_datasets.cyclegan.settings import CycleGANConfig, rate_factor, small_for, steps_of_epoch
from synthetic_datasets.cyclegan.training import CycleTask, train

TINY = CycleGANConfig(
    size=24, load=26, epochs=2, decay_epochs=1, epoch_size=3, ngf=4, ndf=4, blocks=1, pool=2, checkpoint_every=2,
    sheet_every=100, judge_steps=2,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def material() -> Material:
    return load_material(None, None, TINY.load, 0, generated=8)


@pytest.fixture(scope="module")
def trained(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished training."""
    folder = tmp_path_factory.mktemp("trained")
    train(material, replace(TINY, sheet_every=4), folder)
    return folder


def test_rates_and_steps_of_epochs() -> None:
    factors = [rate_factor(epoch, 100, 100) for epoch in range(200)]
    assert factors[:100] == [1.0] * 100
    assert factors[100] == pytest.approx(1 - 1 / 101) and factors[199] == pytest.approx(1 / 101)
    assert np.allclose(np.diff(factors[99:]), -1 / 101)
    assert [rate_factor(epoch, 2, 0) for epoch in range(2)] == [1.0, 1.0]
    assert steps_of_epoch(CycleGANConfig(), 1072, 6287) == 6287
    assert steps_of_epoch(CycleGANConfig(batch=4), 1072, 6287) == 1571
    recipe = small_for(64, 800, 0)
    assert steps_of_epoch(recipe, 9, 9) * (recipe.epochs + recipe.decay_epochs) == 800


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"size": 26}, "multiple of 4 from 24 on"), ({"size": 20}, "from 24 on"), ({"load": 12}, "do not hold"),
        ({"batch": 0}, "batch must be positive"), ({"pool": -1}, "pool must be 0 or more"),
        ({"precision": "64"}, "one of 32-true, bf16-mixed"), ({"rate": math.nan}, "rate"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(TINY, **wrong)  # type: ignore[arg-type]


def test_discriminators_only_pass_on_the_gradient_of_the_generators(material: Material, tmp_path: Path) -> None:
    with Accelerator("cpu", TINY) as accelerator:
        task = CycleTask(accelerator, material, TINY, tmp_path)
        seen: list[tuple[bool, bool]] = []
        for optimizer in task.optimizers:
            optimizer.register_step_pre_hook(
                lambda *_: seen.append((
                    all(p.requires_grad for p in task.model.judges()),
                    any(p.grad is not None for p in task.model.judges()),
                ))
            )  # fmt: skip
        task.take(task.batch(0), 0)
    assert seen == [(False, False), (True, True)]  # of the generators, of the discriminators


def test_what_a_training_leaves(trained: Path, material: Material) -> None:
    assert sorted(path.name for path in trained.iterdir()) == [
        "cyclegan.safetensors", "metrics.csv", "report.json", "sheets", "tensorboard", "training.pt",
    ]  # fmt: skip
    sheets = sorted(path.name for path in (trained / "sheets").iterdir())
    assert sheets == [f"step_{step:07d}.png" for step in (0, 4, 8, 9)]
    first, last = (np.asarray(Image.open(trained / "sheets" / name)) for name in (sheets[0], sheets[-1]))
    assert first.shape == last.shape and (first != last).any()
    saved = load_cyclegan(trained / NETWORK)
    assert saved.facts["steps"] == 9 and saved.facts["photos"] == "town"
    assert len(saved.digest) == 64 and not saved.paint.training
    again = train(material, TINY, trained)  # finished: nothing is trained
    assert again.steps == 9 and len(again.losses) == 3 and again.network == trained / NETWORK
    assert again.taken_for_paintings is not None and 0 <= again.taken_for_paintings["painted"] <= 1
    rows = (trained / "metrics.csv").read_text().splitlines()
    assert rows[0].startswith("step,epoch,learning_rate,paint,photograph") and rows[-1].startswith("9,3,")


def test_a_training_that_was_stopped_ends_with_the_same_bytes(
    material: Material, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = CycleTask.take
    for stop in (3, 6):  # after the pools are full, in the epoch in which the learning rate falls

        def stopping(
            self: CycleTask, batch: tuple[torch.Tensor, torch.Tensor], step: int, stop: int = stop
        ) -> torch.Tensor:
            if step == stop:
                raise KeyboardInterrupt
            return take(self, batch, step)

        with monkeypatch.context() as patch:
            patch.setattr(CycleTask, "take", stopping)
            with pytest.raises(KeyboardInterrupt):
                train(material, TINY, tmp_path)
        assert not (tmp_path / NETWORK).exists()
    train(material, replace(TINY, checkpoint_every=3, sheet_every=5, workers=0), tmp_path)
    assert (tmp_path / NETWORK).read_bytes() == (trained / NETWORK).read_bytes()


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    config = replace(TINY, batch=2, pool=3, judge_steps=0)
    changed = {name: value for name, value in vars(config).items() if value != getattr(CycleGANConfig, name)}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in changed.items()]
    files = ["--out", str(tmp_path), "--generated", "8"]
    words = ["train-cyclegan", *files, "--device", "cpu", "--devices", "2", *options]
    code = f"from synthetic_datasets.cli import main; main({words!r})"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    one = train(load_material(None, None, TINY.load, 0, generated=8), config, tmp_path / "one")
    two = json.loads((tmp_path / "report.json").read_text())["losses"]
    for name in one.losses[0]:  # weights that a norm follows have gradients of rounding alone, which Adam makes large
        assert [row[name] for row in two] == pytest.approx([row[name] for row in one.losses], rel=1e-4), name


def test_a_folder_keeps_to_one_recipe_and_one_material(material: Material, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"other .*ngf.*rate"):
        train(material, replace(TINY, ngf=8, rate=1e-3), trained)
    with pytest.raises(UsageError, match=r"other .*pictures"):
        train(load_material(None, None, TINY.load, 1, generated=8), TINY, trained)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        train(material, TINY, tmp_path / "file")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = CycleTask.take

    def poisoned(self: CycleTask, batch: tuple[torch.Tensor, torch.Tensor], step: int) -> torch.Tensor:
        if step == 5:
            with torch.no_grad():
                next(self.model.paint.parameters()).fill_(math.nan)
        return take(self, batch, step)

    monkeypatch.setattr(CycleTask, "take", poisoned)
    with pytest.raises(WorkError, match="not finite"):
        train(material, TINY, tmp_path)
    content = read_tensors(tmp_path / "training.pt", "synthetic_datasets.cyclegan.training/2")
    assert content["step"] == 4
    assert all(torch.isfinite(value).all() for value in content["task"]["model"].values())
    assert not (tmp_path / NETWORK).exists()


def test_files_that_hold_no_network_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.safetensors: no such file"):
        load_cyclegan(tmp_path / "absent.safetensors")
    (tmp_path / "noise").write_bytes(b"\x00" * 500)
    with pytest.raises(UsageError, match="noise"):
        load_cyclegan(tmp_path / "noise")
    save_cyclegan(tmp_path / "half", ResnetGenerator(4, 1), ResnetGenerator(4, 1), {"ngf": 4, "blocks": 2})
    with pytest.raises(UsageError, match="do not fit"):
        load_cyclegan(tmp_path / "half")


@pytest.mark.slow
def test_translated_photos_are_taken_for_paintings_more_often_than_photos(tmp_path: Path) -> None:
    recipe = small_for(32, 160, 0)
    made = load_material(None, None, recipe.load, 0, generated=120)
    trained = train(made, recipe, tmp_path)
    taken = trained.taken_for_paintings
    assert taken is not None
    assert taken["photos"] < 0.2 and taken["paintings"] > 0.8 and taken["painted"] > taken["photos"] + 0.5
