"""WeightAlign itself: equation 5.10 as a function, a parametrization and a conversion of networks. Needs torch alone."""

from weight_align.method.classifier import classifiers
from weight_align.method.convert import fold, weight_align
from weight_align.method.distributions import ChannelStatistics, activations, channel_statistics
from weight_align.method.filters import LAYERS
from weight_align.method.functional import EPS, GAINS, align, gain_value
from weight_align.method.parametrization import WeightAlignment, alignment_of, is_aligned, left_out

__all__ = [
    "EPS", "GAINS", "LAYERS", "ChannelStatistics", "WeightAlignment", "activations", "align", "alignment_of",
    "channel_statistics", "classifiers", "fold", "gain_value", "is_aligned", "left_out", "weight_align",
]  # fmt: skip
