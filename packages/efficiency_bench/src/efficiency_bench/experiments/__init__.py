"""The experiments of the bench, by name. One file each, readable from top to bottom."""

from ..errors import UsageError
from . import (
    action_recognition,
    action_recognition_cost,
    gradient_similarity,
    image_matching,
    matching_cost,
    matching_toy,
    peer_detection,
    simulated_motion_example,
    video_detection,
    video_detection_speed,
    video_speed_accuracy,
)
from .base import Context, Experiment, Outcome

__all__ = ["Context", "Experiment", "Outcome", "get", "names"]

_EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        action_recognition.EXPERIMENT,
        action_recognition_cost.EXPERIMENT,
        gradient_similarity.EXPERIMENT,
        image_matching.EXPERIMENT,
        matching_cost.EXPERIMENT,
        matching_toy.EXPERIMENT,
        peer_detection.EXPERIMENT,
        simulated_motion_example.EXPERIMENT,
        video_detection.EXPERIMENT,
        video_detection_speed.EXPERIMENT,
        video_speed_accuracy.EXPERIMENT,
    )
}


def names() -> tuple[str, ...]:
    """Names of all experiments, sorted."""
    return tuple(sorted(_EXPERIMENTS))


def get(name: str) -> Experiment:
    """The experiment called `name`; a `UsageError` lists what there is."""
    if name not in _EXPERIMENTS:
        raise UsageError(f"unknown experiment {name!r}; there are {', '.join(names())}")
    return _EXPERIMENTS[name]
