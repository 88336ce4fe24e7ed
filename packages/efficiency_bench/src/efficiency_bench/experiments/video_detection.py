"""Train a detector on annotated videos under one kind of motion supervision, and evaluate it (thesis chapter 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..records import Metric
from .base import Context, Experiment, Outcome, check_step, checking
from .detection_examples import detection_examples

if TYPE_CHECKING:
    from location_anticipation import DetectorConfig
    from location_anticipation.data import Keyframes
    from location_anticipation.training import TrainConfig
    from location_anticipation.video_scores import Scores
    from location_anticipation.videos import Videos

DATA = "moving_digits"
"""The data set that is read unless a table's row names another."""


@dataclass(frozen=True)
class Recipe:
    """The detector and its training: what methods that are compared have in common.

    What the thesis gives for MovingDigits is the default: ResNet-18, 1,250 iterations. The rest it leaves open.
    """

    iterations: int = 1250
    """Gradient steps."""
    batch_size: int = 4
    """Keyframes per step."""
    learning_rate: float = 0.01
    """Learning rate of SGD after warm-up."""
    schedule: Literal["step", "cosine"] = "cosine"
    """How it falls: divided by ten after two thirds of the iterations (thesis), or half a cosine wave down to zero."""
    box_beta: float = 1.0
    """Where the detector's own smooth L1 box loss turns linear, in box-coder units; 1 as in Fast R-CNN and the release."""
    backbone: str = "resnet18"
    """Feature extractor, a torchvision ResNet with feature pyramid."""
    backbone_weights: str = ""
    """torchvision's weights for it, for example IMAGENET1K_V1 (the thesis starts from ImageNet); empty trains from scratch."""
    min_size: int = 64
    """The shorter side of a frame is resized to this many pixels; 64 is MovingDigits's own size."""
    max_size: int = 64
    """Longest side of a frame in pixels after resizing."""
    channels: int = 128
    """Channels of the feature pyramid."""
    representation: int = 512
    """Width of the FC layers of the box head."""
    rois_per_image: int = 16
    """Proposals sampled per keyframe to train the RoI heads; a frame of MovingDigits holds one digit."""
    proposals: int = 50
    """Proposals per frame that reach the RoI heads in inference; twice as many in training."""
    detections: int = 20
    """Most detections in a frame."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    """Arithmetic of the training."""


@dataclass(frozen=True)
class Anticipation(Recipe):
    """The trajectory head and what trains it; the thesis's H1 and H2 are the default: annotated motion, T = 8."""

    motion: Literal["annotated", "simulated", "linear", "random", "none"] = "annotated"
    """Motion supervision between keyframes."""
    horizon: int = 8
    """T, the steps anticipated; 0 trains the plain detector."""
    train_keyframe_step: int = 1
    """Every so many frames one is a keyframe in training; 1 lets every annotated frame be one."""
    label_step: int = 1
    """Training sees the annotation of every so many frames only; with `linear` or `simulated` motion the boxes in between
    are pseudo boxes (section 2.3.2)."""
    loss: Literal["bag", "sigma", "bag_delta", "traj"] = "traj"
    """Trajectory loss: equations 2.1, 2.2, 2.3, 2.4."""
    space: Literal["image", "coder"] = "image"
    """Offsets in pixels (thesis) or in box-coder units (released code)."""
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


