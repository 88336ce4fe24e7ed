"""Train a network with any normalisation, with WeightAlign or without, and evaluate it (thesis chapter 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..records import Metric
from .base import Context, Experiment, Outcome, Start, checking
from .divergence import until_it_diverges
from .image_data import open_split
from .training_pictures import IMAGES, TrainingPictures

if TYPE_CHECKING:
    from weight_align.evaluation import Scores
    from weight_align.image_sets import ImageSet
    from weight_align.networks import Network, NetworkConfig
    from weight_align.normalisation import Normalisation
    from weight_align.train_config import TrainConfig
    from weight_align.training_loop import Trained

DATA = "cifar10"
"""The data set that is read unless a table's row names another."""
FULL_BATCH = 64
"""The batch that `learning_rate` is for; for one image it is `single_learning_rate`."""


@dataclass(frozen=True)
class Recipe:
    """Network and training, what rows that are compared have in common: the thesis's for CIFAR. It gives learning rates for
    batches of 64 and of 1 alone, and no schedule; its plots run to epoch 300."""

    width: int = 64
    """Channels of the first stage."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """How the network begins: for images of 32 pixels, or as torchvision's."""
    images: int = 0
    """Training images, the first of each class; 0 is all."""
    test_images: int = 0
    """Test images, the first of each class; 0 is all."""
    epochs: int = 300
    """Passes over the training images."""
    learning_rate: float = 0.01
    """Of SGD, for a batch of 64; between that and `single_learning_rate` linear in the batch, and on beyond 64."""
    single_learning_rate: float = 0.001
    """Of SGD, for a batch of one image."""
    schedule: Literal["step", "cosine"] = "step"
    """How it falls: to a tenth at each milestone, or half a cosine wave down to zero."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Of `step`: parts of the training after which it divides by ten."""
    warmup_share: float = 0.0
    """Part of the training over which the learning rate rises from zero."""
    weight_decay: float = 0.0005
    """L2 penalty."""
    clip_norm: float = 0.0
    """Gradients are scaled down to this norm; 0 leaves them as they are."""
    padding: int = 4
    """Pixels by which images are padded before a random crop."""
    normalisation: Literal["data", "imagenet"] = "data"
    """Mean and deviation of the colours: of the training images, or ImageNet's."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Arithmetic of the training."""
    compile: bool = False
    """Whether torch.compile compiles the step."""
    graphs: bool = False
    """Whether a step is recorded as a CUDA graph."""
    pictured_epochs: int = 12
    """Epochs, the untrained network among them, at which the error on the test images and the weights and activations of one
    channel are looked at (figures 5.4 to 5.6 and 5.9 to 5.12); 0 for none."""

    def __post_init__(self) -> None:
        for name, least in (("test_images", 0), ("pictured_epochs", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        for name in ("learning_rate", "single_learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.warmup_share < 1:
            raise ValueError(f"warmup_share must be in [0, 1), got {self.warmup_share}")


@dataclass(frozen=True)
class Settings(Recipe):
    """What is compared. The default is the thesis's: a ResNet50 with WeightAlign and no other normalisation."""

    backbone: Literal["vgg16", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet50"
    """The network."""
    norm: Literal["none", "bn", "gn", "ln", "in", "wn"] = "none"
    """Normalisation by samples (batch, group, layer, instance) or by weights (weight norm)."""
    align: bool = True
    """Whether filters are aligned."""
    centre: bool = True
    """WeightAlign's first component, E[w] = 0."""
    variance: bool = True
    """Its second component, Var[w] = 2/n."""
    gain: Literal["thesis", "nf"] = "thesis"
    """The thesis's gain, or the norm-free one, which makes up for what filters of mean zero lose."""
    scale: Literal["filter", "layer", "none"] = "filter"
    """WeightAlign's learnable scale: one for each filter, one for each layer, or none."""
    scale_factor: float = 1.0
    """What sqrt(n/2) in equation 5.10 is multiplied with (figure 5.6)."""
    fixup: bool | None = None
    """Whether ResNets start as Fixup; null is the thesis's rule: where there is no normalisation by samples."""
    start: Literal["scratch", "unaligned"] = "scratch"
    """`unaligned` starts from the same network that was trained on CIFAR-100 without WeightAlign, and fine-tunes it with (5.4.3):
    from a tenth of the learning rate, without warm-up."""
    fine_tuning_share: float = 0.25
    """How many epochs that takes over those of the training before; the thesis does not say."""
    batch_size: int = 64
    """Images per step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.start == "unaligned" and not self.align:
            raise ValueError(
                "start unaligned goes with align true: it is a network with WeightAlign that is fine-tuned"
            )
        if not 0 < self.fine_tuning_share <= 1:
            raise ValueError(f"fine_tuning_share must be in (0, 1], got {self.fine_tuning_share}")


@dataclass(frozen=True)
class Prepared:
    """Images and how they are shown to a network."""

    training: ImageSet
    test: ImageSet
    normalisation: Normalisation
    """Of the colours."""


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split (resuming what `context.folder` holds), evaluate on the test split."""
    images = prepared(settings, *(open_split(context, DATA, split) for split in ("train", "test")))
    if settings.start == "unaligned":
        settings = fine_tuning(settings)
    found = train_and_follow(settings, images, context)
    known = {
        "batch_size": Metric(float(settings.batch_size), "images"),
        "width": Metric(float(settings.width), "channels"),
        "epochs": Metric(float(settings.epochs), "epochs"),
        "train_images": Metric(float(len(images.training)), "images"),
        "test_images": Metric(float(len(images.test)), "images"),
        "learning_rate": Metric(rate_of(settings), "1"),
        "diverged": Metric(float(bool(found.diverged)), "1"),
    }
    return Outcome(
        metrics={**known, **found.metrics},
        protocol={
            "network": asdict(network_config(settings, images)),
            "training": asdict(train_config(settings, images, context.seed)),
            "test": "whole images that lie in memory, the middle of images in files",
            "test_error_by_epoch": "of the network in eval mode, with running statistics where its norm has any",
            "loss_by_epoch": [round(loss, 6) for loss in found.losses],
        },
        artifacts=found.artifacts,
        absent={} if not found.diverged else dict.fromkeys(FOUND, found.diverged),
    )


FOUND = ("top1_error", "top5_error", "train_loss", "train_s_per_epoch", "steps_per_s")
"""Metrics that a training which diverges has no number for."""


@dataclass(frozen=True)
class Found:
    """What a training came to."""

    metrics: Mapping[str, Metric]
    """`FOUND`; empty where it diverged."""
    losses: tuple[float, ...]
    artifacts: Mapping[str, NDArray[Any]]
    diverged: str
    """Where it did: when, and what was not finite any more."""


def train_and_follow(settings: Settings, images: Prepared, context: Context) -> Found:
    """Train, looking at the network on the way, and evaluate."""
    from weight_align.evaluation import evaluate
    from weight_align.training import train

    device = context.device.type

    def judge(network: Network) -> Scores:
        return evaluate(network, images.test, normalisation=images.normalisation, device=device)

    pictures = TrainingPictures(
        shown(images, context.device),
        lambda network: judge(network).top1_error,
        settings.epochs,
        settings.pictured_epochs,
        context.folder / "pictures",
    )

    def work() -> tuple[Trained[Network], Scores]:
        network, recipe = network_config(settings, images), train_config(settings, images, context.seed)
        trained = train(images.training, network, recipe, context.folder, device, context.start, after_epoch=pictures)
        return trained, judge(trained.network)

    if context.start_absent:
        return Found({}, (), {}, f"the network before {context.start_absent}")
    found, diverged = until_it_diverges(work)
    if found is None:
        return Found({}, (), pictures.artifacts(), diverged)
    trained, scores = found
    metrics = {
        "top1_error": Metric(scores.top1_error, "%"),
        "top5_error": Metric(scores.top5_error, "%"),
        "train_loss": Metric(trained.losses[-1], "1"),
        "train_s_per_epoch": Metric(trained.seconds_per_epoch, "s"),
        "steps_per_s": Metric(trained.steps_per_second, "1/s"),
    }
    return Found(metrics, trained.losses, pictures.artifacts(), "")


def prepared(recipe: Recipe, training: ImageSet, test: ImageSet) -> Prepared:
    """As many of the images as the settings ask for, and the colours' mean and deviation."""
    from weight_align.image_sets import ImageTensor
    from weight_align.normalisation import IMAGENET, Normalisation

    training, test = first_images(training, recipe.images), first_images(test, recipe.test_images)
    if recipe.normalisation == "data" and isinstance(training, ImageTensor):
        return Prepared(training, test, Normalisation.of(training.images))
    return Prepared(training, test, IMAGENET)  # with which train itself refuses images in files that ask for their own


def first_images(images: ImageSet, count: int) -> ImageSet:
    """The first of each class, `count` in all; 0 is all images."""
    from weight_align.image_tensor import first_of_each_class

    if not count:
        return images
    return images.chosen(first_of_each_class(images.labels, count, len(images.facts.class_names)))


def shown(images: Prepared, device: torch.device) -> Tensor:
    """A batch of test images, spread evenly over the set, as the network sees them."""
    from weight_align.image_sets import ImageTensor

    test = images.test
    chosen = torch.linspace(0, len(test) - 1, min(IMAGES, len(test))).long()
    if isinstance(test, ImageTensor):
        pixels = test.images[chosen]
    else:
        pixels = torch.stack([test.for_testing(index) for index in chosen.tolist()])
    return images.normalisation.apply(pixels.to(device))


def start_of(settings: Settings) -> Start | None:
    """The training of the same network without WeightAlign, where one is to be fine-tuned with."""
    if settings.start == "scratch":
        return None
    every = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    return Start("image_classification", every | {"align": False, "start": "scratch"}, {DATA: "cifar100"})


def fine_tuning(settings: Settings) -> Settings:
    """The training that follows that: shorter, from a tenth of the learning rate."""
    return replace(
        settings,
        epochs=max(1, round(settings.fine_tuning_share * settings.epochs)),
        learning_rate=settings.learning_rate / 10,
        single_learning_rate=settings.single_learning_rate / 10,
        warmup_share=0.0,
    )


def rate_of(settings: Settings) -> float:
    """The learning rate for the settings' batch."""
    single, full = settings.single_learning_rate, settings.learning_rate
    return single + (full - single) * (settings.batch_size - 1) / (FULL_BATCH - 1)


def network_config(settings: Settings, images: Prepared) -> NetworkConfig:
    """The network of the settings, with a class for each of the images'."""
    from weight_align.networks import NetworkConfig

    with checking("settings of the network"):
        return NetworkConfig(
            classes=len(images.training.facts.class_names),
            backbone=settings.backbone,
            stem=settings.stem,
            width=settings.width,
            norm=settings.norm,
            fixup=settings.fixup,
            align=settings.align,
            centre=settings.centre,
            variance=settings.variance,
            gain=settings.gain,
            scale_factor=settings.scale_factor,
            scale=settings.scale,
        )


def train_config(settings: Settings, images: Prepared, seed: int) -> TrainConfig:
    """The training of the settings."""
    from weight_align.train_config import TrainConfig

    steps = len(images.training) // settings.batch_size * settings.epochs
    with checking("settings of the training"):
        return TrainConfig(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=rate_of(settings),
            weight_decay=settings.weight_decay,
            schedule=settings.schedule,
            milestones=settings.milestones,
            warmup=round(settings.warmup_share * steps),
            clip_norm=settings.clip_norm,
            padding=settings.padding,
            normalisation=settings.normalisation,
            precision=settings.precision,
            compile=settings.compile,
            graphs=settings.graphs,
            seed=seed,
        )


EXPERIMENT = Experiment(
    name="image_classification",
    kind="train",
    summary="train and evaluate a network with any normalisation, with WeightAlign or without",
    settings_type=Settings,
    data=(DATA,),
    function=run,
    start=start_of,
)
