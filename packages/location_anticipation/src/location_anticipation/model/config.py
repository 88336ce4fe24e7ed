"""Settings of the detector. Needs no torch, so that commands can show them at once."""

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

Backbone = Literal[
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
    "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
]  # fmt: skip
Loss = Literal["bag", "sigma", "bag_delta", "traj"]


@dataclass(frozen=True)
class DetectorConfig:
    """Shape and rules of a detector; stored with its weights."""

    num_classes: int = 0
    """Number of object classes without the background; labels are 1 to ``num_classes``. 0: as many as the data has."""
    horizon: int = 8
    """T, the number of future frames that are anticipated; 0 is a plain detector without trajectory head."""
    backbone: Backbone = "resnet101"
    """Feature extractor, a ResNet or MobileNet of torchvision."""
    fpn: bool = True
    """Use a feature pyramid over the four stages of the backbone, instead of the last stage (C5) alone."""
    channels: int = 256
    """Channels of the feature maps that RPN and RoI heads read."""
    norm: Literal["batch", "frozen"] = "batch"
    """Batch normalisation of the backbone: ``batch`` is trained, ``frozen`` keeps the statistics of pretrained weights."""
    trainable_stages: int = 5
    """Stages of the backbone that are trained, counted from the last one (0 to 5)."""
    min_size: int = 600
    """The shorter image side is resized to this many pixels, as far as the longer one stays within ``max_size``."""
    max_size: int = 1000
    """Largest length of the longer image side after resizing, in pixels."""
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Anchor sides in pixels: one per level of the feature pyramid; without a pyramid, all of them at every place."""
    proposals_train: int = 2000
    """Proposals per image that are kept after the RPN's NMS in training."""
    proposals_test: int = 1000
    """Proposals per image that are kept after the RPN's NMS in inference."""
    rois_per_image: int = 512
    """Proposals per image that are sampled to train the RoI heads, at most a quarter of them positive."""
    representation: int = 1024
    """Width of the two FC layers that classify a proposal."""
    trajectory_hidden: int = 1024
    """Width of the middle layer of the trajectory head."""
    trajectory_features: Literal["pooled", "box_head"] = "pooled"
    """Input of the trajectory head: ``pooled``, the feature map of the box's area (thesis), or ``box_head``, the output of the
    FC layers that classify the box, which is shorter and couples the two tasks more closely."""
    class_agnostic: bool = True
    """Predict one trajectory per box (thesis), instead of one per box and class (released code)."""
    loss: Loss = "traj"
    """Trajectory loss: ``bag`` (equation 2.1), ``sigma`` (2.2), ``bag_delta`` (2.3) or ``traj`` (2.4)."""
    space: Literal["image", "coder"] = "image"
    """Unit of trajectory offsets: ``image``, pixels (thesis), or ``coder``, box-coder deltas (released code)."""
    cumulative_end: Literal["every", "random"] = "every"
    """Cumulative loss at ``every`` step l (thesis), or up to one ``random`` l per iteration (released code)."""
    box_beta: float = 1 / 9
    """Where the smooth L1 box loss of the detector turns from square to linear, in box-coder units: 1/9 in torchvision, 1 in
    Fast R-CNN and in the released code."""
    keyframe: Literal["predicted", "detached", "true"] = "predicted"
    """Keyframe box that the trajectory loss measures from: ``predicted`` (equation 2.2), whose gradient also moves the keyframe
    box; ``detached``, the same without that gradient; ``true``, the annotated box."""
    trajectory_beta: float = 1.0
    """Where the smooth L1 of the trajectory loss turns from square to linear, in units of ``space``."""
    trajectory_weight: float = 1.0
    """Factor of the trajectory loss relative to the detector's own losses."""
    score_threshold: float = 0.05
    """Detections with a lower score are dropped before NMS."""
    nms_threshold: float = 0.5
    """Of two boxes of a class with a larger IoU, NMS drops the one with the lower score."""
    detections_per_image: int = 100
    """Largest number of detections in a keyframe."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_cumulative_end(self.loss, self.cumulative_end)
        check_least(self, 0, "num_classes")
        if self.horizon < 0:
            raise ValueError(f"horizon T must be 0 (plain detector) or more, got {self.horizon}")
        if not 0 <= self.trainable_stages <= 5:
            raise ValueError(f"trainable_stages must be 0 to 5, got {self.trainable_stages}")
        check_least(self, 1, "channels", "min_size", "max_size", "proposals_train", "proposals_test", "rois_per_image")
        check_least(self, 1, "representation", "detections_per_image")
        check_least(self, 0, "box_beta", "trajectory_beta")
        if not self.anchor_sizes or min(self.anchor_sizes) < 1:
            raise ValueError(f"anchor_sizes must be sides of at least 1 pixel, got {self.anchor_sizes}")
        if self.fpn and len(self.anchor_sizes) != 5:
            raise ValueError(f"FPN has five levels and needs five anchor sizes, got {self.anchor_sizes}")


def check_cumulative_end(loss: str, cumulative_end: str) -> None:
    """Raise ``ValueError`` unless the loss has the term that ``cumulative_end`` is about."""
    if cumulative_end == "random" and loss not in ("sigma", "traj"):
        raise ValueError(f"cumulative_end 'random' needs a loss with the cumulative term, got loss {loss!r}")


def check_choices(config: Any) -> None:
    """Raise ``ValueError`` unless every field of a dataclass that is annotated as a ``Literal`` is one of its choices."""
    for name, annotation in get_type_hints(type(config)).items():
        if get_origin(annotation) is Literal and getattr(config, name) not in get_args(annotation):
            choices = ", ".join(get_args(annotation))
            raise ValueError(f"{name} must be one of {choices}, got {getattr(config, name)!r}")


def check_least(config: Any, least: float, *names: str) -> None:
    """Raise ``ValueError`` unless every field is ``least`` or more."""
    for name in names:
        if not getattr(config, name) >= least:
            raise ValueError(f"{name} must be {least} or more, got {getattr(config, name)}")
