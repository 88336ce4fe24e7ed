"""A small search of the learning rate on held-out training images, the same for every network of a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficiency_bench.experiments.base import Context
from efficiency_bench.experiments.normalisation.image_training import until_it_diverges
from efficiency_core.loop import check_least

if TYPE_CHECKING:
    from weight_align.data import ImageSet
    from weight_align.networks import NetworkConfig
    from weight_align.training import Normalisation, TrainConfig


@dataclass(frozen=True)
class RateSearch:
    """What is tried, and how long."""

    factors: tuple[float, ...] = ()
    """Factors of the learning rate for the batch size; empty: no search."""
    epochs: int = 2
    """Epochs of each trial, over which the learning rate follows the whole schedule."""
    held_out: float = 0.2
    """Share of the training images of each class on which trials are compared and not trained."""

    def __post_init__(self) -> None:
        check_least(self, 1, "epochs")
        if any(not factor > 0 for factor in self.factors):
            raise ValueError(f"factors must be positive, got {list(self.factors)}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be in (0, 1), got {self.held_out}")


def best_factor(
    search: RateSearch, images: ImageSet, normalisation: Normalisation, network: NetworkConfig, training: TrainConfig,
    weights: str | Path | None, context: Context,
) -> tuple[float, dict[str, Any]]:  # fmt: skip
    """The factor whose trial has the lowest mean loss on the held-out images, and what the record says of the search.

    A trial is the training `training` with another rate and length, on the rest of the images; one that diverges comes last. If
    all do, the smallest factor is taken.
    """
    from weight_align.training import evaluate, train

    rest, held_out = divided(images, search.held_out)
    losses: dict[float, float | None] = {}
    for factor in search.factors:
        trial = replace(training, learning_rate=factor * training.learning_rate, epochs=search.epochs)
        folder = context.folder / f"search-{factor:g}"

        def work(trial: TrainConfig = trial, folder: Path = folder) -> float:
            trained = train(rest, network, trial, folder, context.device.type, weights)
            return evaluate(trained.network, held_out, normalisation=normalisation, device=context.device.type).loss

        losses[factor], _ = until_it_diverges(work)
    finished = {factor: loss for factor, loss in losses.items() if loss is not None}
    best = min(finished, key=finished.__getitem__) if finished else min(search.factors)
    said = {f"{factor:g}": "diverged" if loss is None else round(loss, 4) for factor, loss in losses.items()}
    counts = {"trained": len(rest), "held_out": len(held_out), "epochs": search.epochs}
    return best, {"rate_search": {"loss_on_held_out": said, "factor": best, **counts}}


def divided(images: ImageSet, share: float) -> tuple[ImageSet, ImageSet]:
    """The images without the last `share` of each class, and these; at least one image of each class is in either part."""
    import torch

    classes = len(images.info.class_names)
    of_class = [(images.labels == label).nonzero().flatten() for label in range(classes)]
    cuts = [min(max(1, round((1 - share) * len(indices))), len(indices) - 1) for indices in of_class]
    first = torch.cat([indices[:cut] for indices, cut in zip(of_class, cuts, strict=True)]).sort().values
    last = torch.cat([indices[cut:] for indices, cut in zip(of_class, cuts, strict=True)]).sort().values
    return images.chosen(first), images.chosen(last)
