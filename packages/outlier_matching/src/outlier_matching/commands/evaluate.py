"""``outlier-matching evaluate``."""

import json
import math
from dataclasses import asdict
from typing import Any

from efficiency_core.errors import UsageError, WorkError
from efficiency_core.files import atomic_path
from outlier_matching.checkpoint import load_network
from outlier_matching.commands.domains import open_domains
from outlier_matching.commands.options import EvaluateOptions
from outlier_matching.data.image_set import Selection
from outlier_matching.data.pixels import pixel_batches
from outlier_matching.networks.network import embed
from outlier_matching.retrieval.evaluation import (
    LabelledFeatures,
    MatchingScores,
    labelled_features,
    reference_detector,
    score_features,
)


def run(options: EvaluateOptions, device: str) -> None:
    """Evaluate; prints the scores and writes them to ``options.out``."""
    saved = load_network(options.checkpoint)
    source, target = open_domains(options)
    if target is None:
        raise UsageError(f"{options.data}: has one domain; matching across domains needs a target")
    detect = None if saved.references is None else reference_detector(saved.references, decision=saved.decision)

    def described(images: Selection, domain: int) -> LabelledFeatures:
        batches = pixel_batches(images, saved.network.config.size)
        return labelled_features(lambda _: embed(saved.network, batches, device=device, domain=domain), images)

    try:
        scores = score_features(described(source, 0), described(target, 1), options.evaluation, detect=detect)
    except (ValueError, FloatingPointError) as error:  # no query is left, or the weights are damaged
        raise WorkError(str(error)) from error
    values = {name: getattr(scores, name).mean_average_precision for name in ("ts", "ts_inliers", "ss", "tt")}
    print(f"map T->S  {values['ts']:.4f}   (over all true inliers {values['ts_inliers']:.4f})")
    print(f"map S->S  {values['ss']:.4f}")
    print(f"map T->T  {values['tt']:.4f}")
    if scores.outliers is not None:
        print(f"outliers  F1 {scores.outliers.f1:.4f}, area under ROC {scores.outliers.auc:.4f}")
    print(f"queries   {scores.queries.asked} of {scores.queries.target} target images")
    if options.out:
        document = {"method": saved.method, "protocol": asdict(options.evaluation), **_as_json(scores, values)}
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _as_json(scores: MatchingScores, values: dict[str, float]) -> dict[str, Any]:
    outliers, curve = scores.outliers, scores.ts.curve
    document: dict[str, Any] = {f"map_{name}": _number(value) for name, value in values.items()}
    document |= {"queries": asdict(scores.queries), "precision_recall": None, "outliers": None}
    if curve is not None:
        document["precision_recall"] = {"recall": curve.recall.tolist(), "precision": curve.precision.tolist()}
    if outliers is not None:
        figures = {name: _number(getattr(outliers, name)) for name in ("auc", "f1", "precision", "recall")}
        document["outliers"] = asdict(outliers) | figures
    return document


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
