"""The state of a training: what a checkpoint holds, one step of it, and what happens between epochs."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam

from outlier_matching.checkpoint import References, read_tensors, write_tensors
from outlier_matching.embedding import embed
from outlier_matching.errors import UsageError, WorkError
from outlier_matching.image_sets import ImageSet
from outlier_matching.networks import MatchingNetwork
from outlier_matching.objective import Objective
from outlier_matching.pairs import Pairs, PairSampler, endless, half_and_half
from outlier_matching.pixel_store import PixelStore, ahead, stored_bytes
from outlier_matching.pseudo_sets import PseudoSets, initial_sets, reference_features, refreshed_sets
from outlier_matching.train_config import TrainConfig

__all__ = ["Batch", "EpochLosses", "Run", "torch_seed"]

_FORMAT = "outlier_matching.training/1"
_STEPS_BETWEEN_CHECKS = 16  # to look at a loss is to wait for the GPU
_EMBED_BATCH = 256
_SAVED_REFERENCES = 2048
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochLosses:
    """Means over the steps of an epoch, before the weights gamma and eta; what the method is without is 0."""

    contrastive: float
    mmd: float
    entropy: float
    total: float
    """The objective, weights included."""
    inliers: int
    """Pseudo inliers after the epoch's refresh; 0 where there are no pseudo sets."""
    outliers: int
    """Pseudo outliers, likewise."""


class Batch(NamedTuple):
    """What one step sees."""

    images: tuple[Tensor, ...]
    """uint8 (n, 3, size, size): left, right and, where the target takes part, target images."""
    matching: Tensor
    """bool (n,) which pairs match."""
    rows: NDArray[np.int64] | None
    """(n,) which target images they are; None where there are none."""


