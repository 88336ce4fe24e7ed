"""The experiments of the bench, by name. One file each, readable from top to bottom."""

from functools import cache
from importlib import import_module

from efficiency_bench.experiments.base import Context, Experiment, Outcome, Start, recorded
from efficiency_core.errors import UsageError

__all__ = ["Context", "Experiment", "Outcome", "Start", "get", "module_of", "names", "recorded"]

_ROOMS = {
    "detection": (
        "adapted_detector", "detector_runtimes", "peer_detection", "simulated_motion_example", "video_detection",
        "video_detection_speed", "video_pipeline", "video_speed_accuracy",
    ),
    "matching": ("image_matching", "matching_cost", "matching_toy"),
    "normalisation": (
        "activation_distributions", "domain_adaptation", "image_classification", "semantic_segmentation",
        "weight_align_cost",
    ),
    "recognition": ("action_recognition", "action_recognition_cost", "gradient_similarity"),
}  # fmt: skip
"""Room -> its experiments; the module of an experiment has the same name and holds it as `EXPERIMENT`."""
_MODULES = {name: f"{__name__}.{room}.{name}" for room, inside in _ROOMS.items() for name in inside}


def names() -> tuple[str, ...]:
    """Names of all experiments, sorted."""
    return tuple(sorted(_MODULES))


def module_of(name: str) -> str:
    """The module that defines the experiment `name`; a `UsageError` lists what there is."""
    if name not in _MODULES:
        raise UsageError(f"unknown experiment {name!r}; there are {', '.join(names())}")
    return _MODULES[name]


@cache
def get(name: str) -> Experiment:
    """The experiment `name`, whose module is imported now; a `UsageError` lists what there is."""
    found: Experiment = import_module(module_of(name)).EXPERIMENT
    return found
