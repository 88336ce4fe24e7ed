"""Score a trained network: mean average precision within and across two domains, and the outliers it finds."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outlier_matching.data_options import add_data_arguments, open_domains
from outlier_matching.errors import UsageError
from outlier_matching.files import atomic_path
from outlier_matching.settings import build, parse_settings

if TYPE_CHECKING:
    from outlier_matching.evaluation import EvaluateConfig, Scores
    from outlier_matching.retrieval_scores import Retrieval

__all__ = ["INTERRUPTED", "add_arguments", "run"]

INTERRUPTED = "nothing was written"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command, without ``--device`` and ``--debug``."""
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="network.pt of a training")
    add_data_arguments(command, "test")
    command.add_argument(
        "--out", type=Path, metavar="FILE.json", help="also write the figures, curve and counts included, here"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a field of EvaluateConfig, for example protocol=author or queries=all; may be repeated",
    )


def run(options: argparse.Namespace, device: str) -> int:
    """Evaluate; prints the figures and writes them where asked."""
    from outlier_matching.checkpoint import load_network
    from outlier_matching.embedding import embed
    from outlier_matching.evaluation import EvaluateConfig, detector, labelled, score

    config = build(EvaluateConfig, parse_settings(options.set, EvaluateConfig)[0])
    saved = load_network(options.checkpoint)
    source, target = open_domains(options)
    if target is None:
        raise UsageError(f"{options.data}: has one domain; matching across domains needs a target")
    scores = score(
        labelled(lambda images: embed(saved.network, images, device=device), source),
        labelled(lambda images: embed(saved.network, images, device=device, domain=1), target),
        config,
        detect=None if saved.references is None else detector(saved.references, decision=saved.decision),
    )
    print(f"map T->S  {scores.map_ts:.4f}   (over all true inliers {scores.ts_inliers.mean_average_precision:.4f})")
    print(f"map S->S  {scores.map_ss:.4f}")
    print(f"map T->T  {scores.map_tt:.4f}")
    if scores.outliers is not None:
        print(f"outliers  F1 {scores.outliers.f1:.4f}, area under ROC {scores.outliers.auc:.4f}")
    print(f"queries   {scores.queries.asked} of {scores.queries.target} target images")
    if options.out:
        with atomic_path(options.out) as temporary:
            document = json.dumps(_as_json(scores, config, saved.method), indent=2)
            temporary.write_text(document + "\n", encoding="utf-8")
    return 0


def _as_json(scores: Scores, config: EvaluateConfig, method: str) -> dict[str, Any]:
    found = scores.outliers
    return {
        "method": method,
        "protocol": asdict(config),
        "map_ts": _number(scores.map_ts),
        "map_ts_inliers": _number(scores.ts_inliers.mean_average_precision),
        "map_ss": _number(scores.map_ss),
        "map_tt": _number(scores.map_tt),
        "queries": asdict(scores.queries),
        "precision_recall": _curve(scores.ts),
        "outliers": None
        if found is None
        else asdict(found)
        | {"auc": _number(found.auc), "f1": _number(found.f1)}
        | {"precision": _number(found.precision), "recall": _number(found.recall)},
    }


def _curve(found: Retrieval) -> dict[str, list[float]] | None:
    if found.curve is None:
        return None
    return {name: values.tolist() for name, values in asdict(found.curve).items()}


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
