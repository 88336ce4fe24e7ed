"""What a generator is to the rest of the package: a name, options, a pure function and words about itself."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """One sample: its pixels and every factor that made it."""

    arrays: dict[str, NDArray[Any]]
    """Name -> array, exactly the names, shapes and types of the generator's layout."""


@dataclass(frozen=True)
class Field:
    """One array of a sample. Its file stores it under an additional first axis, the sample's index."""

    shape: tuple[int, ...]
    """Shape for one sample."""
    dtype: str
    """Number type as numpy spells it, little-endian: ``|u1``, ``<f4``, ``<i8``, ``|b1``."""
    description: str
    """What it is, with its unit; goes into the card."""
    gzip: int = 4
    """How hard its file compresses it, 1 (fastest) to 9."""
    rows: int = 1
    """Samples in a chunk of its file: more than one for numbers that are read of many samples at a time."""


class Source(Protocol):
    """Material a generator draws from, loaded once and only read: digits, backgrounds, images."""

    @property
    def source(self) -> str:
        """Short name of where it comes from, written into every file: ``mnist``."""

    @property
    def credit(self) -> str:
        """Who made it, in a line."""

    @property
    def licence(self) -> str:
        """Address of its licence, which what is made from it is under, too."""

    @property
    def parts(self) -> dict[str, list[str]]:
        """Array name -> names of the pieces that the array's numbers stand for, where no outside list has them."""


class Finisher(Protocol):
    """The last step of samples that are finished many at a time, by a network for example."""

    @property
    def facts(self) -> dict[str, Any]:
        """Further attributes of every file: what did it."""

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The samples of one split, in their order."""


class Config(Protocol):
    """Configuration of a generator: a frozen dataclass with at least these fields."""

    @property
    def seed(self) -> int:
        """Seed of the whole data set."""

    @property
    def train(self) -> int:
        """Samples in the train split."""

    @property
    def test(self) -> int:
        """Samples in the test split."""


@dataclass(frozen=True)
class Generator:
    """A data set that can be built by name. Its functions are a module's own, as workers get them pickled."""

    name: str
    """Name on the command line: ``moving-digits``."""
    title: str
    """Name of the data set: ``MovingDigits``."""
    version: str
    """MAJOR changes when values of existing samples do, MINOR for additions, PATCH for storage only."""
    summary: str
    """What the data set is, in one or two sentences."""
    reference: str
    """The publication it comes from."""
    file_format: str
    """Kind of file, which a reader checks: ``track-video``."""
    config_type: type[Any]
    """The frozen dataclass of its options; each field's type is ``Annotated`` with a sentence."""
    class_names: tuple[str, ...] | Callable[[Any], tuple[str, ...]]
    """Name of class 0, 1, ..., or config -> these names."""
    load_source: Callable[[str | Path | None, Any], Source]
    """(data_root, config) -> the material."""
    generate: Callable[[Any, str, int, Any], Sample]
    """(config, split, index, source) -> sample; pure."""
    layout: Callable[[Any], Mapping[str, Field]]
    """config -> the arrays of every sample."""
    figures: Callable[[Mapping[str, Any]], dict[str, float]]
    """Arrays of a split -> figures that characterise it, for the card; empty where none can be computed."""
    notes: Callable[[Any], list[str]]
    """config -> what to know before trusting a number from this data: shortcuts, limits, conventions."""
    finisher: Callable[[Any, Path, str | Path | None, Any], "Finisher"] | None = None
    """(config, out, data_root, source) -> what every split's samples go through; None leaves them as ``generate`` made them.

    It is called once, before anything is built; what takes long may be kept in ``out`` and used again.
    """


def config_json(config: Any) -> str:
    """A configuration as JSON with sorted keys: the ``config`` attribute of its files."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def check_sample(sample: Sample, layout: Mapping[str, Field]) -> None:
    """Make sure that a sample is what its generator's layout says, so that a file never holds something else.

    Raises:
        ValueError: names, shapes or types differ.
    """
    got = {name: (array.shape, array.dtype) for name, array in sample.arrays.items()}
    want = {name: (field.shape, np.dtype(field.dtype)) for name, field in layout.items()}
    if got != want:
        raise ValueError(f"sample does not fit its layout: expected {want}, got {got}")
