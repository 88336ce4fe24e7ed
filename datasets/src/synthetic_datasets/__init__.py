"""Small generated video data sets in which every factor is known.

``build`` makes the files of a data set, ``TrackVideoFile`` and ``LabelVideoFile`` read them; a generator's own module
(``moving_digits``, ``move4mnist``) has its configuration and its pure ``generate``.
"""

from .building import build
from .digits import Digits, load_digits
from .errors import BuildError, InputError
from .generator import Field, Generator, Sample
from .move4mnist import Move4MNISTConfig
from .moving_digits import MovingDigitsConfig
from .reader import LabelVideoFile, SampleFile, TrackVideoFile
from .registry import get as get_generator
from .registry import names as generator_names
from .tracks import no_motion_iou

__all__ = [
    "BuildError",
    "Digits",
    "Field",
    "Generator",
    "InputError",
    "LabelVideoFile",
    "Move4MNISTConfig",
    "MovingDigitsConfig",
    "Sample",
    "SampleFile",
    "TrackVideoFile",
    "build",
    "generator_names",
    "get_generator",
    "load_digits",
    "no_motion_iou",
]
