"""Settings of a CycleGAN and of its training; without torch, so that ``--help`` needs none."""

from dataclasses import dataclass

from efficiency_core.loop import LoopConfig, check_least, check_positive

SMALLEST = 24
"""Side in pixels below which a discriminator would have nothing left to normalise; generators halve it twice."""
FREE = ("epochs", "sheet_every", "judge_steps")
"""Settings that may differ when a training is continued."""


@dataclass(frozen=True)
class CycleGANConfig(LoopConfig):
    """Recipe of a training; the defaults are the authors' for 256 px, with which 200 epochs take days on one GPU."""

    size: int = 256
    """Side of the square pictures the networks see, in pixels; a multiple of 4."""
    load: int = 286
    """Side to which every picture is scaled before a square of --size is cut out of it."""
    flip: bool = True
    """Mirror every other picture, at random."""
    epochs: int = 100
    """Epochs at the full learning rate."""
    decay_epochs: int = 100
    """Epochs after them, over which the learning rate falls linearly to zero."""
    epoch_size: int = 0
    """Pictures of each domain in an epoch; 0 takes as many as the larger domain has."""
    batch: int = 1
    """Pictures of each domain in a step."""
    rate: float = 2e-4
    """Learning rate of Adam (betas 0.5 and 0.999)."""
    ngf: int = 64
    """Channels of a generator's first layer."""
    ndf: int = 64
    """Channels of a discriminator's first layer."""
    blocks: int = 9
    """Residual blocks of a generator: 9 for 256 px, 6 for 128 px."""
    cycle: float = 10.0
    """Weight of the way there and back, against the adversarial loss."""
    identity: float = 0.5
    """Weight of leaving a picture of the other domain alone, as a part of --cycle."""
    pool: int = 50
    """Translated pictures kept for the discriminators; 0 shows them the latest only."""
    checkpoint_every: int = 200
    """Steps between checkpoints; changes no number."""
    sheet_every: int = 500
    """Steps between sheets of pictures before and after; changes no number."""
    judge_steps: int = 200
    """Steps for which the classifier that judges the result is trained; 0 leaves it out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "size", "load", "epochs", "batch", "ngf", "ndf", "blocks", "sheet_every", "rate")
        check_least(self, 0, "decay_epochs", "epoch_size", "cycle", "identity", "pool", "judge_steps")
        if self.size % 4 or self.size < SMALLEST:
            raise ValueError(f"size must be a multiple of 4 from {SMALLEST} on, got {self.size}")
        if self.load < self.size:
            raise ValueError(f"load must be at least size: {self.load} px do not hold a square of {self.size} px")


def rate_factor(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Part of the learning rate in an epoch, counted from 0: 1, then linearly down, as in the authors' release. ``1 -
    max(0, epoch + 1 - epochs) / (decay_epochs + 1)``: zero would be reached in the epoch after the last."""
    return 1 - max(0, epoch + 1 - epochs) / (decay_epochs + 1)


def steps_of_epoch(config: CycleGANConfig, photos: int, paintings: int) -> int:
    """Steps of an epoch for domains of so many pictures; every step takes ``batch`` of each."""
    return max(1, (config.epoch_size or max(photos, paintings)) // config.batch)


def small_for(side: int, steps: int, seed: int) -> CycleGANConfig:
    """A recipe for pictures of ``side`` px (64 at most) and so many steps, rounded down to a multiple of 8. A training
    of 800 steps at 64 px takes a CPU a minute or two."""
    size = min(64, max(SMALLEST, side // 4 * 4))
    return CycleGANConfig(
        seed=seed, size=size, load=size + size // 8, epochs=5, decay_epochs=3, epoch_size=max(1, steps // 8), ngf=16,
        ndf=16, blocks=3, rate=1e-3, checkpoint_every=100, sheet_every=200,
    )  # fmt: skip
