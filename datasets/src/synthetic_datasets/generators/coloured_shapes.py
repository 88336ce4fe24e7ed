"""ColouredShapes: which of ten shapes is it? In the place of CIFAR-10 (X. Liu, Efficiency in Deep Learning, TU Delft,
2024, section 5.4.1): as many images and classes, of the same size. Everything but the outline is drawn before the class
is looked at, and all shapes have one range of areas, so only the outline tells the class."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthetic_datasets.drawing.outlines import SOLID_NAMES, new_pose
from synthetic_datasets.drawing.surfaces import coat, colour, colour_apart, cover, ground, over, photographed, stroke
from synthetic_datasets.generators.generator import Field, Generator, GeneratorConfig, Sample, Source
from synthetic_datasets.generators.shortcuts import told_by
from synthetic_datasets.seeding import sample_rng
from synthetic_datasets.storage.image_set import factor, image_fields, place

CLASS_NAMES = SOLID_NAMES
SIDE, OFF = (0.28, 0.44), 0.12
"""Least and largest square root of a shape's area, and most that its centre is off the middle, in widths of the picture."""
UNTELLING = ("mean_colour", "colour", "covered", "centre", "visible")
"""Arrays that should not tell the class; the card says how far they do."""


@dataclass(frozen=True)
class ColouredShapesConfig(GeneratorConfig):
    """Options of ColouredShapes; the defaults are CIFAR-10's numbers and size of images."""

    train: int = 50_000
    """Images in the train split; image i has class i modulo 10."""
    test: int = 10_000
    """Images in the test split."""
    size: int = 32
    """Height and width of an image in pixels."""
    rotation: float = 30.0
    """Most degrees by which shapes are turned, either way (0 to 180)."""
    stretch: float = 1.25
    """How many times as long as wide a shape may be made (1 to 1.4)."""
    texture: float = 0.4
    """How far apart both colours of the ground are, as part of the distance of any two colours (0 to 1)."""
    clutter: int = 2
    """Most strokes behind the shape (0 to 10)."""
    occluders: int = 1
    """Most strokes over the shape (0 to 4)."""
    contrast: float = 0.4
    """Least distance of the shape's colour from those of ground and strokes over it, of 1.73 (0 to 0.5)."""
    noise: float = 16.0
    """Largest deviation of an image's noise, in grey values (0 to 64)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges(size=(16, None), rotation=(0, 180), stretch=(1, 1.4), texture=(0, 1), clutter=(0, 10))
        self.check_ranges(occluders=(0, 4), contrast=(0, 0.5), noise=(0, 64))


def layout(config: ColouredShapesConfig) -> dict[str, Field]:
    """The arrays of every image; it has one domain, and no outliers."""
    return image_fields(config.size, config.size, "shape") | {
        "centre": factor("<f4", "x y of the centre of the shape's area in pixels", 2),
        "side": factor("<f4", "square root of that area in pixels"),
        "angle": factor("<f4", "radians by which it is turned from upright, clockwise"),
        "stretch": factor("<f4", "how many times as long as wide it was made; along which direction, radians", 2),
        "colour": factor("<f4", "red, green, blue of the shape without its texture, 0 to 1", 3),
        "ground": factor("<f4", "red, green, blue of both colours of the ground, 0 to 1", 2, 3),
        "clutter": factor("<i8", "strokes behind the shape"), "occluders": factor("<i8", "strokes over it"),
        "noise": factor("<f4", "deviation in grey values"),
        "covered": factor("<f4", "part of the picture that the shape covers, strokes over it or not"),
        "visible": factor("<f4", "part of the shape that is inside the picture and not under strokes"),
        "mean_colour": factor("<f4", "means of red, green, blue over the picture, in grey values", 3),
    }  # fmt: skip


def generate(config: ColouredShapesConfig, split: str, index: int, source: Source) -> Sample:
    rng = sample_rng(config.seed, split, index)
    here = place(config.seed, split, index, (getattr(config, split),), 0)
    label, size = here.number % len(CLASS_NAMES), config.size
    pose = new_pose(size, SIDE, OFF, config.rotation, config.stretch, rng)
    colours = np.stack((colour(rng), colour(rng)))
    colours[1] = colours[0] + config.texture * (colours[1] - colours[0])
    painted = colour_apart(colours, config.contrast, rng)
    behind, before = (int((most + 1) * rng.random()) for most in (config.clutter, config.occluders))
    noise = config.noise * rng.random()
    picture = ground(colours, size, rng)
    for _ in range(behind):
        picture = over(picture, stroke(size, size * rng.random(2), rng), colour(rng))
    covered = cover(pose.laid(label), size)
    picture = over(picture, covered, coat(painted, size, rng))
    seen = covered
    for _ in range(before):
        through = pose.centre + pose.side * (rng.random(2) - 0.5)
        hidden = stroke(size, through, rng)
        picture = over(picture, hidden, colour_apart(np.stack((painted, painted)), config.contrast, rng))
        seen = seen * (1 - hidden)
    image = photographed(picture, noise, rng)
    values = vars(pose) | {
        "image": image, "label": label, "domain": here.domain, "outlier": here.outlier, "colour": painted,
        "ground": colours, "clutter": behind, "occluders": before, "noise": noise, "covered": covered.mean(),
        "visible": min(1.0, float(seen.sum()) / pose.side**2), "mean_colour": image.mean(axis=(0, 1)),
    }  # fmt: skip
    return Sample({name: np.asarray(values[name], spec.dtype) for name, spec in layout(config).items()})


def load_source(data_root: str | Path | None, config: ColouredShapesConfig) -> Source:
    return Source(parts={"domain": ["drawn"]})


def figures(arrays: Mapping[str, Any]) -> dict[str, float]:
    seen = arrays["visible"][:]
    made = {"mean_visible": float(seen.mean()), "visible_below_half": float((seen < 0.5).mean())}
    return made | told_by({name: arrays[name][:] for name in UNTELLING}, arrays["label"][:])


def notes(config: ColouredShapesConfig) -> list[str]:
    return [
        "No photos: ten outlines on textures. A figure measured here is no figure for CIFAR-10.",
        "Colours, textures, area, place, clutter and what lies over a shape are drawn in the same way for all classes, so only "
        "the outline tells the class: told_by_mean_colour and its like are what a nearest-centroid rule gets right from "
        "these alone, chance 0.1.",
        f"Every shape is its own mirror image and turned by up to {config.rotation:g} degrees; flips and small shifts keep "
        "the class.",
        "Strokes may hide what tells two shapes apart, and the border may cut off a tip: not every image can be told.",
        "Shapes of one area reach out to different distances, so a stroke hides a little more of compact ones; told_by_visible "
        "says how little that tells.",
    ]


GENERATOR = Generator(
    name="coloured-shapes", title="ColouredShapes", version="1.0.0", section="5.4.1 (in place of CIFAR-10)",
    file_format="image-set", config_type=ColouredShapesConfig, class_names=CLASS_NAMES, load_source=load_source,
    generate=generate, layout=layout, figures=figures, notes=notes,
)  # fmt: skip
