"""Shape: which two shapes are in the picture? Black and solid in the source, coloured and dotted in the target, letters and
digits as outliers (X. Liu, Efficiency in Deep Learning, TU Delft, 2024, section 4.5.1). Seven shapes follow from the 28
classes of the author's code; which ones, and how pose, size, line, colour and place vary, is this project's choice."""

import colorsys
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic_datasets.drawing.outlines import GLYPHS, SHAPES
from synthetic_datasets.drawing.strokes import Points, solid_spacing, spots, turned
from synthetic_datasets.generators.generator import Field, Generator, GeneratorConfig, Sample, Source
from synthetic_datasets.seeding import sample_rng
from synthetic_datasets.storage.image_set import SOURCE, counts_of, factor, image_fields, place, rounded, separation

SHAPE_NAMES, GLYPH_NAMES = tuple(SHAPES), tuple(GLYPHS)
COMBINATIONS = tuple(combinations_with_replacement(range(len(SHAPES)), 2))
"""Class -> numbers of its two shapes, the smaller first."""
CLASS_NAMES = tuple(f"{SHAPE_NAMES[a]} and {SHAPE_NAMES[b]}" for a, b in COMBINATIONS)

RADIUS, GLYPH_RADIUS = (0.16, 0.23), (0.3, 0.44)
"""Least and largest radius of the circle around a shape and around a glyph, in widths of the picture."""
LINE, DOT = (0.022, 0.05), (0.022, 0.032)
"""The same of a solid line's width and of a dot's diameter."""
SPACING = (1.4, 1.9)
"""From dot to dot, in diameters. Even the smallest cross has a dot between two corners, or it would be a grid of dots."""
NEAREST = 0.85
"""Two shapes are at least this part of the sum of their radii apart: lines may touch and cross, but hide nothing."""
BRIGHTEST = 0.55
"""Largest luminance of a coloured line on white."""
_SMALLEST = 32
"""Pixels of a picture, below which shapes are lost."""


