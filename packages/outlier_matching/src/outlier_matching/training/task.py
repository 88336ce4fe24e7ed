"""The training of a matching network as a task of the training loop: batches, one step, and Algorithm 1 between epochs."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from efficiency_core.loop import Accelerator, Task
from outlier_matching.checkpoint import References, save_network
from outlier_matching.data.image_set import ImageSet
from outlier_matching.data.pixels import PixelStore
from outlier_matching.method.objective import Features, Objective
from outlier_matching.method.pseudo_sets import PseudoSets, initial_sets, reference_features, refreshed_sets
from outlier_matching.networks.network import MatchingNetwork, embed
from outlier_matching.training.config import TrainConfig
from outlier_matching.training.pairs import PairSampler, endless, half_and_half

_EMBED_BATCH = 256
_SAVED_REFERENCES = 2048
_PLATEAU, _PLATEAU_STEPS = 0.95, 100
_log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Images of one step; each process has its part of them."""

    images: tuple[Tensor, ...]
    """uint8 (n, 3, size, size), or features of the layers that are not trained: left, right and, if the target takes part,
    target images."""
    matching: Tensor
    """bool (batch,): which pairs of all processes match."""
    rows: Tensor | None
    """int64 (batch,): numbers of the target images of all processes; None without target images."""


