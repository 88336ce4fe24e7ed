"""Training: it learns, it repeats itself to the bit, it survives being stopped, and it refuses what does not fit."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from outlier_matching import objective, training_run
from outlier_matching.assignment import class_probabilities, inlier_weights
from outlier_matching.checkpoint import load_network
from outlier_matching.embedding import embed
from outlier_matching.errors import BrokenImage, UsageError, WorkError
from outlier_matching.image_files import ImageFile
from outlier_matching.image_sets import ImageSet, select, stack
from outlier_matching.networks import MatchingNetwork, NetworkConfig
from outlier_matching.pseudo_sets import initial_sets
from outlier_matching.training import METHODS, TrainConfig, Trained, train

pytestmark = pytest.mark.usefixtures("one_thread")
Write = Callable[..., Path]


def recipe(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch": 8, "learning_rate": 1e-3} | changes)


def network(**changes: Any) -> NetworkConfig:
    settings: dict[str, Any] = {"backbone": "small", "embedding": 8, "width": 16, "trained": "all", "size": 24}
    return NetworkConfig(**settings | changes)


Domains = tuple[ImageSet, ImageSet]


@pytest.fixture
def data(write_images: Write) -> Domains:
    images = ImageFile(write_images())
    return select(images, domain=0, outliers=False), select(images, domain=1)


def same(first: Trained, second: Trained) -> bool:
    states = first.network.state_dict(), second.network.state_dict()
    equal = first.losses == second.losses and all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    if first.sets is not None and second.sets is not None:
        for name in ("inliers", "outliers", "weights"):
            equal = equal and torch.equal(getattr(first.sets, name), getattr(second.sets, name))
    return equal and (first.sets is None) == (second.sets is None)


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "training.pt", weights_only=True)
    return content


# Learning


@pytest.mark.slow
def test_a_tiny_problem_is_learned(tmp_path: Path, write_images: Write) -> None:
    images = ImageFile(write_images(source=60, target=60, outliers=0))
    source, target = select(images, domain=0), select(images, domain=1)
    config = recipe(method="siamese_da", epochs=12, batch=20)
    result = train(source, target, network(width=64, embedding=16, dropout=0.0), config, tmp_path)
    assert len(result.losses) == 12
    assert result.losses[-1].contrastive < 0.5 * result.losses[0].contrastive
    embeddings = embed(result.network, stack(source, 24))
    near = torch.cdist(embeddings, embeddings).fill_diagonal_(9.0).argmin(dim=1)
    assert (source.labels == source.labels[near.numpy()]).mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_methods_train_what_they_say(tmp_path: Path, data: Domains, method: Any) -> None:
    source, target = data
    result = train(source, None if method == "siamese" else target, network(), recipe(method=method), tmp_path)
    assert len(result.losses) == 2 and result.seconds_per_epoch > 0 and not result.network.training
    for epoch in result.losses:
        assert epoch.contrastive > 0
        assert (epoch.mmd != 0) == (method != "siamese")
        assert (epoch.entropy > 0) == (method == "da_outlier_detection")
        wanted = epoch.contrastive + epoch.mmd + 1.5 * epoch.entropy
        assert epoch.total == pytest.approx(wanted, rel=1e-5)
        assert (epoch.inliers + epoch.outliers > 0) == (method == "da_outlier_detection")
    saved = load_network(tmp_path / "network.pt")
    assert saved.method == method and saved.network.config == network()
    state = result.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in saved.network.state_dict().items())
    assert len(result.targets) == (0 if method == "siamese" else 24)
    assert (result.sets is None) == (saved.references is None) == (method != "da_outlier_detection")


def test_pseudo_sets_follow_algorithm_1(tmp_path: Path, data: Domains) -> None:
    """Step 1 from the network as it starts; steps 6 and 7 from the features after the epoch, dropout off."""
    source, target = data
    seen: list[tuple[Tensor, Tensor]] = []

    def look(_: int, model: MatchingNetwork) -> None:
        seen.append((embed(model, stack(source, 24)), embed(model, stack(target, 24))))

    result = train(source, target, network(), recipe(epochs=1, sharpness=4.0), tmp_path, after_epoch=look)
    first = initial_sets(seen[0][1], seen[0][0])
    s, t = seen[1]
    p = class_probabilities(4 * t, (s, t[first.inliers], t[first.outliers]))
    assert result.sets is not None and result.references is not None
    torch.testing.assert_close(result.sets.weights, inlier_weights(p))
    assert set(result.sets.outliers.tolist()) == set((p.argmax(dim=1) == 2).nonzero().flatten().tolist())
    # What is saved tells a new query as the training tells its own images: sharpness is in the references.
    judged = class_probabilities(t, result.references)
    wanted = class_probabilities(4 * t, (s, t[result.sets.inliers], t[result.sets.outliers]))
    torch.testing.assert_close(judged, wanted)


def test_warmup_leaves_the_target_out(tmp_path: Path, data: Domains) -> None:
    source, target = data
    alone = train(source, None, network(), recipe(method="siamese"), tmp_path / "siamese")
    for method in METHODS[1:]:
        result = train(source, target, network(), recipe(method=method, epochs=3, warmup_epochs=2), tmp_path / method)
        assert [epoch.contrastive for epoch in result.losses[:2]] == [epoch.contrastive for epoch in alone.losses]
        assert [epoch.mmd != 0 for epoch in result.losses] == [False, False, True]


@pytest.mark.parametrize(("share", "counts"), [(None, (20, 4)), (0.0, (20, 0)), (0.1, (20, 2)), (0.5, (4, 4))])
def test_the_share_of_outliers_in_the_target(
    tmp_path: Path, data: Domains, share: float | None, counts: tuple[int, int]
) -> None:
    source, target = data
    config = recipe(method="siamese_da", epochs=1, outlier_share=share)
    result = train(source, target, network(), config, tmp_path)
    outliers = target.outliers[result.targets]
    assert (int((~outliers).sum()), int(outliers.sum())) == counts


def test_labels_and_marks_of_the_target_change_nothing(tmp_path: Path, data: Domains) -> None:
    source, target = data
    blind = select(target)
    blind.labels = np.full_like(target.labels, -1)
    blind.outliers = np.zeros_like(target.outliers)
    results = [train(source, t, network(), recipe(), tmp_path / str(k)) for k, t in enumerate((target, blind))]
    assert same(*results)


def test_more_outliers_than_the_method_assumes_are_told(
    tmp_path: Path, write_images: Write, caplog: pytest.LogCaptureFixture
) -> None:
    images = ImageFile(write_images(outliers=16))
    source, target = select(images, domain=0), select(images, domain=1)
    train(source, target, network(), recipe(epochs=1), tmp_path / "a")
    assert any("67 % of the target images are outliers: the method assumes at most half" in m for m in caplog.messages)
    caplog.clear()
    train(source, target, network(), recipe(epochs=1, outlier_share=0.5), tmp_path / "b")
    assert not caplog.messages


def test_frozen_layers_stay_as_they_were(tmp_path: Path, data: Domains) -> None:
    source, target = data
    train(source, None, network(), recipe(method="siamese", epochs=1), tmp_path / "first")
    weights = str(tmp_path / "first" / "network.pt")
    before = load_network(weights).network.state_dict()
    model = network(trained="thesis", start="random_heads")
    result = train(source, target, model, recipe(epochs=1), tmp_path / "second", weights=weights)
    changed = {name for name, value in result.network.state_dict().items() if not torch.equal(value, before[name])}
    frozen = {f"backbone.features.{k}.{what}" for k in (0, 3, 6) for what in ("weight", "bias")}
    assert changed == set(before) - frozen


def test_an_unchanged_target_ends_the_training(tmp_path: Path, data: Domains, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = data
    result = train(source, target, network(), recipe(epochs=5, unchanged=1.0), tmp_path)
    assert len(result.losses) == 1
    monkeypatch.setattr(training_run.Run, "take", lambda *_: pytest.fail("no step is left"))
    assert same(result, train(source, target, network(), recipe(epochs=5, unchanged=1.0), tmp_path))


# Repeating


def test_same_seed_same_bytes_wherever_images_are_kept(tmp_path: Path, data: Domains) -> None:
    source, target = data
    results: list[Trained] = []
    variants: list[dict[str, Any]] = [{}, {"resident_gb": 0.0, "threads": 2}, {"seed": 1}]
    for folder, changes in zip("abc", variants, strict=True):
        torch.rand(1 + len(results))  # what the caller draws meanwhile does not matter, and is left alone
        before = torch.get_rng_state()
        results.append(train(source, target, network(), recipe(epochs=1, **changes), tmp_path / folder))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(results[0], results[1]) and not same(results[0], results[2])
    first, second = ((tmp_path / folder / "network.pt").read_bytes() for folder in "ab")
    assert first == second


@pytest.mark.parametrize("stop", [1, 3, 4, 7])
def test_a_stopped_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, data: Domains, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Three steps an epoch, the first epoch a warm-up: stopped within it, at its end, and within the last ones."""
    source, target = data
    config = recipe(epochs=3, warmup_epochs=1, checkpoint_every=1, refresh="author")
    seen: dict[str, list[int]] = {"whole": [], "parts": []}
    whole = train(
        source, target, network(), config, tmp_path / "whole", after_epoch=lambda e, _: seen["whole"].append(e)
    )
    take = training_run.Run.take

    def interrupted(self: Any, *arguments: Any) -> None:
        if self.step == stop:
            raise KeyboardInterrupt
        take(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training_run.Run, "take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(
                source, target, network(), config, tmp_path / "parts", after_epoch=lambda e, _: seen["parts"].append(e)
            )
    assert read(tmp_path / "parts")["step"] == stop and not (tmp_path / "parts" / "network.pt").exists()
    # How often checkpoints are written, and where images are kept, may change from one start to the next.
    config = replace(config, checkpoint_every=7, resident_gb=0.0)
    resumed = train(
        source, target, network(), config, tmp_path / "parts", after_epoch=lambda e, _: seen["parts"].append(e)
    )
    assert same(whole, resumed) and seen["whole"] == seen["parts"] == [0, 1, 2, 3]
    assert (tmp_path / "parts" / "network.pt").read_bytes() == (tmp_path / "whole" / "network.pt").read_bytes()
    optimizers = [read(tmp_path / folder)["optimizer"]["state"] for folder in ("whole", "parts")]
    assert all(torch.equal(optimizers[0][k]["exp_avg_sq"], optimizers[1][k]["exp_avg_sq"]) for k in optimizers[0])


