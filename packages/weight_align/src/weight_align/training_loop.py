"""The loop that every training of this package goes through, and what it leaves."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from tqdm import tqdm

from weight_align.augmentation import generator
from weight_align.learner import Learner, Net
from weight_align.normalisation import Normalisation
from weight_align.training_run import Run

__all__ = ["Trained", "loop", "start_seed"]

_SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True)
class Trained(Generic[Net]):
    """What a finished training leaves."""

    network: Net
    """The trained network, in eval mode."""
    normalisation: Normalisation
    """Of the colours, as the network was trained with."""
    losses: tuple[float, ...]
    """Mean loss of every epoch, in training mode."""
    seconds_per_epoch: float
    """Wall time of a whole epoch, without checkpoints and ``after_epoch``; of all seeds where they are trained together."""
    steps_per_second: float
    """Likewise."""

    @classmethod
    def of(cls, network: Net, normalisation: Normalisation, run: Run, number: int = 0) -> Trained[Net]:
        """What training ``number`` of a run that has ended leaves."""
        per_step = run.seconds / run.total
        losses = tuple(row[number] for row in run.losses)
        return cls(network.eval(), normalisation, losses, per_step * run.epoch_steps, 1 / per_step)


def loop(
    run: Run, learner: Learner[Net], checkpoint_every: int, after_epoch: Callable[[int, list[Net]], None] | None
) -> None:
    """Take a run from its last checkpoint, or its start, to its end.

    Raises:
        UsageError, WorkError: as :func:`train`.
    """
    run.resume()

    def look(epoch: int) -> None:
        if after_epoch is not None:
            after_epoch(epoch, [network.eval() for network in learner.networks()])

    if run.step == 0:
        look(0)
    bar = tqdm(total=run.total, initial=run.step, unit="step", disable=not sys.stderr.isatty(), leave=False)
    said = time.perf_counter()
    with bar:
        while run.step < run.total:
            learner.train_mode()
            started = time.perf_counter()
            for batch in run.batches():
                run.take(batch)
                bar.update()
                if run.ended:
                    run.end_epoch()
                run.seconds += time.perf_counter() - started
                if run.ended:
                    look(len(run.losses))
                if run.step % checkpoint_every == 0 or run.step == run.total:
                    run.write()
                if run.ended or time.perf_counter() - said > _SECONDS_BETWEEN_LINES:
                    said = time.perf_counter()
                    run.log()
                started = time.perf_counter()


def start_seed(seed: int) -> int:
    """Seed of torch's generator for the initial weights."""
    return generator(seed, 1).initial_seed()
