"""Training of classifiers: it learns, it repeats itself to the bit, it continues, and it refuses what does not fit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from efficiency_core.errors import BrokenFile, UsageError, WorkError
from efficiency_core.loop import together
from weight_align.checkpoint import load_network
from weight_align.data import DatasetInfo, ImageTensor, open_dataset, pixel_digest
from weight_align.networks import Network, NetworkConfig
from weight_align.training import IMAGENET, Normalisation, TrainConfig, Trained, evaluate, train, train_seeds

Make = Callable[..., ImageTensor]
NETWORK = "network.safetensors"


def recipe(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch_size": 8, "padding": 1} | changes)


def network(**changes: Any) -> NetworkConfig:
    return NetworkConfig(**{"backbone": "resnet18", "width": 2} | changes)


def same(first: Trained[Network], second: Trained[Network]) -> bool:
    states = first.network.state_dict(), second.network.state_dict()
    return first.losses == second.losses and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{"norm": "gn"}, {"norm": "bn", "align": False}])
def test_a_tiny_problem_is_learned(tmp_path: Path, make_images: Make, kind: dict[str, Any]) -> None:
    config = recipe(epochs=8, batch_size=16, learning_rate=0.1, schedule="cosine", flip=False)
    result = train(make_images(96), network(width=4, **kind), config, tmp_path)
    assert len(result.losses) == 8 and result.losses[-1] < 0.4 * result.losses[0]
    rates = evaluate(result.network, make_images(48, seed=1), normalisation=result.normalisation)
    assert rates.top1_error < 20


def test_what_a_training_leaves(tmp_path: Path, make_images: Make) -> None:
    images = make_images(26)
    result = train(images, network(), recipe(), tmp_path)
    assert not result.network.training and result.normalisation == Normalisation.of(images.images)
    assert result.seconds_per_epoch == pytest.approx(3 / result.steps_per_second) and result.best is None
    assert abs(result.losses[0] - 1.0986) < 0.1  # Fixup's classifier starts at zero
    saved = load_network(tmp_path / NETWORK)
    assert saved.network.config == network(classes=3, fixup=True)
    state = saved.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in result.network.state_dict().items())
    assert saved.metadata["class_names"] == ["bar", "disc", "cross"] and saved.metadata["trained_on"] == "Marks"
    assert Normalisation(tuple(saved.metadata["mean"]), tuple(saved.metadata["std"])) == result.normalisation
    given = train(images, network(), recipe(normalisation="imagenet"), tmp_path / "given")
    assert given.normalisation == IMAGENET and given.losses != result.losses


def test_the_best_network_of_a_validation_is_kept(tmp_path: Path, make_images: Make) -> None:
    validation = make_images(24, seed=1)
    result = train(make_images(), network(norm="bn"), recipe(epochs=3), tmp_path, validation=validation)
    assert result.best is not None and result.best[0] in (3, 6, 9)
    best = load_network(tmp_path / "best.safetensors").network
    assert evaluate(best, validation, normalisation=result.normalisation).top1_error == result.best[1]
    assert "validation_top1_error" in (tmp_path / "metrics.csv").read_text()


def test_steps_and_numbers_of_images(tmp_path: Path, make_images: Make) -> None:
    seen: list[int] = []
    result = train(make_images(), network(), recipe(steps=7), tmp_path, after_epoch=lambda e, _: seen.append(e))
    assert len(result.losses) == 3 and seen == [0, 1, 2, 3]
    images = make_images(30)
    part = images.chosen(torch.arange(12))  # labels in turn: these are the first four of each class
    limited = train(images, network(), recipe(images=12, batch_size=4), tmp_path / "limit")
    assert same(limited, train(part, network(), recipe(batch_size=4), tmp_path / "part"))


def test_fine_tuning_starts_from_a_network_with_other_classes(tmp_path: Path, make_images: Make) -> None:
    first = train(make_images(), network(), recipe(), tmp_path / "first")
    images = make_images(16)
    two = ImageTensor(images.images, images.labels % 2, replace(images.info, class_names=("a", "b")))
    seen: list[Network] = []

    def look(_: int, model: Network) -> None:
        if not seen:
            seen.append(model)
            state, old = model.state_dict(), first.network.state_dict()
            assert state["fc.weight"].shape[0] == 2
            kept = [name for name in state if not name.startswith("fc.")]
            assert len(kept) > 80 and all(torch.equal(state[name], old[name]) for name in kept)

    weights = tmp_path / "first" / NETWORK
    train(two, network(), recipe(learning_rate=0.001), tmp_path / "second", weights=weights, after_epoch=look)
    assert seen
    with pytest.raises(UsageError, match=r"network\.safetensors: the weights do not fit .*: they lack 'bn1.weight'"):
        train(two, network(norm="gn"), recipe(), tmp_path / "third", weights=weights)


def test_seeds_together_are_what_they_are_alone(tmp_path: Path, make_images: Make) -> None:
    images, model, config = make_images(), network(norm="bn"), recipe(learning_rate=0.003)
    seen: list[tuple[int, int]] = []
    results = train_seeds(
        images, model, config, tmp_path / "both", (3, 1),
        after_epoch=lambda epoch, networks: seen.append((epoch, len(networks))),
    )  # fmt: skip
    assert seen == [(0, 2), (1, 2), (2, 2)]
    for seed, result in zip((3, 1), results, strict=True):
        alone = train(images, model, replace(config, seed=seed), tmp_path / f"{seed}")
        assert result.losses == pytest.approx(alone.losses, rel=1e-3)
        torch.testing.assert_close(result.network.state_dict(), alone.network.state_dict(), atol=2e-3, rtol=2e-2)
        saved = load_network(tmp_path / "both" / f"seed-{seed}" / NETWORK).network.state_dict()
        assert all(torch.equal(saved[name], value) for name, value in result.network.state_dict().items())
    assert results[0].losses != results[1].losses


def test_seeds_that_make_no_sense(tmp_path: Path, make_images: Make, write_folder: Callable[..., Path]) -> None:
    for seeds in ((), (1, 1), (-1, 2)):
        with pytest.raises(UsageError, match="seeds must be different whole numbers of 0 or more"):
            train_seeds(make_images(), network(), recipe(), tmp_path / "run", seeds)
    with pytest.raises(UsageError, match="several seeds at once are trained on one device"):
        train_seeds(make_images(), network(), recipe(devices=2), tmp_path / "run", (0, 1))
    files = open_dataset(write_folder("train"), "imagenet", "train", size=16)
    with pytest.raises(UsageError, match="several seeds at once need images in memory"):
        train_seeds(files, network(), recipe(), tmp_path / "run", (0, 1))


def test_same_seed_same_bytes(tmp_path: Path, make_images: Make) -> None:
    results = []
    for folder, seed in zip("abc", (0, 0, 1), strict=True):
        torch.rand(1 + len(results))  # what the caller draws meanwhile has no effect, and is not affected
        before = torch.get_rng_state()
        results.append(train(make_images(), network(), recipe(seed=seed, erasing=0.5), tmp_path / folder))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(results[0], results[1]) and not same(results[0], results[2])
    assert (tmp_path / "a" / NETWORK).read_bytes() == (tmp_path / "b" / NETWORK).read_bytes()


@pytest.mark.parametrize(
    ("seeds", "model"),
    [
        (None, network(norm="bn")),
        (None, network(backbone="vgg16", stem="imagenet", width=1)),  # dropout continues with the same draws
        ((0, 4), network(norm="bn", align=False)),
    ],
    ids=["one", "dropout", "seeds"],
)
def test_a_stopped_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, make_images: Make, seeds: Sequence[int] | None, model: NetworkConfig
) -> None:
    """Stopped after an epoch, before its checkpoint, so that a part of the epoch is taken again."""
    config = recipe(checkpoint_every=2, erasing=0.3, schedule="cosine")
    images = make_images(26, size=32)

    def run(folder: str, config: TrainConfig, stop: int = 9) -> list[Trained[Network]]:
        def look(epoch: int, _: object) -> None:
            if epoch == stop:
                raise KeyboardInterrupt

        if seeds is None:
            return [train(images, model, config, tmp_path / folder, after_epoch=look)]
        return train_seeds(images, model, config, tmp_path / folder, seeds, after_epoch=look)

    whole = run("whole", config)
    with pytest.raises(KeyboardInterrupt):
        run("parts", config, stop=1)
    assert torch.load(tmp_path / "parts" / "training.pt", weights_only=True)["step"] == 2
    assert not list((tmp_path / "parts").rglob(NETWORK))
    # How often checkpoints are written may change from one start to the next.
    parts = run("parts", replace(config, checkpoint_every=7))
    assert all(same(a, b) for a, b in zip(whole, parts, strict=True))
    for path in (tmp_path / "whole").rglob(NETWORK):
        assert path.read_bytes() == (tmp_path / "parts" / path.relative_to(tmp_path / "whole")).read_bytes()
    again = run("whole", config)  # a finished run takes no step
    assert all(same(a, b) for a, b in zip(whole, again, strict=True))
    assert again[0].seconds_per_epoch == whole[0].seconds_per_epoch


def test_files_are_trained_on(tmp_path: Path, write_folder: Callable[..., Path]) -> None:
    root = write_folder("train", size=24)
    files = open_dataset(root, "imagenet", "train", size=16)
    config = recipe(normalisation="imagenet")
    results = [train(files, network(), replace(config, workers=n), tmp_path / f"{n}") for n in (0, 3)]
    assert same(*results)
    with pytest.raises(UsageError, match="read on demand have no mean colour yet; set normalisation=imagenet"):
        train(files, network(), recipe(), tmp_path / "other")
    (root / "train" / "disc" / "0004.jpg").write_bytes(b"cut")
    with pytest.raises(BrokenFile, match=r"^train/disc/0004\.jpg: is no image"):
        train(files, network(), replace(config, batch_size=24), tmp_path / "broken")


def longer(folder: Path, devices: int) -> tuple[tuple[float, ...], dict[str, torch.Tensor]]:
    """A training in processes of their own: without the fixtures of the tests."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (20, 3, 16, 16), generator=generator, dtype=torch.uint8)
    labels, names = torch.arange(20) % 3, ("a", "b", "c")
    images = ImageTensor(pixels, labels, DatasetInfo("Noise", pixel_digest(pixels, labels, names), names))
    config = recipe(devices=devices, batch_size=10, erasing=0.5, clip_norm=1.0)
    result = train(images, network(norm="bn"), config, folder)
    return result.losses, result.network.state_dict()


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    one, two = longer(tmp_path / "one", 1), together(longer, tmp_path / "two", 2)
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    torch.testing.assert_close(two[1], one[1], atol=1e-5, rtol=1e-4)


