"""Train a detector on MovingDigits under one kind of motion supervision, and evaluate it (thesis 2.4.1, tables 2.1, 2.4)."""

import math
from dataclasses import asdict, dataclass
from typing import Literal

from ..records import Metric
from .base import Context, Experiment, Outcome


@dataclass(frozen=True)
class Settings:
    """What the thesis gives is the default: ResNet-18, T = 8, 1,250 iterations. The rest it leaves open."""

    motion: Literal["annotated", "simulated", "linear", "random", "none"] = "annotated"
    """Motion supervision between keyframes."""
    horizon: int = 8
    """T, the steps anticipated; 0 trains the plain detector."""
    keyframe_step: int = 8
    """Evaluation runs the network on every so many frames."""
    iterations: int = 1250
    """Gradient steps."""
    batch_size: int = 8
    """Keyframes per step."""
    learning_rate: float = 0.02
    """Learning rate of SGD after warm-up."""
    trajectory_weight: float = 0.05
    """Factor of the trajectory loss, which in pixels is an order of magnitude above the detector's own losses."""
    trajectory_beta: float = 4.0
    """Pixels at which the smooth L1 of the trajectory loss turns from square to linear."""
    keyframe: Literal["predicted", "detached", "true"] = "true"
    """Box the trajectory is measured from while training. Equation 2.2 has the predicted one; a detector trained from
    scratch is some pixels off for most of 1,250 iterations, and those errors, counted at every l, would drown the motion."""
    trajectory_features: Literal["pooled", "box_head"] = "pooled"
    """What the trajectory head knows of a box: the feature map of its area (thesis), or the box head's representation."""
    class_agnostic: bool = False
    """One trajectory per box, or one per box and class as in the released code: with 200 digits to learn ten directions
    from, leaving the digit to the classifier is what generalises."""
    box_beta: float = 1.0
    """Where the detector's own smooth L1 box loss turns linear, in box-coder units; 1 as in Fast R-CNN and the release."""
    loss: Literal["bag", "sigma", "bag_delta", "traj"] = "traj"
    """Trajectory loss: equations 2.1, 2.2, 2.3, 2.4."""
    space: Literal["image", "coder"] = "image"
    """Offsets in pixels (thesis) or in box-coder units (released code)."""
    backbone: str = "resnet18"
    """Feature extractor, a torchvision ResNet with feature pyramid."""
    backbone_weights: str = ""
    """torchvision's weights for it, for example IMAGENET1K_V1 (the thesis starts from ImageNet); empty trains from scratch."""
    input_size: int = 64
    """Side in pixels the frames are resized to; 64 is their own."""
    channels: int = 128
    """Channels of the feature pyramid."""
    representation: int = 512
    """Width of the FC layers of the box head."""
    rois_per_image: int = 16
    """Proposals sampled per keyframe to train the RoI heads; a frame holds one digit."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    """Arithmetic of the training."""


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split (resuming what `context.folder` holds), evaluate on the test split."""
    # Imported here: the workflow reads settings of all experiments at every start and needs none of this.
    from location_anticipation import DetectorConfig
    from location_anticipation.data import Keyframes, TrackVideos
    from location_anticipation.evaluation import evaluate
    from location_anticipation.training import TrainConfig, train

    folder = context.data["moving_digits"]
    training, test = TrackVideos(folder / "train.h5"), TrackVideos(folder / "test.h5")
    detector = DetectorConfig(
        num_classes=len(training.facts.class_names),
        horizon=settings.horizon,
        backbone=settings.backbone,
        channels=settings.channels,
        representation=settings.representation,
        min_size=settings.input_size,
        max_size=settings.input_size,
        rois_per_image=settings.rois_per_image,
        proposals_train=100,
        proposals_test=50,
        detections_per_image=20,
        loss=settings.loss,
        space=settings.space,
        trajectory_weight=settings.trajectory_weight,
        trajectory_beta=settings.trajectory_beta,
        keyframe=settings.keyframe,
        trajectory_features=settings.trajectory_features,
        class_agnostic=settings.class_agnostic,
        box_beta=settings.box_beta,
    )
    recipe = TrainConfig(
        iterations=settings.iterations,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=context.seed,
        precision=settings.precision,
    )
    data = Keyframes(training, horizon=settings.horizon, motion=settings.motion, seed=context.seed)
    trained = train(
        data,
        detector,
        recipe,
        context.folder,
        device=context.device.type,
        backbone_weights=settings.backbone_weights or None,
    )
    result = evaluate(trained.model, test, keyframe_step=settings.keyframe_step, device=context.device)

    keyframes_per_epoch = training.facts.videos * math.ceil(training.facts.frames / settings.keyframe_step)
    metrics = {
        "keyframe_map": Metric(100 * result.keyframe_map, "%"),
        "keyframe_map_50": Metric(100 * result.keyframe_map_50, "%"),
        "video_map": Metric(100 * result.video_map, "%"),
        "video_map_50": Metric(100 * result.video_map_50, "%"),
        "train_time_h_per_epoch": Metric(trained.seconds_per_keyframe * keyframes_per_epoch / 3600, "h"),
    }
    for name in ("trajectory_iou", "no_motion_iou"):
        if math.isfinite(getattr(result, name)):
            metrics[name] = Metric(getattr(result, name), "1")
    metrics |= {f"train_{name}": Metric(value, "1") for name, value in trained.losses.items()}
    protocol = {
        "detector": asdict(detector),
        "training": asdict(recipe),
        "keyframes_in_training": "every frame with an object",
        "evaluated": f"keyframes every {settings.keyframe_step} frames, COCO AP .50:.95",
        "keyframes": result.keyframes,
        "frames": result.frames,
        "epoch": "the keyframes of every training video once",
    }
    return Outcome(metrics, protocol)


EXPERIMENT = Experiment(
    name="moving_digits_detection",
    kind="train",
    summary="train and evaluate location anticipation on MovingDigits",
    settings_type=Settings,
    data=("moving_digits",),
    function=run,
)
