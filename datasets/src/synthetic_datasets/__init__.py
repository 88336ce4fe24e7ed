"""Small generated data sets of videos and images in which every factor is known.

``build`` makes the files of a data set, ``TrackVideoFile``, ``LabelVideoFile``, ``ImageSetFile`` and ``MaskSetFile`` read
them; a generator's own module (``moving_digits``, ``move4mnist``, ``shape``, ``objects``, ``coloured_shapes``,
``shape_scenes``) has its configuration and its pure ``generate``.
"""

from .building import build
from .coloured_shapes import ColouredShapesConfig
from .digits import Digits, load_digits
from .errors import BuildError, InputError
from .generator import Field, Generator, Sample
from .move4mnist import Move4MNISTConfig
from .moving_digits import MovingDigitsConfig
from .objects import ObjectsConfig
from .reader import ImageSetFile, LabelVideoFile, MaskSetFile, SampleFile, TrackVideoFile
from .registry import get as get_generator
from .registry import names as generator_names
from .shape import ShapeConfig
from .shape_scenes import ShapeScenesConfig
from .tracks import no_motion_iou

__all__ = [
    "BuildError",
    "ColouredShapesConfig",
    "Digits",
    "Field",
    "Generator",
    "ImageSetFile",
    "InputError",
    "LabelVideoFile",
    "MaskSetFile",
    "Move4MNISTConfig",
    "MovingDigitsConfig",
    "ObjectsConfig",
    "Sample",
    "SampleFile",
    "ShapeConfig",
    "ShapeScenesConfig",
    "TrackVideoFile",
    "build",
    "generator_names",
    "get_generator",
    "load_digits",
    "no_motion_iou",
]
