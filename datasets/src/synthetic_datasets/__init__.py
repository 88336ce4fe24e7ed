"""Small generated video data sets in which every factor is known.

``build`` makes the files of a data set, ``TrackVideoFile`` reads them; a generator's own module
(``moving_digits``) has its configuration and its pure ``generate``.
"""

from .building import build
from .digits import Digits, load_digits
from .errors import BuildError, InputError
from .generator import Field, Generator, Sample
from .moving_digits import MovingDigitsConfig
from .reader import SampleFile, TrackVideoFile
from .registry import get as get_generator
from .registry import names as generator_names
from .tracks import no_motion_iou

__all__ = [
    "BuildError",
    "Digits",
    "Field",
    "Generator",
    "InputError",
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
