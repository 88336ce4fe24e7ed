"""Training a classifier, or several of one kind at once: one loop, resumable at any moment, the same bytes every time on the
CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from weight_align.checkpoint import save_network
from weight_align.errors import UsageError
from weight_align.feeds import Feed, FileFeed, ResidentFeed
from weight_align.graphs import check_graphs
from weight_align.image_sets import ImageFiles, ImageSet, ImageTensor
from weight_align.image_tensor import first_of_each_class
from weight_align.learner import Learner, SingleLearner
from weight_align.network_config import NetworkConfig
from weight_align.networks import Network, build_network
from weight_align.normalisation import IMAGENET, Normalisation
from weight_align.seeds import StackedLearner
from weight_align.train_config import TrainConfig
from weight_align.training_loop import Trained, loop, start_seed
from weight_align.training_run import Run, fingerprint_of

__all__ = ["TrainConfig", "Trained", "check_folder", "network_facts", "train", "train_seeds"]


def train(
    images: ImageSet,
    network: NetworkConfig,
    config: TrainConfig,
    folder: str | Path,
    device: str = "cpu",
    weights: str | Path | None = None,
    *,
    after_epoch: Callable[[int, Network], None] | None = None,
) -> Trained[Network]:
    """Train a network, or go on with the training that ``folder`` holds.

    ``folder/training.pt`` is written every ``checkpoint_every`` steps and ``folder/network.pt`` at the end. The same call on
    a folder whose run was stopped at any moment continues from its last checkpoint and ends with the same weights as an
    uninterrupted run (bit-equal on the CPU with the same number of threads).

    Images in memory are copied to the device once, and crops, mirror images and batches are made there.

    Args:
        images: what to train on.
        network: the model.
        config: the recipe.
        folder: where checkpoints go.
        device: ``cpu`` or ``cuda``.
        weights: where the network starts, as :func:`~weight_align.networks.build_network` takes it; the classifier starts
            anew where it has other classes. None is random.
        after_epoch: called with 0 and the untrained network (eval mode), and with e after e epochs. A run that is killed
            and continued calls it again for the epochs since its last checkpoint; none is left out.

    Raises:
        UsageError: if ``folder`` holds a run with other settings or other data, if the data does not fit the network or the
            recipe, if the network cannot be built as asked, or if CUDA graphs are asked for without CUDA.
        WorkError: if a loss or a weight is not finite, a checkpoint cannot be written (the last one stays), or an image
            cannot be read.
    """
    look = None if after_epoch is None else _first_of(after_epoch)
    return _train(images, network, config, (config.seed,), [Path(folder)], Path(folder), device, weights, look)[0]


def train_seeds(
    images: ImageSet,
    network: NetworkConfig,
    config: TrainConfig,
    folder: str | Path,
    seeds: Sequence[int],
    device: str = "cpu",
    weights: str | Path | None = None,
    *,
    after_epoch: Callable[[int, list[Network]], None] | None = None,
) -> list[Trained[Network]]:
    """Train several networks at once that differ in their seed alone, each as :func:`train` would, up to rounding.

    The networks' weights are stacked and every step is taken for all of them together, which fills a device that one network
    with a small batch leaves idle. All norms are supported, with their running statistics. Images must lie in memory.

    ``folder/training.pt`` is the checkpoint of all; network s ends in ``folder/seed-<s>/network.pt``.

    Args:
        images, network, config, device, weights: as of :func:`train`; ``config.seed`` is not looked at.
        folder: where checkpoints go.
        seeds: of the trainings, all different.
        after_epoch: as of :func:`train`, with all networks in the order of the seeds.

    Raises:
        UsageError, WorkError: as :func:`train`.
    """
    chosen = tuple(seeds)
    if not chosen or len(set(chosen)) < len(chosen) or min(chosen) < 0:
        raise UsageError(
            f"seeds must be different whole numbers of 0 or more, got {', '.join(map(str, chosen)) or 'none'}"
        )
    if not isinstance(images, ImageTensor):
        raise UsageError(f"{images.facts.name}: several seeds at once need images in memory, not files read on demand")
    folder = Path(folder)
    folders = [folder / f"seed-{seed}" for seed in chosen]
    return _train(images, network, config, chosen, folders, folder, device, weights, after_epoch)


def _train(
    images: ImageSet,
    network: NetworkConfig,
    config: TrainConfig,
    seeds: tuple[int, ...],
    folders: Sequence[Path],
    folder: Path,
    device: str,
    weights: str | Path | None,
    after_epoch: Callable[[int, list[Network]], None] | None,
) -> list[Trained[Network]]:
    images = _checked(images, network, config, folder, device)
    normalisation = _normalisation(images, config)
    fabric = Fabric(accelerator=device, devices=1, precision=config.precision)
    stacked = list(folders) != [folder]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device == "cuda" else []):
        models: list[Network] = []
        for seed in seeds:
            torch.manual_seed(start_seed(seed))
            models.append(build_network(network, weights).to(fabric.device))
        feed: Feed
        learner: Learner[Network]
        if stacked:
            assert isinstance(images, ImageTensor)
            learner = StackedLearner(models, config, fabric.autocast)
            feed = ResidentFeed(images, config, normalisation, seeds, fabric.device, stacked=True)
        else:
            models[0].to(memory_format=torch.channels_last)
            learner = SingleLearner(models[0], config, fabric.autocast)
            feed = (
                ResidentFeed(images, config, normalisation, seeds, fabric.device)
                if isinstance(images, ImageTensor)
                else FileFeed(images, config, normalisation, fabric.device)
            )
        facts = images.facts
        fingerprint = fingerprint_of(
            config,
            network=asdict(network),
            weights=None if weights is None else str(weights),
            data=[facts.name, facts.content_digest, list(facts.class_names), len(images)],
            seeds=list(seeds),
        )
        run = Run(learner, feed, config, folder / "training.pt", fingerprint, fabric.device, len(seeds))
        loop(run, learner, config.checkpoint_every, after_epoch)
    for model, place in zip(learner.networks(), folders, strict=True):
        save_network(place / "network.pt", model.eval(), network_facts(facts.name, facts.class_names, normalisation))
    return [Trained.of(model, normalisation, run, number) for number, model in enumerate(models)]


def _first_of(after_epoch: Callable[[int, Network], None]) -> Callable[[int, list[Network]], None]:
    def look(epoch: int, networks: list[Network]) -> None:
        after_epoch(epoch, networks[0])

    return look


def network_facts(name: str, class_names: Sequence[str], normalisation: Normalisation) -> dict[str, Any]:
    """What is kept with a trained network, as plain values."""
    return {
        "trained_on": name,
        "class_names": list(class_names),
        "mean": list(normalisation.mean),
        "std": list(normalisation.std),
    }


def check_folder(folder: Path) -> None:
    """Refuse a file where checkpoints are to go.

    Raises:
        UsageError: if it is one.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; checkpoints need a folder")


def _checked(images: ImageSet, network: NetworkConfig, config: TrainConfig, folder: Path, device: str) -> ImageSet:
    check_folder(folder)
    check_graphs(config.graphs, device)
    facts = images.facts
    classes = len(facts.class_names)
    if classes != network.classes:
        raise UsageError(f"{facts.name} has {classes} classes, the network is asked for {network.classes}")
    if config.images:
        if config.images > len(images):
            raise UsageError(f"{facts.name} has {len(images)} images, {config.images} are asked for")
        images = images.chosen(first_of_each_class(images.labels, config.images, classes))
    if len(images) < config.batch_size:
        raise UsageError(f"{facts.name} has {len(images)} images to train on, a batch needs {config.batch_size}")
    return images


def _normalisation(images: ImageSet, config: TrainConfig) -> Normalisation:
    if config.normalisation == "imagenet":
        return IMAGENET
    if isinstance(images, ImageFiles):
        raise UsageError(
            f"{images.facts.name}: images that are read on demand have no mean colour yet; set normalisation=imagenet"
        )
    return Normalisation.of(images.images)
