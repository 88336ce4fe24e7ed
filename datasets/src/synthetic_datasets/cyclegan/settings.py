"""What a CycleGAN is made of and how it is trained; without torch, so that ``--help`` needs none."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from ..errors import InputError

SMALLEST = 24
"""Side in pixels below which a discriminator would have nothing left to normalise; generators halve it twice."""
Precision = Literal["32", "bf16"]
_POSITIVE = (
    "size", "load", "epochs", "batch", "ngf", "ndf", "blocks", "checkpoint_every", "sheet_every", "rate",
)  # fmt: skip
_NOT_NEGATIVE = ("seed", "decay_epochs", "epoch_size", "cycle", "identity", "pool", "judge_steps")


@dataclass(frozen=True)
class CycleGANConfig:
    """Recipe of a training; the defaults are the authors' for 256 px, with which 200 epochs take days on one GPU.

    Raises:
        InputError: a value is out of its range.
    """

    seed: Annotated[int, "Seed of weights, order, crops, flips and image pool."] = 0
    size: Annotated[int, "Side of the square pictures the networks see, in pixels; a multiple of 4."] = 256
    load: Annotated[int, "Side to which every picture is scaled before a square of --size is cut out of it."] = 286
    flip: Annotated[bool, "Mirror every other picture, at random."] = True
    epochs: Annotated[int, "Epochs at the full learning rate."] = 100
    decay_epochs: Annotated[int, "Epochs after them, over which the learning rate falls linearly to zero."] = 100
    epoch_size: Annotated[int, "Pictures of each domain in an epoch; 0 takes as many as the larger domain has."] = 0
    batch: Annotated[int, "Pictures of each domain in a step."] = 1
    rate: Annotated[float, "Learning rate of Adam (betas 0.5 and 0.999)."] = 2e-4
    ngf: Annotated[int, "Channels of a generator's first layer."] = 64
    ndf: Annotated[int, "Channels of a discriminator's first layer."] = 64
    blocks: Annotated[int, "Residual blocks of a generator: 9 for 256 px, 6 for 128 px."] = 9
    cycle: Annotated[float, "Weight of the way there and back, against the adversarial loss."] = 10.0
    identity: Annotated[float, "Weight of leaving a picture of the other domain alone, as a part of --cycle."] = 0.5
    pool: Annotated[int, "Translated pictures kept for the discriminators; 0 shows them the latest only."] = 50
    precision: Annotated[Precision, "Numbers in the networks: 32-bit floats, or bfloat16 where autocast allows it."] = (
        "32"
    )
    checkpoint_every: Annotated[int, "Steps between checkpoints; changes no number."] = 200
    sheet_every: Annotated[int, "Steps between sheets of pictures before and after; changes no number."] = 500
    judge_steps: Annotated[
        int, "Steps for which the classifier that judges the result is trained; 0 leaves it out."
    ] = 200

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise InputError(f"{name}: expected more than 0, got {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise InputError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if self.size % 4 or self.size < SMALLEST:
            raise InputError(f"size: expected a multiple of 4 from {SMALLEST} on, got {self.size}")
        if self.load < self.size:
            raise InputError(f"load: {self.load} px do not hold a square of --size {self.size} px")
        if self.precision not in get_args(Precision):
            raise InputError(f"precision: {self.precision!r} is unknown; one of {', '.join(get_args(Precision))}")


CHANGE_NO_NUMBER = ("checkpoint_every", "sheet_every", "judge_steps")
"""Options that may differ when a training is continued."""


def rate_factor(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Part of the learning rate in an epoch, counted from 0: 1, then linearly down, as in the authors' release.

    ``1 - max(0, epoch + 1 - epochs) / (decay_epochs + 1)``: zero would be reached in the epoch after the last.
    """
    return 1 - max(0, epoch + 1 - epochs) / (decay_epochs + 1)


def steps_of_epoch(config: CycleGANConfig, photos: int, paintings: int) -> int:
    """Steps of an epoch for domains of so many pictures; every step takes ``batch`` of each."""
    return max(1, (config.epoch_size or max(photos, paintings)) // config.batch)


def small_for(side: int, steps: int, seed: int) -> CycleGANConfig:
    """The small recipe for pictures of ``side`` px (64 at most) and so many steps, rounded down to a multiple of 8."""
    size = min(64, max(SMALLEST, side // 4 * 4))
    return small(seed=seed, size=size, load=size + size // 8, epochs=5, decay_epochs=3, epoch_size=max(1, steps // 8))


def small(**changes: Any) -> CycleGANConfig:
    """A recipe for 64 px that trains on a CPU within a minute or two; ``changes`` go over it."""
    recipe: dict[str, Any] = {
        "size": 64, "load": 72, "epochs": 4, "decay_epochs": 4, "epoch_size": 100, "ngf": 16, "ndf": 16, "blocks": 3,
        "rate": 1e-3, "checkpoint_every": 100, "sheet_every": 200,
    }  # fmt: skip
    return CycleGANConfig(**(recipe | changes))
