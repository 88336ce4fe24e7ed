"""Settings of the trainings. Needs no torch, so that ``--help`` is fast."""

from dataclasses import dataclass
from typing import Literal

from efficiency_core.loop import LoopConfig, Schedule, check_choice, check_least, check_positive


@dataclass(frozen=True)
class SgdConfig(LoopConfig):
    """Training by SGD, of classifiers and segmentation networks alike."""

    epochs: int = 300
    """Passes over the images. Incomplete batches are dropped; which images these are changes with every epoch."""
    steps: int = 0
    """Length of the training in steps instead of ``epochs``; 0 uses ``epochs``."""
    batch_size: int = 64
    """Images per step."""
    learning_rate: float = 0.01
    """Learning rate of SGD, before ``schedule``."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 5e-4
    """L2 penalty of SGD on all parameters (thesis, section 5.4.2)."""
    schedule: Schedule = "step"
    """Learning rate over time. ``step``: divided by 10 at each milestone; ``cosine``: half a wave down to zero; ``poly``: times
    (1 - t)^power at part t of the training."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Parts of the training at which ``step`` divides the learning rate. The default is epochs 150 and 225 of 300; 0.3 0.6 0.9
    is epochs 30, 60 and 90 of 100."""
    power: float = 0.9
    """Exponent of ``poly``."""
    warmup_share: float = 0.0
    """Part of the training over which the learning rate rises linearly from zero."""
    flip: bool = True
    """Whether images are mirrored, each with probability one half."""
    images: int = 0
    """Number of training images; 0 uses all. Of labelled images it takes the first of each class, the same number of each."""
    compile: bool = False
    """Whether torch.compile compiles network and loss, which takes a minute or more at the start. Needs a C++ compiler on the
    CPU."""
    graphs: bool = False
    """Whether the step is recorded once as a CUDA graph and replayed. This saves the time in which the CPU starts operations,
    which is most of a step for small batches. Needs CUDA."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "schedule", ("step", "cosine", "poly"))
        check_least(self, 1, "epochs", "batch_size")
        check_positive(self, "learning_rate", "power")
        check_least(self, 0, "steps", "momentum", "weight_decay", "images")
        if not 0 <= self.warmup_share < 1:
            raise ValueError(f"warmup_share must be in [0, 1), got {self.warmup_share}")
        rising = all(before < after for before, after in zip(self.milestones, self.milestones[1:], strict=False))
        if not rising or any(not 0 < milestone < 1 for milestone in self.milestones):
            raise ValueError(
                f"milestones must be rising parts of the training between 0 and 1, such as 0.5 0.75, got {self.milestones}"
            )


@dataclass(frozen=True)
class TrainConfig(SgdConfig):
    """Training of a classifier. The defaults are the thesis's for CIFAR at batches of 64. It gives no schedule, but its plots run
    to epoch 300. At batches of one image its learning rate is 0.001."""

    padding: int = 4
    """Pixels of black border around images in memory, which are cut back to their size at a random position."""
    erasing: float = 0.0
    """Probability that a random rectangle of an image in memory is erased (Random Erasing)."""
    normalisation: Literal["data", "imagenet"] = "data"
    """Mean and standard deviation of the colours: those of the training images, or of ImageNet."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "normalisation", ("data", "imagenet"))
        check_least(self, 0, "padding")
        if not 0 <= self.erasing <= 1:
            raise ValueError(f"erasing must be a probability, got {self.erasing}")


@dataclass(frozen=True)
class SegmentationConfig(SgdConfig):
    """Training of DeepLabv3. The defaults are the thesis's (section 5.4.4): 50 epochs at batches of 4, learning rate 0.007 with
    polynomial decay. Crops of 513 pixels and scales from 0.5 to 2 are those of the PyTorch release of DeepLabv3 that uses the
    same words; its weight decay is 1e-4, where the thesis has 5e-4 in all experiments."""

    epochs: int = 50
    """Passes over the pictures. Incomplete batches are dropped; which pictures these are changes with every epoch."""
    batch_size: int = 4
    """Pictures per step."""
    learning_rate: float = 0.007
    """Learning rate of SGD, before ``schedule``."""
    schedule: Schedule = "poly"
    """Learning rate over time. ``step``: divided by 10 at each milestone; ``cosine``: half a wave down to zero; ``poly``: times
    (1 - t)^power at part t of the training."""
    crop: int = 513
    """Height and width of random crops in pixels. Positions outside the picture are grey and ignored."""
    zoom: tuple[float, float] = (0.5, 2.0)
    """Least and largest factor by which pictures are scaled at random."""
    normalisation: Literal["imagenet", "data"] = "imagenet"
    """Mean and standard deviation of the colours: those of ImageNet, or of the training pictures, which must be in memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "normalisation", ("imagenet", "data"))
        check_least(self, 16, "crop")
        if len(self.zoom) != 2 or not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"zoom must be two rising factors above 0, such as 0.5 2.0, got {self.zoom}")