def test_a_finished_run_is_not_trained_again(tmp_path: Path, data: Domains, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = data
    first = train(source, target, network(), recipe(epochs=1), tmp_path)
    monkeypatch.setattr(training_run.Run, "take", lambda *_: pytest.fail("no step is left"))
    monkeypatch.setattr(training_run.Run, "read", lambda *_: pytest.fail("no image is needed"))
    again = train(source, target, network(), recipe(epochs=1), tmp_path)
    assert same(first, again) and again.seconds_per_epoch == first.seconds_per_epoch
    assert again.references is not None and first.references is not None
    assert all(torch.equal(a, b) for a, b in zip(again.references, first.references, strict=True))


@pytest.mark.slow
def test_sigkill_through_the_command(tmp_path: Path, write_images: Write) -> None:
    """Killed with no chance to clean up, and started again with the same command: the same bytes in the end."""
    path = write_images()
    images = ImageFile(path)
    source, target = select(images, domain=0, outliers=False), select(images, domain=1)
    whole = train(source, target, network(), recipe(epochs=6, checkpoint_every=1), tmp_path / "whole")
    folder = tmp_path / "killed"
    program = "import torch; torch.set_num_threads(1)\nfrom outlier_matching.cli import main; main()"
    command = [sys.executable, "-c", program, "train", str(path), "--out", str(folder), "--device", "cpu"]
    for setting in (
        "backbone=small", "embedding=8", "width=16", "trained=all", "size=24", "epochs=6", "batch=8",
        "learning_rate=0.001", "checkpoint_every=1",
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
    assert 1 <= step < 18 and not (folder / "network.pt").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert f"continuing from step {step} of" in done.stderr
    assert (folder / "network.pt").read_bytes() == (tmp_path / "whole" / "network.pt").read_bytes()
    assert f"loss               {whole.losses[-1].total:.4f}" in done.stdout


# Refusing


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": {"learning_rate": 0.02}}, "train.learning_rate"),
        ({"recipe": {"epochs": 3, "seed": 4}}, "train.epochs, train.seed"),
        ({"network": {"embedding": 9}}, "network.embedding"),
        ({"weights": "other.pt"}, "weights"),
        ({"outliers": 5}, "source, target"),
        ({"recipe": {"outlier_share": 0.1}}, "target, train.outlier_share"),
    ],
)
def test_another_run_in_the_folder_is_refused(
    tmp_path: Path, data: Domains, write_images: Write, monkeypatch: pytest.MonkeyPatch, change: Any, named: str
) -> None:
    source, target = data
    train(source, target, network(), recipe(epochs=1), tmp_path / "run")
    path = tmp_path / "run" / "training.pt"
    before = path.read_bytes()
    if "outliers" in change:
        images = ImageFile(write_images("other.h5", outliers=change["outliers"]))
        source, target = select(images, domain=0), select(images, domain=1)
    monkeypatch.setattr("outlier_matching.networks.load_weights", lambda *_: None)
    with pytest.raises(UsageError) as caught:
        train(
            source,
            target,
            network(**change.get("network", {})),
            recipe(**{"epochs": 1} | change.get("recipe", {})),
            tmp_path / "run",
            weights=change.get("weights"),
        )
    said = str(caught.value)
    assert said.startswith(f"{path}: belongs to a run with other settings (")
    assert said.endswith("); choose another folder or delete it")
    assert sorted(said.partition("(")[2].partition(")")[0].split(", ")) == named.split(", ")
    assert path.read_bytes() == before