class MatchingTask(Task[Batch]):
    """Batches, objective and pseudo sets of one training. Raises UsageError if the source has too few pairs.

    Args:
        model: the network with its initial weights, on the device.
        target: images of the target domain; None for the method ``siamese``.
        validate: mean average precision of a network; None without a validation set.

    Attributes:
        sets: pseudo sets, None before Algorithm 1 begins.
        references: embeddings that detect outliers, None before the first update of the pseudo sets.
        counts: pseudo inliers and pseudo outliers after every epoch, 0 without pseudo sets.
        flat: steps of the epochs in a row at the plateau of the contrastive loss."""

    name = "outlier_matching"
    ahead_over_epochs = False  # batches of an epoch depend on its pseudo sets
    loss_names = ("contrastive", "mmd", "entropy", "total")
    model: MatchingNetwork

    def __init__(
        self, accelerator: Accelerator, model: MatchingNetwork, source: ImageSet, target: ImageSet | None,
        config: TrainConfig, validate: Callable[[MatchingNetwork], float] | None = None,
    ) -> None:  # fmt: skip
        self.accelerator, self.model, self.config = accelerator, model, config
        self.pairs = PairSampler(source.labels, config.batch, config.seed)
        self.epoch_steps = config.steps or max(1, len(self.pairs) // config.batch)
        self.total = self.epoch_steps * config.epochs
        self.batch_size, self.clip_norm = config.batch, config.clip_norm
        self.validation, self._validate = None if validate is None else "map_ts", validate
        # The release has two optimisers; one with two groups takes the same steps.
        trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        head = [parameter for name, parameter in trained if name.startswith("fc8.")]
        rest = [parameter for name, parameter in trained if not name.startswith("fc8.")]
        rates = (config.learning_rate, config.head_learning_rate)
        groups = [{"params": part, "lr": rate} for part, rate in zip((rest, head), rates, strict=True)]
        self.optimizers = [Adam(groups, fused=True)]
        self.objective_of_batch = Objective(config).to(accelerator.device)
        self.sets: PseudoSets | None = None
        self.references: References | None = None
        self.counts: list[tuple[int, int]] = []
        self.flat = 0
        self._images: tuple[ImageSet, ...] = (source,) if target is None else (source, target)
        self._stores: list[PixelStore] = []
        stored = sum(map(len, self._images)) * 3 * model.config.size**2  # bytes of all resized images
        self._resident = stored <= config.resident_gb * 2**30
        self.reading = "here" if self._resident else "threads"
        self._adapts = self._fixed = False

    def rate(self, step: int, total: int) -> float:
        return self.config.learning_rate

    def set_rate(self, rate: float) -> None:
        """The two parameter groups keep their own rates."""

    def begin_epoch(self, epoch: int) -> None:
        config = self.config
        if not self._stores:
            self._stores = [
                PixelStore(images, self.model.config.size, self.accelerator.device, self._resident)
                for images in self._images
            ]
            self._fixed = self._keep_fixed_features()
        self._adapts = config.method != "siamese" and epoch >= config.warmup_epochs
        first = config.warmup_epochs + config.align_epochs
        if config.method == "da_outlier_detection" and epoch >= first and self.sets is None:
            source, target = self._embeddings()
            share = config.nearest_share
            nearest = None if share == 1 else max(1, round(share * len(source)))
            self.sets = initial_sets(target, source, nearest=nearest)

    def _keep_fixed_features(self) -> bool:
        """Compute once what the layers that are not trained make of every image, where memory holds it and the training shows
        more images than there are. Returns whether the stores hold features in place of pixels."""
        model, images = self.model, sum(map(len, self._images))
        if not (self._resident and model.config.frozen) or self.total * 2 * self.config.batch < images:
            return False
        model.train()  # in which these layers stay in eval mode

        def features(pixels: Tensor, domain: int) -> Tensor:
            with self.accelerator.autocast():
                return model.fixed_features(pixels, domain)

        one = features(self._stores[0].batch(np.zeros(1, dtype=np.int64)), 0)
        if images * one.numel() * one.element_size() > self.config.resident_gb * 2**30:
            return False
        for domain, store in enumerate(self._stores):
            store.keep_features(partial(features, domain=domain), _EMBED_BATCH)
        return True

    def train_mode(self) -> None:
        self.model.train()
        self.objective_of_batch.train()

    def batch(self, step: int) -> Batch:
        """Pairs of the source, and target images if the target takes part in this epoch."""
        config, part = self.config, self.accelerator.part
        pairs = self.pairs.pairs(step)
        images = [self._stores[0].batch(part(pairs.left)), self._stores[0].batch(part(pairs.right))]
        rows = None
        if self._adapts:
            if self.sets is None:
                rows = endless(len(self._images[1]), step * config.batch, config.batch, config.seed, key=4)
            else:
                inliers, outliers = self.sets.inliers.cpu().numpy(), self.sets.outliers.cpu().numpy()
                rows = half_and_half(inliers, outliers, step, config.batch, config.seed)
            images.append(self._stores[1].batch(part(rows)))
        return Batch(tuple(images), torch.from_numpy(pairs.matching), None if rows is None else torch.from_numpy(rows))

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The terms of the objective. MK-MMD and entropy compare the features of the whole batch, so processes gather them."""
        accelerator, device = self.accelerator, self.accelerator.device
        images = torch.cat([part.to(device, non_blocking=True) for part in batch.images])
        own = len(batch.images[0])
        features: Features = accelerator.forward(self.model, images, source=2 * own, fixed=self._fixed)
        if accelerator.world > 1:
            count = self.batch_size
            layers = features.fc6, features.fc7, features.fc8
            gathered = [torch.cat([accelerator.gather(part, count) for part in layer.split(own)]) for layer in layers]
            features = Features(*gathered)
        weights = None
        if self.sets is not None and batch.rows is not None:
            weights = self.sets.weights[batch.rows.to(device)]
        losses = self.objective_of_batch(features, batch.matching.to(device), weights, target=batch.rows is not None)
        return dict(losses._asdict())

    def objective(self, losses: dict[str, Tensor]) -> Tensor:
        return losses["total"]

    def summary(self, rows: list[list[float]], weights: list[float]) -> list[float]:
        return torch.tensor(rows, dtype=torch.float64).mean(dim=0).tolist()

    def end_epoch(self, epoch: int, losses: list[float]) -> bool:
        self._check_plateau(losses[0])
        if self.sets is None:
            self.counts.append((0, 0))
            return False
        source, target = self._embeddings()
        before, sharp = self.sets, self.config.sharpness
        self.sets = refreshed_sets(
            target * sharp**0.5, source * sharp**0.5, before, self.config.refresh,
            references=self.config.references or None, decision=self.config.decision,
        )  # fmt: skip
        # A checkpoint keeps the features of this moment with the new sets. Sharpness is multiplied in, so that the
        # embedding of a query needs no factor.
        first, second, third = reference_features(sharp * target, sharp * source, self.sets)
        self.references = _thinned(first), _thinned(second), _thinned(third)
        self.counts.append((len(self.sets.inliers), len(self.sets.outliers)))
        return bool((self.sets.weights - before.weights).abs().max() <= self.config.unchanged)

    def _check_plateau(self, contrastive: float) -> None:
        """Warn once when the epochs of 100 steps in a row had a mean contrastive loss of 95 % of m^2 / 8 or more. That is the
        least loss of embeddings whose distance is the same for every pair (m / 2): they distinguish nothing."""
        level, before = self.config.margin**2 / 8, self.flat
        self.flat = before + self.epoch_steps if contrastive >= _PLATEAU * level else 0
        if before < _PLATEAU_STEPS <= self.flat and self.accelerator.main:
            _log.warning(
                "the contrastive loss is %.4f after %d steps without progress; at margin^2 / 8 = %.4f all pairs have the same "
                "distance. Usual remedies: learning_rate 0.001, backbone small_dbn or small_bn, dropout 0, pretrained weights",
                contrastive, self.flat, level,
            )  # fmt: skip

    def _embeddings(self) -> list[Tensor]:
        accelerator, precision = self.accelerator, self.config.precision
        found = []
        for domain, (store, images) in enumerate(zip(self._stores, self._images, strict=True)):
            batches = store.batches(accelerator.part(range(len(images))), _EMBED_BATCH)
            options: dict[str, Any] = {"precision": precision, "domain": domain, "fixed": self._fixed}
            own = embed(self.model, batches, device=accelerator.device, **options)
            found.append(accelerator.broadcast(accelerator.gather(own, len(images))))
        return found

    def note(self) -> str:
        sets = self.sets
        return "" if sets is None else f"pseudo inliers {len(sets.inliers)}, outliers {len(sets.outliers)}"

    def validate(self) -> float:
        assert self._validate is not None
        return self._validate(self.model)

    def save(self, path: Path) -> None:
        config = self.config
        save_network(path, self.model, method=config.method, references=self.references, decision=config.decision)

    def state(self) -> dict[str, Any]:
        sets = self.sets
        return super().state() | {
            "objective": self.objective_of_batch.state_dict(),
            "sets": None if sets is None else [sets.inliers.cpu(), sets.outliers.cpu(), sets.weights.cpu()],
            "references": None if self.references is None else [part.cpu() for part in self.references],
            "counts": [list(pair) for pair in self.counts],
            "flat": self.flat,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        super().load(state)
        device = self.accelerator.device
        self.objective_of_batch.load_state_dict(state["objective"])
        if state["sets"] is not None:
            self.sets = PseudoSets(*(part.to(device) for part in state["sets"]))
        if state["references"] is not None:
            first, second, third = (part.to(device) for part in state["references"])
            self.references = first, second, third
        self.counts = [(inliers, outliers) for inliers, outliers in state["counts"]]
        self.flat = int(state.get("flat", 0))


def _thinned(reference: Tensor) -> Tensor:
    """At most 2,048 rows, evenly spread; equation 4.7 takes means, which need no more."""
    count = min(_SAVED_REFERENCES, len(reference))
    return reference[(torch.arange(count) * len(reference) // count).to(reference.device)]
