"""Match images across two domains, with outliers in one of them or without (thesis chapter 4)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..data_files import split_files
from ..drawn import Series
from ..index import load_index, open_fold
from ..records import Metric
from .base import Context, Experiment, Outcome, checking
from .matching_examples import Domains, examples

if TYPE_CHECKING:
    from outlier_matching.evaluation import Describe, Detect, Detected
    from outlier_matching.image_sets import ImageSet, Selection
    from outlier_matching.networks import MatchingNetwork, NetworkConfig
    from outlier_matching.training import TrainConfig, Trained

DATA = "shape"
"""The data set that is read unless a table's row names another."""
SOURCE, TARGET = 0, 1
"""Domains that are matched, in any set."""


@dataclass(frozen=True)
class Settings:
    """The method and its training. The thesis starts from a pretrained AlexNet at 227 pixels, and real data sets bring its
    settings. The defaults are a recipe for a small network from scratch on generated data, chosen on held-out training images
    of Shape and the same for every method; each field says what the thesis or the author's release has in its place."""

    method: Literal["sift_fv", "siamese", "siamese_da", "da_outlier_detection"] = "da_outlier_detection"
    """SIFT with Fisher vectors, contrastive loss alone, with MK-MMD (SiameseDA; with outliers in the target SiameseDAOut), or
    all of equation 4.10."""
    outlier_share: float = 0.0
    """Part of the target images that are outliers, exactly, in training and test; 0 is a target without outliers."""
    front: Literal["none", "isolation_forest", "one_class_svm"] = "none"
    """What takes outliers out of the target before siamese_da is trained, and out of the queries: a detector on the features
    of a Siamese network."""
    backbone: str = "small_dbn"
    """small, small_bn (with batch normalisation, without which it learns little), small_dbn (with its statistics for each
    domain; a network that has not seen the target has the source's for both), alexnet, or a classifier of torchvision by
    name."""
    image_size: int = 64
    """Side of the square the network sees in pixels."""
    embedding: int = 1000
    """Numbers that describe an image: outputs of fc8."""
    width: int = 4096
    """Outputs of fc6 and fc7."""
    dropout: float = 0.0
    """Dropout after them; 0.5 in thesis and release, with which nothing is learned from scratch."""
    weights: str = ""
    """torchvision's weights, for example IMAGENET1K_V1, or a file; empty trains from scratch."""
    start: Literal["pretrained", "random_heads"] = "pretrained"
    """Which of these are taken: all that fit, or those of the layers alone that are not trained (release)."""
    trained: Literal["thesis", "fc", "all"] = "all"
    """Layers that are trained: conv4 to fc8, fc6 to fc8, or all."""
    epochs: int = 40
    """Passes over the source images."""
    steps: int = 0
    """Steps of an epoch; 0 is one pass over the source."""
    warmup_epochs: int = 0
    """The first epochs, with the contrastive loss alone, for networks from scratch; the thesis's has weights and none."""
    align_epochs: int = 0
    """The epochs after these in which da_outlier_detection adapts to every target image alike, as SiameseDAOut does, before
    Algorithm 1 begins; the thesis has none. From scratch, inliers are no nearer to the source than outliers until then."""
    batch: int = 64
    """Pairs of source images of a step, half of them matching, and target images."""
    learning_rate: float = 0.001
    """Of Adam, for all layers but fc8; 0.0001 in the release."""
    head_learning_rate: float = 0.001
    """Of Adam, for fc8."""
    kernels: Literal["thesis", "author"] = "thesis"
    """Of MK-MMD: 17 Gaussians averaged, or 5 summed."""
    estimator: Literal["linear", "circular", "quadratic"] = "quadratic"
    """Of MK-MMD: disjoint neighbours (thesis), in a ring (release), or all pairs. Of 64 images the thesis's has 32 terms; its
    gradient is mostly noise, and larger than that of the contrastive loss."""
    gamma: float = 0.3
    """Weight of MK-MMD; 1 in the release, where weights are pretrained."""
    eta: float = 0.02
    """Weight of the entropy loss; 1.5 in the release, whose probabilities are all near a third."""
    margin: float = 1.0
    """m of the contrastive loss."""
    sharpness: float = 10.0
    """Factor of the inner products in equation 4.7; 1 in thesis and release, where no probability is far from a third."""
    decision: Literal["largest", "majority"] = "majority"
    """When an image is an outlier: its largest probability is the pseudo outliers' (release), or is above one half. Inliers
    are two of the three classes, and the first calls half of them outliers for good."""
    nearest_share: float = 0.02
    """Part of the source images, the nearest, to which Algorithm 1 takes a target image's first distance; 1 in the thesis. In
    features that tell classes apart, the distance to all depends on the class more than on being an outlier."""
    refresh: Literal["thesis", "author"] = "thesis"
    """How the pseudo sets follow from the probabilities after an epoch."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Arithmetic of the training."""
    max_queries: int = 0
    """The most queries of each ranking, drawn evenly; 0 is all."""
    sift_side: int = 128
    """SIFT sees images resized so that their shorter side has this many pixels; 0 as they are, of 64 pixels with few
    keypoints."""
    gaussians: int = 64
    """Of the mixture that Fisher vectors are taken of."""
    descriptor: int = 64
    """Numbers that are left of a SIFT descriptor's 128 by PCA; 0 keeps all."""

    def __post_init__(self) -> None:
        if not 0 <= self.outlier_share < 1:
            raise ValueError(f"outlier_share must be in [0, 1), got {self.outlier_share}")
        if self.front != "none" and (self.method != "siamese_da" or not self.outlier_share):
            raise ValueError(
                f"front {self.front} goes with method siamese_da and an outlier_share above 0, got {self.method} and "
                f"{self.outlier_share}"
            )
        if self.method == "da_outlier_detection" and self.outlier_share > 0.5:
            raise ValueError(
                f"outlier_share must be at most 0.5, the method's assumption (4.4.2), got {self.outlier_share}"
            )