def test_what_cannot_be_trained_is_refused(tmp_path: Path, data: Domains) -> None:
    source, target = data
    with pytest.raises(UsageError, match="trained=thesis leaves layers as they start, which is at random"):
        train(source, target, network(trained="thesis"), recipe(), tmp_path / "run")
    with pytest.raises(UsageError, match="method=siamese_da needs images of a target domain"):
        train(source, None, network(), recipe(method="siamese_da"), tmp_path / "run")
    with pytest.raises(UsageError, match="Marks has 24 target images to train on, a batch needs 64"):
        train(source, target, network(), recipe(batch=64), tmp_path / "run")
    with pytest.raises(UsageError, match="pairs need two classes or more"):
        train(select(source, indices=[0, 3, 6]), target, network(), recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file: is a file; checkpoints need a folder"):
        train(source, target, network(), recipe(), tmp_path / "file")
    train(source, target, network(), recipe(epochs=1), tmp_path / "run")
    path = tmp_path / "run" / "training.pt"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UsageError, match=r"training\.pt: not a readable checkpoint"):
        train(source, target, network(), recipe(epochs=1), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "dann"}, "method must be one of siamese, siamese_da, da_outlier_detection, got 'dann'"),
        ({"outlier_share": 1.0}, r"outlier_share must be in \[0, 1\) or null, got 1.0"),
        ({"batch": 7}, "batch must be even and 4 or more, got 7"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"gamma": -1.0}, "gamma must be 0 or more, got -1.0"),
        ({"eta": float("nan")}, "eta must be 0 or more, got nan"),
        ({"margin": 0.0}, "margin must be positive, got 0.0"),
        ({"precision": "8"}, "precision must be one of .*, got '8'"),
        ({"refresh": "never"}, "refresh must be one of thesis, author, got 'never'"),
        ({"epochs": 3, "warmup_epochs": 3}, "warmup_epochs 3 leave none of 3 epochs to adapt in"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)


