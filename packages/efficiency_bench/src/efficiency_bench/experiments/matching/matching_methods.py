"""The methods of table 4.1: a trained network, a network behind another outlier detector, and SIFT with Fisher vectors."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from efficiency_bench.experiments.base import Context
from efficiency_bench.experiments.matching.matching_examples import Domains
from efficiency_bench.experiments.matching.matching_settings import Settings
from efficiency_core.errors import checking
from efficiency_core.loop import together
from outlier_matching import (
    Describe,
    Detect,
    Detection,
    DetectorConfig,
    ImageSet,
    MatchingNetwork,
    OutlierDetector,
    Selection,
    TrainConfig,
    Trained,
    embed,
    fit_sift_fisher,
    pixel_batches,
    reference_detector,
    select,
    sift_fisher_features,
    train,
)

SOURCE, TARGET = 0, 1
"""Numbers of the domains."""


@dataclass(frozen=True)
class Method:
    """A trained method."""

    describe: tuple[Describe, Describe]
    """From images to features: the source's, and the target's."""
    detect: Detect | None
    """Outlier detector on features of target images; None for a method that detects none."""
    used: Selection | None
    """Target images of the training; None without any."""
    called: Tensor | None
    """bool (n,): target images of the train split that are classified as outliers; None for a method that detects none."""
    seconds: float
    """Duration of the training without interruptions."""
    details: dict[str, Any]
    """Entries of the record's protocol."""


def with_network(settings: Settings, training: Domains, test: Domains, context: Context) -> Method:
    """One of the three methods that train a network."""
    config = settings.training
    trained = train_network(settings, config, training, context, context.folder)
    called = None
    if trained.sets is not None:
        called = torch.zeros(len(training.target), dtype=torch.bool)
        called[trained.sets.outliers.cpu()] = True
    detect = None if trained.references is None else reference_detector(trained.references, decision=config.decision)
    used = None if config.method == "siamese" else training.target
    seconds, details = training_seconds(trained), network_details(settings, trained, context.seed)
    return Method(describe_with(trained.network, context.device), detect, used, called, seconds, details)


def behind_a_front(settings: Settings, training: Domains, test: Domains, context: Context) -> Method:
    """SiameseDA on the target images that another detector classifies as inliers.

    The detector is fitted to features of the target's training images by a Siamese network, without labels. It is given the
    share of outliers, which the thesis's method does not need. It also classifies the queries.
    """
    assert settings.front != "none"
    siamese = replace(settings.training, method="siamese")
    first = train_network(settings, siamese, training, context, context.folder / "front")
    describe = describe_with(first.network, context.device)[TARGET]
    features = describe(training.target)
    with checking("settings of the front"):
        config = DetectorConfig(settings.front, share=settings.outlier_share, seed=context.seed)
    front = OutlierDetector(features, config)
    called = front.is_outlier(features)
    kept = select(training.target, indices=np.flatnonzero(~called.numpy()))
    inliers = Domains(training.source, kept)
    trained = train_network(settings, settings.training, inliers, context, context.folder / "matching")
    queries = describe(test.target)

    def detect(features: Tensor) -> Detection:
        assert len(features) == len(queries)  # features of SiameseDA, which the front does not use
        return Detection(front.scores(queries), front.is_outlier(queries))

    seconds = training_seconds(first) + training_seconds(trained)
    details = network_details(settings, trained, context.seed) | {"front": asdict(config)}
    return Method(describe_with(trained.network, context.device), detect, kept, called, seconds, details)


def train_network(
    settings: Settings, config: TrainConfig, training: Domains, context: Context, folder: Path
) -> Trained:
    target = None if config.method == "siamese" else training.target
    weights = config.weights.removeprefix("bgr:")
    asked = {"weights_input": "rgb" if weights == config.weights else "bgr"}
    seeded = replace(config, seed=context.seed, weights=weights)
    return together(train, training.source, target, settings.network, seeded, folder, context.device.type, **asked)


def describe_with(network: MatchingNetwork, device: torch.device) -> tuple[Describe, Describe]:
    """From images of the source, and of the target, to L2-normalised fc8."""

    def describe(images: ImageSet, domain: int) -> Tensor:
        return embed(network, pixel_batches(images, network.config.size), device=device, domain=domain).cpu()

    return (lambda images: describe(images, SOURCE)), (lambda images: describe(images, TARGET))


def with_fisher_vectors(settings: Settings, training: Domains, test: Domains, context: Context) -> Method:
    """SIFT with Fisher vectors; the mixture is fitted to the source images of the train split."""

    def pixels(images: ImageSet) -> Iterator[Tensor]:
        return (images.image(at) for at in range(len(images)))

    generator = torch.Generator().manual_seed(context.seed)
    started = time.perf_counter()
    with checking("settings of SIFT and Fisher vectors"):
        encoder = fit_sift_fisher(pixels(training.source), settings.sift, generator)
    seconds = time.perf_counter() - started

    def describe(images: ImageSet) -> Tensor:
        return sift_fisher_features(pixels(images), encoder, settings.sift).cpu()

    details = {"sift": asdict(settings.sift), "features": 2 * encoder.mixture.means.numel()}
    return Method((describe, describe), None, None, None, seconds, details)


def training_seconds(trained: Trained) -> float:
    """Wall time of all epochs, including those before an interruption."""
    return trained.seconds_per_epoch * len(trained.losses)


def network_details(settings: Settings, trained: Trained, seed: int) -> dict[str, Any]:
    return {
        "network": asdict(settings.network),
        "training": asdict(replace(settings.training, seed=seed)),
        "losses": [{name: round(value, 6) for name, value in asdict(epoch).items()} for epoch in trained.losses],
        "s_per_epoch": round(trained.seconds_per_epoch, 3),
    }


METHODS: dict[str, Callable[[Settings, Domains, Domains, Context], Method]] = {
    "sift_fv": with_fisher_vectors,
    "network": with_network,
    "front": behind_a_front,
}
"""From the features, or the word front, to the function that trains the method."""