@dataclass(frozen=True)
class Settings(Anticipation):
    """What is trained, and where the detector looks when it is evaluated."""

    keyframe_step: int = 8
    """Evaluation runs the network on every so many frames."""

    def __post_init__(self) -> None:
        check_step("keyframe_step", self.keyframe_step, self.horizon)


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split (resuming what `context.folder` holds), evaluate on the test split."""
    # Imported here: the workflow reads settings of all experiments at every start and needs none of this.
    from location_anticipation.evaluation import evaluate
    from location_anticipation.training import train

    training, test = open_split(context, "train"), open_split(context, "test")
    detector, recipe = detector_config(settings, training), train_config(settings, context.seed)
    data = training_keyframes(settings, training, context.seed)
    weights = settings.backbone_weights or None
    trained = train(data, detector, recipe, context.folder, device=context.device.type, backbone_weights=weights)
    result = evaluate(
        trained.model,
        test,
        keyframe_step=settings.keyframe_step,
        device=context.device,
        flavours=("ilsvrc",),
        steps=True,
        speed=("ilsvrc",),
    )

    metrics = {
        "keyframe_map": Metric(100 * result.keyframe_map, "%"),
        "keyframe_map_50": Metric(100 * result.keyframe_map_50, "%"),
        "train_time_h_per_epoch": train_time(trained.seconds_per_keyframe, training, settings.keyframe_step),
        **score_metrics(result.scores),
    }
    for name in ("trajectory_iou", "no_motion_iou"):
        if math.isfinite(getattr(result, name)):
            metrics[name] = Metric(getattr(result, name), "1")
    metrics |= {f"train_{name}": Metric(value, "1") for name, value in trained.losses.items()}
    protocol = {
        "detector": asdict(detector),
        "training": asdict(recipe),
        "keyframes_in_training": len(data),
        "evaluated": f"keyframes every {settings.keyframe_step} frames, annotated frames only",
        "average_precision": {name: ap.definition for name, ap in result.scores.overall.items()},
        "map_by_step": result.scores.by_step,
        "keyframes": result.keyframes,
        "frames": result.frames,
        "epoch": EPOCH,
    }
    examples = detection_examples(trained.model, test, settings.keyframe_step, context.device)
    return Outcome(metrics, protocol, examples)


EPOCH = "the keyframes of every training video once"


def open_split(context: Context, split: str) -> Videos:
    """The videos of a split, of all its files."""
    from location_anticipation.videos import Concatenated, open_videos

    def opened(file: Path) -> Videos:
        return open_videos(file, context.image_folder(DATA, file))

    parts: Sequence[Videos] = [opened(file) for file in context.files(DATA, split)]
    return parts[0] if len(parts) == 1 else Concatenated(*parts)


def detector_config(recipe: Recipe, videos: Videos) -> DetectorConfig:
    """The detector of a recipe; without the settings of the trajectory head it is the plain one."""
    from location_anticipation import DetectorConfig

    anticipation: dict[str, Any] = {"horizon": 0}
    if isinstance(recipe, Anticipation):
        anticipation = {
            name: getattr(recipe, name)
            for name in (
                "horizon",
                "loss",
                "space",
                "trajectory_weight",
                "trajectory_beta",
                "keyframe",
                "trajectory_features",
                "class_agnostic",
            )
        }
    with checking("settings of the detector"):
        return DetectorConfig(
            num_classes=len(videos.facts.class_names),
            backbone=recipe.backbone,
            channels=recipe.channels,
            representation=recipe.representation,
            min_size=recipe.min_size,
            max_size=recipe.max_size,
            rois_per_image=recipe.rois_per_image,
            proposals_train=2 * recipe.proposals,
            proposals_test=recipe.proposals,
            detections_per_image=recipe.detections,
            box_beta=recipe.box_beta,
            **anticipation,
        )


def training_keyframes(settings: Anticipation, training: Videos, seed: int) -> Keyframes:
    """What the detector is trained on."""
    from location_anticipation.data import Keyframes
    from location_anticipation.videos import Sparse

    with checking("settings of the keyframes"):
        return Keyframes(
            Sparse(training, settings.label_step) if settings.label_step > 1 else training,
            horizon=settings.horizon,
            motion=settings.motion,
            seed=seed,
            keyframe_step=settings.train_keyframe_step,
        )


def train_config(recipe: Recipe, seed: int) -> TrainConfig:
    """The training of a recipe."""
    from location_anticipation.training import TrainConfig

    with checking("settings of the training"):
        return TrainConfig(
            iterations=recipe.iterations,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            schedule=recipe.schedule,
            seed=seed,
            precision=recipe.precision,
        )


def train_time(seconds_per_keyframe: float, training: Videos, keyframe_step: int) -> Metric:
    """Hours for an epoch: the keyframes of every training video once."""
    keyframes = sum(-(-len(training.tracks(video).annotated) // keyframe_step) for video in range(len(training)))
    return Metric(seconds_per_keyframe * keyframes / 3600, "h")


def score_metrics(scores: Scores) -> dict[str, Metric]:
    """mAP of every annotated frame: COCO's and ILSVRC's, the latter also of slow, medium and fast objects."""
    coco = scores.overall["coco"]
    metrics = {
        "video_map": Metric(100 * coco.map, "%"),
        "video_map_50": Metric(100 * coco.map_50, "%"),
        "video_map_75": Metric(100 * coco.map_75, "%"),
        "video_map_ilsvrc": Metric(100 * scores.overall["ilsvrc"].map, "%"),
    }
    if scores.by_speed is not None:
        split = scores.by_speed["ilsvrc"]
        metrics |= {
            f"map_{name}": Metric(100 * value, "%") for name, value in split.map.items() if math.isfinite(value)
        }
    return metrics


EXPERIMENT = Experiment(
    name="video_detection",
    kind="train",
    summary="train and evaluate location anticipation on annotated videos",
    settings_type=Settings,
    data=(DATA,),
    function=run,
)
