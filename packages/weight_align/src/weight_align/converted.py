"""Networks of torchvision with aligned weights as files: which network, how it was aligned, and its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weight_align.checkpoint import read_tensors, write_tensors
from weight_align.convert import Keep, weight_align
from weight_align.errors import UsageError

__all__ = ["FORMAT", "Conversion", "load_converted", "save_converted", "torchvision_network"]

FORMAT = "weight_align.converted/1"


@dataclass(frozen=True)
class Conversion:
    """A network of torchvision and how its weights are aligned: the arguments of :func:`~weight_align.convert.weight_align`."""

    network: str
    """torchvision's name."""
    classes: int = 1000
    """Its outputs."""
    exclude: tuple[str, ...] = ()
    classifier: bool = False
    gain: str | float = "thesis"
    scale: str = "filter"
    centre: bool = True
    variance: bool = True

    def align(self, network: nn.Module, keep: Keep) -> nn.Module:
        """Convert in place.

        Raises:
            UsageError: if that cannot be done.
        """
        try:
            return weight_align(
                network,
                exclude=self.exclude,
                classifier=self.classifier,
                gain=self.gain,  # type: ignore[arg-type]
                scale=self.scale,  # type: ignore[arg-type]
                centre=self.centre,
                variance=self.variance,
                keep=keep,
            )
        except ValueError as error:
            raise UsageError(str(error)) from error


def torchvision_network(
    name: str, classes: int, state: Mapping[str, Tensor] | None = None, auxiliary: bool | None = None
) -> nn.Module:
    """A network of torchvision on the CPU, in eval mode, with random weights or those of ``state``.

    Args:
        name: torchvision's.
        classes: its outputs.
        state: its weights.
        auxiliary: whether networks that may have an auxiliary classifier (GoogLeNet, Inception, most for segmentation) have
            it; by default as ``state`` has, and without a state as torchvision has.

    Raises:
        UsageError: if there is no such network or the state does not fit.
    """
    from torchvision import models

    of_pixels = name in models.list_models(module=models.segmentation)
    if not of_pixels and name not in models.list_models(module=models):
        raise UsageError(
            f"torchvision has no network {name!r} that classifies images or their pixels; it has resnet50, vgg16_bn, "
            "mobilenet_v3_small, ..."
        )
    # Those of pixels would download weights of their backbone, which a state replaces at once.
    options: dict[str, Any] = {"weights_backbone": None} if of_pixels else {}
    if auxiliary is None and state is not None:
        auxiliary = _has_auxiliary(state)
    if auxiliary is not None and (switch := _switch_of_auxiliary(name)) is not None:
        options[switch] = auxiliary
    try:
        with torch.random.fork_rng(devices=[]):
            network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
        if state is not None:
            network.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"the weights do not fit {name} with {classes} classes ({said[:200]})") from error
    return network.eval()


def _has_auxiliary(state: Mapping[str, Tensor]) -> bool:
    return any(name.lower().startswith("aux") for name in state)


def _switch_of_auxiliary(name: str) -> str | None:
    """What torchvision's builder of this network calls it."""
    from torchvision import models

    if name in ("googlenet", "inception_v3"):
        return "aux_logits"
    return "aux_loss" if "aux_loss" in signature(models.get_model_builder(name)).parameters else None


def save_converted(path: str | Path, network: nn.Module, conversion: Conversion) -> None:
    """Write an aligned network of torchvision.

    Raises:
        WorkError: if the file cannot be written.
    """
    write_tensors(path, {"format": FORMAT, "conversion": asdict(conversion), "model": network.state_dict()})


def load_converted(path: str | Path) -> tuple[nn.Module, Conversion]:
    """The aligned network stored in ``path``, in eval mode on the CPU, and how it was made.

    What torchvision's networks do to their input is not stored: weights that it publishes of GoogLeNet and Inception want
    ``network.transform_input = True``.

    Raises:
        UsageError: if the file is missing, damaged, or holds something else.
    """
    content = read_tensors(path, FORMAT)
    stored: Any = content.get("conversion")
    known = {field.name for field in fields(Conversion)}
    if not isinstance(stored, dict) or set(stored) != known or "model" not in content:
        raise UsageError(f"{path}: not a whole checkpoint of this version")
    conversion = Conversion(**stored)
    plain = torchvision_network(conversion.network, conversion.classes, auxiliary=_has_auxiliary(content["model"]))
    network = conversion.align(plain, keep="weights")
    try:
        network.load_state_dict(content["model"])
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        raise UsageError(
            f"{path}: its weights do not fit {conversion.network} ({said}); the file is damaged"
        ) from error
    return network.eval(), conversion
