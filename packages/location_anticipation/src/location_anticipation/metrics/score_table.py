"""The figures of an evaluation as text for people and as JSON for programs; both define each mAP."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from location_anticipation.metrics.evaluation import Evaluation, MethodEvaluation
from location_anticipation.metrics.video_scores import VideoScores

_MEANING = {
    "keyframe_map": "COCO AP, IoU .50:.05:.95, annotated keyframes",
    "keyframe_map_50": "COCO AP, IoU .50, annotated keyframes",
    "video_map": "COCO AP, IoU .50:.05:.95, every annotated frame",
    "video_map_50": "COCO AP, IoU .50, every annotated frame",
    "trajectory_iou": "IoU of anticipated boxes, 0 for missed objects",
    "no_motion_iou": "IoU of the true keyframe box standing still",
    "still_iou": "IoU of the detected keyframe box standing still, 0 for missed objects",
}


def table(evaluation: Evaluation | MethodEvaluation) -> str:
    """One figure a line, then average precision by flavour and, where it was asked for, by speed and by step."""
    lines = []
    for name, value in asdict(evaluation).items():
        if isinstance(value, float):
            lines.append(f"{name:18s} {value:.4f}  {_MEANING.get(name, '')}".rstrip())
        elif name != "scores":
            lines.append(f"{name:18s} {value}")
    return "\n".join(lines + list(_scores(evaluation.scores)))


def _scores(scores: VideoScores) -> Iterable[str]:
    yield "\nmAP of every annotated frame"
    for flavour, result in scores.overall.items():
        yield f"{flavour:18s} {result.map:.4f}  {result.definition}"
    if scores.by_speed is not None:
        for flavour, split in scores.by_speed.items():
            yield f"\nmAP by speed: {split.definition}"
            for speed, value in split.map.items():
                share = f"{100 * split.shares[speed]:.2f} % of the true boxes"
                yield f"{flavour + ' ' + speed:18s} {value:.4f}  {share}"
            if split.boxes["unknown"]:
                yield f"{split.boxes['unknown']} true boxes have no known speed and are left out"
    if scores.by_step is not None and scores.frames_by_step is not None:
        yield "\nmAP by step l after the keyframe"
        yield f"{'l':>3s} {'frames':>8s}" + "".join(f" {flavour:>8s}" for flavour in scores.by_step)
        for step, frames in enumerate(scores.frames_by_step):
            yield f"{step:3d} {frames:8d}" + "".join(f" {values[step]:8.4f}" for values in scores.by_step.values())


def as_json(evaluation: Evaluation | MethodEvaluation, class_names: Sequence[str]) -> dict[str, Any]:
    """The same and everything else, for :func:`json.dumps`: undefined values are None, classes go by their names."""
    document = asdict(evaluation)
    for result in document["scores"]["overall"].values():
        result["per_class"] = {class_names[label - 1]: ap for label, ap in result["per_class"].items()}
    for flavour, split in (evaluation.scores.by_speed or {}).items():
        document["scores"]["by_speed"][flavour]["shares"] = split.shares
    known: dict[str, Any] = _known(document)
    return known


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
