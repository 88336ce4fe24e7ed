"""``fold``: plain layers again, with the weights that the alignment made."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from weight_align.parametrization import alignment_of, detach
from weight_align.together import uninstall

__all__ = ["fold"]

Model = TypeVar("Model", bound=nn.Module)


def fold(model: Model) -> Model:
    """Turn every aligned layer back into a plain one whose weight is the aligned weight, in place.

    The outputs stay what they were. Layers are of their own class again, without parametrization, scale or any cost of
    the alignment, so that the network can be exported, pickled, or loaded by code that knows nothing of this package.
    Parameters stay the objects they were.

    Args:
        model: a network, or a single layer, that :func:`~weight_align.convert.weight_align` aligned.

    Returns:
        ``model``.

    Raises:
        ValueError: if nothing in it is aligned: it was folded before, or never converted.
    """
    layers = [layer for layer in model.modules() if alignment_of(layer) is not None]
    if not layers:
        raise ValueError(f"{torch.typename(model)} has no aligned layer; was it folded before?")
    uninstall(model)
    for layer in layers:
        detach(layer)
    return model
