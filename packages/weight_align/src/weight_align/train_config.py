"""The recipe of a training, as one value, and the learning rate that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["Recipe", "TrainConfig", "rate_at"]

Schedule = Literal["step", "cosine", "poly"]


@dataclass(frozen=True)
class Recipe:
    """What every training has: SGD, its learning rate over time, and how it is run."""

    epochs: int = 300
    """Passes over the images. An epoch has as many whole batches as the images give; the few images left over are others
    in every epoch."""
    steps: int = 0
    """Steps of the whole training in place of ``epochs``; 0: as many as the epochs have."""
    batch_size: int = 64
    """Images a step."""
    learning_rate: float = 0.01
    """Of SGD, before ``schedule``."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 5e-4
    """L2 penalty of SGD, on all parameters (thesis, section 5.4.2)."""
    schedule: Schedule = "step"
    """``step``: to a tenth at each milestone; ``cosine``: half a wave down to zero; ``poly``: times (1 - t)^power, where t
    is the part of the training that is over."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Of ``step``: the parts of the training after which it divides by ten. The default is epochs 150 and 225 of 300; epochs
    30, 60 and 90 of 100 are [0.3, 0.6, 0.9]."""
    power: float = 0.9
    """Of ``poly``."""
    warmup: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    clip_norm: float = 0.0
    """Gradients are scaled down to this norm; 0: they are left as they are."""
    flip: bool = True
    """Whether images are mirrored, each with probability one half."""
    images: int = 0
    """Images trained on; 0: all. Of labelled images the first of each class, equally many of each."""
    seed: int = 0
    """Of the initial weights, the order of the images, and all that is random about them."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Fabric's precision."""
    compile: bool = False
    """Whether torch.compile compiles network and loss. Takes a minute or more at the start; needs a C++ compiler on the
    CPU."""
    graphs: bool = False
    """Whether the whole step is recorded once as a CUDA graph and replayed, which saves the time the CPU takes to start
    every operation of it: most of a step where batches are small. Needs CUDA."""
    checkpoint_every: int = 500
    """Steps between checkpoints; there is one after the last step too. Changes no number."""
    threads: int = 4
    """Threads that read images which do not lie in memory. Changes no number."""

    def __post_init__(self) -> None:
        choices = {"schedule": ("step", "cosine", "poly"), "precision": ("32-true", "bf16-mixed")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("epochs", "batch_size", "checkpoint_every", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "power"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("steps", "momentum", "weight_decay", "warmup", "clip_norm", "images", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        rising = all(before < after for before, after in zip(self.milestones, self.milestones[1:], strict=False))
        if not rising or any(not 0 < milestone < 1 for milestone in self.milestones):
            raise ValueError(
                f"milestones must be rising parts of the training between 0 and 1, such as [0.5,0.75], got {self.milestones}"
            )


@dataclass(frozen=True)
class TrainConfig(Recipe):
    """Recipe of a classifier. The defaults are the thesis's for CIFAR at a batch of 64; it gives no schedule (its plots run to
    epoch 300), and at a batch of 1 its learning rate is 0.001."""

    padding: int = 4
    """Images in memory are padded by so many black pixels on every side and cut back to their size at a random place."""
    erasing: float = 0.0
    """Probability that a random rectangle of an image in memory is erased (Random Erasing)."""
    normalisation: Literal["data", "imagenet"] = "data"
    """Mean and deviation of the colours: of the images trained on, or ImageNet's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.normalisation not in ("data", "imagenet"):
            raise ValueError(f"normalisation must be one of data, imagenet, got {self.normalisation!r}")
        if self.padding < 0:
            raise ValueError(f"padding must be 0 or more, got {self.padding}")
        if not 0 <= self.erasing <= 1:
            raise ValueError(f"erasing must be a probability, got {self.erasing}")


def rate_at(step: int, total: int, config: Recipe) -> float:
    """Learning rate of a step: linear warm-up times the schedule.

    Args:
        step: from 0.
        total: steps of the training.
        config: the recipe.
    """
    rate = config.learning_rate * min(1.0, (step + 1) / max(config.warmup, 1))
    if config.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / total))
    if config.schedule == "poly":
        return rate * (1 - step / total) ** config.power
    # Milestones of whole epochs come out as whole steps: 0.3 of 100 epochs is 29.999... in binary.
    return rate * 0.1 ** sum(step >= round(milestone * total) for milestone in config.milestones)
