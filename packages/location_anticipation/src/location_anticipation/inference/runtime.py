"""Arithmetic, memory layout, compilation and runtime of a trained detector; its weights stay as they are."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from location_anticipation.model.config import check_choices

_STATIC_PARTS = ("backbone", "rpn.head", "flow", "scale", "embedding")  # the last three are those of the peers
# Part -> whether its input has as many rows as there are boxes.
_OPENVINO_PARTS = {"backbone": False, "rpn.head": False, "roi_heads.box_head": True}


@dataclass(frozen=True)
class Inference:
    """Arithmetic, memory layout, compilation and runtime; ``ValueError`` for a choice that does not exist."""

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
    runtime: Literal["torch", "openvino"] = "torch"
    """``openvino``: OpenVINO (``pip install openvino``) runs backbone, RPN head and FC layers on the CPU, in the arithmetic of
    ``precision``; torch does the rest, in float32. For detectors with torchvision's parts. Compiles for some seconds at the
    first keyframe and at a new image size; later changes of the weights are not seen."""

    def __post_init__(self) -> None:
        check_choices(self)
        if self.compile and self.runtime != "torch":
            raise ValueError("compile goes with the runtime torch; leave it out")

    def prepare(self, model: nn.Module) -> nn.Module:
        """Lay out and compile ``model`` in place; names and values of its weights stay as they are."""
        if self.runtime == "openvino":
            from location_anticipation.inference.openvino_parts import run_by_openvino

            run_by_openvino(model, _OPENVINO_PARTS, self.precision)
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)
        if self.compile:
            modules = dict(model.named_modules())
            for part in [modules[name] for name in _STATIC_PARTS if name in modules] or [model]:
                part.compile()
        return model

    def arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the model is called."""
        plain = self.precision == "32" or self.runtime == "openvino"
        return nullcontext() if plain else torch.autocast(device.type, dtype=torch.bfloat16)
