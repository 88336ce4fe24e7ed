"""Training: it learns, it repeats itself to the bit, it can be stopped and continued, and what it refuses."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from efficiency_core.errors import BrokenFile, UsageError, WorkError
from efficiency_core.loop import together, torch_seed
from outlier_matching import NetworkConfig, TrainConfig, Trained, build_network, embed, load_network, train
from outlier_matching.data.hdf5_set import HDF5ImageSet
from outlier_matching.data.image_set import ImageSet, select
from outlier_matching.data.pixels import read_pixels
from outlier_matching.method.assignment import class_probabilities, inlier_weights
from outlier_matching.method.pseudo_sets import initial_sets
from outlier_matching.networks.network import MatchingNetwork
from outlier_matching.training.task import MatchingTask

Write = Callable[..., Path]
Fit = Callable[..., Trained]
Domains = tuple[ImageSet, ImageSet]
METHODS: Any = ("siamese", "siamese_da", "da_outlier_detection")


def recipe(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch": 8, "learning_rate": 1e-3} | changes)


def network(**changes: Any) -> NetworkConfig:
    settings: dict[str, Any] = {"backbone": "small", "embedding": 8, "width": 16, "trained": "all", "size": 24}
    return NetworkConfig(**settings | changes)


def pixels(images: ImageSet) -> Tensor:
    return read_pixels(images, range(len(images)), 24)


def domains(path: Path) -> Domains:
    images = HDF5ImageSet(path)
    return select(images, domain=0, outliers=False), select(images, domain=1)


@pytest.fixture
def data(write_images: Write) -> Domains:
    return domains(write_images())


@pytest.fixture
def fit(tmp_path: Path, data: Domains) -> Fit:
    """Train on the two domains in a folder of the test, with changes of the recipe."""

    def run(folder: str = "run", data: Domains = data, model: NetworkConfig | None = None, **changes: Any) -> Trained:
        return train(*data, model or network(), recipe(**changes), tmp_path / folder)

    return run


def same(first: Trained, second: Trained) -> bool:
    one, other = (r.network.state_dict() | ({} if r.sets is None else vars(r.sets)) for r in (first, second))
    equal = one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
    return equal and first.losses == second.losses


@pytest.mark.slow
def test_a_tiny_problem_is_learned(fit: Fit, write_images: Write) -> None:
    source, target = domains(write_images(source=60, target=60, outliers=0))
    model = network(width=64, embedding=16, dropout=0.0)
    result = fit("run", (source, target), model, method="siamese_da", epochs=12, batch=20)
    assert len(result.losses) == 12
    assert result.losses[-1].contrastive < 0.5 * result.losses[0].contrastive
    embeddings = embed(result.network, pixels(source))
    near = torch.cdist(embeddings, embeddings).fill_diagonal_(9.0).argmin(dim=1)
    assert (source.labels == source.labels[near.numpy()]).mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_methods_train_what_they_say(tmp_path: Path, fit: Fit, caplog: pytest.LogCaptureFixture, method: Any) -> None:
    caplog.set_level(logging.INFO)
    result = fit(method=method)
    assert len(result.losses) == 2 and result.seconds_per_epoch > 0 and not result.network.training
    detects = method == "da_outlier_detection"
    for epoch in result.losses:
        assert epoch.contrastive > 0
        assert (epoch.mmd != 0) == (method != "siamese")
        assert (epoch.entropy > 0) == detects
        assert epoch.total == pytest.approx(epoch.contrastive + epoch.mmd + 1.5 * epoch.entropy, rel=1e-5)
        assert (epoch.inliers + epoch.outliers > 0) == detects
    saved = load_network(tmp_path / "run" / "network.safetensors")
    assert saved.method == method and saved.network.config == network()
    state = result.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in saved.network.state_dict().items())
    assert len(result.targets) == (0 if method == "siamese" else 24)
    assert (result.sets is None) == (saved.references is None) == (not detects)
    assert any("pseudo inliers" in message for message in caplog.messages) == detects


def test_pseudo_sets_follow_algorithm_1(fit: Fit, data: Domains) -> None:
    """Step 1 from the network as it starts; steps 6 and 7 from the features after the epoch, dropout off."""
    source, target = data
    result = fit(epochs=1, sharpness=4.0)
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(0, 0))
        start = build_network(network())
    first = initial_sets(embed(start, pixels(target)), embed(start, pixels(source)))
    s, t = embed(result.network, pixels(source)), embed(result.network, pixels(target))
    p = class_probabilities(4 * t, (s, t[first.inliers], t[first.outliers]))
    assert result.sets is not None and result.references is not None
    torch.testing.assert_close(result.sets.weights, inlier_weights(p))
    assert set(result.sets.outliers.tolist()) == set((p.argmax(dim=1) == 2).nonzero().flatten().tolist())
    # The saved references classify a new query as the training classifies its own images: they include the sharpness.
    judged = class_probabilities(t, result.references)
    wanted = class_probabilities(4 * t, (s, t[result.sets.inliers], t[result.sets.outliers]))
    torch.testing.assert_close(judged, wanted)


def test_warmup_leaves_the_target_out(fit: Fit) -> None:
    alone = fit(method="siamese")
    for method in METHODS[1:]:
        result = fit(method, method=method, epochs=3, warmup_epochs=2)
        assert [epoch.contrastive for epoch in result.losses[:2]] == [epoch.contrastive for epoch in alone.losses]
        assert [epoch.mmd != 0 for epoch in result.losses] == [False, False, True]


def test_labels_and_marks_of_the_target_change_nothing(fit: Fit, data: Domains) -> None:
    source, target = data
    blind = select(target)
    blind.labels = np.full_like(target.labels, -1)
    blind.outliers = np.zeros_like(target.outliers)
    assert same(fit("marked"), fit("blind", (source, blind)))


def test_more_outliers_than_the_method_assumes_are_told(
    fit: Fit, write_images: Write, caplog: pytest.LogCaptureFixture
) -> None:
    data = domains(write_images(outliers=16))
    fit("a", data, epochs=1)
    assert any("67 % of the target images are outliers: the method assumes at most half" in m for m in caplog.messages)
    caplog.clear()
    result = fit("b", data, epochs=1, outlier_share=0.5)
    assert not caplog.messages and data[1].outliers[result.targets].mean() == 0.5


def test_frozen_layers_keep_their_weights(fit: Fit, tmp_path: Path) -> None:
    fit("first", method="siamese", epochs=1)
    weights = str(tmp_path / "first" / "network.safetensors")
    before = load_network(weights).network.state_dict()
    result = fit("second", model=network(trained="thesis", start="random_heads"), epochs=1, weights=weights)
    changed = {name for name, value in result.network.state_dict().items() if not torch.equal(value, before[name])}
    frozen = {f"backbone.features.{k}.{what}" for k in (0, 3, 6) for what in ("weight", "bias")}
    assert changed == set(before) - frozen


def test_validation_keeps_the_best_network(fit: Fit, tmp_path: Path, data: Domains) -> None:
    config = recipe(method="siamese_da", epochs=3)
    result = train(*data, network(), config, tmp_path / "validated", validation=data)
    assert same(fit(method="siamese_da", epochs=3), result), "a validation changes no number"
    table = (tmp_path / "validated" / "metrics.csv").read_text().splitlines()
    assert "map_ts" in table[0] and 0 < float(table[-1].split(",")[-1]) <= 1
    assert load_network(tmp_path / "validated" / "best.safetensors").method == "siamese_da"


def test_same_seed_same_bytes_wherever_images_are_kept(fit: Fit, tmp_path: Path) -> None:
    results: list[Trained] = []
    variants: list[dict[str, Any]] = [{}, {"resident_gb": 0.0, "workers": 2}, {"seed": 1}]
    for folder, changes in zip("abc", variants, strict=True):
        torch.rand(1 + len(results))  # what the caller draws meanwhile does not matter, and is left alone
        before = torch.get_rng_state()
        results.append(fit(folder, epochs=1, **changes))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(results[0], results[1]) and not same(results[0], results[2])
    first, second = ((tmp_path / folder / "network.safetensors").read_bytes() for folder in "ab")
    assert first == second


def test_a_stopped_run_ends_as_an_uninterrupted_one(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps an epoch, the first epoch a warm-up; stopped within the second, which has pseudo sets."""
    config: dict[str, Any] = {"epochs": 3, "warmup_epochs": 1, "checkpoint_every": 1, "refresh": "author"}
    whole = fit("whole", **config)
    losses = MatchingTask.losses

    def interrupted(self: MatchingTask, batch: Any, step: int) -> Any:
        if step == 4:
            raise KeyboardInterrupt
        return losses(self, batch, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MatchingTask, "losses", interrupted)
        fit("parts", **config)
    assert not (tmp_path / "parts" / "network.safetensors").exists()
    # How often checkpoints are written, and where images are kept, may change from one start to the next.
    assert same(whole, fit("parts", **config | {"checkpoint_every": 7, "resident_gb": 0.0}))
    first, second = ((tmp_path / folder / "network.safetensors").read_bytes() for folder in ("whole", "parts"))
    assert first == second


