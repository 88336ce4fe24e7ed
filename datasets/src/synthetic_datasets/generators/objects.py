"""Objects: drawn things of Office-31's 31 names in three domains, where Office-31 is not at hand (X. Liu, Efficiency in Deep
Learning, TU Delft, 2024): dslr against amazon with speaker and scissors as outliers (section 4.5.1), one of three domains
against the others without outliers (5.4.4). No substitute for photos: what is measured on it is called by its own name."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from synthetic_datasets.drawing.pen import Pen
from synthetic_datasets.drawing.things import THINGS, new_look
from synthetic_datasets.generators.generator import Field, Generator, GeneratorConfig, Sample, Source
from synthetic_datasets.material.scenes import SCENES, new_view, photograph
from synthetic_datasets.seeding import sample_rng
from synthetic_datasets.storage.image_set import SOURCE, counts_of, factor, image_fields, place, rounded

CLASS_NAMES = tuple(THINGS)
_SMALLEST = 32
"""Pixels of a picture, below which things are lost."""
_DRAWN_PX = 256
"""Things are drawn at least about this large and then averaged, so that thin parts keep their share of a pixel."""


@dataclass(frozen=True)
class ObjectsConfig(GeneratorConfig):
    """Options of Objects."""

    train: int = 3_100
    """Images in the train split, one domain after the other."""
    test: int = 1_240
    """Images in the test split."""
    domains: tuple[str, ...] = ("dslr", "amazon")
    """Domains, of dslr, amazon and webcam: the first is the source, the second the target."""
    domain_sizes: tuple[int, ...] = ()
    """Numbers that the images of the domains, in their order, are in proportion to; none: as many of every domain.
    Office-31's of amazon, dslr and webcam are 2817 498 795."""
    outlier_classes: tuple[str, ...] = ("scissors", "speaker")
    """Classes that are absent from the source and outliers of every other domain; none: all 31 are in every domain."""
    outlier_share: float = 0.1
    """Part of the images of every other domain that are outliers, where there are outlier classes (0 to 1)."""
    size: int = 64
    """Height and width of an image in pixels."""

    def __post_init__(self) -> None:
        if self.outlier_classes == ("none",):  # how a command line says what () says here
            object.__setattr__(self, "outlier_classes", ())
        super().__post_init__()
        self.check_ranges(size=(_SMALLEST, None), outlier_share=(0, 1))
        for name, known in (("domains", SCENES), ("outlier_classes", THINGS)):
            given = getattr(self, name)
            if wrong := [value for value in given if value not in known]:
                raise ValueError(f"{name}: {wrong[0]!r} is unknown; any of {', '.join(known)}")
            if len(set(given)) < len(given):
                raise ValueError(f"{name}: {', '.join(given)} names one twice")
        if not self.domains:
            raise ValueError(f"domains: expected at least one of {', '.join(SCENES)}")
        if self.domain_sizes and (len(self.domain_sizes) != len(self.domains) or min(self.domain_sizes) < 1):
            given = ", ".join(map(str, self.domain_sizes))
            raise ValueError(f"domain_sizes: expected 1 or more for each of {', '.join(self.domains)}, got {given}")
        if len(self.outlier_classes) == len(THINGS):
            raise ValueError(f"outlier_classes: all {len(THINGS)} classes, so none is left for the source")

    def domain_counts(self, split: str) -> list[int]:
        """Images of every domain in a split: equal numbers, or in proportion to ``domain_sizes``, but for rounding."""
        count, ends = int(getattr(self, split)), [0, *accumulate(self.domain_sizes or (1,) * len(self.domains))]
        return [end - start for start, end in pairwise(rounded(count * end / ends[-1]) for end in ends)]

    def classes(self, outlier: bool) -> list[int]:
        """Numbers of the classes that are outliers, or of the others."""
        return [number for number, name in enumerate(CLASS_NAMES) if (name in self.outlier_classes) == outlier]


def layout(config: ObjectsConfig) -> dict[str, Field]:
    return image_fields(config.size, config.size, "class of the thing, of outliers too") | {
        "body": factor("|u1", "red, green, blue of the thing's largest part, before light and camera", 3),
        "centre": factor("<f4", "x y of the thing's middle in pixels", 2),
        "scale": factor("<f4", "half the side of the square that the thing is drawn in, in pixels"),
        "angle": factor("<f4", "radians by which it is turned, clockwise"),
        "tilt": factor("<f4", "how much nearer its right and its lower side are, relative to its distance", 2),
        "desk": factor("<i8", "what it lies on: 0 wood, 1 cloth, 2 plain; -1 for white"),
        "desk_colour": factor("|u1", "red, green, blue of that", 3),
        "light": factor("<f4", "direction it comes from, radians from x to y, and how unequal it is", 2),
        "blur": factor("<f4", "deviation in pixels"), "noise": factor("<f4", "deviation in grey values"),
        "gain": factor("<f4", "of the camera's red, green and blue", 3), "contrast": factor("<f4", "of the camera"),
        "cover": factor("<f4", "part of the picture that the thing covers"),
    }  # fmt: skip


def generate(config: ObjectsConfig, split: str, index: int, source: Source) -> Sample:
    """Every image shows another thing; proportions, parts and colours have one distribution in every domain."""
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
    values = vars(view) | {
        "image": photograph(thing, view, rng), "label": label, "domain": here.domain, "outlier": here.outlier,
        "body": look.body, "cover": thing[:, :, 3].mean(),
    }  # fmt: skip
    return Sample({name: np.asarray(values[name], spec.dtype) for name, spec in layout(config).items()})


def load_source(data_root: str | Path | None, config: ObjectsConfig) -> Source:
    return Source(parts={"domain": list(config.domains), "desk": ["wood", "cloth", "plain"]})


def figures(arrays: Mapping[str, Any]) -> dict[str, float]:
    made = counts_of(arrays)
    source, cover = arrays["domain"][:] == SOURCE, arrays["cover"][:]
    for name, part in (("source", cover[source]), ("others", cover[~source])):
        if len(part):
            made[f"mean_cover_{name}"] = float(part.mean())
    return made


def notes(config: ObjectsConfig) -> list[str]:
    lines = [
        "Drawings, not photos: the classes have Office-31's names and nothing else of it. A figure measured here is no figure "
        "for Office-31.",
        "Within a class, proportions, parts and colours vary, the way it is drawn does not: classes are easier to tell than "
        "photos of them.",
        "Colours are drawn from one list for things of all classes, so colour tells no class.",
        "Every domain has equally many images of every class that it has, but for rounding; Office-31's have not."
        if config.domain_sizes
        else "Domains have equally many images of every class; Office-31's have not (2,817 amazon, 498 dslr, "
        "795 webcam).",
    ]
    if config.outlier_classes:
        lines.append(
            f"{', '.join(config.outlier_classes)} are absent from {config.domains[0]} and outliers of the other domains; they "
            "keep their labels."
        )
    return lines


GENERATOR = Generator(
    name="objects", title="Objects", version="1.1.0", section="4.5.1 (in place of Office-31)", file_format="image-set",
    config_type=ObjectsConfig, class_names=CLASS_NAMES, load_source=load_source, generate=generate, layout=layout,
    figures=figures, notes=notes,
)  # fmt: skip
