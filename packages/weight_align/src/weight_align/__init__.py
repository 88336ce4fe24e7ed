"""WeightAlign: activations normalised through the weights (thesis chapter 5, ICPR 2020)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weight_align.method import align, fold, is_aligned, left_out, weight_align

__version__ = "0.1.0"
__all__ = ["align", "fold", "is_aligned", "left_out", "weight_align"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("weight_align.method"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
