"""The learning rate over the steps of a training."""

import math
from collections.abc import Sequence
from typing import Literal

Schedule = Literal["step", "cosine", "poly"]


def rate_at(
    step: int,
    total: int,
    learning_rate: float,
    *,
    warmup: int = 0,
    schedule: Schedule = "step",
    drops: Sequence[float] = (),
    power: float = 0.9,
) -> float:
    """Learning rate of a step: linear warm-up times the schedule.

    Args:
        step: from 0.
        total: steps of the training.
        learning_rate: after warm-up, before the schedule.
        warmup: steps over which the rate rises linearly from zero.
        schedule: ``step``: divided by ten from each step of ``drops`` on; ``cosine``: half a wave down to zero; ``poly``:
            times (1 - step / total)^power.
        drops, power: of the schedules ``step`` and ``poly``.
    """
    rate = learning_rate * min(1.0, (step + 1) / max(warmup, 1))
    if schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / total))
    if schedule == "poly":
        return rate * (1 - step / total) ** power
    return rate * 0.1 ** sum(step >= drop for drop in drops)
