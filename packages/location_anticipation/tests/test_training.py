"""Training: it learns, it repeats itself to the bit, and it survives being killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from location_anticipation import DetectorConfig, UsageError, WorkError, load_detector, save_detector
from location_anticipation import training as training_module
from location_anticipation.checkpoint import read_tensors
from location_anticipation.data import Keyframes, TrackVideos
from location_anticipation.detector import AnticipationRCNN, build_detector
from location_anticipation.files import atomic_path
from location_anticipation.training import TrainConfig, batch_indices, learning_rate_at, train

Writer = Callable[..., Path]
Tiny = Callable[..., DetectorConfig]
SHORT = TrainConfig(iterations=6, batch_size=2, warmup=2, checkpoint_every=2)


def weights(model: AnticipationRCNN) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in model.state_dict().values()])


def test_a_few_steps_on_two_videos_lower_every_loss(write_videos: Writer, tiny: Tiny, tmp_path: Path) -> None:
    data = Keyframes(TrackVideos(write_videos(videos=2, frames=6)), horizon=3)
    recipe = TrainConfig(iterations=40, batch_size=2, warmup=5, checkpoint_every=40)
    config = tiny(keyframe="true", trajectory_beta=4.0, trajectory_weight=0.1)
    train(data, config, recipe, tmp_path / "run")
    history = read_tensors(tmp_path / "run" / "training.pt", "location_anticipation.training/1")["history"]
    first, last = history[:5].mean(0), history[-5:].mean(0)
    assert history.shape == (40, 5)
    assert (last[[0, 3]] < 0.8 * first[[0, 3]]).all(), "classification and objectness"


def test_the_same_seed_gives_the_same_bytes(write_videos: Writer, tiny: Tiny, tmp_path: Path) -> None:
    data = Keyframes(TrackVideos(write_videos()), horizon=3)
    torch.manual_seed(1)
    one = train(data, tiny(), SHORT, tmp_path / "one")
    torch.manual_seed(2)  # the caller's random state plays no part, and is not touched
    state = torch.get_rng_state()
    two = train(data, tiny(), SHORT, tmp_path / "two")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weights(one.model), weights(two.model)) and one.losses == two.losses
    other = train(data, tiny(), TrainConfig(**{**vars(SHORT), "seed": 1}), tmp_path / "other")
    assert not torch.equal(weights(one.model), weights(other.model))


@pytest.mark.parametrize("stop", [2, 5])
def test_a_stopped_run_ends_as_one_that_was_not(
    write_videos: Writer, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    data = Keyframes(TrackVideos(write_videos()), horizon=3)
    whole = train(data, tiny(), SHORT, tmp_path / "whole")

    real = training_module.learning_rate_at

    def stopping(iteration: int, config: TrainConfig) -> float:
        if iteration == stop:
            raise KeyboardInterrupt
        return real(iteration, config)

    monkeypatch.setattr(training_module, "learning_rate_at", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(data, tiny(), SHORT, tmp_path / "stopped")
    monkeypatch.setattr(training_module, "learning_rate_at", real)
    resumed = train(data, tiny(), SHORT, tmp_path / "stopped")
    assert torch.equal(weights(whole.model), weights(resumed.model))
    assert whole.losses == resumed.losses


def test_kill_minus_nine(write_videos: Writer, tmp_path: Path) -> None:
    """The command, killed without a chance to clean up and started again, ends with the metrics of an unbroken run."""
    path = write_videos(videos=2, frames=6)
    settings = [
        "backbone=resnet18", "channels=16", "representation=16", "trajectory_hidden=24", "horizon=3", "min_size=64",
        "max_size=64", "rois_per_image=16", "proposals_train=50", "iterations=60", "batch_size=2", "warmup=2",
        "checkpoint_every=3",
    ]  # fmt: skip

    def command(folder: str) -> list[str]:
        code = "import torch; torch.set_num_threads(1); from location_anticipation.cli import main; main()"
        given = [argument for setting in settings for argument in ("--set", setting)]
        return [
            sys.executable,
            "-c",
            code,
            "train",
            str(path),
            "--out",
            str(tmp_path / folder),
            "--device",
            "cpu",
            *given,
        ]

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command("killed"), env=environment, **quiet)  # type: ignore[call-overload]
    checkpoint = tmp_path / "killed" / "training.pt"
    until = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < until and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    done = read_tensors(checkpoint, "location_anticipation.training/1")["iteration"]
    assert 0 < done < 60 and not (tmp_path / "killed" / "detector.pt").exists()

    ends = []
    for folder in ("killed", "unbroken"):
        ended = subprocess.run(command(folder), env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        model, names = load_detector(tmp_path / folder / "detector.pt")
        ends.append((weights(model), names, ended.stdout.replace(folder, "")))
        if folder == "killed":
            assert f"continuing from step {done}" in ended.stderr
    assert torch.equal(ends[0][0], ends[1][0]) and ends[0][1:] == ends[1][1:]


def test_a_folder_of_another_run_is_refused(write_videos: Writer, tiny: Tiny, tmp_path: Path) -> None:
    data = Keyframes(TrackVideos(write_videos()), horizon=3)
    short = TrainConfig(iterations=2, batch_size=2, warmup=2, checkpoint_every=2)
    train(data, tiny(), short, tmp_path)
    with pytest.raises(UsageError, match=r"train\.learning_rate"):
        train(data, tiny(), TrainConfig(**{**vars(short), "learning_rate": 0.5}), tmp_path)
    with pytest.raises(UsageError, match=r"detector\.loss"):
        train(data, tiny(loss="bag"), short, tmp_path)
    with pytest.raises(UsageError, match="data"):
        train(Keyframes(data.videos, horizon=3, motion="linear"), tiny(), short, tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run(
    write_videos: Writer, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Keyframes(TrackVideos(write_videos()), horizon=3)
    real = AnticipationRCNN.forward
    calls = []

    def breaking(self: AnticipationRCNN, *arguments: object) -> object:
        calls.append(1)
        losses = real(self, *arguments)  # type: ignore[arg-type]
        return {k: v * float("nan") for k, v in losses.items()} if len(calls) == 4 else losses  # type: ignore[union-attr]

    monkeypatch.setattr(AnticipationRCNN, "forward", breaking)
    with pytest.raises(WorkError, match=r"not finite at step 3.*learning_rate"):
        train(data, tiny(), SHORT, tmp_path)
    kept = read_tensors(tmp_path / "training.pt", "location_anticipation.training/1")
    assert kept["iteration"] == 2
    assert all(torch.isfinite(value).all() for value in kept["model"].values())
    assert not (tmp_path / "detector.pt").exists()


def test_batches_are_the_epochs_permutations() -> None:
    order = [i for iteration in range(9) for i in batch_indices(12, 4, iteration, seed=0)]
    epochs = [order[k : k + 12] for k in range(0, 36, 12)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    over_the_end = batch_indices(12, 5, 2, seed=0)
    assert over_the_end == [*epochs[0][10:], *epochs[1][:3]]
    assert batch_indices(12, 4, 0, seed=1) != batch_indices(12, 4, 0, seed=0)


def test_the_learning_rate() -> None:
    config = TrainConfig(iterations=900, learning_rate=0.1, warmup=10)
    assert learning_rate_at(0, config) == pytest.approx(0.01)
    assert learning_rate_at(9, config) == learning_rate_at(599, config) == pytest.approx(0.1)
    assert learning_rate_at(600, config) == learning_rate_at(899, config) == pytest.approx(0.01)


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"batch_size": 0}, {"learning_rate": 0.0}])
def test_wrong_recipes(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainConfig(**wrong)  # type: ignore[arg-type]


def test_a_detector_survives_its_file(tiny: Tiny, tmp_path: Path) -> None:
    model = build_detector(tiny(score_threshold=0.0)).eval()
    save_detector(tmp_path / "detector.pt", model, ["cat", "dog"])
    loaded, names = load_detector(tmp_path / "detector.pt")
    assert names == ["cat", "dog"] and loaded.config == model.config and not loaded.training
    image = torch.rand(3, 64, 64)
    for ours, theirs in zip(model([image]), loaded([image]), strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert isinstance(torch.load(tmp_path / "detector.pt", weights_only=True), dict)
    with pytest.raises(ValueError, match="2 classes but 1 names"):
        save_detector(tmp_path / "other.pt", model, ["cat"])


def test_files_that_are_no_detector(tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "detector.pt"
    save_detector(path, build_detector(tiny()), ["a", "b"])
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="not a readable checkpoint"):
            load_detector(path)
    with pytest.raises(UsageError, match="no such file"):
        load_detector(tmp_path / "nothing.pt")
    torch.save({"model": {"conv.weight": torch.zeros(1)}}, path)
    with pytest.raises(UsageError, match="another kind"):
        load_detector(path)
    path.write_bytes(whole)
    content = torch.load(path, weights_only=True)
    content["config"]["backbone"] = "resnet34"
    torch.save(content, path)
    with pytest.raises(UsageError, match="do not fit"):
        load_detector(path)
    del content["config"]["loss"]
    torch.save(content, path)
    with pytest.raises(UsageError, match=r"another version.*loss"):
        load_detector(path)


def test_a_full_disk_leaves_nothing_behind(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out" / "detector.pt"
    model = build_detector(tiny())
    save_detector(path, model, ["a", "b"])
    before = path.read_bytes()

    def full(content: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:783] . PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WorkError, match=r"detector\.pt: cannot be written"):
        save_detector(path, model, ["a", "b"])
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["detector.pt"]


def test_errors_that_have_nothing_to_do_with_the_output_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic_path(tmp_path / "out.txt"):
        (tmp_path / "elsewhere").read_text()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="cannot be written"), atomic_path(tmp_path / "file" / "out.txt"):
        pytest.fail("a file is no folder")
