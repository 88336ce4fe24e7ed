"""What decides the shape and the rules of a method that the thesis's detector is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from location_anticipation.detector import DetectorConfig

__all__ = ["CLIP_METHODS", "KEY_BOX_METHODS", "METHODS", "PeerConfig"]

KEY_BOX_METHODS = ("per_frame", "key_boxes_copied", "constant_velocity", "interpolation")
"""Methods that run on any detector of single frames; they differ in what they do between keyframes."""
CLIP_METHODS = ("dff", "fgfa", "selsa")
"""Methods whose network sees several frames and is trained for it."""
METHODS = KEY_BOX_METHODS + CLIP_METHODS


@dataclass(frozen=True)
class PeerConfig:
    """One method with its detector; it travels with the checkpoints of :data:`CLIP_METHODS`.

    Raises:
        ValueError: for a method or a number that makes no sense.
    """

    method: str
    """One of :data:`METHODS`."""
    detector: DetectorConfig
    """The Faster R-CNN it is built on, with horizon 0: peers do not anticipate."""
    keyframe_step: int = 10
    """Frames from one keyframe to the next, of the key box methods and of DFF (10 in its paper). ``per_frame``, ``fgfa`` and
    ``selsa`` run the whole network on every frame."""
    window: int = 10
    """K: frames before and after the current one that FGFA aggregates (10 in its paper) and that SELSA chooses its
    references from. Results of both come K frames late."""
    references: int = 14
    """Most reference frames of SELSA at test, spread evenly over the window; fewer where there are fewer frames."""
    train_references: int = 2
    """Reference frames that FGFA and SELSA draw for each training frame (2 in both papers); DFF draws one keyframe."""
    flow_width: float = 1.0
    """Channels of FlowNet-S, of DFF and FGFA, as a multiple of the paper's."""
    embedding_width: float = 1.0
    """Channels of FGFA's embedding as a multiple of the paper's 512, 512 and 2048."""
    attention_heads: int = 16
    """Groups of channels in which SELSA compares proposals (16 in the released code); divides the representation."""
    match_iou: float = 0.1
    """IoU that boxes of one class in two keyframes need to be taken for one object, of ``constant_velocity`` and
    ``interpolation``. Low, because things move in between."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {self.method!r}")
        if self.detector.horizon != 0:
            raise ValueError(f"a peer's detector has no trajectories: horizon must be 0, got {self.detector.horizon}")
        for name in ("keyframe_step", "window", "references", "train_references", "attention_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("flow_width", "embedding_width"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.match_iou <= 1:
            raise ValueError(f"match_iou must be 0 to 1, got {self.match_iou}")
        if self.method == "selsa" and self.detector.representation % self.attention_heads:
            raise ValueError(
                f"attention_heads must divide the detector's representation {self.detector.representation}, "
                f"got {self.attention_heads}"
            )
