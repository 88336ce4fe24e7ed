"""Faster R-CNN that anticipates: section 2.3 of the thesis on torchvision's detector."""

from collections.abc import Mapping

from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from location_anticipation.model.backbones import build_backbone, load_backbone_weights
from location_anticipation.model.config import DetectorConfig
from location_anticipation.model.roi_heads import AnticipationRoIHeads
from location_anticipation.model.transform import TrajectoryTransform

_IMAGE_MEAN, _IMAGE_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet, as torchvision's weights expect


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
        if config.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1 to build a detector, got {config.num_classes}")
        sizes = tuple((side,) for side in config.anchor_sizes) if config.fpn else (config.anchor_sizes,)
        anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
        pool = MultiScaleRoIAlign(["0", "1", "2", "3"] if config.fpn else ["0"], output_size=7, sampling_ratio=2)
        super().__init__(
            build_backbone(config),
            box_roi_pool=pool,
            box_head=TwoMLPHead(config.channels * 7 * 7, config.representation),
            box_predictor=FastRCNNPredictor(config.representation, config.num_classes + 1),
            rpn_anchor_generator=anchors,
            rpn_head=_Float32RPNHead(config.channels, anchors.num_anchors_per_location()[0]),
            rpn_pre_nms_top_n_train=config.proposals_train,
            rpn_post_nms_top_n_train=config.proposals_train,
            rpn_pre_nms_top_n_test=config.proposals_test,
            rpn_post_nms_top_n_test=config.proposals_test,
        )
        self.config = config
        self.transform = TrajectoryTransform(config.min_size, config.max_size, _IMAGE_MEAN, _IMAGE_STD)
        self.roi_heads = AnticipationRoIHeads(config, pool, self.roi_heads.box_head, self.roi_heads.box_predictor)

    @property
    def horizon(self) -> int:
        """T, the number of future steps in every trajectory; 0 without a trajectory head."""
        return self.config.horizon


def build_detector(
    config: DetectorConfig, backbone_weights: str | Mapping[str, Tensor] | None = None
) -> AnticipationRCNN:
    """A detector after ``config``, optionally with classification weights in its backbone.

    Args:
        config: shape and rules.
        backbone_weights: name of torchvision weights such as ``"IMAGENET1K_V1"`` (downloaded on first use), or a
            ``state_dict`` of torchvision's network, also without its classifier; random initialisation when None.
    """
    model = AnticipationRCNN(config)
    if backbone_weights is not None:
        load_backbone_weights(model.backbone, config.backbone, backbone_weights)
    return model
