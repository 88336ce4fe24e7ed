"""Objects: 31 kinds of drawn things in three domains, in the place of Office-31 where that is not at hand.

The experiments on Office-31 (X. Liu, Efficiency in Deep Learning, TU Delft, 2024, section 4.5.1) match sharp photos of things
(dslr) with product pictures before white (amazon), and two classes, speaker and scissors, are outliers of the target. Those
of section 5.4.4 train on one of three domains and test on the two others, webcam among them, without outliers. This set
asks the same with drawings of things of the same 31 names. It is no substitute for photos: what is measured on it is called
by its own name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from .errors import InputError
from .generator import Field, Generator, Sample
from .image_set import SOURCE, Drawn, counts_of, factor, image_fields, place, rounded
from .pen import Pen
from .scenes import SCENES, factors, new_view, photograph
from .seeding import sample_rng
from .things import THINGS, new_look

CLASS_NAMES = tuple(THINGS)
NO_OUTLIERS = "none"
_SMALLEST = 32
_DRAWN_PX = 256
"""Things are drawn at least about this large and then averaged, so that thin parts keep their share of a pixel."""


@dataclass(frozen=True)
class ObjectsConfig:
    """Options of Objects.

    Raises:
        InputError: a value is out of its range, or names an unknown domain or class.
    """

    seed: Annotated[int, "Seed of the whole data set."] = 0
    train: Annotated[int, "Images in the train split, one domain after the other."] = 3_100
    test: Annotated[int, "Images in the test split."] = 1_240
    domains: Annotated[
        tuple[str, ...], "Domains, of dslr, amazon and webcam: the first is the source, the second the target."
    ] = ("dslr", "amazon")
    domain_sizes: Annotated[
        tuple[int, ...],
        "Numbers that the images of the domains, in their order, are in proportion to; none: as many of every domain. "
        "Office-31's of amazon, dslr and webcam are 2817 498 795.",
    ] = ()
    outlier_classes: Annotated[
        tuple[str, ...],
        "Classes that are absent from the source and outliers of every other domain; none: all 31 are in every domain.",
    ] = ("scissors", "speaker")
    outlier_share: Annotated[
        float, "Part of the images of every other domain that are outliers, where there are outlier classes (0 to 1)."
    ] = 0.1
    size: Annotated[int, "Height and width of an image in pixels."] = 64

    def __post_init__(self) -> None:
        if self.outlier_classes == (NO_OUTLIERS,):  # how a command line says what () says here
            object.__setattr__(self, "outlier_classes", ())
        for name in ("train", "test"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise InputError(f"seed: expected 0 or more, got {self.seed}")
        if self.size < _SMALLEST:
            raise InputError(f"size: expected at least {_SMALLEST} px, below which things are lost, got {self.size}")
        if not 0 <= self.outlier_share <= 1:
            raise InputError(f"outlier_share: expected 0 to 1, got {self.outlier_share}")
        for name, known in (("domains", SCENES), ("outlier_classes", THINGS)):
            given = getattr(self, name)
            if wrong := [value for value in given if value not in known]:
                raise InputError(f"{name}: {wrong[0]!r} is unknown; any of {', '.join(known)}")
            if len(set(given)) < len(given):
                raise InputError(f"{name}: {', '.join(given)} names one twice")
        if not self.domains:
            raise InputError(f"domains: expected at least one of {', '.join(SCENES)}")
        if self.domain_sizes and (len(self.domain_sizes) != len(self.domains) or min(self.domain_sizes) < 1):
            given = ", ".join(map(str, self.domain_sizes))
            raise InputError(f"domain_sizes: expected 1 or more for each of {', '.join(self.domains)}, got {given}")
        if len(self.outlier_classes) == len(THINGS):
            raise InputError(f"outlier_classes: all {len(THINGS)} classes, so none is left for the source")

    def domain_counts(self, split: str) -> list[int]:
        """Images of every domain in a split: equal numbers, or in proportion to ``domain_sizes``, but for rounding."""
        count, ends = int(getattr(self, split)), [0, *accumulate(self.domain_sizes or (1,) * len(self.domains))]
        return [end - start for start, end in pairwise(rounded(count * end / ends[-1]) for end in ends)]

    def classes(self, outlier: bool) -> list[int]:
        """Numbers of the classes that are outliers, or of the others."""
        return [number for number, name in enumerate(CLASS_NAMES) if (name in self.outlier_classes) == outlier]


def layout(config: ObjectsConfig) -> dict[str, Field]:
    """The arrays of every image."""
    return image_fields(config.size, config.size, "class of the thing, of outliers too") | {
        "body": factor("|u1", "red, green, blue of the thing's largest part, before light and camera", 3),
        "centre": factor("<f4", "x y of the thing's middle in pixels", 2),
        "scale": factor("<f4", "half the side of the square that the thing is drawn in, in pixels"),
        "angle": factor("<f4", "radians by which it is turned, clockwise"),
        "tilt": factor("<f4", "how much nearer its right and its lower side are, relative to its distance", 2),
        "desk": factor("<i8", "what it lies on: 0 wood, 1 cloth, 2 plain; -1 for white"),
        "desk_colour": factor("|u1", "red, green, blue of that", 3),
        "light": factor("<f4", "direction it comes from, radians from x to y, and how unequal it is", 2),
        "blur": factor("<f4", "deviation in pixels"),
        "noise": factor("<f4", "deviation in grey values"),
        "gain": factor("<f4", "of the camera's red, green and blue", 3),
        "contrast": factor("<f4", "of the camera"),
        "cover": factor("<f4", "part of the picture that the thing covers"),
    }


def generate(config: ObjectsConfig, split: str, index: int, source: Drawn) -> Sample:
    """Image ``index`` of a split; the same bytes in any process, whatever else is made.

    Every image shows another thing: proportions, parts and colours are drawn with it, and from the same distribution in
    every domain.

    Raises:
        KeyError: unknown split.
        IndexError: the split has no such image.
    """
    rng = sample_rng(config.seed, split, index)
    share = config.outlier_share if config.outlier_classes else 0.0
    here = place(config.seed, split, index, config.domain_counts(split), share)
    classes = config.classes(here.outlier)
    label = classes[here.number % len(classes)]
    view = new_view(SCENES[config.domains[here.domain]], config.size, rng)
    look = new_look(rng)
    factor_of = max(2, -(-_DRAWN_PX // config.size))
    pen = Pen(config.size * factor_of, view.homography(factor_of))
    THINGS[CLASS_NAMES[label]](pen, look)
    thing = pen.finished(factor_of)
    values = factors(view) | {
        "image": photograph(thing, view, rng),
        "label": label,
        "domain": here.domain,
        "outlier": here.outlier,
        "body": look.body,
        "cover": thing[:, :, 3].mean(),
    }
    return Sample({name: np.asarray(values[name], spec.dtype) for name, spec in layout(config).items()})


def load_source(data_root: str | Path | None, config: ObjectsConfig) -> Drawn:
    """The names of the domains; nothing is read, whatever ``data_root`` is."""
    return Drawn({"domain": list(config.domains), "desk": ["wood", "cloth", "plain"]})


def figures(arrays: Mapping[str, Any]) -> dict[str, float]:
    """Counts, and how much of the picture a thing covers in the source and in the other domains."""
    made = counts_of(arrays)
    source, cover = arrays["domain"][:] == SOURCE, arrays["cover"][:]
    for name, part in (("source", cover[source]), ("others", cover[~source])):
        if len(part):
            made[f"mean_cover_{name}"] = float(part.mean())
    return made


def notes(config: ObjectsConfig) -> list[str]:
    """What a user should know before trusting a number measured on this data."""
    lines = [
        "Drawings, not photos: the classes have Office-31's names and nothing else of it. A figure measured here is no figure "
        "for Office-31.",
        "Within a class, proportions, parts and colours vary, the way it is drawn does not: classes are easier to tell than "
        "photos of them.",
        "Colours are drawn from one list for things of all classes, so colour tells no class.",
    ]
    if config.domain_sizes:
        lines.append(
            "Every domain has equally many images of every class that it has, but for rounding; Office-31's have not."
        )
    else:
        lines.append(
            "Domains have equally many images of every class; Office-31's have not (2,817 amazon, 498 dslr, 795 webcam)."
        )
    if config.outlier_classes:
        lines.append(
            f"{', '.join(config.outlier_classes)} are absent from {config.domains[0]} and outliers of the other domains; they "
            "keep their labels."
        )
    return lines


GENERATOR = Generator(
    name="objects",
    title="Objects",
    version="1.1.0",
    summary="Images of drawn things of 31 classes: on a desk (dslr), before white (amazon), through a webcam.",
    reference="X. Liu, Efficiency in Deep Learning, dissertation, TU Delft, 2024, section 4.5.1 (in place of Office-31)",
    file_format="image-set",
    config_type=ObjectsConfig,
    class_names=CLASS_NAMES,
    load_source=load_source,
    generate=generate,
    layout=layout,
    figures=figures,
    notes=notes,
)
