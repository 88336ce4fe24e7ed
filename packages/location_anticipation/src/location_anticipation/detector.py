"""Faster R-CNN that anticipates: section 2.3 of the thesis on torchvision's detector."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from location_anticipation.backbones import BACKBONES, build_backbone, load_backbone_weights
from location_anticipation.criterion import TrajectoryCriterion
from location_anticipation.roi_heads import AnticipationRoIHeads
from location_anticipation.trajectory_head import TrajectoryHead
from location_anticipation.transform import TrajectoryTransform

__all__ = ["AnticipationRCNN", "DetectorConfig", "build_detector"]

_IMAGE_MEAN, _IMAGE_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet, as torchvision's weights expect


@dataclass(frozen=True)
class DetectorConfig:
    """Everything that decides the shape and the rules of a detector; it travels with every checkpoint."""

    num_classes: int
    """Number of object classes, the background not counted; labels are 1..num_classes."""
    horizon: int = 8
    """T: how many future steps are anticipated; 0 is a plain detector without trajectory head."""
    backbone: str = "resnet101"
    """A torchvision ResNet."""
    fpn: bool = True
    """Feature pyramid over the four stages, or the last stage (C5) alone."""
    channels: int = 256
    """Channels of the feature maps that RPN and RoI heads read."""
    norm: str = "batch"
    """``batch`` or ``frozen`` batch normalisation in the backbone."""
    trainable_stages: int = 5
    """Backbone stages that are trained, counted from the last one (0 to 5)."""
    min_size: int = 600
    """The shorter image side is resized to this many pixels, as long as the longer one stays within max_size."""
    max_size: int = 1000
    """Longest image side in pixels after resizing."""
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Anchor sides in pixels: one per pyramid level with FPN, all of them at every place without."""
    proposals_train: int = 2000
    """Proposals kept after RPN NMS in training."""
    proposals_test: int = 1000
    """Proposals kept after RPN NMS in inference."""
    rois_per_image: int = 512
    """Proposals sampled per image to train the RoI heads, a quarter of them positive."""
    representation: int = 1024
    """Width of the two FC layers that classify a proposal."""
    trajectory_hidden: int = 1024
    """Width of the middle layer of the trajectory head."""
    trajectory_features: str = "pooled"
    """What the trajectory head knows of a box: ``pooled``, the feature map of its area (thesis), or ``box_head``, the
    representation the detector classifies it by, which is shorter and cheaper and couples the two tasks more closely."""
    class_agnostic: bool = True
    """One trajectory per box (thesis), or one per box and class (released code)."""
    loss: str = "traj"
    """Trajectory loss: ``bag`` (2.1), ``sigma`` (2.2), ``bag_delta`` (2.3) or ``traj`` (2.4)."""
    space: str = "image"
    """Offset space: ``image`` (thesis) or ``coder`` (released code)."""
    cumulative_end: str = "every"
    """Cumulative loss at ``every`` l (thesis) or up to one ``random`` l per iteration (released code)."""
    box_beta: float = 1 / 9
    """Where the smooth L1 of the detector's own box loss turns from square to linear, in box-coder units: torchvision's
    1/9; Fast R-CNN and the released code of the thesis have 1."""
    keyframe: str = "predicted"
    """Keyframe box the trajectory loss measures from: ``predicted`` (equation 2.2), ``detached`` or ``true`` (see
    :class:`TrajectoryCriterion`)."""
    trajectory_beta: float = 1.0
    """Where the smooth L1 of the trajectory loss turns from square to linear, in pixels of the network's input (``image``)
    or box-coder units (``coder``)."""
    trajectory_weight: float = 1.0
    """Factor of the trajectory loss beside the detector's own losses."""
    score_threshold: float = 0.05
    """Detections below this score are dropped before NMS."""
    nms_threshold: float = 0.5
    """IoU above which the lower-scoring of two boxes of a class is dropped."""
    detections_per_image: int = 100
    """Most detections a keyframe may have."""

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if self.horizon < 0:
            raise ValueError(f"horizon T must be 0 (plain detector) or more, got {self.horizon}")
        if self.backbone not in BACKBONES:
            raise ValueError(f"backbone must be one of {BACKBONES}, got {self.backbone!r}")
        for name in (
            "channels",
            "min_size",
            "max_size",
            "proposals_train",
            "proposals_test",
            "rois_per_image",
            "representation",
            "detections_per_image",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("box_beta", "trajectory_beta"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not self.anchor_sizes or min(self.anchor_sizes) < 1:
            raise ValueError(f"anchor_sizes must be sides of at least 1 pixel, got {self.anchor_sizes}")
        if self.fpn and len(self.anchor_sizes) != 5:
            raise ValueError(f"FPN has five levels and needs five anchor sizes, got {self.anchor_sizes}")
        if self.trajectory_features not in ("pooled", "box_head"):
            raise ValueError(f"trajectory_features must be 'pooled' or 'box_head', got {self.trajectory_features!r}")
        self.criterion()

    def criterion(self) -> TrajectoryCriterion:
        """The trajectory loss this configuration names."""
        return TrajectoryCriterion(
            loss=self.loss,
            space=self.space,
            beta=self.trajectory_beta,
            cumulative_end=self.cumulative_end,
            keyframe=self.keyframe,
        )


class _Float32RPNHead(RPNHead):
    """RPN head whose outputs are float32 under autocast as well.

    torchvision decodes proposals in the type of the deltas; in bfloat16, pixel 600 and pixel 603 are the same.
    """

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        objectness, deltas = super().forward(features)
        return [level.float() for level in objectness], [level.float() for level in deltas]


class AnticipationRCNN(FasterRCNN):
    """Detects objects in keyframes and anticipates each one's boxes over the next ``horizon`` frames.

    In training: ``model(images, targets)`` returns a dict of losses. Each target holds ``boxes`` (N, 4), ``labels``
    (N,) and, unless the horizon is 0, ``trajectories`` (N, T, 4) and ``trajectory_valid`` (N, T) bool, which is False
    at steps where the object is absent or not annotated.

    In inference: ``model(images)`` returns torchvision's list of dicts, ``boxes`` (N, 4), ``labels`` (N,), ``scores``
    (N,), and ``trajectories`` (N, T, 4), the boxes at l = 1..T. Images are float (3, H, W) in [0, 1], of any size; all
    boxes are (x1, y1, x2, y2) in pixels of the image that was given, clipped to it.
    """

    transform: TrajectoryTransform
    roi_heads: AnticipationRoIHeads

    def __init__(self, config: DetectorConfig) -> None:
        backbone = build_backbone(
            config.backbone,
            fpn=config.fpn,
            out_channels=config.channels,
            norm=config.norm,
            trainable_stages=config.trainable_stages,
        )
        sizes = tuple((side,) for side in config.anchor_sizes) if config.fpn else (config.anchor_sizes,)
        box_head = TwoMLPHead(config.channels * 7 * 7, config.representation)
        box_predictor = FastRCNNPredictor(config.representation, config.num_classes + 1)
        pool = MultiScaleRoIAlign(["0", "1", "2", "3"] if config.fpn else ["0"], output_size=7, sampling_ratio=2)
        anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
        super().__init__(
            backbone,
            rpn_anchor_generator=anchors,
            rpn_head=_Float32RPNHead(config.channels, anchors.num_anchors_per_location()[0]),
            rpn_pre_nms_top_n_train=config.proposals_train,
            rpn_post_nms_top_n_train=config.proposals_train,
            rpn_pre_nms_top_n_test=config.proposals_test,
            rpn_post_nms_top_n_test=config.proposals_test,
            box_roi_pool=pool,
            box_head=box_head,
            box_predictor=box_predictor,
        )
        self.config = config
        self.transform = TrajectoryTransform(config.min_size, config.max_size, _IMAGE_MEAN, _IMAGE_STD)
        head = None
        if config.horizon > 0:
            classes = None if config.class_agnostic else config.num_classes
            features = config.channels * 7 * 7 if config.trajectory_features == "pooled" else config.representation
            head = TrajectoryHead(features, config.horizon, config.trajectory_hidden, classes)
        self.roi_heads = AnticipationRoIHeads(
            pool,
            box_head,
            box_predictor,
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=config.rois_per_image,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=config.score_threshold,
            nms_thresh=config.nms_threshold,
            detections_per_img=config.detections_per_image,
            box_beta=config.box_beta,
            trajectory_features=config.trajectory_features,
            trajectory_head=head,
            criterion=config.criterion(),
            trajectory_weight=config.trajectory_weight,
        )

    @property
    def horizon(self) -> int:
        """T, the number of future steps in every trajectory; 0 without a trajectory head."""
        return self.config.horizon


def build_detector(config: DetectorConfig, backbone_weights: str | None = None) -> AnticipationRCNN:
    """A detector after ``config``, optionally with torchvision's classification weights in its backbone.

    Args:
        config: shape and rules.
        backbone_weights: name of torchvision weights such as ``"IMAGENET1K_V1"`` (downloaded on first use); random
            initialisation when None.
    """
    model = AnticipationRCNN(config)
    if backbone_weights is not None:
        load_backbone_weights(model.backbone, config.backbone, backbone_weights)
    return model
