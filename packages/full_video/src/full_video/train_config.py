"""Settings of a training. Needs no torch."""

from dataclasses import dataclass
from typing import Literal, get_args

from efficiency_core.loop import LoopConfig, check_choice, check_least, check_positive
from full_video.data.clip_config import ClipConfig
from full_video.networks.config import Memory

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["step", "cosine"]


@dataclass(frozen=True)
class TrainConfig(ClipConfig, LoopConfig):
    """The training. Defaults are TSM's for Something-Something, for batches of 16 instead of 64."""

    batch_size: int = 16
    """Videos per step."""
    memory: Memory = "plain"
    """How the stem of a network with clusters is trained: ``plain`` autograd, ``checkpointed`` chunks of frames, or
    ``streamed``, whose memory does not grow with the video."""
    chunk: int = 4
    """Frames that pass the stem at once if memory is checkpointed or streamed."""
    epochs: int = 50
    """Passes over the videos."""
    optimizer: Optimizer = "sgd"
    """``sgd`` with momentum (TSM and the thesis), or ``adamw``, which trains networks from scratch far sooner."""
    learning_rate: float = 0.0025
    """Learning rate after warm-up."""
    momentum: float = 0.9
    """Momentum of SGD; AdamW has 0.9 and 0.999."""
    weight_decay: float = 5e-4
    """L2 penalty of SGD on every parameter; decoupled decay of AdamW on weights, not on biases and norms."""
    warmup: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    schedule: Schedule = "step"
    """How the learning rate falls: ``step`` to a tenth at each milestone, ``cosine`` along half a wave to zero."""
    milestones: tuple[int, ...] = (20, 40)
    """Epochs after which ``step`` divides by ten."""
    clip_norm: float = 20.0
    """Largest norm of the gradients, which are scaled down to it; 0 leaves them as they are."""
    checkpoint_every: int = 100
    """Steps between checkpoints; there is one after the last step too. Changes no number."""

    def __post_init__(self) -> None:
        ClipConfig.__post_init__(self)
        LoopConfig.__post_init__(self)
        for name, kind in (("memory", Memory), ("schedule", Schedule), ("optimizer", Optimizer)):
            check_choice(self, name, get_args(kind))
        check_positive(self, "learning_rate")
        check_least(self, 0, "momentum", "weight_decay", "warmup")
        check_least(self, 1, "batch_size", "chunk", "epochs")
        if list(self.milestones) != sorted(set(self.milestones)) or any(m < 1 for m in self.milestones):
            raise ValueError(f"milestones must be rising epochs from 1 on, got {self.milestones}")

    @property
    def clips(self) -> ClipConfig:
        """What the network is shown of a video."""
        return ClipConfig(self.sampling, self.augmentation, self.max_frames)