class Run:
    """A training between two steps.

    Args:
        fabric: device and precision.
        model: the network, as it starts.
        config: the recipe.
        steps: steps of an epoch.
        path: the checkpoint.
        fingerprint: what makes it the same run; a checkpoint with another one is refused.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: MatchingNetwork,
        config: TrainConfig,
        steps: int,
        path: Path,
        fingerprint: dict[str, Any],
    ) -> None:
        head = [p for name, p in model.named_parameters() if p.requires_grad and name.startswith("fc8.")]
        rest = [p for name, p in model.named_parameters() if p.requires_grad and not name.startswith("fc8.")]
        # The release has two optimizers; one with two groups takes the same steps.
        optimizer = Adam(
            [{"params": rest, "lr": config.learning_rate}, {"params": head, "lr": config.head_learning_rate}],
            fused=True,
        )
        self.model = model
        self.objective = fabric.to_device(Objective(config))
        self.wrapped, self.optimizer = fabric.setup(model, optimizer)
        self.step = 0
        self.seconds = 0.0
        self.ended = False
        self.losses: list[EpochLosses] = []
        self.sets: PseudoSets | None = None
        self.references: References | None = None
        self._history: list[Tensor] = []  # of each step of this epoch: the four losses
        self._checked = 0
        self._fabric, self._config, self._steps = fabric, config, steps
        self._path, self._fingerprint = path, json.dumps(fingerprint, sort_keys=True)
        self._source: PixelStore | None = None
        self._target: PixelStore | None = None
        self._target_count = 0

    def read(self, source: ImageSet, target: ImageSet | None, size: int) -> None:
        """Open the images, or read them where they fit on the device."""
        device, threads = self._fabric.device, self._config.threads
        wanted = sum(stored_bytes(images, size) for images in (source, target) if images is not None)
        resident = wanted <= self._config.resident_gb * 2**30
        self._source = PixelStore(source, size, device, resident, threads)
        if target is not None:
            self._target = PixelStore(target, size, device, resident, threads)
            self._target_count = len(target)

    @property
    def adapts(self) -> bool:
        """Whether the target takes part in the epoch at hand."""
        return self._config.method != "siamese" and self.step // self._steps >= self._config.warmup_epochs

    def begin_epoch(self) -> None:
        """Algorithm 1, step 1, before the first epoch that looks for outliers."""
        config = self._config
        first = config.warmup_epochs + config.align_epochs
        if config.method == "da_outlier_detection" and self.step // self._steps >= first and self.sets is None:
            source, target = self._embeddings()
            share = config.nearest_share
            nearest = None if share == 1 else max(1, round(share * len(source)))
            self.sets = initial_sets(target, source, nearest=nearest)

    def batches(self, pairs: PairSampler, steps: range) -> Iterator[Batch]:
        """The batches of some steps of one epoch."""
        config, adapts, store = self._config, self.adapts, self._source
        assert store is not None
        inliers = outliers = None
        if self.sets is not None:
            inliers, outliers = self.sets.inliers.cpu().numpy(), self.sets.outliers.cpu().numpy()

        def make(step: int) -> Batch:
            chosen: Pairs = pairs.pairs(step)
            images = [store.batch(chosen.left), store.batch(chosen.right)]
            rows = None
            if adapts and self._target is not None:
                if inliers is not None and outliers is not None:
                    rows = half_and_half(inliers, outliers, step, config.batch, config.seed)
                else:
                    rows = endless(self._target_count, step * config.batch, config.batch, config.seed, key=4)
                images.append(self._target.batch(rows))
            return Batch(tuple(images), torch.from_numpy(chosen.matching), rows)

        # Images on the device need no thread; those in files are read while the network computes.
        return map(make, steps) if store.all is not None else ahead(make, steps)

    def take(self, batch: Batch) -> None:
        """One step of gradient descent."""
        device = self._fabric.device
        self.model.train()
        self.objective.train()
        torch.manual_seed(torch_seed(self._config.seed, self.step + 1))
        images = torch.cat([part.to(device, non_blocking=True) for part in batch.images])
        weights = None
        if self.sets is not None and batch.rows is not None:
            weights = self.sets.weights[torch.from_numpy(batch.rows).to(device)]
        self.optimizer.zero_grad(set_to_none=True)
        features = self.wrapped(images, source=2 * len(batch.matching))
        losses = self.objective(features, batch.matching.to(device), weights, target=batch.rows is not None)
        self._fabric.backward(losses.total)
        self.optimizer.step()
        self._history.append(torch.stack([part.detach().float() for part in losses]))
        self.step += 1
        if len(self._history) - self._checked >= _STEPS_BETWEEN_CHECKS:
            self._check()

    def end_epoch(self) -> None:
        """Algorithm 1, steps 6 to 8, and the epoch's losses."""
        self._check()
        if self.sets is not None:
            source, target = self._embeddings()
            before, sharp = self.sets, self._config.sharpness
            self.sets = refreshed_sets(
                target * sharp**0.5,
                source * sharp**0.5,
                before,
                self._config.refresh,
                references=self._config.references or None,
                decision=self._config.decision,
            )
            # Judged as the new sets will be used: what a checkpoint keeps belongs to the features of this moment.
            # Sharpness goes with them, so that a query is compared as its embedding is.
            self.references = _thinned(reference_features(sharp * target, sharp * source, self.sets))
            self.ended = bool((self.sets.weights - before.weights).abs().max() <= self._config.unchanged)
        contrastive, mmd, entropy, total = torch.stack(self._history).double().mean(dim=0).tolist()
        counts = (0, 0) if self.sets is None else (len(self.sets.inliers), len(self.sets.outliers))
        self.losses.append(EpochLosses(contrastive, mmd, entropy, total, *counts))
        self._history, self._checked = [], 0

    def _embeddings(self) -> tuple[Tensor, Tensor]:
        assert self._source is not None and self._target is not None
        precision, device = self._config.precision, self._fabric.device
        source, target = (
            embed(self.model, store.whole, _EMBED_BATCH, device, precision, domain)
            for domain, store in enumerate((self._source, self._target))
        )
        return source, target

    def _check(self) -> None:
        """Stop where a loss is not finite.

        Raises:
            WorkError: if so.
        """
        if self._checked == len(self._history):
            return
        rows = torch.stack(self._history[self._checked :]).cpu()
        wrong = (~rows.isfinite().all(dim=1)).nonzero()
        if len(wrong):
            step = self.step - len(rows) + int(wrong[0])
            raise self._not_finite(f"the loss is not finite at step {step} ({rows[int(wrong[0])].tolist()})")
        self._checked = len(self._history)

    def _not_finite(self, what: str) -> WorkError:
        kept = f"the checkpoint {self._path} is from before" if self._path.exists() else "no checkpoint yet"
        return WorkError(f"{what}; {kept}. A lower learning_rate usually mends it")

    def log(self) -> None:
        """A line of progress."""
        total = self._steps * self._config.epochs
        rows = "" if not self._history else f"  loss {float(self._history[-1][3]):.4f}"
        if not self._history and self.losses:
            last = self.losses[-1]
            rows = f"  loss {last.total:.4f} = {last.contrastive:.4f} + mmd {last.mmd:.4f} + entropy {last.entropy:.4f}"
            rows += f"  pseudo inliers {last.inliers}, outliers {last.outliers}" if self.sets is not None else ""
        left = math.ceil((total - self.step) * self.seconds / self.step)
        _log.info(
            "epoch %d/%d  step %d/%d%s  (%.3f s/step, %d s left)",
            (self.step - 1) // self._steps + 1, self._config.epochs, self.step, total, rows, self.seconds / self.step,
            0 if self.ended else left,
        )  # fmt: skip

    def write(self) -> None:
        """Write a checkpoint.

        Raises:
            WorkError: if a loss or a weight is not finite, or the file cannot be written; the old one stays.
        """
        self._check()
        # A gradient that is not finite shows in the weights before it shows in a loss.
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.model.parameters()):
            raise self._not_finite(f"a weight is not finite after step {self.step - 1}")
        sets = self.sets
        content = {
            "format": _FORMAT,
            "fingerprint": self._fingerprint,
            "step": self.step,
            "seconds": self.seconds,
            "ended": self.ended,
            "losses": [list(asdict(epoch).values()) for epoch in self.losses],
            "history": torch.stack(self._history).cpu() if self._history else torch.zeros(0, 4),
            "sets": None if sets is None else [sets.inliers.cpu(), sets.outliers.cpu(), sets.weights.cpu()],
            "references": None if self.references is None else [part.cpu() for part in self.references],
            "model": self.model.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_tensors(self._path, content)

    def resume(self) -> None:
        """Take over the checkpoint, if there is one.

        Raises:
            UsageError: if it cannot be read or is of another run.
        """
        if not self._path.exists():
            return
        content = read_tensors(self._path, _FORMAT)
        if content["fingerprint"] != self._fingerprint:
            raise UsageError(
                f"{self._path}: belongs to a run with other settings "
                f"({_differences(content['fingerprint'], self._fingerprint)}); choose another folder or delete it"
            )
        device = self._fabric.device
        self.model.load_state_dict(content["model"])
        self.objective.load_state_dict(content["objective"])
        self.optimizer.load_state_dict(content["optimizer"])
        # A fused step pairs numbers by their place in memory, and weights on another device may have lain in another order.
        for parameter, state in self.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                if name in state:
                    state[name] = torch.empty_like(parameter).copy_(state[name])
        self.step, self.seconds, self.ended = int(content["step"]), float(content["seconds"]), bool(content["ended"])
        self.losses = [EpochLosses(*row) for row in content["losses"]]
        self._history = list(content["history"].to(device))
        self._checked = len(self._history)
        if content["sets"] is not None:
            self.sets = PseudoSets(*(part.to(device) for part in content["sets"]))
        if content["references"] is not None:
            first, second, third = (part.to(device) for part in content["references"])
            self.references = (first, second, third)
        _log.info("continuing from step %d of %s", self.step, self._path)


def _thinned(references: References) -> References:
    """At most so many of each class, evenly spread: eq. 4.7 takes means, which need no more."""
    first, second, third = (part[_spread(len(part)).to(part.device)] for part in references)
    return first, second, third


def _spread(size: int) -> Tensor:
    count = min(_SAVED_REFERENCES, size)
    return torch.arange(count) * size // count


def torch_seed(seed: int, step: int) -> int:
    """Seed of torch's generator for a step, from 1; 0 is for the initial weights."""
    return int(np.random.SeedSequence(seed, spawn_key=(1, step)).generate_state(1, np.uint64)[0] >> 1)


def _differences(before: str, after: str) -> str:
    was, now = json.loads(before), json.loads(after)
    odd = []
    for part, value in now.items():
        old = was.get(part)
        if isinstance(value, dict) and isinstance(old, dict):
            odd += [f"{part}.{key}" for key in sorted(value | old) if value.get(key) != old.get(key)]
        elif value != old:
            odd.append(part)
    return ", ".join(odd) or "another version"
