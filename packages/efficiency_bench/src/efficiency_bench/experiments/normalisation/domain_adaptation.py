"""Fine-tune a pretrained network on one domain and test it on two others, with any normalisation (thesis table 5.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from efficiency_bench.experiments.base import Context, Experiment, Outcome, Start
from efficiency_bench.experiments.normalisation import image_classification
from efficiency_bench.experiments.normalisation.image_training import check_training, open_split, until_it_diverges
from efficiency_bench.records.run_record import Metric
from efficiency_core.loop import together
from efficiency_core.settings import to_json
from weight_align.training import TrainConfig

if TYPE_CHECKING:
    from weight_align.data import ImageSet
    from weight_align.networks import Network
    from weight_align.training import Trained

DATA = "office31_domains"
"""The domains, unless a table's row names others."""
NAMES = ("amazon", "dslr", "webcam")
"""The domains in the order of their folds."""


@dataclass(frozen=True)
class Settings:
    """The network is trained on CIFAR-100 first, "obtained from previous experiments": as in table 5.1. Of the fine-tuning the
    thesis gives the learning rate alone."""

    pretraining: image_classification.Settings = field(default_factory=image_classification.Settings)
    """The training on CIFAR-100 that a run starts from."""
    tuning: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=60, learning_rate=0.001))
    """The training on one domain."""

    def __post_init__(self) -> None:
        check_training(self.tuning)


class Domain(NamedTuple):
    """One domain: the part for training, and the held-out part, on which the thesis tests."""

    name: str
    training: ImageSet
    test: ImageSet


def run(settings: Settings, context: Context) -> Outcome:
    """Three trainings, one on each domain, from the same network; they continue those in `context.folder`."""
    domains = [
        Domain(name, *(open_split(context, DATA, split, fold=at, domain=str(at)) for split in ("train", "test")))
        for at, name in enumerate(NAMES)
    ]
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
        "width": Metric(float(settings.pretraining.network.width), "channels"),
        "epochs": Metric(float(settings.pretraining.training.epochs), "epochs"),
        "tuning_epochs": Metric(float(settings.tuning.epochs), "epochs"),
        "diverged": Metric(sum(not found for found in losses.values()) / len(losses), "1"),
    }
    protocol = {
        "tuning": asdict(replace(settings.tuning, images=0, seed=context.seed)),
        "accuracy": "of the source's network on the held-out part of the target, `_full`: on the whole target domain",
        "images": {domain.name: [len(domain.training), len(domain.test)] for domain in domains},
        "loss_by_epoch": losses,
    }
    return Outcome(metrics, protocol, absent=reasons)


def start_of(settings: Settings) -> Start:
    """The training on CIFAR-100."""
    return Start("image_classification", to_json(settings.pretraining), {image_classification.DATA: "cifar100"})


def tune(settings: Settings, source: Domain, context: Context) -> tuple[Trained[Network] | None, str]:
    """Train on one domain with a new classifier, from the network of the start; or None and why the training diverged."""
    from weight_align.data import first_images
    from weight_align.training import train

    if context.start_absent:
        return None, f"the network before {context.start_absent}"
    config = replace(settings.tuning, images=0, seed=context.seed)
    network, folder = settings.pretraining.network, context.folder / source.name
    images = first_images(source.training, settings.tuning.images)
    return until_it_diverges(
        lambda: together(train, images, network, config, folder, context.device.type, context.start)
    )


def score(trained: Trained[Network], target: Domain, context: Context) -> tuple[tuple[float, float] | None, str]:
    """Accuracy in percent on the held-out part of a domain, and on the whole domain."""
    from weight_align.training import evaluate

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
    wanted = {"avg": directions, "avg_full": [f"{name}_full" for name in directions], "source_accuracy": sources}
    found: dict[str, Metric] = {}
    for name, parts in wanted.items():
        if missing := [part for part in parts if part in reasons]:
            reasons[name] = f"{missing[0]} {reasons[missing[0]]}"
        else:
            found[name] = Metric(sum(metrics[part].value for part in parts) / len(parts), "%")
    return found


EXPERIMENT = Experiment(
    "domain_adaptation", "train", "fine-tune a pretrained network on one of three domains and test it on the others",
    Settings, (DATA,), run, start_of,
)  # fmt: skip
