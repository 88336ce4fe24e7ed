"""Train DeepLabv3 with any normalisation, with WeightAlign or without, and score its masks (thesis section 5.4.4)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from ..records import Metric
from .base import Context, Experiment, Outcome, checking
from .divergence import until_it_diverges
from .image_data import open_split

if TYPE_CHECKING:
    from weight_align.deeplab import DeepLab, HeadConfig
    from weight_align.networks import NetworkConfig
    from weight_align.segmentation import MaskScores
    from weight_align.segmentation_feed import SegmentationConfig
    from weight_align.training_loop import Trained

DATA = "voc2012"
"""The data set that is read unless a table's row names another."""
FOUND = ("miou", "pixel_accuracy", "train_loss", "train_s_per_epoch")
"""Metrics that a training which diverges has no number for."""


@dataclass(frozen=True)
class Settings:
    """The thesis's: output stride 16, multi-grid (1, 1, 1), batches of 4, 50 epochs. It starts from its own networks for
    ImageNet; here from torchvision's where weights are named, with BN, and aligned where WeightAlign is asked for."""

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet50"
    """The network below the head."""
    width: int = 64
    """Channels of its first stage."""
    norm: Literal["none", "bn", "gn", "ln", "in", "wn"] = "bn"
    """Normalisation by samples (batch, group, layer, instance) or by weights (weight norm)."""
    align: bool = True
    """Whether filters are aligned, but those of the classifier of pixels."""
    head_channels: int = 256
    """Channels of the pyramid's branches."""
    weights: str = ""
    """torchvision's weights of the network, for example IMAGENET1K_V1, or a file; empty trains from scratch."""
    images: int = 0
    """Training pictures, the first ones; 0 is all."""
    epochs: int = 50
    """Passes over them."""
    batch_size: int = 4
    """Pictures per step."""
    learning_rate: float = 0.007
    """Of SGD; it falls polynomially to zero."""
    weight_decay: float = 0.0005
    """L2 penalty."""
    crop: int = 513
    """Side of what is cut out of a picture, pixels."""
    least_zoom: float = 0.5
    """Least factor by which pictures are scaled at random."""
    most_zoom: float = 2.0
    """Largest."""
    normalisation: Literal["imagenet", "data"] = "data"
    """Mean and deviation of the colours: ImageNet's, or of the training pictures, which must lie in memory."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Arithmetic of the training."""


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split (resuming what `context.folder` holds), score whole pictures of the test split."""
    from weight_align.segmentation import evaluate_segmentation, train_segmentation

    training, test = (open_split(context, DATA, split, generated="mask-set") for split in ("train", "test"))
    classes = training.facts.class_names
    network, head, recipe = network_config(settings, len(classes)), head_config(settings), config_of(settings, context)
    device = context.device.type

    def work() -> tuple[Trained[DeepLab], MaskScores]:
        weights = settings.weights or None
        trained = train_segmentation(training, network, recipe, context.folder, device, weights, head=head)
        return trained, evaluate_segmentation(trained.network, test, normalisation=trained.normalisation, device=device)

    found, diverged = until_it_diverges(work)
    metrics = {
        "width": Metric(float(settings.width), "channels"),
        "epochs": Metric(float(settings.epochs), "epochs"),
        "train_images": Metric(float(settings.images or len(training)), "images"),
        "test_images": Metric(float(len(test)), "images"),
        "diverged": Metric(float(bool(diverged)), "1"),
    }
    protocol = {
        "network": asdict(network),
        "head": asdict(head),
        "training": asdict(recipe),
        "miou": "of whole pictures at one scale, from one confusion matrix; pixels of class 255 do not count",
    }
    if found is None:
        return Outcome(metrics, protocol, absent=dict.fromkeys(FOUND, diverged))
    trained, scores = found
    metrics |= {
        "miou": Metric(scores.mean_iou, "%"),
        "pixel_accuracy": Metric(scores.pixel_accuracy, "%"),
        "train_loss": Metric(trained.losses[-1], "1"),
        "train_s_per_epoch": Metric(trained.seconds_per_epoch, "s"),
    }
    each = zip(classes, scores.per_class, strict=True)
    by_class = {name: round(iou, 4) for name, iou in each if math.isfinite(iou)}
    losses = [round(loss, 6) for loss in trained.losses]
    return Outcome(metrics, {**protocol, "iou_by_class": by_class, "loss_by_epoch": losses})


def network_config(settings: Settings, classes: int) -> NetworkConfig:
    """The network of the settings; ``classes`` are those of the pixels."""
    from weight_align.networks import NetworkConfig

    with checking("settings of the network"):
        return NetworkConfig(
            classes=classes,
            backbone=settings.backbone,
            stem="imagenet",
            width=settings.width,
            norm=settings.norm,
            align=settings.align,
        )


def head_config(settings: Settings) -> HeadConfig:
    """What follows the network: the thesis's multi-grid, the rates of output stride 16."""
    from weight_align.deeplab import HeadConfig

    with checking("settings of the head"):
        return HeadConfig(channels=settings.head_channels)


def config_of(settings: Settings, context: Context) -> SegmentationConfig:
    """The training of the settings."""
    from weight_align.segmentation_feed import SegmentationConfig

    with checking("settings of the training"):
        return SegmentationConfig(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            images=settings.images,
            crop=settings.crop,
            zoom=(settings.least_zoom, settings.most_zoom),
            normalisation=settings.normalisation,
            precision=settings.precision,
            seed=context.seed,
        )


EXPERIMENT = Experiment(
    name="semantic_segmentation",
    kind="train",
    summary="train and score DeepLabv3 with any normalisation, with WeightAlign or without",
    settings_type=Settings,
    data=(DATA,),
    function=run,
)
