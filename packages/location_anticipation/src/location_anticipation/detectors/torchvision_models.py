"""torchvision's detectors by name, with its published COCO weights or with weights from a file."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torchvision.models import detection, get_model, get_model_weights, list_models

from efficiency_core.errors import UsageError, WorkError
from efficiency_core.network_file import read_state
from location_anticipation.detectors.image_detector import NamedDetector


def torchvision_names() -> list[str]:
    """Names of torchvision's detectors, for example ``fasterrcnn_resnet50_fpn_v2``."""
    return [str(name) for name in list_models(module=detection)]


def torchvision_detector(
    name: str, weights: str | Path | None = None, class_names: Sequence[str] | None = None
) -> NamedDetector:
    """A detector of torchvision in eval mode on the CPU.

    Args:
        name: one of :func:`torchvision_names`.
        weights: file of a ``state_dict``; by default torchvision's published COCO weights, which it downloads on first use.
        class_names: names of the labels 1, 2, ... of a file; by default those of the published weights.

    Raises:
        UsageError: if there is no such detector, or the file does not fit it.
        WorkError: if the published weights cannot be downloaded.
    """
    published = get_model_weights(name).DEFAULT
    names = tuple(class_names or published.meta["categories"][1:])
    if weights is None:
        if class_names is not None:
            raise UsageError(
                f"{name}: the published weights have their own class names; give the names with a weights file"
            )
        try:
            state = published.get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
        except (OSError, RuntimeError) as error:
            reason = f"the weights {published} cannot be downloaded ({error})"
            raise WorkError(f"{name}: {reason}; download them elsewhere and give the file") from error
    else:
        state = read_state(weights)
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
        model: nn.Module = get_model(name, weights=None, weights_backbone=None, num_classes=len(names) + 1)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UsageError(
            f"{weights or name}: these weights do not fit {name} of {len(names)} classes and background ({reason})"
        ) from error
    return NamedDetector(name, model.eval(), names)
