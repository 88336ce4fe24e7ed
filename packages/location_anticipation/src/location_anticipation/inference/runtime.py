"""Arithmetic, memory layout and compilation of a trained detector; its weights stay as they are."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from location_anticipation.model.config import check_choices

_STATIC_PARTS = ("backbone", "rpn.head", "flow", "scale", "embedding")  # the last three are those of the peers


@dataclass(frozen=True)
class Inference:
    """Arithmetic, memory layout and compilation; ``ValueError`` for a precision that does not exist."""

    precision: Literal["32", "bf16"] = "32"
    """``32``, or ``bf16``: convolutions and FC layers in bfloat16 (torch's autocast). Scores and boxes are decoded, and
    NMS runs, in float32; made for :class:`~location_anticipation.model.detector.AnticipationRCNN`; other detectors may
    decode in bfloat16. Faster on processors with bfloat16 arithmetic, slower on others."""
    channels_last: bool = False
    """Convolution weights with the channels innermost in memory, which is the same numbers up to rounding."""
    compile: bool = False
    """``torch.compile`` for the parts whose shapes follow the image size: backbone, RPN head, and the flow, scale and
    embedding networks of DFF and FGFA. The rest of a detector, SELSA's aggregators included, has as many rows as there
    are boxes. Needs a C++ compiler on the CPU, and compiles for about a minute at the first
    keyframe and at a new image size."""

    def __post_init__(self) -> None:
        check_choices(self)

    def prepare(self, model: nn.Module) -> nn.Module:
        """Lay out and compile ``model`` in place; names and values of its weights stay as they are."""
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)
        if self.compile:
            modules = dict(model.named_modules())
            for part in [modules[name] for name in _STATIC_PARTS if name in modules] or [model]:
                part.compile()
        return model

    def arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the model is called."""
        return nullcontext() if self.precision == "32" else torch.autocast(device.type, dtype=torch.bfloat16)
