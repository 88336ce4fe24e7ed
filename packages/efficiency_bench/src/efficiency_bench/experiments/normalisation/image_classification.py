"""Train a network with any normalisation, with WeightAlign or without, and evaluate it (thesis chapter 5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from efficiency_bench.experiments.base import ADDED, Context, Experiment, Outcome, Start
from efficiency_bench.experiments.normalisation.image_training import check_training, open_split, until_it_diverges
from efficiency_bench.experiments.normalisation.rate_search import RateSearch, best_factor
from efficiency_bench.records.run_record import Metric
from efficiency_core.loop import check_least, check_positive
from efficiency_core.settings import to_json
from weight_align.networks import NetworkConfig
from weight_align.training import TrainConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from weight_align.data import ImageSet
    from weight_align.networks import Network
    from weight_align.training import ErrorRates, Normalisation, Trained

DATA = "cifar10"
"""The data set that is read unless a table's row names another."""
FULL_BATCH = 64
"""The batch size that `training.learning_rate` is for."""
FOUND = ("top1_error", "top5_error", "train_loss", "train_s_per_epoch", "steps_per_s")
"""Metrics that are absent when the training diverges."""
PICTURED = ("filter_asymmetry", "channel_mean_spread")
"""Those of them that only runs with pictures have (`training_pictures.middle_numbers`)."""


@dataclass(frozen=True)
class Settings:
    """The defaults are the thesis's for CIFAR. It gives learning rates for batches of 64 and of 1 alone."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    """The training; `learning_rate` is for batches of 64."""
    single_learning_rate: float = 0.001
    """Learning rate for batches of one image. Between 1 and 64 images, and above, it is linear in the batch size."""
    test_images: int = 0
    """Number of test images, the first of each class; 0 is all."""
    pictured_epochs: int = 12
    """Number of epochs, with the untrained network, at which the error on the test images and the weights and activations of one
    channel are recorded (figures 5.4 to 5.6 and 5.9 to 5.12); 0 for none."""
    start: Literal["scratch", "unaligned"] = "scratch"
    """`unaligned` starts from the same network trained on CIFAR-100 without WeightAlign, and fine-tunes it with WeightAlign
    (5.4.3), from a tenth of the learning rate and without warm-up."""
    fine_tuning_share: float = 0.25
    """Epochs of the fine-tuning divided by those of the training before; the thesis does not give them."""
    weights: str = field(default="", metadata=ADDED)
    """Weights that the training starts from: a file, or torchvision's name (`weight_align.checkpoint.start_weights`). Empty:
    random ones, or those of `start`."""
    search: RateSearch = field(default=RateSearch(), metadata=ADDED)
    """Search of the learning rate on held-out training images; by default there is none."""

    def __post_init__(self) -> None:
        check_training(self.training)
        check_least(self, 0, "test_images", "pictured_epochs")
        check_positive(self, "single_learning_rate")
        if self.start == "unaligned" and not self.network.align:
            raise ValueError("start unaligned needs network.align true: the network is fine-tuned with WeightAlign")
        if self.start == "unaligned" and self.weights:
            raise ValueError("start unaligned has weights of its own: leave weights empty")
        if not 0 < self.fine_tuning_share <= 1:
            raise ValueError(f"fine_tuning_share must be in (0, 1], got {self.fine_tuning_share}")


class Prepared(NamedTuple):
    """Images and the normalisation of their colours."""

    training: ImageSet
    test: ImageSet
    normalisation: Normalisation


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split, or continue the training in `context.folder`, and evaluate on the test split."""
    from efficiency_bench.experiments.normalisation.training_pictures import TrainingPictures, middle_numbers
    from weight_align.training import evaluate, train

    images = prepared(settings, *(open_split(context, DATA, split) for split in ("train", "test")))
    if settings.start == "unaligned":
        settings = fine_tuning(settings)
    network = replace(settings.network, classes=len(images.training.info.class_names))
    # The images are chosen already.
    training = replace(settings.training, learning_rate=rate_of(settings), images=0, seed=context.seed)
    begin = context.start or settings.weights or None
    before = f"the network before {context.start_absent}" if context.start_absent else ""
    factor = 1.0
    searched: dict[str, Any] = {}
    if settings.search.factors and not before:
        factor, searched = best_factor(
            settings.search, images.training, images.normalisation, network, training, begin, context
        )
        training = replace(training, learning_rate=factor * training.learning_rate)
    device, epochs, count = context.device.type, training.epochs, settings.pictured_epochs

    def judge(model: Network) -> ErrorRates:
        return evaluate(model, images.test, normalisation=images.normalisation, device=device)

    inputs, folder = shown(images, context.device), context.folder / "pictures"
    pictures = TrainingPictures(inputs, lambda model: judge(model).top1_error, epochs, count, folder)

    def work() -> tuple[Trained[Network], ErrorRates]:
        trained = train(images.training, network, training, context.folder, device, begin, after_epoch=pictures)
        return trained, judge(trained.network)

    found, diverged = (None, before) if before else until_it_diverges(work)
    metrics = {
        "batch_size": Metric(float(training.batch_size), "images"),
        "width": Metric(float(network.width), "channels"),
        "epochs": Metric(float(training.epochs), "epochs"),
        "train_images": Metric(float(len(images.training)), "images"),
        "test_images": Metric(float(len(images.test)), "images"),
        "learning_rate": Metric(training.learning_rate, "1"),
        "diverged": Metric(float(bool(diverged)), "1"),
    }
    losses: tuple[float, ...] = ()
    if found is not None:
        trained, rates = found
        losses = trained.losses
        metrics |= {
            "top1_error": Metric(rates.top1_error, "%"),
            "top5_error": Metric(rates.top5_error, "%"),
            "train_loss": Metric(losses[-1], "1"),
            "train_s_per_epoch": Metric(trained.seconds_per_epoch, "s"),
            "steps_per_s": Metric(trained.steps_per_second, "1/s"),
        }
        if pictures.epochs:
            metrics |= middle_numbers(trained.network, inputs)
    protocol = {
        "network": asdict(network),
        "training": asdict(training),
        "test": "whole images that lie in memory, the middle of images in files",
        "test_error_by_epoch": "of the network in eval mode, with running statistics where its norm has any",
        "loss_by_epoch": [round(loss, 6) for loss in losses],
        **searched,
    }
    absent = (*FOUND, *(PICTURED if pictures.epochs else ()))
    return Outcome(metrics, protocol, pictures.artifacts(), dict.fromkeys(absent, diverged) if diverged else {})