def test_another_run_in_the_folder_is_refused(tmp_path: Path, make_images: Make) -> None:
    train(make_images(), network(), recipe(epochs=1), tmp_path)
    for images, model, changes, named in (
        (24, network(), {"learning_rate": 0.02}, "train.learning_rate"),
        (24, network(), {"seed": 4}, "seeds, train.seed"),
        (24, network(norm="bn", align=False), {}, "network.align, network.norm"),
        (27, network(), {}, "data"),
    ):
        with pytest.raises(UsageError, match="belongs to a run with other settings") as caught:
            train(make_images(images), model, recipe(**{"epochs": 1} | changes), tmp_path)
        assert all(name in str(caught.value) for name in named.split(", "))


def test_what_cannot_be_trained_is_refused(tmp_path: Path, make_images: Make) -> None:
    images, folder = make_images(), tmp_path / "run"
    for model, changes, message in (
        (network(classes=10), {}, "Marks has 3 classes, the network is asked for 10"),
        (network(), {"batch_size": 64}, "Marks has 24 images to train on, a batch needs 64"),
        (network(), {"images": 30}, "Marks has 24 images, 30 are asked for"),
        (network(), {"graphs": True}, "graphs=true records CUDA graphs, but the device is cpu"),
    ):
        with pytest.raises(UsageError, match=message):
            train(images, model, recipe(**changes), folder)
    assert not folder.exists()


def test_a_training_that_diverges_keeps_its_last_checkpoint(tmp_path: Path, make_images: Make) -> None:
    config = recipe(epochs=40, learning_rate=1e12, checkpoint_every=1)
    with pytest.raises(WorkError, match=r"not finite .*; (the checkpoint .*training\.pt is from|no checkpoint yet)"):
        train(make_images(), network(align=False, fixup=False), config, tmp_path)
    content = torch.load(tmp_path / "training.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in content["task"]["weights"].values())
    assert not (tmp_path / NETWORK).exists()
