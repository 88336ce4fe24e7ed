"""Settings of a trajectory head for any detector. Needs no torch, so that commands can show them at once."""

from dataclasses import dataclass
from typing import Literal

from efficiency_core.loop import LoopConfig, check_choice, check_least, check_positive


@dataclass(frozen=True)
class MotionConfig:
    """What the trajectory head sees and predicts; stored with its weights."""

    horizon: int = 8
    """T, the number of future frames that are anticipated."""
    history: bool = True
    """The head sees how each box moved since the last keyframe, an addition to the thesis. Without it, one keyframe is all."""
    backbone: Literal["none", "mobilenet_v2", "mobilenet_v3_small"] = "none"
    """Network whose features, pooled at each box, the head sees; ``none`` is boxes and scores alone."""
    backbone_size: int = 224
    """The shorter image side is resized to this many pixels for the backbone."""
    pool: int = 2
    """Features are pooled to this many cells a side."""
    hidden: int = 256
    """Width of the middle layer of the head."""
    match_iou: float = 0.1
    """Least IoU of boxes of one class in two keyframes that are taken for one object."""

    def __post_init__(self) -> None:
        check_choice(self, "backbone", ("none", "mobilenet_v2", "mobilenet_v3_small"))
        check_least(self, 1, "horizon", "backbone_size", "pool")
        check_least(self, 3, "hidden")
        if not 0 < self.match_iou <= 1:
            raise ValueError(f"match_iou must be above 0 and at most 1, got {self.match_iou}")


@dataclass(frozen=True)
class AdaptConfig(LoopConfig):
    """How a trajectory head is trained on what a detector finds."""

    iterations: int = 1500
    """Gradient steps."""
    batch_size: int = 64
    """Keyframes per step."""
    learning_rate: float = 2e-3
    """Largest learning rate of AdamW, which rises for a tenth of the steps and falls as a cosine."""
    weight_decay: float = 1e-2
    """Weight decay of AdamW."""
    loss: Literal["iou", "traj"] = "iou"
    """``iou``: 1 - generalised IoU of anticipated boxes; ``traj``: equation 2.4 of the thesis in box-coder units."""
    score: float = 0.3
    """Boxes of the detector below this score are left out."""
    link_iou: float = 0.3
    """Least IoU of boxes of one class in neighbouring frames that are linked to a track."""
    link_gap: int = 3
    """A track goes on if its object is found again within this many frames."""
    flip: bool = True
    """Mirror half of the keyframes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "loss", ("iou", "traj"))
        check_least(self, 1, "iterations", "batch_size", "link_gap")
        check_least(self, 0, "weight_decay", "score", "link_iou")
        check_positive(self, "learning_rate")
