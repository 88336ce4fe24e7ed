"""ShapeScenes: which pixel belongs to which of ten shapes that lie over one another? In the place of PASCAL VOC 2012
(X. Liu, Efficiency in Deep Learning, TU Delft, 2024, section 5.4.4): as many images, a class for every pixel, a narrow
edge that has none. Pixels and mask are made from the same areas."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthetic_datasets.drawing.outlines import SOLID_NAMES, Pose, new_pose
from synthetic_datasets.drawing.surfaces import coat, colour, colour_apart, cover, ground, over, photographed, stroke
from synthetic_datasets.generators.generator import Field, Generator, GeneratorConfig, Sample, Source
from synthetic_datasets.generators.shortcuts import told_by
from synthetic_datasets.seeding import sample_rng
from synthetic_datasets.storage.image_set import EDGE, factor, label_map, mask_fields, place, seen_parts

CLASS_NAMES = ("background", *SOLID_NAMES)
SIDE, OFF = (0.18, 0.36), 0.4
"""Least and largest square root of a shape's area, and most that its centre is off the middle, in widths of the picture."""
TRIES = 2
"""Of so many places drawn for a shape it lies at the one with most room: shapes hide each other, but seldom wholly."""
MOST = 16
"""Most shapes of an image."""


@dataclass(frozen=True)
class ShapeScenesConfig(GeneratorConfig):
    """Options of ShapeScenes; the default numbers of images are VOC 2012's, augmented training set and validation set."""

    train: int = 10_582
    """Images in the train split."""
    test: int = 1_449
    """Images in the test split."""
    size: int = 64
    """Height and width of an image in pixels."""
    shapes: tuple[int, int] = (3, 6)
    """Least and most shapes of an image (1 to 16), each number as likely."""
    rotation: float = 30.0
    """Most degrees by which shapes are turned, either way (0 to 180)."""
    stretch: float = 1.25
    """How many times as long as wide a shape may be made (1 to 1.4)."""
    texture: float = 0.4
    """How far apart both colours of the ground are, as part of the distance of any two colours (0 to 1)."""
    clutter: int = 4
    """Most strokes on the ground, which are background (0 to 10)."""
    contrast: float = 0.3
    """Least distance of a shape's colour from those of the ground, of 1.73 (0 to 0.5)."""
    noise: float = 16.0
    """Largest deviation of an image's noise, in grey values (0 to 64)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges(size=(32, None), rotation=(0, 180), stretch=(1, 1.4), texture=(0, 1), clutter=(0, 10))
        self.check_ranges(contrast=(0, 0.5), noise=(0, 64))
        if len(self.shapes) != 2 or not 1 <= self.shapes[0] <= self.shapes[1] <= MOST:
            raise ValueError(f"shapes: expected least and most of 1 to {MOST}, got {', '.join(map(str, self.shapes))}")


def layout(config: ShapeScenesConfig) -> dict[str, Field]:
    """The arrays of every image; rows of shapes that an image has not are zero."""
    most = config.shapes[1]
    return mask_fields(config.size, config.size, most) | {
        "centre": factor("<f4", "x y of the centre of each shape's area in pixels", most, 2),
        "side": factor("<f4", "square root of that area in pixels", most),
        "angle": factor("<f4", "radians by which each is turned from upright, clockwise", most),
        "stretch": factor("<f4", "how many times as long as wide it was made; along which direction, radians", most, 2),
        "colour": factor("<f4", "red, green, blue of each shape without its texture, 0 to 1", most, 3),
        "visible": factor("<f4", "part of each shape that is inside the picture and not under others", most),
        "ground": factor("<f4", "red, green, blue of both colours of the ground, 0 to 1", 2, 3),
        "clutter": factor("<i8", "strokes on the ground"), "noise": factor("<f4", "deviation in grey values"),
        "background": factor("<f4", "part of the pixels whose class is background"),
        "edge": factor("<f4", "part of the pixels that have no class"),
    }  # fmt: skip


def generate(config: ShapeScenesConfig, split: str, index: int, source: Source) -> Sample:
    """One shape has class 1 + index modulo 10, the others a random one; poses and looks are drawn regardless of class."""
    rng = sample_rng(config.seed, split, index)
    here = place(config.seed, split, index, (getattr(config, split),), 0)
    size, (least, most) = config.size, config.shapes
    count = least + int((most - least + 1) * rng.random())
    kinds = [int(len(SOLID_NAMES) * part) for part in rng.random(count)]
    kinds[int(count * rng.random())] = here.number % len(SOLID_NAMES)
    poses: list[Pose] = []
    for _ in kinds:
        drawn = [new_pose(size, SIDE, OFF, config.rotation, config.stretch, rng) for _ in range(TRIES)]
        poses.append(max(drawn, key=lambda pose: _room(pose, poses)))
    colours = np.stack((colour(rng), colour(rng)))
    colours[1] = colours[0] + config.texture * (colours[1] - colours[0])
    strokes = int((config.clutter + 1) * rng.random())
    noise = config.noise * rng.random()
    picture = ground(colours, size, rng)
    for _ in range(strokes):
        picture = over(picture, stroke(size, size * rng.random(2), rng), colour(rng))
    covers = [cover(pose.laid(kind), size) for pose, kind in zip(poses, kinds, strict=True)]
    out = {name: np.zeros(spec.shape, spec.dtype) for name, spec in layout(config).items()}
    for number, covered in enumerate(covers):
        out["colour"][number] = painted = colour_apart(colours, config.contrast, rng)
        picture = over(picture, covered, coat(painted, size, rng))
    parts = seen_parts(covers, size)
    labels = [1 + kind for kind in kinds]
    out["image"][:] = photographed(picture, noise, rng)
    out["mask"][:] = mask = label_map(parts, labels)
    out["labels"][:] = -1
    out["labels"][:count] = labels
    for number, (pose, part) in enumerate(zip(poses, parts[1:], strict=True)):
        for name, value in vars(pose).items():
            out[name][number] = value
        out["visible"][number] = min(1.0, float(part.sum()) / pose.side**2)
    out["ground"][:], out["clutter"][...], out["noise"][...] = colours, strokes, noise
    out["background"][...], out["edge"][...] = (mask == 0).mean(), (mask == EDGE).mean()
    return Sample(out)


def load_source(data_root: str | Path | None, config: ShapeScenesConfig) -> Source:
    return Source()


def figures(arrays: Mapping[str, Any]) -> dict[str, float]:
    """What shows of the shapes, what calling everything background scores, and what colour and size tell of the class.
    ``told_by_NAME`` is how often a nearest-centroid rule finds a shape's class from that alone (chance is 0.1)."""
    labels = arrays["labels"][:]
    there = labels >= 0
    visible, side = arrays["visible"][:][there], arrays["side"][:][there]
    background, edge = float(arrays["background"][:].mean()), float(arrays["edge"][:].mean())
    made = {
        "shapes": float(there.sum()), "mean_visible": float(visible.mean()),
        "visible_below_half": float((visible < 0.5).mean()), "edge_pixels": edge, "background_pixels": background,
        "miou_of_background_alone": background / (1 - edge) / len(CLASS_NAMES),
    }  # fmt: skip
    features = {"colour": arrays["colour"][:][there], "side": side, "centre": arrays["centre"][:][there]}
    return made | told_by(features | {"visible": visible}, labels[there])