@dataclass(frozen=True)
class Method:
    """A trained method."""

    describe: tuple[Describe, Describe]
    """Images to features: the source's, and the target's."""
    detect: Detect | None
    """Which target images are outliers, from their features; None for a method that does not ask."""
    used: Selection | None
    """Target images it was trained on; None without any."""
    called: Tensor | None
    """bool (n,): which of the target's training images it takes for outliers; None for a method that does not ask."""
    seconds: float
    """Its training took, stops not counted."""
    details: dict[str, Any]
    """For the record's protocol."""


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split (resuming what `context.folder` holds), match and detect on the test split."""
    from outlier_matching.evaluation import EvaluateConfig, labelled, score

    training, test = (open_domains(settings, context, split) for split in ("train", "test"))
    method = METHODS[settings.method if settings.front == "none" else "front"](settings, training, test, context)
    config = EvaluateConfig(max_queries=settings.max_queries, seed=context.seed)
    source, target = (labelled(*part) for part in zip(method.describe, (test.source, test.target), strict=True))
    scores = score(source, target, config, detect=method.detect)
    metrics = {
        "map_ts": scores.map_ts,
        "map_ss": scores.map_ss,
        "map_tt": scores.map_tt,
        "map_ts_inliers": scores.ts_inliers.mean_average_precision,
        "map_ts_charged": float(scores.ts.average_precision.nan_to_num(0.0).mean()),
        "map_ts_author": score(source, target, replace(config, protocol="author"), detect=method.detect).map_ts,
    }
    if scores.outliers is not None:
        found = scores.outliers
        metrics |= {
            "outlier_f1": found.f1,
            "outlier_precision": found.precision,
            "outlier_recall": found.recall,
            "outlier_auc": found.auc,
        }
    if method.called is not None:
        metrics["train_outlier_f1"] = _f1(method.called, torch.from_numpy(training.target.outliers))
    counts = {
        "train_source": len(training.source),
        "train_target": 0 if method.used is None else len(method.used),
        "train_outliers": 0 if method.used is None else int(method.used.outliers.sum()),
        "queries": scores.queries.asked,
        "gallery": len(test.source),
    }
    share = Metric(100 * float(training.target.outliers.mean()), "%")
    curve = scores.ts.curve
    return Outcome(
        metrics={name: Metric(100 * value, "%") for name, value in metrics.items() if math.isfinite(value)}
        | {name: Metric(float(count), "images") for name, count in counts.items()}
        | {"train_outlier_share": share, "train_s": Metric(method.seconds, "s")},
        protocol={
            **method.details,
            "map": "mean average precision over whole rankings by Euclidean distance of L2-normalised features, queries and "
            "gallery of the test split; a query that is in the gallery is left out of it",
            "queries": "of T->S: target images that the method takes for inliers, all where it detects none; map_ts_inliers: "
            "all true inliers; map_ts_charged: an outlier that is asked for counts as 0 (in map_ts it counts nowhere)",
            "map_ts_author": "the released script: 50 matches, precisions at hits summed and divided by 5",
            "precision_recall": "of T->S, interpolated, mean over queries at recalls 0, 0.1, ... 1",
            "counts": asdict(scores.queries),
        },
        artifacts=(
            {} if curve is None else Series.of([("T->S", curve.recall, curve.precision)]).arrays("precision_recall")
        )
        | examples(test, context.seed).arrays("examples"),
    )


def open_domains(settings: Settings, context: Context, split: str) -> Domains:
    """Source and target of a split, the latter with the share of outliers that the settings ask for."""
    from outlier_matching.image_sets import open_images, select
    from outlier_matching.pairs import draw_targets

    (file,) = split_files(context.data[DATA], split)
    if file.suffix == ".h5":
        images: ImageSet = open_images(file, "image-set", split)
    else:
        folder = context.image_folder(DATA, file)
        images = open_fold(load_index(file), file.parent if folder is None else folder, context.seed)
    target = select(images, domain=TARGET)
    drawn = draw_targets(target.outliers, settings.outlier_share, context.seed)
    return Domains(select(images, domain=SOURCE, outliers=False), select(images, indices=target.indices[drawn]))


def with_network(settings: Settings, training: Domains, test: Domains, context: Context) -> Method:
    """One of the three methods that train a network."""
    from outlier_matching.evaluation import detector

    trained = train_network(settings, training, context, context.folder)
    called = None
    if trained.sets is not None:
        called = torch.zeros(len(training.target), dtype=torch.bool)
        called[trained.sets.outliers.cpu()] = True
    return Method(
        describe=describe_with(trained.network, context.device),
        detect=None if trained.references is None else detector(trained.references, decision=settings.decision),
        used=None if settings.method == "siamese" else training.target,
        called=called,
        seconds=training_seconds(trained),
        details=network_details(settings, trained, context.seed),
    )


def behind_a_front(settings: Settings, training: Domains, test: Domains, context: Context) -> Method:
    """SiameseDA on the target images that another detector takes for inliers.

    The detector is fitted to the features that a Siamese network has for the target's training images, without their labels, and
    told how many of them are outliers, which the thesis's method is not; it judges the queries too.
    """
    from outlier_matching.evaluation import Detected
    from outlier_matching.image_sets import select
    from outlier_matching.outlier_detectors import DetectorConfig, OutlierDetector

    siamese = replace(settings, method="siamese", front="none", outlier_share=0.0)
    first = train_network(siamese, training, context, context.folder / "front")
    describe = describe_with(first.network, context.device)[TARGET]
    features = describe(training.target)
    assert settings.front != "none"
    with checking("settings of the front"):
        config = DetectorConfig(settings.front, share=settings.outlier_share, seed=context.seed)
    front = OutlierDetector(features, config)
    called = front.is_outlier(features)
    kept = select(training.target, indices=np.flatnonzero(~called.numpy()))
    trained = train_network(settings, Domains(training.source, kept), context, context.folder / "matching")
    queries = describe(test.target)

    def detect(features: Tensor) -> Detected:
        assert len(features) == len(queries)  # of SiameseDA, which the front does not look at
        return Detected(front.scores(queries), front.is_outlier(queries))

    return Method(
        describe=describe_with(trained.network, context.device),
        detect=detect,
        used=kept,
        called=called,
        seconds=training_seconds(first) + training_seconds(trained),
        details=network_details(settings, trained, context.seed) | {"front": asdict(config)},
    )


def train_network(settings: Settings, training: Domains, context: Context, folder: Path) -> Trained:
    """Train, or go on with what `folder` holds."""
    from outlier_matching.training import train

    network, recipe = network_config(settings), train_config(settings, context.seed)
    target = None if settings.method == "siamese" else training.target
    weights = settings.weights or None
    return train(training.source, target, network, recipe, folder, context.device.type, weights)


def describe_with(network: MatchingNetwork, device: torch.device) -> tuple[Describe, Describe]:
    """Images of the source, and of the target, to L2-normalised fc8."""
    from outlier_matching.embedding import embed

    return (
        lambda images: embed(network, images, device=device, domain=SOURCE).cpu(),
        lambda images: embed(network, images, device=device, domain=TARGET).cpu(),
    )


def with_fisher_vectors(settings: Settings, training: Domains, test: Domains, context: Context) -> Method:
    """SIFT with Fisher vectors, the mixture fitted to the source's training images."""
    from outlier_matching.fisher import FisherConfig
    from outlier_matching.sift import SiftConfig, fit_sift_fisher, sift_fisher_features

    with checking("settings of SIFT and Fisher vectors"):
        fisher = FisherConfig(clusters=settings.gaussians, dimensions=settings.descriptor or None)
        config = SiftConfig(side=settings.sift_side or None, fisher=fisher)

    def pixels(images: ImageSet) -> Iterator[Tensor]:
        return (images.image(at) for at in range(len(images)))

    generator = torch.Generator().manual_seed(context.seed)
    started = time.perf_counter()
    encoder = fit_sift_fisher(pixels(training.source), config, generator)
    seconds = time.perf_counter() - started

    def describe(images: ImageSet) -> Tensor:
        return sift_fisher_features(pixels(images), encoder, config).cpu()

    return Method(
        describe=(describe, describe),
        detect=None,
        used=None,
        called=None,
        seconds=seconds,
        details={"sift": asdict(config), "features": 2 * encoder.mixture.means.numel()},
    )


