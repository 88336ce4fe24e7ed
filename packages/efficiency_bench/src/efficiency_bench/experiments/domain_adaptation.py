"""Pretrain a network, fine-tune it on one domain and test it on two others, with any normalisation (thesis table 5.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Literal

from ..records import Metric
from .base import Context, Experiment, Outcome, checking
from .divergence import until_it_diverges
from .image_classification import Recipe, first_images, network_config, prepared, train_config
from .image_classification import Settings as ClassificationSettings
from .image_data import open_split

if TYPE_CHECKING:
    from weight_align.image_sets import ImageSet
    from weight_align.networks import Network
    from weight_align.train_config import TrainConfig
    from weight_align.training_loop import Trained

BEFORE, DOMAINS = "cifar100", "office31_domains"
"""What networks are pretrained on, and the domains, unless a table's row names others."""
NAMES = ("amazon", "dslr", "webcam")
"""The domains in the order of their folds."""


@dataclass(frozen=True)
class Settings(Recipe):
    """The recipe is that of the pretraining. Of the fine-tuning the thesis gives the learning rate alone."""

    backbone: Literal["vgg16", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet50"
    """The network."""
    norm: Literal["none", "bn", "gn", "ln", "in", "wn"] = "none"
    """Normalisation by samples (batch, group, layer, instance) or by weights (weight norm)."""
    align: bool = True
    """Whether filters are aligned."""
    batch_size: int = 64
    """Images per step, in both trainings."""
    tuning_epochs: int = 60
    """Passes over the images of the one domain."""
    tuning_rate: float = 0.001
    """Learning rate of SGD there; it falls as `schedule` says."""
    tuning_images: int = 0
    """Images of the one domain that are trained on, the first of each class; 0 is all."""
    pictured_epochs: int = 0
    """Not of this experiment; 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("batch_size", 1), ("tuning_epochs", 1), ("tuning_images", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if not self.tuning_rate > 0:
            raise ValueError(f"tuning_rate must be positive, got {self.tuning_rate}")
        if self.pictured_epochs:
            raise ValueError(f"pictured_epochs must be 0, no pictures are made here, got {self.pictured_epochs}")


@dataclass(frozen=True)
class Domain:
    """One domain in two parts."""

    name: str
    training: ImageSet
    test: ImageSet
    """Held out: what the thesis tests on."""


def run(settings: Settings, context: Context) -> Outcome:
    """Four trainings, each resumed where `context.folder` holds it: one before, then one on each domain."""
    domains = [open_domain(context, number) for number in range(len(NAMES))]
    before, error, diverged = pretrained(settings, context)
    metrics: dict[str, Metric] = {} if diverged else {"pretrain_error": Metric(error, "%")}
    reasons = {"pretrain_error": diverged} if diverged else {}
    losses: dict[str, list[float]] = {}
    trainings = [diverged]
    for source in domains:
        trained, reason = (None, f"{diverged} (pretraining)") if diverged else tune(settings, source, context, before)
        trainings.append(reason)
        losses[source.name] = [] if trained is None else [round(loss, 6) for loss in trained.losses]
        for target in domains:
            name = f"{source.name[0]}_{target.name[0]}"
            found, reason = (None, reason) if trained is None else score(trained, target, context)
            if found is None:
                reasons |= {name: reason, f"{name}_full": reason}
            else:
                metrics |= {name: Metric(found[0], "%"), f"{name}_full": Metric(found[1], "%")}
    metrics |= averages(metrics, reasons)
    metrics |= {
        "width": Metric(float(settings.width), "channels"),
        "diverged": Metric(sum(map(bool, trainings)) / len(trainings), "1"),
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


def open_domain(context: Context, number: int) -> Domain:
    """A domain by its place in `NAMES`."""
    training, test = (
        open_split(context, DOMAINS, split, fold=number, domain=str(number)) for split in ("train", "test")
    )
    return Domain(NAMES[number], training, test)


def pretrained(settings: Settings, context: Context) -> tuple[str, float, str]:
    """The file of the network before it sees a domain, its error in percent on test images of its own kind, and why there is
    none."""
    from weight_align.evaluation import evaluate
    from weight_align.training import train

    recipe = {field.name: getattr(settings, field.name) for field in fields(Recipe)}
    before = ClassificationSettings(
        **recipe,
        backbone=settings.backbone,
        norm=settings.norm,
        align=settings.align,
        batch_size=settings.batch_size,
    )
    images = prepared(before, *(open_split(context, BEFORE, split) for split in ("train", "test")))
    folder = context.folder / "pretrained"

    def work() -> float:
        network, config = network_config(before, images), train_config(before, images, context.seed)
        trained = train(images.training, network, config, folder, context.device.type)
        return evaluate(
            trained.network, images.test, normalisation=images.normalisation, device=context.device.type
        ).top1_error

    error, diverged = until_it_diverges(work)
    return str(folder / "network.pt"), float("nan") if error is None else error, diverged


def tune(settings: Settings, source: Domain, context: Context, weights: str) -> tuple[Trained[Network] | None, str]:
    """Train on one domain, from the network before, with a classifier of its own."""
    from weight_align.networks import NetworkConfig
    from weight_align.training import train

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
    return until_it_diverges(lambda: train(images, network, config, folder, context.device.type, weights))


def tuning_config(settings: Settings, seed: int) -> TrainConfig:
    """The training on one domain."""
    from weight_align.train_config import TrainConfig

    with checking("settings of the training"):
        return TrainConfig(
            epochs=settings.tuning_epochs,
            batch_size=settings.batch_size,
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
    summary="pretrain a network, fine-tune it on one of three domains and test it on the others",
    settings_type=Settings,
    data=(BEFORE, DOMAINS),
    function=run,
)