# Failing


class Damaged:
    """A set one image of which cannot be read."""

    def __init__(self, images: ImageSet, broken: int) -> None:
        self.facts, self.labels, self.domains, self.outliers = (
            images.facts, images.labels, images.domains, images.outliers,
        )  # fmt: skip
        self._images, self._broken = images, broken

    def __len__(self) -> int:
        return len(self._images)

    def name(self, image: int) -> str:
        return f"image{image}"

    def image(self, image: int) -> Tensor:
        if image == self._broken:
            raise BrokenImage(self.name(image), "cut off")
        return self._images.image(image)


@pytest.mark.parametrize("resident", [8.0, 0.0])
def test_an_unreadable_image_is_named(tmp_path: Path, data: Domains, resident: float) -> None:
    source, target = data
    with pytest.raises(WorkError, match=r"^image5: cut off$"):
        train(source, Damaged(target, 5), network(), recipe(resident_gb=resident), tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda total: total * float("nan"), r"the loss is not finite at step 2 \(.*nan.*\)"),
        # A finite loss whose gradient is not: the weights are lost with this very step.
        (lambda total: total + torch.sqrt(total * 0), "(a weight|the loss) is not finite (after|at) step [23]"),
    ],
    ids=["loss", "gradient"],
)
def test_numbers_that_are_not_finite_stop_the_run_and_keep_the_last_checkpoint(
    tmp_path: Path, data: Domains, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Tensor], Tensor], message: str
) -> None:
    source, target = data
    calls = 0
    forward = objective.Objective.forward

    def spoiled(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        losses = forward(self, *arguments, **named)
        return losses._replace(total=spoil(losses.total)) if calls == 3 else losses

    monkeypatch.setattr(objective.Objective, "forward", spoiled)
    with pytest.raises(WorkError, match=rf"{message}; the checkpoint .*training\.pt is from before"):
        train(source, target, network(), recipe(method="siamese_da", checkpoint_every=1), tmp_path)
    content = read(tmp_path)
    assert content["step"] == 2 and all(torch.isfinite(value).all() for value in content["model"].values())
    assert not (tmp_path / "network.pt").exists()


def test_progress_is_logged(tmp_path: Path, data: Domains, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    source, target = data
    train(source, target, network(), recipe(), tmp_path)
    lines = [message for message in caplog.messages if message.startswith("epoch ")]
    assert len(lines) == 2 and lines[1].startswith("epoch 2/2  step 6/6  loss ") and "pseudo inliers" in lines[1]
