"""Training: it learns, it repeats itself to the bit, it survives being stopped, and it refuses what does not fit."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from weight_align import learner, training_run
from weight_align.checkpoint import load_network
from weight_align.errors import BrokenImage, UsageError, WorkError
from weight_align.evaluation import evaluate
from weight_align.image_sets import ImageTensor, open_images
from weight_align.networks import Network, NetworkConfig
from weight_align.normalisation import IMAGENET, Normalisation
from weight_align.training import TrainConfig, train, train_seeds
from weight_align.training_loop import Trained

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., ImageTensor]


def recipe(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch_size": 8, "padding": 1} | changes)


def network(**changes: Any) -> NetworkConfig:
    return NetworkConfig(**{"classes": 3, "width": 2, "align": True} | changes)


def same(first: Trained[Network], second: Trained[Network]) -> bool:
    states = first.network.state_dict(), second.network.state_dict()
    return first.losses == second.losses and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "training.pt", weights_only=True)
    return content


# Learning


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{"norm": "gn"}, {"norm": "bn", "align": False}])
def test_a_tiny_problem_is_learned(tmp_path: Path, make_images: Make, kind: dict[str, Any]) -> None:
    config = recipe(epochs=8, batch_size=16, learning_rate=0.1, schedule="cosine", flip=False)
    result = train(make_images(96), network(width=4, **kind), config, tmp_path)
    assert len(result.losses) == 8 and result.losses[-1] < 0.4 * result.losses[0]
    scores = evaluate(result.network, make_images(48, seed=1), normalisation=result.normalisation)
    assert scores.top1_error < 20


def test_what_a_training_leaves(tmp_path: Path, make_images: Make) -> None:
    images = make_images(26)
    result = train(images, network(), recipe(), tmp_path)
    assert not result.network.training and result.normalisation == Normalisation.of(images.images)
    assert result.steps_per_second > 0
    assert result.seconds_per_epoch == pytest.approx(3 / result.steps_per_second)
    assert abs(result.losses[0] - 1.0986) < 0.1  # Fixup's classifier starts at zero
    saved = load_network(tmp_path / "network.pt")
    assert saved.network.config == replace(network(), fixup=True)
    assert all(
        torch.equal(a, b)
        for a, b in zip(saved.network.state_dict().values(), result.network.state_dict().values(), strict=True)
    )
    assert saved.facts["class_names"] == ["bar", "disc", "cross"] and saved.facts["trained_on"] == "Marks"
    assert Normalisation(tuple(saved.facts["mean"]), tuple(saved.facts["std"])) == result.normalisation
    given = train(images, network(), recipe(normalisation="imagenet"), tmp_path / "given")
    assert given.normalisation == IMAGENET and given.losses != result.losses


def test_steps_in_place_of_epochs(tmp_path: Path, make_images: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seen: list[int] = []
    result = train(make_images(), network(), recipe(steps=7), tmp_path, after_epoch=lambda e, _: seen.append(e))
    assert read(tmp_path)["step"] == 7 and len(result.losses) == 3 and seen == [0, 1, 2, 3]
    lines = [message for message in caplog.messages if message.startswith("epoch ")]
    assert len(lines) == 3 and lines[2].startswith(f"epoch 3/3  step 7/7  loss {result.losses[2]:.4f}")


def test_fewer_images_are_the_first_of_each_class(tmp_path: Path, make_images: Make) -> None:
    images = make_images(30)
    part = images.chosen(torch.arange(12))  # labels in turn: these are the first four of each class
    results = [
        train(images, network(), recipe(images=12, batch_size=4), tmp_path / "limit"),
        train(part, network(), recipe(batch_size=4), tmp_path / "part"),
    ]
    assert same(*results)


def test_fine_tuning_starts_from_a_network_with_other_classes(tmp_path: Path, make_images: Make) -> None:
    first = train(make_images(), network(), recipe(), tmp_path / "first")
    images = make_images(16)
    two = ImageTensor(images.images, images.labels % 2, replace(images.facts, class_names=("a", "b")))
    seen: list[Network] = []

    def look(_: int, model: Network) -> None:
        if not seen:
            seen.append(model)
            state, old = model.state_dict(), first.network.state_dict()
            assert state["fc.weight"].shape[0] == 2
            kept = [name for name in state if not name.startswith("fc.")]
            assert len(kept) > 80 and all(torch.equal(state[name], old[name]) for name in kept)

    config, weights = recipe(learning_rate=0.001), tmp_path / "first" / "network.pt"
    train(two, network(classes=2), config, tmp_path / "second", weights=weights, after_epoch=look)
    assert seen


# Several seeds


@pytest.mark.parametrize("norm", ["none", "bn"])
def test_seeds_together_are_what_they_are_alone(tmp_path: Path, make_images: Make, norm: Any) -> None:
    images, model = make_images(), network(norm=norm)
    seen: list[tuple[int, int]] = []
    together = train_seeds(
        images, model, recipe(learning_rate=0.003), tmp_path / "both", (3, 1),
        after_epoch=lambda epoch, networks: seen.append((epoch, len(networks))),
    )  # fmt: skip
    assert seen == [(0, 2), (1, 2), (2, 2)]
    for seed, result in zip((3, 1), together, strict=True):
        alone = train(images, model, recipe(learning_rate=0.003, seed=seed), tmp_path / f"{seed}")
        assert result.losses == pytest.approx(alone.losses, rel=1e-3)
        torch.testing.assert_close(result.network.state_dict(), alone.network.state_dict(), atol=2e-3, rtol=2e-2)
        saved = load_network(tmp_path / "both" / f"seed-{seed}" / "network.pt").network.state_dict()
        assert all(torch.equal(saved[name], value) for name, value in result.network.state_dict().items())
    assert together[0].losses != together[1].losses


def test_seeds_that_make_no_sense(tmp_path: Path, make_images: Make, write_folder: Callable[..., Path]) -> None:
    for seeds in ((), (1, 1), (-1, 2)):
        with pytest.raises(UsageError, match="seeds must be different whole numbers of 0 or more"):
            train_seeds(make_images(), network(), recipe(), tmp_path / "run", seeds)
    files = open_images(write_folder("train"), "imagenet", "train", size=16)
    with pytest.raises(UsageError, match="several seeds at once need images in memory"):
        train_seeds(files, network(), recipe(), tmp_path / "run", (0, 1))


# Repeating


def test_same_seed_same_bytes(tmp_path: Path, make_images: Make) -> None:
    results = []
    for folder, seed in zip("abc", (0, 0, 1), strict=True):
        torch.rand(1 + len(results))  # what the caller draws meanwhile does not matter, and is left alone
        before = torch.get_rng_state()
        results.append(train(make_images(), network(), recipe(seed=seed, erasing=0.5), tmp_path / folder))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(results[0], results[1]) and not same(results[0], results[2])
    assert (tmp_path / "a" / "network.pt").read_bytes() == (tmp_path / "b" / "network.pt").read_bytes()


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    take = training_run.Run.take

    def interrupted(self: training_run.Run, batch: tuple[Tensor, ...]) -> None:
        if self.step == step:
            raise KeyboardInterrupt
        take(self, batch)

    monkeypatch.setattr(training_run.Run, "take", interrupted)


@pytest.mark.parametrize("stop", [1, 3, 5])
@pytest.mark.parametrize("seeds", [None, (0, 4)])
def test_a_stopped_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, make_images: Make, monkeypatch: pytest.MonkeyPatch, stop: int, seeds: Sequence[int] | None
) -> None:
    """Three steps an epoch: stopped within the first, at its end, and within the second."""
    config = recipe(checkpoint_every=1, erasing=0.3, schedule="cosine")
    seen: list[int] = []

    def run(folder: str, config: TrainConfig) -> list[Trained[Network]]:
        images, model = make_images(26), network(norm="bn", align=seeds is None)
        if seeds is None:
            return [train(images, model, config, tmp_path / folder, after_epoch=lambda e, _: seen.append(e))]
        return train_seeds(images, model, config, tmp_path / folder, seeds, after_epoch=lambda e, _: seen.append(e))

    whole = run("whole", config)
    wanted, seen[:] = list(seen), []
    with monkeypatch.context() as patch:
        stop_at(stop, patch)
        with pytest.raises(KeyboardInterrupt):
            run("parts", config)
    assert read(tmp_path / "parts")["step"] == stop and not list((tmp_path / "parts").rglob("network.pt"))
    # How often checkpoints are written may change from one start to the next.
    parts = run("parts", replace(config, checkpoint_every=7))
    assert all(same(a, b) for a, b in zip(whole, parts, strict=True)) and seen == wanted
    for path in (tmp_path / "whole").rglob("network.pt"):
        assert path.read_bytes() == (tmp_path / "parts" / path.relative_to(tmp_path / "whole")).read_bytes()
    first, second = (read(tmp_path / folder)["learner"]["momenta"] for folder in ("whole", "parts"))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_dropout_goes_on_where_it_was(tmp_path: Path, make_images: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(backbone="vgg16", stem="imagenet", width=1)
    config, images = recipe(checkpoint_every=1), make_images(size=32)
    whole = train(images, model, config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(4, patch)
        with pytest.raises(KeyboardInterrupt):
            train(images, model, config, tmp_path / "parts")
    assert same(whole, train(images, model, config, tmp_path / "parts"))


def test_files_are_trained_on_and_continued(
    tmp_path: Path, write_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = open_images(write_folder("train", size=24), "imagenet", "train", size=16)
    config = recipe(normalisation="imagenet", checkpoint_every=1, threads=3)
    whole = train(files, network(), config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(4, patch)
        with pytest.raises(KeyboardInterrupt):
            train(files, network(), config, tmp_path / "parts")
    assert same(whole, train(files, network(), replace(config, threads=1), tmp_path / "parts"))
    with pytest.raises(UsageError, match="read on demand have no mean colour yet; set normalisation=imagenet"):
        train(files, network(), recipe(), tmp_path / "other")


def test_a_finished_run_is_not_trained_again(
    tmp_path: Path, make_images: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(make_images(), network(), recipe(), tmp_path)
    monkeypatch.setattr(training_run.Run, "take", lambda *_: pytest.fail("no step is left"))
    again = train(make_images(), network(), recipe(), tmp_path)
    assert same(first, again) and again.seconds_per_epoch == first.seconds_per_epoch


@pytest.mark.slow
def test_sigkill_through_the_command(tmp_path: Path, make_images: Make, write_folder: Callable[..., Path]) -> None:
    """Killed with no chance to clean up, and started again with the same command: the same bytes in the end."""
    root = write_folder("train", suffix=".png")
    images = open_images(root, "image-folder", "train")
    whole = train(images, network(), recipe(epochs=12, checkpoint_every=1), tmp_path / "whole")
    folder = tmp_path / "killed"
    program = "import torch; torch.set_num_threads(1)\nfrom weight_align.cli import main; main()"
    command = [sys.executable, "-c", program, "train", str(root), "--format", "image-folder", "--device", "cpu"]
    command += ["--out", str(folder)]
    for setting in ("width=2", "align=true", "epochs=12", "batch_size=8", "padding=1", "checkpoint_every=1"):
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
    assert 1 <= step < 36 and not (folder / "network.pt").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert f"continuing from step {step} of" in done.stderr
    assert (folder / "network.pt").read_bytes() == (tmp_path / "whole" / "network.pt").read_bytes()
    assert f"loss               {whole.losses[-1]:.4f}" in done.stdout


# Refusing


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": {"learning_rate": 0.02}}, "train.learning_rate"),
        ({"recipe": {"epochs": 3, "seed": 4}}, "seeds, train.epochs, train.seed"),
        ({"network": {"norm": "bn", "align": False}}, "network.align, network.norm"),
        ({"images": 27}, "data"),
    ],
)
def test_another_run_in_the_folder_is_refused(
    tmp_path: Path, make_images: Make, change: dict[str, Any], named: str
) -> None:
    train(make_images(), network(), recipe(epochs=1), tmp_path)
    path = tmp_path / "training.pt"
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        train(
            make_images(change.get("images", 24)),
            network(**change.get("network", {})),
            recipe(**{"epochs": 1} | change.get("recipe", {})),
            tmp_path,
        )
    said = str(caught.value)
    assert said.startswith(f"{path}: belongs to a run with other settings (")
    assert sorted(said.partition("(")[2].partition(")")[0].split(", ")) == named.split(", ")
    assert path.read_bytes() == before


def test_what_cannot_be_trained_is_refused(tmp_path: Path, make_images: Make) -> None:
    images = make_images()
    with pytest.raises(UsageError, match="Marks has 3 classes, the network is asked for 10"):
        train(images, network(classes=10), recipe(), tmp_path / "run")
    with pytest.raises(UsageError, match="Marks has 24 images to train on, a batch needs 64"):
        train(images, network(), recipe(batch_size=64), tmp_path / "run")
    with pytest.raises(UsageError, match="Marks has 24 images, 30 are asked for"):
        train(images, network(), recipe(images=30), tmp_path / "run")
    with pytest.raises(UsageError, match="graphs=true records CUDA graphs, but the device is cpu"):
        train(images, network(), recipe(graphs=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file: is a file; checkpoints need a folder"):
        train(images, network(), recipe(), tmp_path / "file")
    train(images, network(), recipe(epochs=1), tmp_path / "run")
    path = tmp_path / "run" / "training.pt"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UsageError, match=r"training\.pt: not a readable checkpoint"):
        train(images, network(), recipe(epochs=1), tmp_path / "run")


# Failing


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda loss: loss * float("nan"), r"the loss is not finite at step 2 \(nan\)"),
        # A finite loss whose gradient is not: the weights are lost with this very step.
        (lambda loss: loss + torch.sqrt(loss * 0), "(a weight|the loss) is not finite (after|at) step [23]( .nan.)?"),
    ],
    ids=["loss", "gradient"],
)
@pytest.mark.parametrize("every", [1, 500])
def test_numbers_that_are_not_finite_stop_the_run_and_keep_the_last_checkpoint(
    tmp_path: Path,
    make_images: Make,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Tensor], Tensor],
    message: str,
    every: int,
) -> None:
    calls = 0
    plain = learner.cross_entropy_of

    def spoiled(scores: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return spoil(plain(scores, targets)) if calls == 3 else plain(scores, targets)

    monkeypatch.setattr(learner, "cross_entropy_of", spoiled)
    kept = r"the checkpoint .*training\.pt is from before" if every == 1 else "no checkpoint yet"
    with pytest.raises(WorkError, match=rf"{message}; {kept}"):
        train(make_images(), network(), recipe(checkpoint_every=every), tmp_path)
    if every == 1:
        content = read(tmp_path)
        assert content["step"] == 2
        assert all(torch.isfinite(value).all() for value in content["learner"]["weights"].values())
    assert not (tmp_path / "network.pt").exists()


def test_losses_are_looked_at_seldom(tmp_path: Path, make_images: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    check = training_run.Run.check

    def counted(self: training_run.Run) -> None:
        looks.append(self.step)
        check(self)

    monkeypatch.setattr(training_run.Run, "check", counted)
    images = make_images(90)
    train(images, network(), recipe(batch_size=1, epochs=1), tmp_path)
    assert sorted(set(looks)) == [64, 90]


def test_an_unreadable_image_is_named(tmp_path: Path, write_folder: Callable[..., Path]) -> None:
    root = write_folder("train", size=24)
    (root / "train" / "disc" / "0004.jpg").write_bytes(b"\xff\xd8\xffcut")
    files = open_images(root, "imagenet", "train", size=16)
    config = recipe(normalisation="imagenet", batch_size=24)
    with pytest.raises(BrokenImage, match=r"^train/disc/0004\.jpg: cannot be decoded"):
        train(files, network(), config, tmp_path / "run")