class Closed:
    """A set whose images must not be read, or whose image ``broken`` cannot be read."""

    def __init__(self, images: ImageSet, broken: int | None = None) -> None:
        self.info, self.labels, self.domains = images.info, images.labels, images.domains
        self.outliers, self._images, self._broken = images.outliers, images, broken

    def __len__(self) -> int:
        return len(self._images)

    def name(self, image: int) -> str:
        return f"image{image}"

    def image(self, image: int) -> Tensor:
        if self._broken in (None, image):
            raise BrokenFile(self.name(image), "cut off")
        return self._images.image(image)


@pytest.mark.parametrize("changes", [{"epochs": 1}, {"epochs": 5, "unchanged": 1.0}])
def test_a_finished_run_is_not_trained_again_and_can_be_made_longer(fit: Fit, data: Domains, changes: Any) -> None:
    """It has its epochs, or its target was unchanged after the first."""
    first = fit(**changes)
    assert len(first.losses) == 1
    again = fit("run", (Closed(data[0]), Closed(data[1])), **changes)
    assert same(first, again) and again.seconds_per_epoch == first.seconds_per_epoch
    if changes == {"epochs": 1}:
        assert same(fit(epochs=3), fit("at once", epochs=3))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["small", "small_dbn"])
def test_two_processes_compute_what_one_does(tmp_path: Path, data: Domains, backbone: str) -> None:
    """MK-MMD and the entropy loss compare the images of the whole batch, which the processes share."""
    model = network(backbone=backbone, dropout=0.0)
    # Small rates: Adam's steps do not shrink with the gradient, so that differences of rounding grow with the rate.
    rates = {"learning_rate": 1e-6, "head_learning_rate": 1e-6}
    config = recipe(warmup_epochs=1, align_epochs=1, epochs=3, steps=2, estimator="quadratic", **rates)
    one = train(*data, model, config, tmp_path / "one")
    two = together(train, *data, model, replace(config, devices=2), tmp_path / "two")
    for first, second in zip(one.losses, two.losses, strict=True):
        for name in ("contrastive", "mmd", "entropy"):
            assert getattr(second, name) == pytest.approx(getattr(first, name), abs=1e-6)
        assert (second.inliers, second.outliers) == (first.inliers, first.outliers)
    other = two.network.state_dict()
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("resident", [8.0, 0.0])
def test_an_unreadable_image_is_named(fit: Fit, data: Domains, resident: float) -> None:
    with pytest.raises(BrokenFile, match=r"^image5: cut off$"):
        fit("run", (data[0], Closed(data[1], 5)), resident_gb=resident)


