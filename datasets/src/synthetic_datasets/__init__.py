"""Small generated data sets of videos and images in which every factor is known: ``build`` makes the files, the
``...File`` classes read them, ``get_generator`` gives a generator by name."""

# ruff: noqa: F401

from typing import TYPE_CHECKING

from efficiency_core import lazy_names
from efficiency_core.errors import UsageError, WorkError

if TYPE_CHECKING:
    from synthetic_datasets.generators.coloured_shapes import ColouredShapesConfig
    from synthetic_datasets.generators.generator import Field, Generator, Sample
    from synthetic_datasets.generators.move4mnist import Move4MNISTConfig
    from synthetic_datasets.generators.moving_digits import MovingDigitsConfig
    from synthetic_datasets.generators.objects import ObjectsConfig
    from synthetic_datasets.generators.registry import generator_names, get_generator
    from synthetic_datasets.generators.shape import ShapeConfig
    from synthetic_datasets.generators.shape_scenes import ShapeScenesConfig
    from synthetic_datasets.material.digits import Digits, load_digits
    from synthetic_datasets.motion.tracks import no_motion_iou
    from synthetic_datasets.storage.building import build
    from synthetic_datasets.storage.reader import ImageSetFile, LabelVideoFile, MaskSetFile, SampleFile, TrackVideoFile

__version__ = "0.1.0"
_HOMES = {
    "generators.coloured_shapes": "ColouredShapesConfig", "generators.generator": "Field Generator Sample",
    "generators.move4mnist": "Move4MNISTConfig", "generators.moving_digits": "MovingDigitsConfig",
    "generators.objects": "ObjectsConfig", "generators.registry": "generator_names get_generator",
    "generators.shape": "ShapeConfig", "generators.shape_scenes": "ShapeScenesConfig",
    "material.digits": "Digits load_digits", "motion.tracks": "no_motion_iou", "storage.building": "build",
    "storage.reader": "ImageSetFile LabelVideoFile MaskSetFile SampleFile TrackVideoFile",
}  # fmt: skip
__all__ = sorted([*" ".join(_HOMES.values()).split(), "UsageError", "WorkError"])
__getattr__ = lazy_names(__name__, **_HOMES)
