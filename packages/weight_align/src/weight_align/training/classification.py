"""Training of a classifier, or of several that differ in their seed, at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from efficiency_core import loop
from efficiency_core.errors import UsageError, checking
from efficiency_core.loop import Accelerator, recipe, resolved
from efficiency_core.settings import to_json
from weight_align.checkpoint import save_network, start_weights
from weight_align.data import DatasetInfo, ImageFiles, ImageSet, ImageTensor, first_images
from weight_align.networks import Network, NetworkConfig, build_network
from weight_align.training.batches import FileBatches, ResidentBatches
from weight_align.training.config import SgdConfig, TrainConfig
from weight_align.training.evaluation import evaluate
from weight_align.training.normalisation import IMAGENET, Normalisation
from weight_align.training.seeds import StackedTask
from weight_align.training.sgd import NETWORK, SingleTask, Trained, start_seed


def train(
    images: ImageSet, network: NetworkConfig, config: TrainConfig, folder: str | Path, device: str = "cpu",
    weights: str | Path | None = None, *, validation: ImageSet | None = None,
    after_epoch: Callable[[int, Network], None] | None = None,
) -> Trained[Network]:  # fmt: skip
    """Train a network, or continue the training that ``folder`` holds.

    ``folder/network.safetensors`` is written at the end; checkpoints, records and ``best.safetensors`` are those of
    :func:`efficiency_core.loop.runner.run`, which also says how a training continues. Images in memory are copied to the
    device once, and cropped, mirrored and put into batches there. Raises UsageError if ``folder`` holds a training with
    other settings or data, the data does not fit the network or the settings, the network cannot be built, or CUDA
    graphs are asked for without CUDA; WorkError if a loss or a weight is not finite, a checkpoint cannot be written
    (the last one stays), or an image cannot be read.

    Args:
        network: the network; ``classes`` 0 stands for those of the images.
        weights: weights to start from, see :func:`~weight_align.checkpoint.start_weights`; a classifier for another number of
            classes starts at random. None is random.
        validation: images for validation; the network with the lowest top-1 error is kept in ``best.safetensors``.
        after_epoch: called with the number of finished epochs and the network in eval mode; first with 0. A continued
            training calls it again for the epochs since its last checkpoint."""
    images, network, normalisation = _prepared(images, network, config)
    if validation is not None:
        with_classes(network, validation.info)
    state = start_weights(weights, network)
    metadata = network_metadata(images.info, normalisation)

    def save(path: Path, model: Network) -> None:
        save_network(path, model, metadata)

    def error(model: Network) -> float:
        assert validation is not None
        return evaluate(model, validation, normalisation=normalisation, device=accelerator.device).top1_error

    config = resolved(config, device)
    with Accelerator(device, config) as accelerator:
        (model,) = _built((config.seed,), network, state, weights, accelerator)
        batches = (
            ResidentBatches(images, config, normalisation, (config.seed,), accelerator)
            if isinstance(images, ImageTensor)
            else FileBatches(images, config, normalisation, accelerator)
        )
        task = SingleTask(
            model, config, batches, accelerator, after_epoch=after_epoch, save=save,
            validation=None if validation is None else ("top1_error", error),
        )  # fmt: skip
        same = fingerprint_of(config, images.info, len(images), weights, network=to_json(network), seeds=[config.seed])
        result = loop.run(task, config, folder, same)
        if accelerator.main:
            save(Path(folder) / NETWORK, model.eval())
    return Trained.of(model, normalisation, result, task.epoch_steps)


def train_seeds(
    images: ImageSet, network: NetworkConfig, config: TrainConfig, folder: str | Path, seeds: Sequence[int],
    device: str = "cpu", weights: str | Path | None = None, *,
    after_epoch: Callable[[int, list[Network]], None] | None = None,
) -> list[Trained[Network]]:  # fmt: skip
    """Train several networks at once that differ in their seed alone, each as :func:`train` would, up to rounding.
    Every step is taken for all networks together, which fills a device that one network with a small batch leaves idle.
    All norms are supported, with their running statistics. The checkpoint of all is in ``folder``; the network of seed
    s is ``folder/seed-<s>/network.safetensors``. Raises UsageError, WorkError as :func:`train`.

    Args:
        images, network, config, device, weights: as for :func:`train`; images must be in memory, ``config.seed`` is not used.
        seeds: seeds of the trainings, all different.
        after_epoch: as for :func:`train`, with all networks in the order of the seeds."""
    chosen = tuple(seeds)
    if not chosen or len(set(chosen)) < len(chosen) or min(chosen) < 0:
        raise UsageError(
            f"seeds must be different whole numbers of 0 or more, got {', '.join(map(str, chosen)) or 'none'}"
        )
    if not isinstance(images, ImageTensor):
        raise UsageError(f"{images.info.name}: several seeds at once need images in memory, not files read on demand")
    if config.devices > 1:
        raise UsageError("several seeds at once are trained on one device; set devices=1")
    images, network, normalisation = _prepared(images, network, config)
    assert isinstance(images, ImageTensor)
    state = start_weights(weights, network)
    config = resolved(config, device)
    with Accelerator(device, config) as accelerator:
        models = _built(chosen, network, state, weights, accelerator)
        batches = ResidentBatches(images, config, normalisation, chosen, accelerator, stacked=True)
        task = StackedTask(models, chosen, config, batches, accelerator, after_epoch)
        same = fingerprint_of(config, images.info, len(images), weights, network=to_json(network), seeds=list(chosen))
        result = loop.run(task, config, folder, same)
        for seed, model in zip(chosen, task.networks(), strict=True):
            metadata = network_metadata(images.info, normalisation)
            save_network(Path(folder) / f"seed-{seed}" / NETWORK, model.eval(), metadata)
    return [Trained.of(model, normalisation, result, task.epoch_steps, number) for number, model in enumerate(models)]


def network_metadata(info: DatasetInfo, normalisation: Normalisation) -> dict[str, Any]:
    """Plain values that are stored with a trained network."""
    return {
        "trained_on": info.name, "class_names": list(info.class_names), "mean": list(normalisation.mean),
        "std": list(normalisation.std),
    }  # fmt: skip


def with_classes(network: NetworkConfig, info: DatasetInfo) -> NetworkConfig:
    """The network with as many classes as the data set. Raises UsageError if it states another number."""
    classes = len(info.class_names)
    if network.classes not in (0, classes):
        raise UsageError(f"{info.name} has {classes} classes, the network is asked for {network.classes}")
    return replace(network, classes=classes)


def fingerprint_of(
    config: SgdConfig, info: DatasetInfo, count: int, weights: str | Path | None, **others: Any
) -> dict[str, Any]:
    """The values that make a training the same: settings, data, and ``others``."""
    return {
        "train": recipe(config, "epochs", "steps"),
        "data": [info.name, info.content_digest, list(info.class_names), count],
        "weights": None if weights is None else str(weights),
        **others,
    }


def _built(
    seeds: Sequence[int], network: NetworkConfig, state: Mapping[str, Tensor] | None, weights: str | Path | None,
    accelerator: Accelerator,
) -> list[Network]:  # fmt: skip
    models = []
    for seed in seeds:
        torch.manual_seed(start_seed(seed))
        with checking(weights or ""):
            models.append(build_network(network, state).to(accelerator.device))
    return models


def _prepared(
    images: ImageSet, network: NetworkConfig, config: TrainConfig
) -> tuple[ImageSet, NetworkConfig, Normalisation]:
    network = with_classes(network, images.info)
    images = first_images(images, config.images)
    if len(images) < config.batch_size:
        raise UsageError(f"{images.info.name} has {len(images)} images to train on, a batch needs {config.batch_size}")
    if config.normalisation == "imagenet":
        return images, network, IMAGENET
    if isinstance(images, ImageFiles):
        raise UsageError(
            f"{images.info.name}: images that are read on demand have no mean colour yet; set normalisation=imagenet"
        )
    return images, network, Normalisation.of(images.images)