def prepared(settings: Settings, training: ImageSet, test: ImageSet) -> Prepared:
    """The images that the settings ask for, and the normalisation of their colours."""
    from weight_align.data import ImageTensor, first_images
    from weight_align.training import IMAGENET, Normalisation

    training, test = first_images(training, settings.training.images), first_images(test, settings.test_images)
    if settings.training.normalisation == "data" and isinstance(training, ImageTensor):
        return Prepared(training, test, Normalisation.of(training.images))
    return Prepared(training, test, IMAGENET)  # `train` refuses `data` for images in files


def shown(images: Prepared, device: torch.device) -> Tensor:
    """A batch of test images, spread evenly over the data set, as inputs of the network."""
    import torch

    from efficiency_bench.experiments.normalisation.training_pictures import IMAGES
    from weight_align.data import ImageTensor

    test = images.test
    chosen = torch.linspace(0, len(test) - 1, min(IMAGES, len(test))).long()
    if isinstance(test, ImageTensor):
        pixels = test.images[chosen]
    else:
        pixels = torch.stack([test.for_testing(index) for index in chosen.tolist()])
    return images.normalisation.apply(pixels.to(device))


def start_of(settings: Settings) -> Start | None:
    """The training of the same network without WeightAlign that a fine-tuning starts from."""
    if settings.start == "scratch":
        return None
    before = replace(
        settings,
        start="scratch",
        network=replace(settings.network, align=False),
        fine_tuning_share=Settings.fine_tuning_share,
    )
    return Start("image_classification", to_json(before), {DATA: "cifar100"})


def fine_tuning(settings: Settings) -> Settings:
    """The settings of the fine-tuning: fewer epochs, from a tenth of the learning rate."""
    before = settings.training
    epochs = max(1, round(settings.fine_tuning_share * before.epochs))
    training = replace(before, epochs=epochs, learning_rate=before.learning_rate / 10, warmup_share=0.0)
    return replace(settings, training=training, single_learning_rate=settings.single_learning_rate / 10)


def rate_of(settings: Settings) -> float:
    """The learning rate for the batch size of the settings."""
    single, full = settings.single_learning_rate, settings.training.learning_rate
    return single + (full - single) * (settings.training.batch_size - 1) / (FULL_BATCH - 1)


EXPERIMENT = Experiment(
    "image_classification", "train", "train and evaluate a network with any normalisation, with WeightAlign or without",
    Settings, (DATA,), run, start_of,
)  # fmt: skip
