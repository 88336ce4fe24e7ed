"""Training of a network: it can be stopped and continued at any moment, with the same bytes every time on the CPU."""

import logging
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efficiency_core import loop
from efficiency_core.devices import convolution_layout
from efficiency_core.errors import UsageError, WorkError, checking
from efficiency_core.loop import Accelerator, recipe, resolved
from efficiency_core.network_file import read_state
from efficiency_core.settings import to_json
from outlier_matching.checkpoint import References
from outlier_matching.data.image_set import ImageSet, Selection, select
from outlier_matching.data.pixels import pixel_batches
from outlier_matching.method.config import check_choice
from outlier_matching.method.pseudo_sets import PseudoSets
from outlier_matching.networks.config import NetworkConfig, WeightsInput
from outlier_matching.networks.network import MatchingNetwork, embed
from outlier_matching.networks.weights import build_network, rgb_weights
from outlier_matching.retrieval.metrics import retrieve
from outlier_matching.training.config import TrainConfig
from outlier_matching.training.pairs import draw_targets
from outlier_matching.training.task import MatchingTask

NETWORK = "network.safetensors"
"""File of the trained network in the folder of a training."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochLosses:
    """Means of the terms and of their weighted sum over an epoch. Terms that the method does not use are 0."""

    contrastive: float
    mmd: float
    entropy: float
    total: float
    inliers: int
    """Pseudo inliers after the epoch; 0 without pseudo sets."""
    outliers: int
    """Pseudo outliers after the epoch; 0 without pseudo sets."""


@dataclass(frozen=True)
class Trained:
    """Result of a finished training."""

    network: MatchingNetwork
    """The trained network, in eval mode."""
    losses: tuple[EpochLosses, ...]
    targets: NDArray[np.int64]
    """Ascending numbers of the target images of the training; empty if the method uses none."""
    sets: PseudoSets | None
    """Final pseudo sets, by position in ``targets``; None if the method has none."""
    references: References | None
    """Embeddings that detect outliers, as in the network file; None if the method detects none."""
    seconds_per_epoch: float
    """Wall time of an epoch with its update of the pseudo sets, without checkpoints and validations."""


def train(
    source: ImageSet, target: ImageSet | None, network: NetworkConfig, config: TrainConfig, folder: str | Path,
    device: str = "cpu", *, validation: tuple[ImageSet, ImageSet] | None = None,
    weights_input: WeightsInput = "rgb",
) -> Trained:  # fmt: skip
    """Train a network, or continue the training in ``folder``. See :func:`efficiency_core.loop.runner.run` for checkpoints,
    logs and continued trainings. ``folder/network.safetensors`` is written at the end. Raises UsageError if ``folder``
    holds a training with other settings or other data, if the data does not fit the method, or if the network cannot be
    built; WorkError if a loss is not finite or a checkpoint cannot be written (the last one stays), if an image cannot
    be read, or if weights cannot be downloaded.

    Args:
        source: labelled images of the source domain.
        target: images of the target domain, whose labels are not used; None for the method ``siamese``.
        validation: images of both domains with labels. The mean average precision T->S of their inliers is computed every
            ``validate_every`` steps, and the best network is kept as ``folder/best.safetensors``.
        weights_input: input of the network in the file ``config.weights``; ``bgr`` is Caffe's, see
            :func:`~outlier_matching.networks.weights.rgb_weights`."""
    folder = Path(folder)
    if network.frozen and not config.weights:
        raise UsageError(
            f"trained={network.trained} keeps random initial weights in some layers: give weights, or trained=all"
        )
    config = resolved(config, device)
    chosen = _targets(target, config)
    fingerprint: dict[str, Any] = {
        "network": to_json(network), "train": recipe(config, "epochs", "resident_gb"), "source": _identity(source),
        "target": None if chosen is None else _identity(chosen),
    }  # fmt: skip
    if weights_input != "rgb":  # checkpoints of versions without this argument continue
        fingerprint["weights_input"] = weights_input
    with Accelerator(device, config) as accelerator:
        accelerator.seed(config.seed, 0)
        model = _initial_network(network, config.weights, weights_input)
        if device == "cpu" or config.precision != "32-true":  # where convolutions are faster with it
            model = model.to(memory_format=convolution_layout(model, device))
        validate = None
        if validation is not None:
            validate = partial(_map_ts, validation[0], select(validation[1], outliers=False), accelerator.device)
        task = MatchingTask(accelerator, model.to(accelerator.device), source, chosen, config, validate)
        try:
            result = loop.run(task, config, folder, fingerprint)
        except FloatingPointError as error:  # embeddings for the pseudo sets
            raise WorkError(str(error)) from error
        if accelerator.main:
            task.save(folder / NETWORK)
    epochs = zip(result.epochs, task.counts, strict=True)
    return Trained(
        network=model.eval(),
        losses=tuple(EpochLosses(row[0], row[1], row[2], row[3], *counts) for row, counts in epochs),
        targets=np.empty(0, dtype=np.int64) if chosen is None else chosen.indices, sets=task.sets,
        references=task.references, seconds_per_epoch=result.seconds / max(len(result.epochs), 1),
    )  # fmt: skip


def _map_ts(source: ImageSet, target: ImageSet, device: torch.device, network: MatchingNetwork) -> float:
    gallery, queries = (
        embed(network, pixel_batches(images, network.config.size), device=device, domain=domain)
        for domain, images in enumerate((source, target))
    )
    labels = [torch.from_numpy(images.labels) for images in (target, source)]
    return retrieve(queries, gallery, *labels).mean_average_precision


def _initial_network(network: NetworkConfig, weights: str, weights_input: WeightsInput) -> MatchingNetwork:
    start: str | dict[str, Tensor] | None = weights or None
    try:
        with checking(weights):
            check_choice("weights_input", weights_input, WeightsInput)
            if Path(weights).suffix:
                state = read_state(weights)
                start = rgb_weights(state) if weights_input == "bgr" else state
            elif weights_input != "rgb":
                raise ValueError(f"weights_input={weights_input} needs weights from a file")
            return build_network(network, start)
    except ConnectionError as error:
        raise WorkError(str(error)) from error


def _targets(target: ImageSet | None, config: TrainConfig) -> Selection | None:
    if config.method == "siamese":
        return None
    if target is None:
        raise UsageError(f"method={config.method} needs images of a target domain")
    indices = draw_targets(target.outliers, config.outlier_share, config.seed)
    if len(indices) < config.batch:
        raise UsageError(
            f"{target.info.name} has {len(indices)} target images to train on, a batch needs {config.batch}"
        )
    chosen = select(target, indices=indices)
    share = float(chosen.outliers.mean())
    if config.method == "da_outlier_detection" and share > 0.5:
        _log.warning(
            "%.0f %% of the target images are outliers: the method assumes at most half (thesis, section 4.4.2) and will "
            "classify inliers as outliers",
            100 * share,
        )
    return chosen


def _identity(images: ImageSet) -> list[Any]:
    arrays = (images.labels.astype("<i8"), images.domains.astype("<i8"), images.outliers.astype("u1"))
    digest = sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    return [images.info.name, images.info.content_digest, len(images), digest]
