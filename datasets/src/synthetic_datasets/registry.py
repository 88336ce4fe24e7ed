"""The generators that can be built by name."""

from .coloured_shapes import GENERATOR as COLOURED_SHAPES
from .errors import InputError
from .generator import Generator
from .move4mnist import GENERATOR as MOVE4MNIST
from .moving_digits import GENERATOR as MOVING_DIGITS
from .objects import GENERATOR as OBJECTS
from .pitts_cyclegan import GENERATOR as PITTS_CYCLEGAN
from .shape import GENERATOR as SHAPE
from .shape_scenes import GENERATOR as SHAPE_SCENES

GENERATORS: dict[str, Generator] = {
    generator.name: generator
    for generator in (MOVING_DIGITS, MOVE4MNIST, SHAPE, OBJECTS, PITTS_CYCLEGAN, COLOURED_SHAPES, SHAPE_SCENES)
}


def names() -> list[str]:
    """Names of all generators, sorted."""
    return sorted(GENERATORS)


def get(name: str) -> Generator:
    """The generator of that name.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    if name not in GENERATORS:
        raise InputError(f"no generator is named {name!r}; available: {', '.join(names())}")
    return GENERATORS[name]
