"""Tables 4.2 and 4.3, figures 4.4 and 4.5: what features are worth for matching, and how well outliers are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from outlier_matching.assignment import OUTLIER, Decision, class_probabilities, is_outlier
from outlier_matching.errors import UsageError, WorkError
from outlier_matching.image_sets import ImageSet
from outlier_matching.outlier_scores import OutlierScores, outlier_scores
from outlier_matching.retrieval import AUTHOR, FULL, Protocol
from outlier_matching.retrieval_scores import PrecisionRecall, Retrieval, retrieve

__all__ = [
    "PROTOCOLS",
    "Describe",
    "Detect",
    "Detected",
    "EvaluateConfig",
    "Labelled",
    "Queries",
    "Scores",
    "detector",
    "evaluate",
    "labelled",
    "score",
]

PROTOCOLS: dict[str, Protocol] = {"full": FULL, "author": AUTHOR}
"""Rankings by name: ``full`` is MAP over the whole ranking, ``author`` the released script's 50 matches over 5."""

Describe = Callable[[ImageSet], Tensor]
"""Images to features (n, d), on the CPU or a GPU; a network's are L2-normalised (thesis 4.5.2)."""


@dataclass(frozen=True)
class Detected:
    """What a detector says about target images."""

    probability: Tensor
    """(n,): grows with how much of an outlier an image is; equation 4.7's p_3 for the method of the thesis."""
    outlier: Tensor
    """bool (n,): its decision."""


Detect = Callable[[Tensor], Detected]
"""Features of target images (n, d) to what a detector says about them."""