def network_config(settings: Settings) -> NetworkConfig:
    """The network of the settings."""
    from outlier_matching.networks import NetworkConfig

    with checking("settings of the network"):
        return NetworkConfig(
            backbone=settings.backbone,
            embedding=settings.embedding,
            width=settings.width,
            dropout=settings.dropout,
            trained=settings.trained,
            start=settings.start,
            size=settings.image_size,
        )


def train_config(settings: Settings, seed: int) -> TrainConfig:
    """The training of the settings; the target comes with its outliers drawn."""
    from outlier_matching.training import TrainConfig

    if settings.method == "sift_fv":
        raise ValueError("sift_fv trains no network")
    with checking("settings of the training"):
        return TrainConfig(
            method=settings.method,
            outlier_share=None,
            kernels=settings.kernels,
            estimator=settings.estimator,
            gamma=settings.gamma,
            eta=settings.eta,
            margin=settings.margin,
            sharpness=settings.sharpness,
            decision=settings.decision,
            nearest_share=settings.nearest_share,
            epochs=settings.epochs,
            steps=settings.steps,
            warmup_epochs=settings.warmup_epochs if settings.method != "siamese" else 0,
            align_epochs=settings.align_epochs if settings.method == "da_outlier_detection" else 0,
            batch=settings.batch,
            learning_rate=settings.learning_rate,
            head_learning_rate=settings.head_learning_rate,
            refresh=settings.refresh,
            seed=seed,
            precision=settings.precision,
        )


def training_seconds(trained: Trained) -> float:
    """Wall time of all epochs, those before a stop included."""
    return trained.seconds_per_epoch * len(trained.losses)


def network_details(settings: Settings, trained: Trained, seed: int) -> dict[str, Any]:
    """What the record says of a training."""
    return {
        "network": asdict(network_config(settings)),
        "training": asdict(train_config(settings, seed)),
        "losses": [{name: round(value, 6) for name, value in asdict(epoch).items()} for epoch in trained.losses],
        "s_per_epoch": round(trained.seconds_per_epoch, 3),
    }


def _f1(called: Tensor, truth: Tensor) -> float:
    from outlier_matching.outlier_scores import outlier_scores

    return outlier_scores(called, truth).f1


METHODS = {
    "sift_fv": with_fisher_vectors,
    "siamese": with_network,
    "siamese_da": with_network,
    "da_outlier_detection": with_network,
    "front": behind_a_front,
}
"""How each method is trained."""

EXPERIMENT = Experiment(
    name="image_matching",
    kind="train",
    summary="train and evaluate matching of images across domains, with outliers in the target or without",
    settings_type=Settings,
    data=(DATA,),
    function=run,
)
