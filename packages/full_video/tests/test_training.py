"""Training: it learns, it repeats itself to the bit, it survives being stopped, and it refuses what does not fit."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from full_video import training
from full_video.augmentation import Augmentation
from full_video.checkpoint import load_network
from full_video.errors import BrokenVideo, UsageError, WorkError
from full_video.evaluation import evaluate
from full_video.frames import FrameSource
from full_video.label_videos import LabelVideos
from full_video.networks import NetworkConfig, VideoNetwork, build_network
from full_video.sampling import Sampling
from full_video.training import TrainConfig, Trained, batch_order, learning_rate_at, train

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Write = Callable[..., Path]


def recipe(**changes: Any) -> TrainConfig:
    small: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 4,
        "milestones": (),
        "augmentation": Augmentation(size=32, resize=32, crop="centre"),
        "learning_rate": 0.01,
    }
    return TrainConfig(**small | changes)


def network(**changes: Any) -> NetworkConfig:
    return NetworkConfig(**{"classes": 2, "clusters": 4, "frozen_norm": "stem"} | changes)


@pytest.fixture
def data(write_videos: Write) -> LabelVideos:
    return LabelVideos(write_videos())


class Damaged:
    """A set some videos of which cannot be read."""

    def __init__(self, videos: LabelVideos, broken: Sequence[int]) -> None:
        self.facts, self._videos, self._broken = videos.facts, videos, broken

    def __len__(self) -> int:
        return len(self._videos)

    def label(self, video: int) -> int:
        return self._videos.label(video)

    def name(self, video: int) -> str:
        return f"video{video}"

    def frames(self, video: int) -> FrameSource:
        if video in self._broken:
            raise BrokenVideo(self.name(video), "cut off")
        return self._videos.frames(video)


def same(first: Trained, second: Trained) -> bool:
    states = first.network.state_dict(), second.network.state_dict()
    return first.losses == second.losses and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "training.pt", weights_only=True)
    return content


# Learning


@pytest.mark.slow
def test_a_tiny_problem_is_learned(tmp_path: Path, write_videos: Write) -> None:
    videos = LabelVideos(write_videos(videos=8))
    config = recipe(epochs=20, batch_size=8, learning_rate=0.02, warmup=4)
    result = train(videos, network(dropout=0.0), config, tmp_path / "run")
    assert len(result.losses) == 20 and result.loss == result.losses[-1]
    assert result.loss < 0.3 * result.losses[0]
    assert result.seconds_per_epoch > 0 and result.skipped == ()
    assert not result.network.training
    scores = evaluate(result.network, videos, config)
    assert scores.top1 >= 0.75 and scores.videos == 8


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"clusters": 0}, {"sampling": Sampling(frames=4)}),
        ({"clusters": 0, "shift": False}, {"sampling": Sampling(frames=4, rule="motion")}),
        ({}, {"memory": "streamed", "chunk": 3}),
        ({}, {"memory": "checkpointed", "schedule": "cosine", "max_frames": 5}),
        ({"grouping": "slope"}, {"precision": "bf16-mixed"}),
    ],
)
def test_variants_train(tmp_path: Path, data: LabelVideos, changes: dict[str, Any], settings: dict[str, Any]) -> None:
    result = train(data, network(**changes), recipe(epochs=1, **settings), tmp_path)
    assert torch.isfinite(torch.tensor(result.losses)).all()
    saved = load_network(tmp_path / "network.pt")
    assert saved.class_names == ("move left", "move right")
    assert saved.network.config == network(**changes)
    config = recipe(**settings)
    assert (saved.sampling, saved.augmentation, saved.max_frames) == (
        config.sampling,
        config.augmentation,
        config.max_frames,
    )
    state = result.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in saved.network.state_dict().items())


def test_the_forms_of_memory_learn_the_same(tmp_path: Path, data: LabelVideos) -> None:
    results = [
        train(data, network(), recipe(epochs=1, memory=memory, chunk=3), tmp_path / memory)
        for memory in ("plain", "checkpointed", "streamed")
    ]
    for result in results[1:]:
        assert result.losses == pytest.approx(results[0].losses, rel=1e-4)


# Repeating


@pytest.mark.slow
def test_same_seed_same_bytes_with_and_without_workers(tmp_path: Path, data: LabelVideos) -> None:
    augmentation = Augmentation(size=24, resize=32, crop="random", flip="labels")
    results = []
    for folder, changes in (("a", {}), ("b", {"workers": 2}), ("c", {"seed": 1})):
        torch.rand(1 + len(results))  # what the caller draws meanwhile does not matter, and is left alone
        before = torch.get_rng_state()
        config = recipe(epochs=1, augmentation=augmentation, sampling=Sampling(frames=5), **changes)
        results.append(train(data, network(), config, tmp_path / folder))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(results[0], results[1])
    assert not same(results[0], results[2])
    first, second = ((tmp_path / folder / "network.pt").read_bytes() for folder in "ab")
    assert first == second


def stop_in_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    take = training._Run.take

    def interrupted(self: Any, *arguments: Any) -> None:
        if self.step == step:
            raise KeyboardInterrupt
        take(self, *arguments)

    monkeypatch.setattr(training._Run, "take", interrupted)


@pytest.mark.slow
def test_a_stopped_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, data: LabelVideos, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dropout draws in every step, crops and sampling in every clip; one video is broken.
    videos = Damaged(data, [2])
    config = recipe(augmentation=Augmentation(size=24, resize=32), sampling=Sampling(frames=6), checkpoint_every=1)
    seen: dict[str, list[int]] = {"whole": [], "parts": []}
    whole = train(
        videos, network(), config, tmp_path / "whole", after_epoch=lambda epoch, _: seen["whole"].append(epoch)
    )
    with monkeypatch.context() as patch:
        stop_in_step(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            train(
                videos, network(), config, tmp_path / "parts", after_epoch=lambda epoch, _: seen["parts"].append(epoch)
            )
    assert read(tmp_path / "parts")["step"] == 3
    assert not (tmp_path / "parts" / "network.pt").exists()
    # How often checkpoints are written, and by whom videos are read, may change from one start to the next.
    config = recipe(augmentation=config.augmentation, sampling=config.sampling, checkpoint_every=7, workers=1)
    resumed = train(
        videos, network(), config, tmp_path / "parts", after_epoch=lambda epoch, _: seen["parts"].append(epoch)
    )
    assert same(whole, resumed)
    assert whole.skipped == resumed.skipped
    assert seen == {"whole": [0, 1, 2], "parts": [0, 1, 2]}
    assert read(tmp_path / "parts")["history"].tolist() == read(tmp_path / "whole")["history"].tolist()
    optimizers = [read(tmp_path / folder)["optimizer"]["state"] for folder in ("whole", "parts")]
    assert all(
        torch.equal(optimizers[0][key]["momentum_buffer"], optimizers[1][key]["momentum_buffer"])
        for key in optimizers[0]
    )


def test_momentum_in_another_order_in_memory_is_the_same_momentum(
    tmp_path: Path, data: LabelVideos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run on a GPU that goes on on a CPU, where the weights are laid out otherwise."""
    config = recipe(epochs=1, batch_size=2, checkpoint_every=1, warmup=3)
    whole = train(data, network(), config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_in_step(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(data, network(), config, tmp_path / "parts")
    content = read(tmp_path / "parts")
    for state in content["optimizer"]["state"].values():
        state["momentum_buffer"] = state["momentum_buffer"].contiguous()
    torch.save(content, tmp_path / "parts" / "training.pt")
    assert same(whole, train(data, network(), config, tmp_path / "parts"))


def test_adamw_goes_on_with_the_same_moments(
    tmp_path: Path, data: LabelVideos, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe(epochs=1, batch_size=2, checkpoint_every=1, optimizer="adamw", learning_rate=1e-3, weight_decay=0.1)
    whole = train(data, network(), config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_in_step(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(data, network(), config, tmp_path / "parts")
    assert same(whole, train(data, network(), config, tmp_path / "parts"))


def test_adamw_decays_weights_and_nothing_else() -> None:
    model = build_network(network())
    weights, rest = training._optimizer(model, recipe(optimizer="adamw", weight_decay=0.1)).param_groups
    assert [group["weight_decay"] for group in (weights, rest)] == [0.1, 0.0]
    assert all(p.ndim > 1 for p in weights["params"]) and all(p.ndim <= 1 for p in rest["params"])
    assert len(weights["params"]) + len(rest["params"]) == len(list(model.parameters()))


def test_an_optimizer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"optimizer must be one of .*adamw.*, got 'adam'"):
        recipe(optimizer="adam")


def test_a_finished_run_is_not_trained_again(
    tmp_path: Path, data: LabelVideos, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(data, network(), recipe(epochs=1), tmp_path)
    monkeypatch.setattr(training._Run, "take", lambda *_: pytest.fail("no step is left"))
    again = train(data, network(), recipe(epochs=1), tmp_path)
    assert same(first, again)
    assert again.seconds_per_epoch == first.seconds_per_epoch


@pytest.mark.slow
def test_sigkill_through_the_command(tmp_path: Path, write_videos: Write) -> None:
    """Killed with no chance to clean up, and started again with the same command: the same bytes in the end."""
    path = write_videos()
    whole = train(
        LabelVideos(path), network(), recipe(epochs=3, memory="streamed", checkpoint_every=1), tmp_path / "whole"
    )

    folder = tmp_path / "killed"
    program = "import torch; torch.set_num_threads(1)\nfrom full_video.cli import main; main()"
    command = [sys.executable, "-c", program, "train", str(path), "--out", str(folder), "--device", "cpu"]
    for setting in (
        "clusters=4", "frozen_norm=stem", "epochs=3", "batch_size=4", "milestones=[]", "size=32", "resize=32",
        "crop=centre", "learning_rate=0.01", "memory=streamed", "checkpoint_every=1",
    ):  # fmt: skip
        command += ["--set", setting]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (folder / "training.pt").exists():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    step = read(folder)["step"]
    assert 1 <= step < 6
    assert not (folder / "network.pt").exists()

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert f"continuing from step {step} of" in done.stderr
    assert (folder / "network.pt").read_bytes() == (tmp_path / "whole" / "network.pt").read_bytes()
    assert f"loss               {whole.loss:.4f}" in done.stdout
    assert read(folder)["history"].tolist() == read(tmp_path / "whole")["history"].tolist()


# Broken videos


def test_broken_videos_are_named_skipped_and_counted(
    tmp_path: Path, data: LabelVideos, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    result = train(Damaged(data, [1, 4]), network(), recipe(), tmp_path)
    assert [(video.name, video.why, video.times) for video in result.skipped] == [
        ("video1", "cut off", 2),
        ("video4", "cut off", 2),
    ]
    assert caplog.messages.count("skipping video1: cut off") == 1  # in two epochs
    assert caplog.messages[-1] == "2 of 6 videos could not be read and were skipped"
    assert sum(videos for _, videos in read(tmp_path)["history"].tolist()) == 8  # 4 videos, twice


def test_a_batch_of_broken_videos_alone_takes_no_step(tmp_path: Path, data: LabelVideos) -> None:
    result = train(Damaged(data, [0, 1, 2, 3, 4]), network(), recipe(batch_size=1, epochs=1), tmp_path)
    history = read(tmp_path)["history"].tolist()
    assert sorted(videos for _, videos in history) == [0, 0, 0, 0, 0, 1]
    assert result.losses == (sum(loss for loss, _ in history),)


def test_videos_that_are_all_broken_end_the_run(tmp_path: Path, data: LabelVideos) -> None:
    with pytest.raises(WorkError, match="none of the 6 videos can be read; the first: video0: cut off"):
        train(Damaged(data, range(6)), network(), recipe(), tmp_path)


@pytest.mark.slow
def test_broken_videos_are_skipped_in_worker_processes_too(tmp_path: Path, data: LabelVideos) -> None:
    videos = Damaged(data, [1, 4])
    alone = train(videos, network(), recipe(epochs=1), tmp_path / "alone")
    helped = train(videos, network(), recipe(epochs=1, workers=2), tmp_path / "helped")
    assert same(alone, helped) and alone.skipped == helped.skipped


# Refusing


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": {"learning_rate": 0.02}}, "train.learning_rate"),
        ({"recipe": {"epochs": 3, "seed": 4}}, "train.epochs, train.seed"),
        ({"recipe": {"sampling": Sampling(frames=4)}}, "sampling.frames"),
        ({"network": {"grouping": "slope"}}, "network.grouping"),
        ({"weights": "IMAGENET1K_V1"}, "weights"),
        ({"digest": "another"}, "data"),
    ],
)
def test_another_run_in_the_folder_is_refused(
    tmp_path: Path,
    data: LabelVideos,
    write_videos: Write,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    named: str,
) -> None:
    train(data, network(), recipe(epochs=1), tmp_path / "run")
    before = (tmp_path / "run" / "training.pt").read_bytes()
    if "digest" in change:
        data = LabelVideos(write_videos("other.h5", attributes={"content_digest": "other"}))
    monkeypatch.setattr("full_video.networks.load_weights", lambda *_: None)
    with pytest.raises(UsageError) as caught:
        train(
            data,
            network(**change.get("network", {})),
            recipe(**{"epochs": 1} | change.get("recipe", {})),
            tmp_path / "run",
            weights=change.get("weights"),
        )
    path = tmp_path / "run" / "training.pt"
    assert str(caught.value) == (
        f"{path}: belongs to a run with other settings ({named}); choose another folder or delete it"
    )
    assert path.read_bytes() == before


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, data: LabelVideos) -> None:
    train(data, network(), recipe(epochs=1), tmp_path)
    path = tmp_path / "training.pt"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UsageError, match=r"training\.pt: not a readable checkpoint"):
        train(data, network(), recipe(epochs=1), tmp_path)


def test_a_precision_that_the_device_lacks_is_refused(tmp_path: Path, data: LabelVideos) -> None:
    config = recipe(precision="16-mixed")
    with pytest.raises(UsageError, match="precision='16-mixed' needs a GPU"):
        train(data, network(), config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="precision='16-mixed' needs a GPU"):
        evaluate(build_network(network()), data, config)


def test_data_that_does_not_fit_the_network_is_refused_before_training(tmp_path: Path, data: LabelVideos) -> None:
    with pytest.raises(UsageError, match="Squares has 2 classes, the network is asked for 3"):
        train(data, network(classes=3), recipe(), tmp_path)
    with pytest.raises(UsageError, match="frozen_norm"):  # batch statistics of a streamed stem
        train(data, network(frozen_norm="none"), recipe(memory="streamed"), tmp_path)
    with pytest.raises(UsageError, match="clusters"):
        train(data, network(clusters=0), recipe(memory="streamed"), tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match="file: is a file; checkpoints need a folder"):
        train(data, network(), recipe(), file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1, got 0"),
        ({"chunk": 0}, "chunk must be 1 or more, got 0"),
        ({"workers": -1}, "workers must be 0 or more, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"clip_norm": 0.0}, "clip_norm must be positive, got 0.0"),
        ({"momentum": -0.1}, "momentum must be 0 or more, got -0.1"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"precision": "8"}, "precision must be one of .*, got '8'"),
        ({"memory": "little"}, "memory must be one of .*, got 'little'"),
        ({"schedule": "linear"}, "schedule must be one of .*, got 'linear'"),
        ({"milestones": (4, 2)}, r"milestones must be rising epochs from 1 on, got \(4, 2\)"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)


# Failing


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda logits: logits * float("nan"), r"loss is not finite at step 2 \(nan\)"),
        # A finite loss whose gradient is not: the weights would be lost with this very step.
        (lambda logits: logits + torch.sqrt(logits * 0), r"gradient is not finite at step 2 \(nan\)"),
    ],
    ids=["loss", "gradient"],
)
def test_numbers_that_are_not_finite_stop_the_run_and_keep_the_last_checkpoint(
    tmp_path: Path, data: LabelVideos, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Tensor], Tensor], message: str
) -> None:
    calls = 0
    forward = VideoNetwork.forward

    def spoiled(self: VideoNetwork, *arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        logits = forward(self, *arguments)
        return spoil(logits) if calls == 3 else logits

    monkeypatch.setattr(VideoNetwork, "forward", spoiled)
    with pytest.raises(WorkError, match=message) as caught:
        train(data, network(), recipe(checkpoint_every=1), tmp_path / "run")
    assert f"the checkpoint {tmp_path / 'run' / 'training.pt'} is from before" in str(caught.value)
    assert read(tmp_path / "run")["step"] == 2
    assert all(value.isfinite().all() for value in read(tmp_path / "run")["model"].values())
    assert not (tmp_path / "run" / "network.pt").exists()


def test_without_a_checkpoint_none_is_promised(
    tmp_path: Path, data: LabelVideos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VideoNetwork, "forward", lambda self, *_: self.fc.weight[:, :2] * float("nan"))
    with pytest.raises(WorkError, match=r"not finite at step 0 .*; no checkpoint yet\. A lower learning_rate"):
        train(data, network(), recipe(batch_size=2), tmp_path)
    assert list(tmp_path.glob("*.pt")) == []


# Schedules


@pytest.mark.parametrize(("videos", "batch"), [(10, 3), (7, 7), (3, 8), (1, 4)])
def test_every_epoch_is_a_permutation(videos: int, batch: int) -> None:
    steps = -(-videos // batch)
    order = list(batch_order(videos, batch, 0, 0, 6 * steps))
    epochs = [[key for part in order[e * steps : (e + 1) * steps] for key in part] for e in range(6)]
    for epoch, keys in enumerate(epochs):
        assert sorted(keys) == [(video, epoch) for video in range(videos)]
    assert videos < 5 or len({tuple(video for video, _ in keys) for keys in epochs}) == 6  # another order every time
    assert list(batch_order(videos, batch, 0, 2, 6 * steps)) == order[2:]
    assert list(batch_order(videos, batch, 1, 0, 6 * steps)) != order or videos == 1


def test_learning_rate_rises_stays_and_falls_at_milestones() -> None:
    config = TrainConfig(epochs=6, learning_rate=0.4, warmup=4, milestones=(3, 5))
    rates = [learning_rate_at(step, 10, config) for step in range(60)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert set(rates[3:30]) == {0.4}
    assert rates[30:50] == pytest.approx([0.04] * 20)
    assert rates[50:] == pytest.approx([0.004] * 10)
    assert learning_rate_at(0, 10, TrainConfig(learning_rate=0.4)) == 0.4


def test_cosine_falls_to_zero_in_half_a_wave() -> None:
    config = TrainConfig(epochs=12, learning_rate=0.4, warmup=4, schedule="cosine")
    rates = [learning_rate_at(step, 10, config) for step in range(120)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[30] == pytest.approx(0.2 * (1 + 0.5**0.5))
    assert rates[60] == pytest.approx(0.2)
    assert 0 < rates[119] < 0.001
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_the_optimiser_gets_that_learning_rate(
    tmp_path: Path, data: LabelVideos, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    step = torch.optim.SGD.step

    def recording(self: torch.optim.SGD, *arguments: Any, **options: Any) -> Any:
        seen.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.SGD, "step", recording)
    config = recipe(warmup=2, milestones=(1,))
    train(data, network(), config, tmp_path)
    assert seen == [learning_rate_at(step, 2, config) for step in range(4)]
    assert json.loads(read(tmp_path)["fingerprint"])["train"]["learning_rate"] == 0.01
