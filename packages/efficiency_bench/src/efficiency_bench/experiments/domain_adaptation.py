"""Fine-tune a pretrained network on one domain and test it on two others, with any normalisation (thesis table 5.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Literal

from ..records import Metric
from .base import Context, Experiment, Outcome, Start, checking
from .divergence import until_it_diverges
from .image_classification import Recipe, first_images
from .image_data import open_split

if TYPE_CHECKING:
    from weight_align.image_sets import ImageSet
    from weight_align.networks import Network
    from weight_align.train_config import TrainConfig
    from weight_align.training_loop import Trained

DATA = "office31_domains"
"""The domains, unless a table's row names others."""
NAMES = ("amazon", "dslr", "webcam")
"""The domains in the order of their folds."""


@dataclass(frozen=True)
class Settings(Recipe):
    """The recipe is that of the training on CIFAR-100 that a run starts from, "obtained from previous experiments": with the
    same recipe, of table 5.1. Of the fine-tuning the thesis gives the learning rate alone."""

    backbone: Literal["vgg16", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet50"
    """The network."""
    norm: Literal["none", "bn", "gn", "ln", "in", "wn"] = "none"
    """Normalisation by samples (batch, group, layer, instance) or by weights (weight norm)."""
    align: bool = True
    """Whether filters are aligned."""
    tuning_epochs: int = 60
    """Passes over the images of the one domain."""
    tuning_batch: int = 64
    """Images per step there."""
    tuning_rate: float = 0.001
    """Learning rate of SGD there; it falls as `schedule` says."""
    tuning_images: int = 0
    """Images of the one domain that are trained on, the first of each class; 0 is all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("tuning_batch", 1), ("tuning_epochs", 1), ("tuning_images", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if not self.tuning_rate > 0:
            raise ValueError(f"tuning_rate must be positive, got {self.tuning_rate}")


@dataclass(frozen=True)
class Domain:
    """One domain in two parts."""

    name: str
    training: ImageSet
    test: ImageSet
    """Held out: what the thesis tests on."""


def run(settings: Settings, context: Context) -> Outcome:
    """Three trainings, one on each domain from the same network, resumed where `context.folder` holds them."""
    domains = [open_domain(context, number) for number in range(len(NAMES))]
    metrics: dict[str, Metric] = {}
    reasons: dict[str, str] = {}
    losses: dict[str, list[float]] = {}
    for source in domains:
        trained, diverged = tune(settings, source, context)
        losses[source.name] = [] if trained is None else [round(loss, 6) for loss in trained.losses]
        for target in domains:
            name = f"{source.name[0]}_{target.name[0]}"
            found, reason = (None, diverged) if trained is None else score(trained, target, context)
            if found is None:
                reasons |= {name: reason, f"{name}_full": reason}
            else:
                metrics |= {name: Metric(found[0], "%"), f"{name}_full": Metric(found[1], "%")}
    metrics |= averages(metrics, reasons)
    metrics |= {
        "width": Metric(float(settings.width), "channels"),
        "epochs": Metric(float(settings.epochs), "epochs"),
        "tuning_epochs": Metric(float(settings.tuning_epochs), "epochs"),
        "diverged": Metric(sum(not found for found in losses.values()) / len(losses), "1"),
    }
    return Outcome(
        metrics,
        protocol={
            "tuning": asdict(tuning_config(settings, context.seed)),
            "accuracy": "of the source's network on the held-out part of the target, `_full`: on the whole target domain",
            "images": {domain.name: [len(domain.training), len(domain.test)] for domain in domains},
            "loss_by_epoch": losses,
        },
        absent=reasons,
    )


def start_of(settings: Settings) -> Start:
    """The training on CIFAR-100."""
    recipe = {field.name: getattr(settings, field.name) for field in fields(Recipe)}
    network = {"backbone": settings.backbone, "norm": settings.norm, "align": settings.align}
    return Start("image_classification", recipe | network, {"cifar10": "cifar100"})


def open_domain(context: Context, number: int) -> Domain:
    """A domain by its place in `NAMES`."""
    training, test = (open_split(context, DATA, split, fold=number, domain=str(number)) for split in ("train", "test"))
    return Domain(NAMES[number], training, test)


def tune(settings: Settings, source: Domain, context: Context) -> tuple[Trained[Network] | None, str]:
    """Train on one domain, with a classifier of its own, from the network that the run starts from; or why that has no end."""
    from weight_align.networks import NetworkConfig
    from weight_align.training import train

    if context.start_absent:
        return None, f"the network before {context.start_absent}"
    with checking("settings of the network"):
        network = NetworkConfig(
            classes=len(source.training.facts.class_names),
            backbone=settings.backbone,
            stem=settings.stem,
            width=settings.width,
            norm=settings.norm,
            align=settings.align,
        )
    config, folder = tuning_config(settings, context.seed), context.folder / source.name
    images = first_images(source.training, settings.tuning_images)
    return until_it_diverges(lambda: train(images, network, config, folder, context.device.type, context.start))


def tuning_config(settings: Settings, seed: int) -> TrainConfig:
    """The training on one domain."""
    from weight_align.train_config import TrainConfig

    with checking("settings of the training"):
        return TrainConfig(
            epochs=settings.tuning_epochs,
            batch_size=settings.tuning_batch,
            learning_rate=settings.tuning_rate,
            weight_decay=settings.weight_decay,
            schedule=settings.schedule,
            milestones=settings.milestones,
            clip_norm=settings.clip_norm,
            padding=settings.padding,
            normalisation=settings.normalisation,
            precision=settings.precision,
            compile=settings.compile,
            graphs=settings.graphs,
            seed=seed,
        )


def score(trained: Trained[Network], target: Domain, context: Context) -> tuple[tuple[float, float] | None, str]:
    """Accuracy in percent on a domain's held-out part, and on all of it."""
    from weight_align.evaluation import evaluate

    def work() -> tuple[float, float]:
        parts = [
            evaluate(trained.network, part, normalisation=trained.normalisation, device=context.device.type)
            for part in (target.test, target.training)
        ]
        wrong = sum(part.top1_error * part.images for part in parts) / sum(part.images for part in parts)
        return 100 - parts[0].top1_error, 100 - wrong

    return until_it_diverges(work)


def averages(metrics: Mapping[str, Metric], reasons: dict[str, str]) -> dict[str, Metric]:
    """Means over the six directions and over the three sources; an average that lacks a part is absent, with its reason."""
    sources = [f"{name[0]}_{name[0]}" for name in NAMES]
    directions = [f"{a[0]}_{b[0]}" for a in NAMES for b in NAMES if a != b]
    wanted = {
        "avg": directions,
        "avg_full": [f"{name}_full" for name in directions],
        "source_accuracy": sources,
    }
    found: dict[str, Metric] = {}
    for name, parts in wanted.items():
        if missing := [part for part in parts if part in reasons]:
            reasons[name] = f"{missing[0]} {reasons[missing[0]]}"
        else:
            found[name] = Metric(sum(metrics[part].value for part in parts) / len(parts), "%")
    return found


EXPERIMENT = Experiment(
    name="domain_adaptation",
    kind="train",
    summary="fine-tune a pretrained network on one of three domains and test it on the others",
    settings_type=Settings,
    data=(DATA,),
    function=run,
    start=start_of,
)
