"""How a trained detector runs: its arithmetic, memory layout and compilation, none of which changes its weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

__all__ = ["PRECISIONS", "Inference"]

PRECISIONS = ("32", "bf16")
_STATIC_PARTS = ("backbone", "rpn.head", "flow", "scale", "embedding")  # the last three are those of the peers


@dataclass(frozen=True)
class Inference:
    """What to trade for speed.

    Raises:
        ValueError: for a precision that does not exist.
    """

    precision: str = "32"
    """``32``, or ``bf16``: convolutions and FC layers in bfloat16 (torch's autocast). Scores and boxes are decoded, and
    NMS runs, in float32; made for :class:`~location_anticipation.detector.AnticipationRCNN`, other detectors decode in
    what they are given. Faster where the processor has bfloat16 arithmetic, and slower where it has not."""
    channels_last: bool = False
    """Convolution weights with the channels innermost in memory, which is the same numbers up to rounding."""
    compile: bool = False
    """``torch.compile`` for the parts whose shapes follow the image size: backbone, RPN head, and the flow, scale and
    embedding networks of DFF and FGFA. The rest of a detector, SELSA's aggregators included, has as many rows as there
    are boxes. Needs a C++ compiler on the CPU, and compiles for about a minute at the first
    keyframe and at a new image size."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")

    def prepare(self, model: nn.Module) -> nn.Module:
        """Lay out and compile ``model`` in place; names and values of its weights stay as they are."""
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)
        if self.compile:
            parts = [model.get_submodule(name) for name in _STATIC_PARTS if _has(model, name)]
            for part in parts or [model]:
                part.compile()
        return model

    def arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the model is called."""
        if self.precision == "32":
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)


def _has(model: nn.Module, name: str) -> bool:
    part: object = model
    for attribute in name.split("."):
        part = getattr(part, attribute, None)
    return isinstance(part, nn.Module)
