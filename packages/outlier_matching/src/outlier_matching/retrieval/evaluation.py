"""Scores of tables 4.2 and 4.3 and figures 4.4 and 4.5: matching by features, and detection of outliers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from outlier_matching.method.assignment import OUTLIER, class_probabilities, is_outlier
from outlier_matching.method.config import Decision
from outlier_matching.retrieval.evaluate_config import EvaluateConfig
from outlier_matching.retrieval.metrics import AUTHOR, FULL, PrecisionRecall, Retrieval, retrieve
from outlier_matching.retrieval.outlier_scores import OutlierScores, outlier_scores

if TYPE_CHECKING:
    from outlier_matching.data.image_set import ImageSet

_STANDARD = EvaluateConfig()

Describe = Callable[["ImageSet"], Tensor]
"""From images to features (n, d), on the CPU or a GPU. Features of a network are L2-normalised (thesis 4.5.2)."""


@dataclass(frozen=True)
class Detection:
    """Result of an outlier detector on n target images."""

    probability: Tensor
    """(n,): rises with the evidence for an outlier; p_3 of equation 4.7 for the thesis's method."""
    outlier: Tensor
    """bool (n,): whether the detector classifies the image as an outlier."""


Detect = Callable[[Tensor], Detection]
"""From features of target images (n, d) to a detection."""


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of the images of one domain, with labels and outlier marks."""

    features: Tensor
    """(n, d)."""
    labels: Tensor
    """int64 (n,): class, -1 for none."""
    outliers: Tensor
    """bool (n,): whether the image matches no source image."""

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.labels) == len(self.outliers) or self.features.ndim != 2:
            raise ValueError(
                f"expected features (n, d), labels (n,), outliers (n,), got {tuple(self.features.shape)}, "
                f"{tuple(self.labels.shape)}, {tuple(self.outliers.shape)}"
            )


@dataclass(frozen=True)
class QueryCounts:
    """Numbers of target images, and of them as T->S queries."""

    target: int
    outliers: int
    """Target images that are outliers."""
    classified_outliers: int
    """Target images that the detector classifies as outliers; 0 without a detector."""
    asked: int
    """Queries after the selection by ``queries`` and the draw of ``max_queries``."""
    unanswerable: int
    """Queries without a match in the gallery."""


@dataclass(frozen=True)
class MatchingScores:
    """Scores of features on two domains; the MAP of each is its ``mean_average_precision`` (tables 4.2 and 4.3)."""

    ts: Retrieval
    """T->S: target images are queries, source images the gallery (the thesis's task)."""
    ts_inliers: Retrieval
    """T->S with every true inlier as a query. A detector cannot raise this score by dropping difficult queries."""
    ss: Retrieval
    """S->S: the source in itself, without the query."""
    tt: Retrieval
    """T->T: inliers of the target in themselves, without the query."""
    outliers: OutlierScores | None
    """Detection on all target images; None without a detector."""
    queries: QueryCounts


def reference_detector(references: tuple[Tensor, Tensor, Tensor], decision: Decision = "largest") -> Detect:
    """The thesis's detector: equation 4.7 with reference features. ``references``: (K, d) features of the source, the
    pseudo inliers and the pseudo outliers; ``decision``: see :func:`~outlier_matching.method.assignment.is_outlier`. A
    checkpoint holds both."""

    def detect(features: Tensor) -> Detection:
        known = [reference.to(features) for reference in references]
        probabilities = class_probabilities(features, known, chunk=4096)
        return Detection(probabilities[:, OUTLIER], is_outlier(probabilities, decision))

    return detect


def labelled_features(describe: Describe, images: "ImageSet") -> LabelledFeatures:
    """Features of the images of a set with the set's labels and outlier marks. Raises ValueError if ``describe``
    returns features of another shape; FloatingPointError if a feature is not finite."""
    features = describe(images)
    if features.ndim != 2 or len(features) != len(images):
        raise ValueError(f"expected features ({len(images)}, d), got {tuple(features.shape)}")
    wrong = (~features.isfinite().all(dim=1)).nonzero()
    if len(wrong):
        raise FloatingPointError(
            f"{images.name(int(wrong[0]))}: its features are not finite; the network's weights are damaged or its "
            "training failed"
        )
    return LabelledFeatures(features, torch.from_numpy(images.labels), torch.from_numpy(images.outliers))


def score_features(
    source: LabelledFeatures, target: LabelledFeatures, config: EvaluateConfig = _STANDARD, *,
    detect: Detect | None = None,
) -> MatchingScores:  # fmt: skip
    """Score features of any origin: T->S, S->S and T->T matching, and detection of outliers. Raises ValueError if no
    query is left because the detector classifies all target images as outliers.

    Args:
        source: the gallery of T->S.
        target: the queries of T->S, outliers included.
        config: protocol and selection of queries.
        detect: outlier detector on the target's features, see :func:`reference_detector`."""
    detected = None if detect is None else detect(target.features)
    called = torch.zeros(len(target.labels), dtype=torch.bool) if detected is None else detected.outlier.cpu()
    inliers = ~target.outliers
    chosen = {"classified_inliers": ~called, "inliers": inliers, "all": torch.ones_like(inliers)}[config.queries]
    if not chosen.any():
        what = "the detector classifies" if config.queries == "classified_inliers" else "the data set marks"
        raise ValueError(f"no query is left: {what} all {len(called)} target images as outliers")
    ts = _search(target, source, chosen, config)
    ts_inliers = ts if chosen.equal(inliers) else _search(target, source, inliers, config)
    return MatchingScores(
        ts=ts, ts_inliers=ts_inliers, ss=_search(source, source, ~source.outliers, config, itself=True),
        tt=_search(target, target, inliers, config, itself=True),
        outliers=None if detected is None else outlier_scores(called, target.outliers, detected.probability),
        queries=QueryCounts(
            target=len(called), outliers=int(target.outliers.sum()), classified_outliers=int(called.sum()),
            asked=len(ts.relevant), unanswerable=int((ts.relevant == 0).sum()),
        ),
    )  # fmt: skip


def _search(
    queries: LabelledFeatures, gallery: LabelledFeatures, chosen: Tensor, config: EvaluateConfig, itself: bool = False
) -> Retrieval:
    """Score ``chosen`` queries in the gallery; with ``itself`` the gallery is the chosen items of the same set."""
    asked = kept = chosen.nonzero().squeeze(1)
    if 0 < config.max_queries < len(kept):
        order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(config.seed))
        asked = kept[order[: config.max_queries].sort().values]
    features, labels, own = gallery.features, gallery.labels, None
    if itself:
        features, labels = features[kept.to(features.device)], labels[kept]
        own = torch.searchsorted(kept, asked)
    if len(labels) == 0:
        nothing = torch.zeros(0)
        return Retrieval(nothing.double(), nothing.long(), None)
    protocol = AUTHOR if config.protocol == "author" else FULL
    found = retrieve(
        queries.features[asked.to(queries.features.device)], features, queries.labels[asked], labels, exclude=own,
        protocol=protocol, recalls=config.recalls,
    )  # fmt: skip
    if config.unanswerable == "left_out" or protocol.counts_all:
        return found
    answered, curve = found.relevant > 0, found.curve
    if curve is not None:
        curve = PrecisionRecall(curve.recall, curve.precision * answered.double().mean())
    return Retrieval(found.average_precision.masked_fill(~answered, 0.0), found.relevant, curve)
