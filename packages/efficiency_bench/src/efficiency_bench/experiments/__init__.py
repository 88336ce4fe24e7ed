"""The experiments of the bench, by name. One file each, readable from top to bottom."""

from ..errors import UsageError
from . import (
    action_recognition,
    action_recognition_cost,
    activation_distributions,
    domain_adaptation,
    gradient_similarity,
    image_classification,
    image_matching,
    matching_cost,
    matching_toy,
    peer_detection,
    semantic_segmentation,
    simulated_motion_example,
    video_detection,
    video_detection_speed,
    video_speed_accuracy,
    weight_align_cost,
)
from .base import Context, Experiment, Outcome, Start

__all__ = ["Context", "Experiment", "Outcome", "Start", "get", "names"]

_EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        action_recognition.EXPERIMENT,
        action_recognition_cost.EXPERIMENT,
        activation_distributions.EXPERIMENT,
        domain_adaptation.EXPERIMENT,
        gradient_similarity.EXPERIMENT,
        image_classification.EXPERIMENT,
        image_matching.EXPERIMENT,
        matching_cost.EXPERIMENT,
        matching_toy.EXPERIMENT,
        peer_detection.EXPERIMENT,
        semantic_segmentation.EXPERIMENT,
        simulated_motion_example.EXPERIMENT,
        video_detection.EXPERIMENT,
        video_detection_speed.EXPERIMENT,
        video_speed_accuracy.EXPERIMENT,
        weight_align_cost.EXPERIMENT,
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
