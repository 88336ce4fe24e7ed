"""Training a network: one loop, resumable at any moment, the same bytes every time on the CPU."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from tqdm import tqdm

from outlier_matching.checkpoint import References, save_network
from outlier_matching.errors import UsageError
from outlier_matching.image_sets import ImageSet, Selection, select
from outlier_matching.networks import MatchingNetwork, NetworkConfig, build_network
from outlier_matching.pairs import PairSampler, draw_targets
from outlier_matching.pseudo_sets import PseudoSets
from outlier_matching.train_config import METHODS, Method, TrainConfig
from outlier_matching.training_run import EpochLosses, Run, torch_seed

__all__ = ["METHODS", "EpochLosses", "Method", "TrainConfig", "Trained", "train"]

_SECONDS_BETWEEN_LINES = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What a finished training leaves."""

    network: MatchingNetwork
    """The trained network, in eval mode."""
    losses: tuple[EpochLosses, ...]
    """Of every epoch."""
    targets: NDArray[np.int64]
    """Which images of the target set were trained on, rising; empty where the method uses none."""
    sets: PseudoSets | None
    """Pseudo inliers, pseudo outliers and weights in the end, by place in ``targets``; None where the method has none."""
    references: References | None
    """Embeddings that tell outliers, as in ``network.pt``; None where the method has none."""
    seconds_per_epoch: float
    """Wall time of an epoch with its refresh, without checkpoints and ``after_epoch``."""


def train(
    source: ImageSet,
    target: ImageSet | None,
    network: NetworkConfig,
    config: TrainConfig,
    folder: str | Path,
    device: str = "cpu",
    weights: str | None = None,
    *,
    after_epoch: Callable[[int, MatchingNetwork], None] | None = None,
) -> Trained:
    """Train a network, or go on with the training that ``folder`` holds.

    ``folder/training.pt`` is written every ``checkpoint_every`` steps and ``folder/network.pt`` at the end. The same
    call on a folder whose run was stopped at any moment continues from its last checkpoint and ends with the same
    weights and pseudo sets as an uninterrupted run (bit-equal on the CPU with the same number of threads).

    Args:
        source: labelled images of the source domain.
        target: images of the target domain, whose labels are not looked at; None for ``method="siamese"``.
        network: the model.
        config: the recipe.
        folder: where checkpoints go.
        device: ``cpu`` or ``cuda``.
        weights: where the network starts, as :func:`~outlier_matching.networks.build_network` takes it; None is random.
        after_epoch: called with 0 and the untrained network (eval mode), and with e after e epochs. A run that is killed
            and continued calls it again for the epochs since its last checkpoint; none is left out.

    Raises:
        UsageError: if ``folder`` holds a run with other settings or other data, if the data does not fit the method, or
            if the network cannot be built as asked.
        WorkError: if a loss is not finite, a checkpoint cannot be written (the last one stays), or an image cannot be
            read.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; checkpoints need a folder")
    if network.frozen and weights is None:
        raise UsageError(
            f"trained={network.trained} leaves layers as they start, which is at random: give weights, or trained=all"
        )
    chosen = _targets(target, config)
    pairs = PairSampler(source.labels, config.batch, config.seed)
    steps = config.steps or max(1, len(pairs) // config.batch)
    fabric = Fabric(accelerator=device, devices=1, precision=config.precision)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device == "cuda" else []):
        torch.manual_seed(torch_seed(config.seed, 0))
        model = build_network(network, weights)
        if device == "cpu" or config.precision != "32-true":  # where convolutions are faster so
            model = model.to(memory_format=torch.channels_last)
        fingerprint = _fingerprint(source, chosen, network, config, weights)
        run = Run(fabric, model, config, steps, folder / "training.pt", fingerprint)
        run.resume()
        total = steps * config.epochs
        if run.step < total and not run.ended:
            run.read(source, chosen, network.size)
        if after_epoch is not None and run.step == 0:
            after_epoch(0, model.eval())
        bar = tqdm(total=total, initial=run.step, unit="step", disable=not sys.stderr.isatty(), leave=False)
        said = time.perf_counter()
        with bar:
            while run.step < total and not run.ended:
                started = time.perf_counter()
                run.begin_epoch()
                epoch = run.step // steps
                for batch in run.batches(pairs, range(run.step, (epoch + 1) * steps)):
                    run.take(batch)
                    bar.update()
                    ended = run.step % steps == 0
                    if ended:
                        run.end_epoch()
                    run.seconds += time.perf_counter() - started
                    if ended and after_epoch is not None:
                        after_epoch(epoch + 1, model.eval())
                    if run.step % config.checkpoint_every == 0 or run.step == total or run.ended:
                        run.write()
                    if ended or time.perf_counter() - said > _SECONDS_BETWEEN_LINES:
                        said = time.perf_counter()
                        run.log()
                    started = time.perf_counter()
        save_network(
            folder / "network.pt", model, method=config.method, references=run.references, decision=config.decision
        )
    return Trained(
        network=model.eval(),
        losses=tuple(run.losses),
        targets=np.empty(0, dtype=np.int64) if chosen is None else chosen.indices,
        sets=run.sets,
        references=run.references,
        seconds_per_epoch=run.seconds / max(len(run.losses), 1),
    )


def _targets(target: ImageSet | None, config: TrainConfig) -> Selection | None:
    if config.method == "siamese":
        return None
    if target is None:
        raise UsageError(f"method={config.method} needs images of a target domain")
    indices = draw_targets(target.outliers, config.outlier_share, config.seed)
    if len(indices) < config.batch:
        raise UsageError(
            f"{target.facts.name} has {len(indices)} target images to train on, a batch needs {config.batch}"
        )
    chosen = select(target, indices=indices)
    share = float(chosen.outliers.mean())
    if config.method == "da_outlier_detection" and share > 0.5:
        _log.warning(
            "%.0f %% of the target images are outliers: the method assumes at most half (thesis, section 4.4.2) and will "
            "take inliers for outliers",
            100 * share,
        )
    return chosen


def _fingerprint(
    source: ImageSet, target: ImageSet | None, network: NetworkConfig, config: TrainConfig, weights: str | None
) -> dict[str, Any]:
    recipe = asdict(config)
    for name in (
        "checkpoint_every",
        "resident_gb",
        "threads",
    ):  # may change from one start to the next: they change no number
        del recipe[name]
    return {
        "network": asdict(network),
        "train": recipe,
        "weights": weights,
        "source": _identity(source),
        "target": None if target is None else _identity(target),
    }


def _identity(images: ImageSet) -> list[Any]:
    arrays = (images.labels.astype("<i8"), images.domains.astype("<i8"), images.outliers.astype("u1"))
    return [
        images.facts.name,
        images.facts.content_digest,
        len(images),
        sha256(b"".join(array.tobytes() for array in arrays)).hexdigest(),
    ]
