"""WeightAlign: activations normalised through the weights (thesis chapter 5, ICPR 2020)."""

from weight_align.align import align
from weight_align.convert import weight_align
from weight_align.folding import fold
from weight_align.parametrization import is_aligned

__version__ = "0.1.0"

__all__ = ["align", "fold", "is_aligned", "weight_align"]