@dataclass(frozen=True)
class EvaluateConfig:
    """How features are scored."""

    protocol: Literal["full", "author"] = "full"
    """``full``: mean average precision over whole rankings. ``author``: the released script's (top 50, divided by 5)."""
    queries: Literal["classified_inliers", "inliers", "all"] = "classified_inliers"
    """Target images that are queries of T->S: those the detector takes for inliers (thesis 4.5.5; all where there is no
    detector), the true inliers, or all."""
    unanswerable: Literal["left_out", "zero"] = "left_out"
    """A query without a match in the gallery, as an outlier is, counts nowhere, as MAP is defined, or as precision 0, which
    charges a method with the outliers it lets through. Under the author's protocol it is 0, as in the script."""
    recalls: Literal["eleven", "all"] = "eleven"
    """Where the precision-recall curve is computed: at 0, 0.1, ... 1, or at every recall some query reaches."""
    max_queries: int = 0
    """The most queries of each of the three rankings, drawn evenly; 0 is all. Detection is scored on all images."""
    seed: int = 0
    """Of that draw."""

    def __post_init__(self) -> None:
        choices = {
            "protocol": tuple(PROTOCOLS),
            "queries": ("classified_inliers", "inliers", "all"),
            "unanswerable": ("left_out", "zero"),
            "recalls": ("eleven", "all"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.max_queries < 0:
            raise ValueError(f"max_queries must be 0 or more, got {self.max_queries}")


@dataclass(frozen=True)
class Labelled:
    """Features of the images of one domain, and what is known of them."""

    features: Tensor
    """(n, d)."""
    labels: Tensor
    """int64 (n,): class, -1 for none."""
    outliers: Tensor
    """bool (n,): whether it belongs to nothing the source shows."""

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.labels) == len(self.outliers) or self.features.ndim != 2:
            raise ValueError(
                f"expected features (n, d), labels (n,), outliers (n,), got {tuple(self.features.shape)}, "
                f"{tuple(self.labels.shape)}, {tuple(self.outliers.shape)}"
            )


@dataclass(frozen=True)
class Queries:
    """What became of the target images as queries of T->S."""

    target: int
    """Target images."""
    outliers: int
    """True outliers among them."""
    classified_outliers: int
    """Images the detector takes for outliers; 0 without a detector."""
    asked: int
    """Queries: after the choice of ``queries`` and the draw of ``max_queries``."""
    unanswerable: int
    """Queries without a match in the gallery."""


@dataclass(frozen=True)
class Scores:
    """Figures of one way to describe images on one pair of domains; MAP in [0, 1] under the full protocol."""

    ts: Retrieval
    """T->S: target images look for source images (the thesis's task)."""
    ts_inliers: Retrieval
    """T->S with every true inlier as a query: what a detector cannot raise by dropping queries that are hard."""
    ss: Retrieval
    """S->S: source in source, without the query itself."""
    tt: Retrieval
    """T->T: inliers of the target among themselves, without the query itself."""
    outliers: OutlierScores | None
    """Detection on all target images; None without a detector."""
    queries: Queries
    """Counts of T->S."""

    @property
    def map_ts(self) -> float:
        """MAP of T->S, tables 4.2 and 4.3."""
        return self.ts.mean_average_precision

    @property
    def map_ss(self) -> float:
        """MAP of S->S, table 4.2."""
        return self.ss.mean_average_precision

    @property
    def map_tt(self) -> float:
        """MAP of T->T, table 4.2."""
        return self.tt.mean_average_precision


def detector(references: tuple[Tensor, Tensor, Tensor], chunk: int = 4096, decision: Decision = "largest") -> Detect:
    """The thesis's detector: equation 4.7 against reference features.

    Args:
        references: (K, d) of the source, the pseudo inliers and the pseudo outliers, as a checkpoint keeps them.
        chunk: images whose products with all references are held at once.
        decision: see :func:`~outlier_matching.assignment.is_outlier`; a checkpoint's references go with its own.
    """

    def detect(features: Tensor) -> Detected:
        known = [reference.to(features) for reference in references]
        probabilities = class_probabilities(features, known, chunk)
        return Detected(probabilities[:, OUTLIER], is_outlier(probabilities, decision))

    return detect


def labelled(describe: Describe, images: ImageSet) -> Labelled:
    """Describe the images of a set.

    Raises:
        UsageError: if the set is empty.
        WorkError: if a feature is not finite.
    """
    if len(images) == 0:
        raise UsageError(f"{images.facts.name} has no images to evaluate on")
    features = describe(images)
    if features.ndim != 2 or len(features) != len(images):
        raise ValueError(f"expected features ({len(images)}, d), got {tuple(features.shape)}")
    wrong = (~features.isfinite().all(dim=1)).nonzero()
    if len(wrong):
        raise WorkError(
            f"{images.name(int(wrong[0]))}: its features are not finite; the network's weights are damaged or its "
            "training failed"
        )
    return Labelled(features, torch.from_numpy(images.labels), torch.from_numpy(images.outliers))


def evaluate(
    describe: Describe,
    source: ImageSet,
    target: ImageSet,
    config: EvaluateConfig | None = None,
    *,
    detect: Detect | None = None,
) -> Scores:
    """Score a way to describe images: T->S, S->S and T->T matching, and the detection of outliers.

    A network is ``lambda images: embed(network, images)``; Fisher vectors or anything else will do as well.

    Args:
        describe: images to features.
        source: images of the source domain: the gallery.
        target: images of the target domain: the queries, outliers among them.
        config: what is counted.
        detect: outlier detector on the target's features, see :func:`detector`.

    Raises:
        UsageError: if a set is empty.
        WorkError: if a feature is not finite, or no query is left.
    """
    return score(labelled(describe, source), labelled(describe, target), config, detect=detect)


def score(
    source: Labelled, target: Labelled, config: EvaluateConfig | None = None, *, detect: Detect | None = None
) -> Scores:
    """:func:`evaluate` on features.

    Raises:
        WorkError: if no query is left: the detector takes every target image for an outlier.
    """
    config = EvaluateConfig() if config is None else config
    detected = None if detect is None else detect(target.features)
    called = torch.zeros(len(target.labels), dtype=torch.bool) if detected is None else detected.outlier.cpu()
    inliers = ~target.outliers
    chosen = {"classified_inliers": ~called, "inliers": inliers, "all": torch.ones_like(inliers)}[config.queries]
    if not chosen.any():
        raise WorkError(
            f"no query is left: the detector takes all {len(called)} target images for outliers"
            if config.queries == "classified_inliers"
            else f"no query is left: all {len(called)} target images are outliers"
        )
    ts = _search(target, source, chosen, config)
    same = bool((chosen == inliers).all())
    ts_inliers = ts if same else _search(target, source, inliers, config)
    return Scores(
        ts=ts,
        ts_inliers=ts_inliers,
        ss=_search(source, source, ~source.outliers, config, itself=True),
        tt=_search(target, target, inliers, config, itself=True),
        outliers=None if detected is None else outlier_scores(called, target.outliers, detected.probability),
        queries=Queries(
            target=len(called),
            outliers=int(target.outliers.sum()),
            classified_outliers=int(called.sum()),
            asked=len(ts.relevant),
            unanswerable=int((ts.relevant == 0).sum()),
        ),
    )


def _search(
    queries: Labelled, gallery: Labelled, chosen: Tensor, config: EvaluateConfig, itself: bool = False
) -> Retrieval:
    """Score ``chosen`` queries in the gallery; with ``itself`` queries and gallery are one set, of inliers alone."""
    asked = _drawn(chosen.nonzero().squeeze(1), config)
    own = None
    features, labels = gallery.features, gallery.labels
    if itself:
        kept = chosen.nonzero().squeeze(1)
        features, labels = features[kept.to(features.device)], labels[kept]
        own = torch.searchsorted(kept, asked)
    if len(labels) == 0:
        nothing = torch.zeros(0)
        return Retrieval(nothing.double(), nothing.long(), None)
    found = retrieve(
        queries.features[asked.to(queries.features.device)],
        features,
        queries.labels[asked],
        labels,
        exclude=own,
        protocol=PROTOCOLS[config.protocol],
        recalls=config.recalls,
    )
    if config.unanswerable == "left_out" or PROTOCOLS[config.protocol].counts_all:
        return found
    answered = found.relevant > 0
    curve = found.curve
    if curve is not None:
        curve = PrecisionRecall(curve.recall, curve.precision * answered.double().mean())
    return Retrieval(found.average_precision.masked_fill(~answered, 0.0), found.relevant, curve)


def _drawn(candidates: Tensor, config: EvaluateConfig) -> Tensor:
    if config.max_queries == 0 or len(candidates) <= config.max_queries:
        return candidates
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(candidates), generator=generator)[: config.max_queries]
    return candidates[order.sort().values]