@dataclass(frozen=True)
class ShapeConfig(GeneratorConfig):
    """Options of Shape; the defaults are the thesis's numbers of images."""

    train: int = 81_000
    """Images in the train split, source first, then target."""
    test: int = 9_000
    """Images in the test split."""
    target_share: float = 1 / 3
    """Part of the images of a split that are of the target domain (0 to 1)."""
    outlier_share: float = 2_800 / 30_000
    """Part of the target images that are outliers (0 to 1)."""
    size: int = 64
    """Height and width of an image in pixels."""
    rotation: float = 30.0
    """Most degrees by which shapes and letters are turned, either way (0 to 180)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges(size=(_SMALLEST, None), target_share=(0, 1), outlier_share=(0, 1), rotation=(0, 180))

    def domain_counts(self, split: str) -> tuple[int, int]:
        count = int(getattr(self, split))
        target = rounded(self.target_share * count)
        return count - target, target


def layout(config: ShapeConfig) -> dict[str, Field]:
    """The arrays of every image; the second row of what there is for each of two shapes is zero for a letter or digit."""
    return image_fields(config.size, config.size, "combination of two shapes, -1 for outliers") | {
        "shapes": factor("<i8", "numbers of the two shapes in the list parts, in random order; -1 for outliers", 2),
        "glyph": factor("<i8", "number of the letter or digit in the list parts; -1 for shapes"),
        "centre": factor("<f4", "x y of the middle of the circle around each of them, in pixels", 2, 2),
        "radius": factor("<f4", "of that circle, in pixels", 2),
        "angle": factor("<f4", "radians by which each is turned from upright, clockwise", 2),
        "line_width": factor("<f4", "width of a solid line or diameter of a dot in pixels"),
        "spacing": factor("<f4", "pixels from dot to dot, before rounding to whole steps; 0 for solid lines"),
        "colour": factor("|u1", "red, green, blue of the lines", 3),
        "ink": factor("<f4", "part of the picture that lines cover"),
    }


def generate(config: ShapeConfig, split: str, index: int, source: Source) -> Sample:
    """Source images and inliers have the same distribution of combinations, poses, sizes and places. Inliers and
    outliers have the same one of lines and colours, and one colour an image, so that style does not tell them apart."""
    rng = sample_rng(config.seed, split, index)
    here = place(config.seed, split, index, config.domain_counts(split), config.outlier_share)
    out = {name: np.zeros(spec.shape, spec.dtype) for name, spec in layout(config).items()}
    out["domain"][...], out["outlier"][...] = here.domain, here.outlier
    out["label"][...] = out["shapes"][:] = out["glyph"][...] = -1
    if here.outlier:
        glyph = here.number % len(GLYPHS)
        out["glyph"][...] = glyph
        drawn, radii = [GLYPHS[GLYPH_NAMES[glyph]]], _between(*GLYPH_RADIUS, rng.random(1))
    else:
        out["label"][...] = label = here.number % len(COMBINATIONS)
        shapes = COMBINATIONS[label][:: 1 if rng.random() < 0.5 else -1]
        out["shapes"][:] = shapes
        drawn, radii = [SHAPES[SHAPE_NAMES[shape]] for shape in shapes], _between(*RADIUS, rng.random(2))
    dotted = here.domain != SOURCE
    width = config.size * float(_between(*(DOT if dotted else LINE), rng.random()))
    spacing = width * float(_between(*SPACING, rng.random())) if dotted else solid_spacing(width / 2)
    radii = radii * config.size
    angles = math.radians(config.rotation) * (2 * rng.random(len(drawn)) - 1)
    centres = _centres(radii, config.size, width / 2 + 1, rng)
    colour = _colour(rng) if dotted else np.zeros(3, np.uint8)
    laid = [
        turned(what.points(spacing / radius), angle) * radius + centre
        for what, radius, angle, centre in zip(drawn, radii.tolist(), angles.tolist(), centres, strict=True)
    ]
    cover = spots(np.concatenate(laid), width / 2, config.size)
    out["image"][:] = np.rint(255 - cover[:, :, None] * (255 - colour.astype(np.float32)))
    for name, values in (("centre", centres), ("radius", radii), ("angle", angles)):
        out[name][: len(drawn)] = values
    out["line_width"][...], out["spacing"][...] = width, spacing if dotted else 0
    out["colour"][:], out["ink"][...] = colour, cover.mean()
    return Sample(out)


def load_source(data_root: str | Path | None, config: ShapeConfig) -> Source:
    return Source(parts={"domain": ["source", "target"], "shapes": list(SHAPE_NAMES), "glyph": list(GLYPH_NAMES)})


def figures(arrays: Mapping[str, Any]) -> dict[str, float]:
    made = counts_of(arrays)
    domain, outlier = arrays["domain"][:], arrays["outlier"][:]
    target = domain != SOURCE
    if 0 < outlier[target].sum() < target.sum():
        for name in ("ink", "line_width"):
            made[f"outliers_told_by_{name}"] = separation(-arrays[name][:][target], outlier[target])
    return made


def notes(config: ShapeConfig) -> list[str]:
    return [
        "The thesis names neither the shapes nor how they vary; 28 classes, and so seven shapes, are those of the author's "
        "code.",
        "Colour and dots tell the domain at a glance, by design: this is the gap that domain adaptation has to close.",
        "Inliers and outliers of the target have lines, dots and colours of the same distribution, but a single letter often "
        "has less ink than two shapes: outliers_told_by_ink is the ROC area of that rule, 0.5 where it tells nothing.",
        "Dots have even steps from corner to corner, so every corner has one; their spacing is rounded for that.",
        f"Shapes are turned by at most {config.rotation:g} degrees; the lines of two shapes may touch and cross.",
        "An 8 looks like two circles that touch, an O like an ellipse: size and number tell them apart.",
    ]


def _between(low: float, high: float, part: Any) -> Any:
    return low + (high - low) * part


def _centres(radii: NDArray[np.float64], size: int, margin: float, rng: np.random.Generator) -> Points:
    """(n, 2) middles of circles inside the picture, ``margin`` px from its border, no two of them too near. Uniform
    over all such places. A try succeeds more often than not, whatever the radii."""
    room = (size - 2 * (radii + margin))[:, None]
    while True:
        centres: Points = radii[:, None] + margin + room * rng.random((len(radii), 2))
        if len(radii) == 1 or np.hypot(*(centres[0] - centres[1])) >= NEAREST * radii.sum():
            return centres


def _colour(rng: np.random.Generator) -> NDArray[np.uint8]:
    hue, saturation, value = rng.random(), 0.6 + 0.4 * rng.random(), 0.45 + 0.5 * rng.random()
    rgb = np.array(colorsys.hsv_to_rgb(hue, saturation, value))
    luminance = float(rgb @ (0.299, 0.587, 0.114))
    return np.rint(255 * rgb * min(1.0, BRIGHTEST / luminance)).astype(np.uint8)


GENERATOR = Generator(
    name="shape", title="Shape", version="1.0.0", section="4.5.1", file_format="image-set", config_type=ShapeConfig,
    class_names=CLASS_NAMES, load_source=load_source, generate=generate, layout=layout, figures=figures, notes=notes,
)  # fmt: skip
