"""Match images across two domains, with outliers in one of them or without (thesis chapter 4)."""

import math
from dataclasses import asdict, replace

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.matching.matching_settings import Settings
from efficiency_bench.records.run_record import Metric
from efficiency_core.errors import WorkError
from outlier_matching import EvaluateConfig

DATA = "shape"
"""The data set that is read unless a table's row names another."""


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split, or continue the training in `context.folder`; match and detect on the test split."""
    import torch

    from efficiency_bench.experiments.matching.matching_examples import examples, open_domains
    from efficiency_bench.experiments.matching.matching_methods import METHODS
    from efficiency_bench.records.pictures import Series
    from outlier_matching import labelled_features, outlier_scores, score_features

    training, test = (open_domains(context, DATA, split, settings.outlier_share) for split in ("train", "test"))
    name = "front" if settings.front != "none" else settings.features
    config = EvaluateConfig(max_queries=settings.max_queries, seed=context.seed)
    try:
        method = METHODS[name](settings, training, test, context)
        pairs = zip(method.describe, (test.source, test.target), strict=True)
        source, target = (labelled_features(describe, images) for describe, images in pairs)
        scores = score_features(source, target, config, detect=method.detect)
        author = score_features(source, target, replace(config, protocol="author"), detect=method.detect)
    except (ValueError, FloatingPointError) as error:  # no query is left, or features are not finite
        raise WorkError(str(error)) from error
    metrics = {
        **{f"map_{name}": getattr(scores, name).mean_average_precision for name in ("ts", "ss", "tt", "ts_inliers")},
        "map_ts_charged": float(scores.ts.average_precision.nan_to_num(0.0).mean()),
        "map_ts_author": author.ts.mean_average_precision,
    }
    if scores.outliers is not None:
        metrics |= {f"outlier_{one}": getattr(scores.outliers, one) for one in ("f1", "precision", "recall", "auc")}
    if method.called is not None:
        metrics["train_outlier_f1"] = outlier_scores(method.called, torch.from_numpy(training.target.outliers)).f1
    counts = {
        "train_source": len(training.source),
        "train_target": 0 if method.used is None else len(method.used),
        "train_outliers": 0 if method.used is None else int(method.used.outliers.sum()),
        "queries": scores.queries.asked,
        "gallery": len(test.source),
    }
    share = Metric(100 * float(training.target.outliers.mean()), "%")
    found = {name: Metric(100 * value, "%") for name, value in metrics.items() if math.isfinite(value)}
    found |= {name: Metric(float(count), "images") for name, count in counts.items()}
    found |= {"train_outlier_share": share, "train_s": Metric(method.seconds, "s")}
    protocol = {
        **method.details,
        "map": "mean average precision over whole rankings by Euclidean distance of L2-normalised features, queries "
        "and gallery of the test split; a query is left out of its own ranking",
        "queries": "of T->S: target images that the method classifies as inliers, all if it detects none; "
        "map_ts_inliers: all true inliers; map_ts_charged: a query that is an outlier has average precision 0 "
        "(map_ts ignores it)",
        "map_ts_author": "the released script: 50 matches, precisions at hits summed and divided by 5",
        "precision_recall": "of T->S, interpolated, mean over queries at recalls 0, 0.1, ... 1",
        "counts": asdict(scores.queries),
    }
    curve = scores.ts.curve
    artifacts = {} if curve is None else Series.of([("T->S", curve.recall, curve.precision)]).arrays("precision_recall")
    return Outcome(found, protocol, artifacts | examples(test, context.seed).arrays("examples"))


EXPERIMENT = Experiment(
    "image_matching", "train",
    "train and evaluate matching of images across domains, with outliers in the target or without",
    Settings, (DATA,), run,
)  # fmt: skip
