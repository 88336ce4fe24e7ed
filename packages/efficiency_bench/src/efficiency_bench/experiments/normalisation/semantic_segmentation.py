"""Train DeepLabv3 with any normalisation, with WeightAlign or without, and score its masks (thesis section 5.4.4)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.normalisation.image_training import check_training, open_split, until_it_diverges
from efficiency_bench.records.run_record import Metric
from weight_align.networks import DEEPLAB_BACKBONE, HeadConfig, NetworkConfig
from weight_align.training import SegmentationConfig

if TYPE_CHECKING:
    from weight_align.networks import DeepLab
    from weight_align.training import SegmentationScores, Trained

DATA = "voc2012"
"""The data set that is read unless a table's row names another."""
FOUND = ("miou", "pixel_accuracy", "train_loss", "train_s_per_epoch")
"""Metrics that are absent when the training diverges."""


@dataclass(frozen=True)
class Settings:
    """The defaults are the thesis's: output stride 16, multi-grid (1, 1, 1), batches of 4, 50 epochs. It starts from its own
    networks for ImageNet; here from torchvision's where `weights` is given, with BN, and aligned with WeightAlign."""

    network: NetworkConfig = DEEPLAB_BACKBONE
    """The ResNet below the head."""
    head: HeadConfig = field(default_factory=HeadConfig)
    training: SegmentationConfig = field(default_factory=SegmentationConfig)
    weights: str = ""
    """torchvision's weights of the ResNet, for example IMAGENET1K_V1, or a file; empty trains from scratch."""

    def __post_init__(self) -> None:
        check_training(self.training)


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split, or continue the training in `context.folder`; score whole pictures of the test split."""
    from weight_align.training import evaluate_segmentation, train_segmentation

    training, test = (open_split(context, DATA, split, generated="mask-set") for split in ("train", "test"))
    classes, device = training.info.class_names, context.device.type
    network, config = replace(settings.network, classes=len(classes)), replace(settings.training, seed=context.seed)

    def work() -> tuple[Trained[DeepLab], SegmentationScores]:
        weights = settings.weights or None
        trained = train_segmentation(training, network, config, context.folder, device, weights, head=settings.head)
        return trained, evaluate_segmentation(trained.network, test, normalisation=trained.normalisation, device=device)

    found, diverged = until_it_diverges(work)
    metrics = {
        "width": Metric(float(network.width), "channels"),
        "epochs": Metric(float(config.epochs), "epochs"),
        "train_images": Metric(float(config.images or len(training)), "images"),
        "test_images": Metric(float(len(test)), "images"),
        "diverged": Metric(float(bool(diverged)), "1"),
    }
    protocol = {
        "network": asdict(network),
        "head": asdict(settings.head),
        "training": asdict(config),
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


EXPERIMENT = Experiment(
    "semantic_segmentation", "train", "train and score DeepLabv3 with any normalisation, with WeightAlign or without",
    Settings, (DATA,), run,
)  # fmt: skip
