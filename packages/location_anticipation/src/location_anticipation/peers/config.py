"""Settings of the methods that the thesis's detector is compared with. Needs no torch, so that commands can show them at once."""

from dataclasses import dataclass
from typing import Literal, get_args

from location_anticipation.model.config import DetectorConfig, check_choices, check_least

KeyBoxMethod = Literal["per_frame", "key_boxes_copied", "constant_velocity", "interpolation"]
ClipMethod = Literal["dff", "fgfa", "selsa"]
Method = Literal["anticipation", KeyBoxMethod, ClipMethod]
KEY_BOX_METHODS: tuple[str, ...] = get_args(KeyBoxMethod)
"""Methods that run on any detector of single frames; they differ in the boxes between keyframes."""
CLIP_METHODS: tuple[str, ...] = get_args(ClipMethod)
"""Methods whose network sees several frames and is trained on clips."""


@dataclass(frozen=True)
class PeerConfig:
    """One method, without the detector that it is built on."""

    method: Method = "anticipation"
    """The method: ``anticipation`` is the thesis's own, the others are its peers."""
    keyframe_step: int = 10
    """Frames from one keyframe to the next, of DFF (10 in its paper) and of the methods that work on keyframe boxes.
    ``per_frame``, ``fgfa`` and ``selsa`` run the whole network on every frame."""
    window: int = 10
    """K, the number of frames before and after the current one that FGFA aggregates (10 in its paper) and that SELSA chooses
    its references from. Results of both come K frames late."""
    references: int = 14
    """Largest number of reference frames of SELSA at test, spread evenly over the window."""
    train_references: int = 2
    """Reference frames that FGFA and SELSA draw for each training frame (2 in both papers); DFF draws one keyframe."""
    flow_width: float = 1.0
    """Channels of the FlowNet-S of DFF and FGFA, as a multiple of the paper's."""
    embedding_width: float = 1.0
    """Channels of the embedding of FGFA, as a multiple of the paper's 512, 512 and 2048."""
    attention_heads: int = 16
    """Groups of channels in which SELSA compares proposals (16 in the released code); divides the representation."""
    match_iou: float = 0.1
    """Least IoU of boxes of one class in two keyframes that are taken for one object, in ``constant_velocity`` and
    ``interpolation``. It is low because objects move between keyframes."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_least(self, 1, "keyframe_step", "window", "references", "train_references", "attention_heads")
        for name in ("flow_width", "embedding_width"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.match_iou <= 1:
            raise ValueError(f"match_iou must be 0 to 1, got {self.match_iou}")


def check_peer(peer: PeerConfig, detector: DetectorConfig) -> None:
    """Raise ``ValueError`` unless the method can be built on the detector."""
    if peer.method != "anticipation" and detector.horizon != 0:
        raise ValueError(f"the detector of a peer has no trajectories: horizon must be 0, got {detector.horizon}")
    if peer.method == "selsa" and detector.representation % peer.attention_heads:
        raise ValueError(
            f"attention_heads must divide the detector's representation {detector.representation}, "
            f"got {peer.attention_heads}"
        )