def notes(config: ShapeScenesConfig) -> list[str]:
    return [
        "No photos: ten outlines on textures. A figure measured here is no figure for PASCAL VOC.",
        "A pixel has a class where one shape, or the background, alone is seen in at least 0.98 of it, else the mask is 255; "
        "so it is between two shapes of one class, too.",
        "Colours, textures, areas, places and order in depth are drawn without regard to class, so only the outline tells it: "
        "told_by_colour and its like are what a nearest-centroid rule gets right from these alone, chance 0.1.",
        "Strokes on the ground are background. A shape may be cut off by the border or hidden by others: visible says how "
        "much of it shows, and of a few nothing may.",
        f"Every shape is its own mirror image and turned by up to {config.rotation:g} degrees.",
    ]


def _room(pose: Pose, others: list[Pose]) -> float:
    ways = (float(np.hypot(*(pose.centre - other.centre))) / (pose.side + other.side) for other in others)
    return min(ways, default=0.0)


GENERATOR = Generator(
    name="shape-scenes", title="ShapeScenes", version="1.0.0", section="5.4.4 (in place of PASCAL VOC 2012)",
    file_format="mask-set", config_type=ShapeScenesConfig, class_names=CLASS_NAMES, load_source=load_source,
    generate=generate, layout=layout, figures=figures, notes=notes,
)  # fmt: skip
