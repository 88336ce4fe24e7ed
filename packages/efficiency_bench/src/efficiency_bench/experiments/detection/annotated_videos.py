"""The annotated videos that the experiments of this room read, and the metrics on them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from efficiency_bench.experiments.base import Context
from efficiency_bench.records.run_record import Metric

if TYPE_CHECKING:
    from location_anticipation.data import Videos
    from location_anticipation.metrics import VideoScores

DATA = "moving_digits"
"""The data set that is read unless a table's row names another."""
EPOCH = "the keyframes of every training video once"


def open_split(context: Context, split: str) -> Videos:
    """The videos of all files of a split."""
    from location_anticipation.data import Concatenated, open_videos

    parts = [open_videos(file, context.image_folder(DATA, file)) for file in context.files(DATA, split)]
    return parts[0] if len(parts) == 1 else Concatenated(*parts)


def check_step(name: str, step: int, horizon: int) -> None:
    """Refuse a keyframe step, set as `name`, that is not 1 to horizon + 1, with a `ValueError`; with horizon 0 boxes
    stand still for any time."""
    if step < 1:
        raise ValueError(f"{name} must be at least 1, got {step}")
    if horizon and step - 1 > horizon:
        raise ValueError(f"{name} {step} needs {step - 1} anticipated steps, but horizon is {horizon}")


def check_seed(seed: int) -> None:
    """Refuse a seed among the settings, with a `ValueError`."""
    if seed:
        raise ValueError("training.seed must be 0: the run sets it")


def train_time(seconds_per_keyframe: float, training: Videos, keyframe_step: int) -> Metric:
    """Hours for an epoch: the keyframes of every training video once."""
    keyframes = sum(-(-len(training.tracks(video).annotated) // keyframe_step) for video in range(len(training)))
    return Metric(seconds_per_keyframe * keyframes / 3600, "h")


def score_metrics(scores: VideoScores) -> dict[str, Metric]:
    """mAP of every annotated frame: COCO's and ILSVRC's, the latter also of slow, medium and fast objects."""
    coco, ilsvrc = scores.overall["coco"], scores.overall["ilsvrc"]
    values = {
        "video_map": coco.map,
        "video_map_50": coco.map_50,
        "video_map_75": coco.map_75,
        "video_map_ilsvrc": ilsvrc.map,
    }
    if scores.by_speed is not None:
        by_speed = scores.by_speed["ilsvrc"].map
        values |= {f"map_{name}": value for name, value in by_speed.items() if math.isfinite(value)}
    return {name: Metric(100 * value, "%") for name, value in values.items()}
