"""Settings of the training. Needs no torch, so that commands can show them at once."""

from dataclasses import dataclass
from typing import Literal

from efficiency_core.loop import LoopConfig, check_choice, check_least, check_positive


@dataclass(frozen=True)
class TrainConfig(LoopConfig):
    """How a detector is trained; the defaults are the thesis's for ImageNet VID."""

    iterations: int = 120_000
    """Gradient steps."""
    batch_size: int = 4
    """Keyframes per step, of all devices together."""
    learning_rate: float = 1e-3
    """Learning rate of SGD after warm-up."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """L2 penalty."""
    warmup: int = 100
    """Steps over which the learning rate rises linearly from zero."""
    schedule: Literal["step", "cosine"] = "step"
    """Decay of the learning rate: ``step`` divides it by ten once (thesis), ``cosine`` is half a wave down to zero."""
    decay_from: float = 2 / 3
    """Share of the iterations after which ``step`` divides (80k of 120k in the thesis)."""
    clip_norm: float = 10.0
    """Largest norm of the gradients, which are scaled down to it; 0 leaves them as they are."""
    checkpoint_every: int = 100
    """Steps between checkpoints; there is one after the last step too. Changes no number."""
    backbone_weights: str = ""
    """Weights that the backbone starts from: torchvision's, for example IMAGENET1K_V1, or a file with a state of torchvision's
    network, also without classifier (.pt, .safetensors); empty starts from random weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "schedule", ("step", "cosine"))
        check_least(self, 0, "momentum", "weight_decay", "warmup")
        check_least(self, 1, "iterations", "batch_size")
        check_positive(self, "learning_rate")
