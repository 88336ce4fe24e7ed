"""Training: it learns, it repeats itself to the bit, it survives being stopped, and it refuses what does not fit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from location_anticipation import DetectorConfig, UsageError, WorkError, load_detector, training
from location_anticipation.data import Keyframes, TrackVideos
from location_anticipation.evaluation import evaluate
from location_anticipation.roi_heads import AnticipationRoIHeads
from location_anticipation.training import TrainConfig, TrainResult, batch_indices, learning_rate_at, train

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Write = Callable[..., Path]
Config = Callable[..., DetectorConfig]


def recipe(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"iterations": 6, "batch_size": 2, "warmup": 2, "checkpoint_every": 2} | changes)


@pytest.fixture
def data(write_tracks: Write) -> Keyframes:
    return Keyframes(TrackVideos(write_tracks(videos=4, frames=6)), horizon=3)


def same(first: TrainResult, second: TrainResult) -> bool:
    states = first.model.state_dict(), second.model.state_dict()
    return first.losses == second.losses and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "training.pt", weights_only=True)
    return content


# Learning


@pytest.mark.slow
def test_a_tiny_problem_is_learned(tmp_path: Path, write_tracks: Write, tiny: Config) -> None:
    videos = TrackVideos(write_tracks(videos=8, frames=8))
    config = recipe(iterations=40, batch_size=4, learning_rate=0.005, warmup=10, checkpoint_every=40)
    result = train(Keyframes(videos, horizon=3), tiny(), config, tmp_path / "run")
    history = read(tmp_path / "run")["history"]
    assert history.shape == (40, 5)
    first, last = history[:10].mean(dim=0), history[-10:].mean(dim=0)
    assert last.sum() < 0.75 * first.sum()
    assert list(result.losses) == [
        "loss_classifier",
        "loss_box_reg",
        "loss_trajectory",
        "loss_objectness",
        "loss_rpn_box_reg",
    ]
    np.testing.assert_allclose(list(result.losses.values()), last)
    learned = dict(zip(result.losses, (last / first).tolist(), strict=True))
    assert learned["loss_classifier"] < 0.6 and learned["loss_objectness"] < 0.2
    assert result.seconds_per_keyframe > 0
    assert not result.model.training
    found = evaluate(result.model, videos, keyframe_step=4)
    assert found.keyframe_map_50 > 0.1


@pytest.mark.parametrize(
    ("changes", "motion"),
    [({"horizon": 0}, "none"), ({"class_agnostic": False, "space": "coder", "fpn": False}, "random")],
)
def test_variants_train(tmp_path: Path, data: Keyframes, tiny: Config, changes: dict[str, Any], motion: str) -> None:
    detector = tiny(**changes)
    varied = Keyframes(data.videos, horizon=detector.horizon, motion=motion)
    before = build_state(detector)
    result = train(varied, detector, recipe(iterations=2), tmp_path)
    assert ("loss_trajectory" in result.losses) == (detector.horizon > 0)
    after = result.model.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    model, names = load_detector(tmp_path / "detector.pt")
    assert names == ["filled", "hollow"] and model.config == detector
    assert all(torch.equal(value, after[name]) for name, value in model.state_dict().items())


def build_state(detector: DetectorConfig) -> dict[str, Tensor]:
    with torch.random.fork_rng():
        return training.build_detector(detector).state_dict()


# Repeating


@pytest.mark.slow
def test_same_seed_same_bytes(tmp_path: Path, data: Keyframes, tiny: Config) -> None:
    results = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(1 + len(results))  # what the caller draws meanwhile does not matter, and is left alone
        before = torch.get_rng_state()
        results.append(train(data, tiny(), recipe(iterations=3, seed=seed), tmp_path / folder))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(results[0], results[1])
    assert not same(results[0], results[2])
    first, second = ((tmp_path / folder / "detector.pt").read_bytes() for folder in "ab")
    assert first == second


def stop_after(monkeypatch: pytest.MonkeyPatch, checkpoints: int) -> None:
    """Interrupt the training right after it has written so many checkpoints and begun the next step."""
    written = 0
    write = training._checkpoint
    batch = training._batch

    def counting(*arguments: Any) -> None:
        nonlocal written
        write(*arguments)
        written += 1

    def interrupted(*arguments: Any) -> Any:
        if written == checkpoints:
            raise KeyboardInterrupt
        return batch(*arguments)

    monkeypatch.setattr(training, "_checkpoint", counting)
    monkeypatch.setattr(training, "_batch", interrupted)


@pytest.mark.slow
def test_a_stopped_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, data: Keyframes, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The random end draws random numbers in every step, the random motion in every sample.
    detector = tiny(cumulative_end="random")
    data = Keyframes(data.videos, horizon=3, motion="random")
    whole = train(data, detector, recipe(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(data, detector, recipe(), tmp_path / "parts")
    assert read(tmp_path / "parts")["iteration"] == 4
    assert not (tmp_path / "parts" / "detector.pt").exists()
    # How often checkpoints are written may change from one start to the next.
    resumed = train(data, detector, recipe(checkpoint_every=5), tmp_path / "parts")
    assert same(whole, resumed)
    assert read(tmp_path / "parts")["history"].tolist() == read(tmp_path / "whole")["history"].tolist()
    optimizers = [read(tmp_path / folder)["optimizer"]["state"] for folder in ("whole", "parts")]
    assert all(
        torch.equal(optimizers[0][key]["momentum_buffer"], optimizers[1][key]["momentum_buffer"])
        for key in optimizers[0]
    )


def test_a_finished_run_is_not_trained_again(
    tmp_path: Path, data: Keyframes, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(data, tiny(), recipe(), tmp_path)
    monkeypatch.setattr(training, "_batch", lambda *_: pytest.fail("no step is left"))
    again = train(data, tiny(), recipe(), tmp_path)
    assert same(first, again)
    assert again.seconds_per_keyframe == first.seconds_per_keyframe


@pytest.mark.slow
def test_sigkill_through_the_command(tmp_path: Path, write_tracks: Write, tiny: Config) -> None:
    """Killed with no chance to clean up, and started again with the same command: the same bytes in the end."""
    path = write_tracks(videos=4, frames=6)
    settings = {
        "horizon": 3, "backbone": "resnet18", "channels": 32, "representation": 32, "trajectory_hidden": 48,
        "min_size": 48, "max_size": 80, "proposals_train": 50, "proposals_test": 20, "rois_per_image": 16,
        "anchor_sizes": (12, 16, 24, 32, 48), "iterations": 15, "batch_size": 2, "warmup": 5, "checkpoint_every": 1,
    }  # fmt: skip
    detector = {name: value for name, value in settings.items() if name in DetectorConfig.__dataclass_fields__}
    config = {name: value for name, value in settings.items() if name not in detector}
    whole = train(
        Keyframes(TrackVideos(path), horizon=3),
        DetectorConfig(num_classes=2, **detector),
        TrainConfig(**config),
        tmp_path / "whole",
    )

    folder = tmp_path / "killed"
    program = "import torch; torch.set_num_threads(1)\nfrom location_anticipation.cli import main; main()"
    command = [sys.executable, "-c", program, "train", str(path), "--out", str(folder), "--device", "cpu"]
    for name, value in settings.items():
        command += ["--set", f"{name}={list(value) if isinstance(value, tuple) else value}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (folder / "training.pt").exists():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 1 <= read(folder)["iteration"] < 15
    assert not (folder / "detector.pt").exists()

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert f"continuing from step {read_step(done.stderr)} of" in done.stderr
    assert (folder / "detector.pt").read_bytes() == (tmp_path / "whole" / "detector.pt").read_bytes()
    printed = dict(line.split() for line in done.stdout.splitlines()[:-1])
    assert printed == {name: f"{value:.4f}" for name, value in whole.losses.items()}
    assert read(folder)["history"].tolist() == read(tmp_path / "whole")["history"].tolist()


def read_step(log: str) -> int:
    step = int(log.split("continuing from step ")[1].split()[0])
    assert 1 <= step < 15
    return step


# Refusing


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": {"learning_rate": 0.01}}, "train.learning_rate"),
        ({"recipe": {"iterations": 8, "seed": 4}}, "train.iterations, train.seed"),
        ({"detector": {"loss": "sigma"}}, "detector.loss"),
        ({"motion": "linear"}, "data"),
        ({"digest": "another"}, "data"),
    ],
)
def test_another_run_in_the_folder_is_refused(
    tmp_path: Path, data: Keyframes, tiny: Config, write_tracks: Write, change: dict[str, Any], named: str
) -> None:
    train(data, tiny(), recipe(iterations=2), tmp_path / "run")
    before = (tmp_path / "run" / "training.pt").read_bytes()
    if "digest" in change:
        data = Keyframes(TrackVideos(write_tracks("other.h5", attributes={"content_digest": "other"})), horizon=3)
    if "motion" in change:
        data = Keyframes(data.videos, horizon=3, motion=change["motion"])
    with pytest.raises(UsageError) as caught:
        train(
            data, tiny(**change.get("detector", {})), recipe(**{"iterations": 2} | change.get("recipe", {})),
            tmp_path / "run",
        )  # fmt: skip
    path = tmp_path / "run" / "training.pt"
    assert str(caught.value) == (
        f"{path}: belongs to a run with other settings ({named}); choose another folder or delete it"
    )
    assert path.read_bytes() == before


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, data: Keyframes, tiny: Config) -> None:
    train(data, tiny(), recipe(iterations=2), tmp_path)
    path = tmp_path / "training.pt"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UsageError, match=r"training\.pt: not a readable checkpoint"):
        train(data, tiny(), recipe(iterations=2), tmp_path)


def test_data_that_does_not_fit_the_detector_is_refused_before_training(
    tmp_path: Path, data: Keyframes, tiny: Config
) -> None:
    with pytest.raises(UsageError, match=r"train\.h5 has 2 classes, the detector is asked for 3"):
        train(data, tiny(num_classes=3), recipe(), tmp_path)
    with pytest.raises(UsageError, match=r"trajectories of 3 steps, the detector's horizon is 4"):
        train(data, tiny(horizon=4), recipe(), tmp_path)
    with pytest.raises(UsageError, match="norm must be one of"):
        train(data, tiny(norm="layer"), recipe(), tmp_path)
    with pytest.raises(UsageError, match="weights of resnet18 must be one of"):
        train(data, tiny(), recipe(), tmp_path, backbone_weights="COCO")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match="file: is a file; checkpoints need a folder"):
        train(data, tiny(), recipe(), file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"clip_norm": 0.0}, "clip_norm must be positive, got 0.0"),
        ({"momentum": -0.1}, "momentum must be 0 or more, got -0.1"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"precision": "8"}, "precision must be one of .*, got '8'"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)


# Failing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda loss: loss * float("nan"), r"loss is not finite at step 4 \(.*loss_trajectory nan"),
        (lambda loss: loss + float("inf"), r"loss is not finite at step 4 \(.*loss_trajectory inf"),
        # A finite loss whose gradient is not: the weights would be lost with this very step.
        (lambda loss: loss + torch.sqrt(loss * 0), r"gradient is not finite at step 4 \(norm nan\)"),
    ],
    ids=["nan", "inf", "gradient"],
)
def test_numbers_that_are_not_finite_stop_the_run_and_keep_the_last_checkpoint(
    tmp_path: Path, data: Keyframes, tiny: Config, monkeypatch: pytest.MonkeyPatch, spoil: Any, message: str
) -> None:
    calls = 0
    loss = AnticipationRoIHeads._trajectory_loss

    def spoiled(*arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        value = loss(*arguments)
        return spoil(value) if calls == 5 else value

    monkeypatch.setattr(AnticipationRoIHeads, "_trajectory_loss", spoiled)
    with pytest.raises(WorkError, match=message) as caught:
        train(data, tiny(), recipe(checkpoint_every=1), tmp_path / "run")
    assert f"the checkpoint in {tmp_path / 'run'} is from before" in str(caught.value)
    assert read(tmp_path / "run")["iteration"] == 4
    assert all(value.isfinite().all() for value in read(tmp_path / "run")["model"].values())
    assert not (tmp_path / "run" / "detector.pt").exists()


def test_without_a_checkpoint_none_is_promised(
    tmp_path: Path, data: Keyframes, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnticipationRoIHeads, "_trajectory_loss", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(WorkError, match=r"not finite at step 0 .*; no checkpoint yet\. A lower learning_rate"):
        train(data, tiny(), recipe(), tmp_path)
    assert list(tmp_path.glob("*.pt")) == []


# Schedules


@pytest.mark.parametrize(("size", "batch"), [(10, 3), (7, 7), (3, 8), (1, 4)])
def test_every_epoch_is_a_permutation(size: int, batch: int) -> None:
    epochs = 6
    drawn = [i for step in range(-(-epochs * size // batch)) for i in batch_indices(size, batch, step, seed=0)]
    orders = [drawn[epoch * size : (epoch + 1) * size] for epoch in range(epochs)]
    assert all(sorted(order) == list(range(size)) for order in orders)
    assert size < 5 or len({tuple(order) for order in orders}) == epochs  # another order every time


def test_batches_are_a_pure_function_of_the_step_and_the_seed() -> None:
    assert batch_indices(50, 8, 3, seed=1) == batch_indices(50, 8, 3, seed=1)
    assert batch_indices(50, 8, 3, seed=1) != batch_indices(50, 8, 3, seed=2)
    assert batch_indices(50, 8, 3, seed=1) != batch_indices(50, 8, 4, seed=1)


def test_learning_rate_rises_stays_and_falls_to_a_tenth() -> None:
    config = TrainConfig(iterations=120, learning_rate=0.4, warmup=4)
    rates = [learning_rate_at(i, config) for i in range(120)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert set(rates[3:80]) == {0.4}
    assert rates[80:] == pytest.approx([0.04] * 40)  # after two thirds, 80k of 120k in the thesis
    assert learning_rate_at(0, TrainConfig(warmup=0, learning_rate=0.4)) == 0.4


def test_cosine_falls_to_zero_in_half_a_wave() -> None:
    config = TrainConfig(iterations=120, learning_rate=0.4, warmup=4, schedule="cosine")
    rates = [learning_rate_at(i, config) for i in range(120)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[30] == pytest.approx(0.2 * (1 + 0.5**0.5))
    assert rates[60] == pytest.approx(0.2)
    assert 0 < rates[119] < 0.001
    assert all(later < earlier for earlier, later in pairwise(rates[4:]))
    with pytest.raises(ValueError, match="'linear'"):
        TrainConfig(schedule="linear")


def test_the_optimiser_gets_that_learning_rate(
    tmp_path: Path, data: Keyframes, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    step = torch.optim.SGD.step

    def recording(self: torch.optim.SGD, *arguments: Any, **options: Any) -> Any:
        seen.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.SGD, "step", recording)
    config = recipe(iterations=4, warmup=2, learning_rate=0.01)
    train(data, tiny(), config, tmp_path)
    assert seen == [learning_rate_at(i, config) for i in range(4)]
    assert json.loads(read(tmp_path)["fingerprint"])["train"]["learning_rate"] == 0.01
