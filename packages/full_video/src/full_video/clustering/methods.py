"""Names of the methods that cluster frames; :mod:`full_video.clustering.clusters` explains them. Needs no torch."""

from typing import Literal, get_args

Method = Literal[
    "cumulative", "cumulative_ceil", "slope", "uniform", "release_cumulative", "release_slope", "release_uniform"
]
METHODS: tuple[str, ...] = get_args(Method)