@pytest.mark.parametrize(("change", "named"), [
    ({"learning_rate": 0.02}, ["train.learning_rate"]), ({"model": network(embedding=9)}, ["network.embedding"]),
    ({"outliers": 5}, ["source", "target"]), ({"outlier_share": 0.1}, ["target", "train.outlier_share"]),
])  # fmt: skip
def test_another_run_in_the_folder_is_refused(fit: Fit, write_images: Write, change: Any, named: list[str]) -> None:
    fit(epochs=1, steps=1)
    if "outliers" in change:
        change = {"data": domains(write_images("other.h5", **change))}
    with pytest.raises(UsageError) as caught:
        fit(**{"epochs": 1, "steps": 1} | change)
    assert all(name in str(caught.value) for name in named)


def test_what_cannot_be_trained_is_refused(tmp_path: Path, data: Domains, fit: Fit) -> None:
    with pytest.raises(UsageError, match="trained=thesis keeps random initial weights in some layers"):
        fit(model=network(trained="thesis"))
    with pytest.raises(UsageError, match="method=siamese_da needs images of a target domain"):
        train(data[0], None, network(), recipe(method="siamese_da"), tmp_path / "run")
    with pytest.raises(UsageError, match="Marks has 24 target images to train on, a batch needs 64"):
        fit(batch=64)
    with pytest.raises(UsageError, match="pairs need two classes or more"):
        fit("run", (select(data[0], indices=[0, 3, 6]), data[1]))
    with pytest.raises(UsageError, match="IMAGENET: weights of small must be a file"):
        fit(weights="IMAGENET")
    assert not (tmp_path / "run").exists()


def test_embeddings_that_are_not_finite_end_the_run(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = MatchingNetwork.forward
    monkeypatch.setattr(
        MatchingNetwork, "forward", lambda *a, **k: forward(*a, **k)._replace(fc8=torch.full((24, 8), torch.nan))
    )
    with pytest.raises(WorkError, match="embeddings are not finite"):
        fit()
