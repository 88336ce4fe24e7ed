"""What a generator is to the rest of the package: a name, options, a pure function and words about itself."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GeneratorConfig:
    """Base of every generator's options."""

    seed: int = 0
    """Seed of the whole data set."""
    train: int = 1
    """Samples in the train split."""
    test: int = 1
    """Samples in the test split."""

    def __post_init__(self) -> None:
        self.check_ranges(seed=(0, None), train=(1, None), test=(1, None))
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise ValueError(f"{name}: {getattr(self, name)!r} is unknown; one of {', '.join(get_args(hint))}")

    def check_ranges(self, **ranges: tuple[float, float | None]) -> None:
        """Check numbers, or tuples of them: name -> least and largest (None: any finite number). Raises ValueError."""
        for name, (least, largest) in ranges.items():
            given: Any = getattr(self, name)
            for value in given if isinstance(given, tuple) else (given,):
                if not (least <= value <= (math.inf if largest is None else largest) and math.isfinite(value)):
                    expected = f"at least {least:g}" if largest is None else f"{least:g} to {largest:g}"
                    raise ValueError(f"{name}: expected {expected}, got {value}")


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


@dataclass(frozen=True, kw_only=True)
class Source:
    """Material a generator draws from, loaded once and only read; as it is, that of pictures made from nothing else."""

    source: str = "drawn"
    """Short name of where it comes from, written into every file: ``mnist``."""
    credit: str = "drawn by synthetic_datasets; no other picture goes in"
    """Who made it, in a line."""
    licence: str = "https://opensource.org/license/mit"
    """Address of its licence, which what is made from it is under, too."""
    parts: dict[str, list[str]] = field(default_factory=dict)
    """Array name -> names of the pieces that the array's numbers stand for, where no outside list has them."""


Finisher = Callable[[Iterable[Sample]], Iterator[Sample]]
"""The last step of a split's samples, many at a time and in their order, by a network for example."""


@dataclass(frozen=True)
class Generator:
    """A data set that can be built by name. Its functions are a module's own, as workers get them pickled."""

    name: str
    """Name on the command line: ``moving-digits``."""
    title: str
    """Name of the data set: ``MovingDigits``."""
    version: str
    """MAJOR changes when values of existing samples do, MINOR for additions, PATCH for storage only."""
    section: str
    """Section of the thesis that describes it."""
    file_format: str
    """Kind of file, which a reader checks: ``track-video``."""
    config_type: type[GeneratorConfig]
    """The frozen dataclass of its options, with a sentence under every field."""
    class_names: tuple[str, ...] | Callable[[Any], tuple[str, ...]]
    """Name of class 0, 1, ..., or config -> these names."""
    load_source: Callable[[str | Path | None, Any], Source]
    """(data_root, config) -> the material."""
    generate: Callable[[Any, str, int, Any], Sample]
    """(config, split, index, source) -> sample; the same bytes in any process, whatever else is made. Raises KeyError for an
    unknown split, IndexError where a split has no such sample."""
    layout: Callable[[Any], Mapping[str, Field]]
    """config -> the arrays of every sample."""
    figures: Callable[[Mapping[str, Any]], dict[str, float]]
    """Arrays of a split -> figures that characterise it, for the card; empty where none can be computed."""
    notes: Callable[[Any], list[str]]
    """config -> what to know before trusting a number from this data: shortcuts, limits, conventions."""
    finisher: Callable[[Any, Path, str | Path | None, Any], tuple[Finisher, dict[str, Any]]] | None = None
    """(config, out, data_root, source) -> what every split's samples go through, and what its files say of it; None
    leaves samples as ``generate`` made them. It is called once, before anything is built; what takes long may be kept
    in ``out``."""


def check_sample(sample: Sample, layout: Mapping[str, Field]) -> None:
    """Make sure that a sample is what its generator's layout says, so that a file never holds something else. Raises
    ValueError if names, shapes or types differ."""
    got = {name: (array.shape, array.dtype) for name, array in sample.arrays.items()}
    want = {name: (field.shape, np.dtype(field.dtype)) for name, field in layout.items()}
    if got != want:
        raise ValueError(f"sample does not fit its layout: expected {want}, got {got}")
