"""MovingDigits: every digit class has its own linear motion (X. Liu, Efficiency in Deep Learning, TU Delft, 2024, section
2.4.1). The thesis prints neither directions, starts, border rule nor boxes: those defaults are this project's, each an
option. Further options make stand-ins for real videos: several speeds, background pictures, frames without annotation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from synthetic_datasets.generators.generator import Field, Generator, GeneratorConfig, Sample
from synthetic_datasets.material.backgrounds import Background, background
from synthetic_datasets.material.digits import CLASS_NAMES, SIDE, Digits, load_digits, paste, resize
from synthetic_datasets.motion.paths import Border, trajectory, velocity, whole_pixels
from synthetic_datasets.motion.tracks import BoxKind, after_keyframe, box_in_patch, clip_boxes, no_motion_iou
from synthetic_datasets.seeding import factor_rng, sample_rng, shared_rng

CLASSES = len(CLASS_NAMES)
THESIS_HORIZON = 8
_SPEED_FACTOR = 0
"""Number of the speed's own stream of randomness (``seeding.factor_rng``)."""


@dataclass(frozen=True)
class MovingDigitsConfig(GeneratorConfig):
    """Options of MovingDigits; the defaults are the thesis's figures where it prints them."""

    train: int = 200
    """Videos in the train split; the class is the index modulo 10."""
    test: int = 80
    """Videos in the test split."""
    frames: int = 32
    """Frames of a video."""
    size: tuple[int, int] = (64, 64)
    """Height and width of a frame in pixels."""
    digit_size: int = SIDE
    """Side of the square digit patch in pixels."""
    objects: int = 1
    """Digits in a video; all after the first are of any class. They may overlap."""
    speed: float = 2.0
    """Speed in pixels per frame."""
    speeds: tuple[float, ...] = ()
    """Speeds in pixels per frame of which every digit has one, each as likely, in place of speed."""
    border: Border = "hold"
    """At the border, hold clamps each coordinate alone, stop ends the motion, bounce reflects, leave lets the digit
    go out."""
    boxes: BoxKind = "patch"
    """Box of a digit: its whole patch, or tight around its ink."""
    ink_threshold: int = 32
    """Ink, for tight boxes: grey values above this (0 to 254)."""
    background: Background = "black"
    """Picture behind the digits, still in a video."""
    scenes: int = 0
    """Background pictures of a split, one for every video; 0 gives each video its own."""
    scenes_test: Literal["seen", "unseen"] = "seen"
    """Whether the test split has the train split's scenes (seen) or as many new ones (unseen)."""
    annotate_every: int = 1
    """Annotate every so many frames only, from the first on."""
    min_visible: float = 0.1
    """A digit is present while this part of its box or more is in the frame."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges(frames=(1, None), objects=(1, None), digit_size=(1, None), annotate_every=(1, None))
        self.check_ranges(scenes=(0, None), speed=(0, None), speeds=(0, None), ink_threshold=(0, 254))
        if len(self.size) != 2 or min(self.size) < self.digit_size:
            raise ValueError(f"size: {self.size} (height, width) does not hold a digit of {self.digit_size} px")
        if not 0 < self.min_visible <= 1:
            raise ValueError(f"min_visible: expected a part above 0 and up to 1, got {self.min_visible}")
        if self.scenes and self.background == "black":
            raise ValueError(f"scenes: {self.scenes} pictures, but background black has none; choose another")
        if self.scenes_test == "unseen" and not self.scenes:
            raise ValueError("scenes_test: unseen needs scenes of 1 or more; with 0 no two videos share a background")


def direction(label: int) -> float:
    """Direction of motion of class ``label`` in radians, 36 degrees a class, x to the right and y down. So zeros move
    to the right, and the angle turns clockwise on the screen: ones to the right and slightly down."""
    return 2 * math.pi * label / CLASSES


def layout(config: MovingDigitsConfig) -> dict[str, Field]:
    """The arrays of every video; L frames, O objects, H x W px. ``annotated`` and ``scene`` only where they tell something."""
    length, objects = config.frames, config.objects
    fields = {
        "video": Field((length, *config.size), "|u1", "grey frames (L, H, W)"),
        "boxes": Field((length, objects, 4), "<f4", "x1 y1 x2 y2 in pixels, ends exclusive; zeros where not present"),
        "present": Field((length, objects), "|b1", "object is visible in the frame and annotated"),
        "labels": Field((objects,), "<i8", "class of the object, the digit 0..9"),
        "tracks": Field((objects,), "<i8", "track id of the object, unique in its video"),
        "direction": Field((objects,), "<f4", "direction of motion at frame 0 in radians; x right, y down"),
        "speed": Field((objects,), "<f4", "pixels per frame"),
        "source_index": Field((objects,), "<i8", "which picture of the source the digit is"),
        "start": Field((objects, 2), "<f4", "x y of the patch's top left corner at frame 0, before rounding"),
    }
    if config.scenes:
        fields["scene"] = Field(
            (), "<i8", "which background picture; the same number is the same picture in both splits"
        )
    if config.annotate_every > 1:
        fields["annotated"] = Field((length,), "|b1", "frame is annotated; boxes and present of others say nothing")
    return fields


def generate(config: MovingDigitsConfig, split: str, index: int, digits: Digits) -> Sample:
    """A patch is drawn at its position rounded to whole pixels (halves up) and its box is made from the same rounded
    position, so box and pixels agree exactly, while the motion itself is not rounded. Patches are combined with the
    background and with each other by the maximum of grey values. Boxes take no account of one digit covering another.
    Raises UsageError if a digit has no ink above ``ink_threshold`` where boxes are tight."""
    rng = sample_rng(config.seed, split, index)
    pool = digits.splits[split]
    height, width = config.size
    limit = np.array([width, height], float) - config.digit_size
    speed_rng = factor_rng(config.seed, split, index, _SPEED_FACTOR)

    out = {name: np.zeros(spec.shape, spec.dtype) for name, spec in layout(config).items()}
    patches, corners = [], []
    for number in range(config.objects):
        label = index % CLASSES if number == 0 else int(CLASSES * rng.random())
        choices = pool.of_class(label)
        chosen = int(choices[int(len(choices) * rng.random())])
        start = limit * rng.random(2)
        speed = config.speeds[int(len(config.speeds) * speed_rng.random())] if config.speeds else config.speed
        step = velocity(direction(label), speed)
        patch = resize(pool.images[chosen], config.digit_size)
        corner = whole_pixels(trajectory(start, step, config.frames, limit, config.border))
        in_patch = box_in_patch(patch, config.boxes, config.ink_threshold)
        moving = np.concatenate([corner, corner], axis=1) + in_patch
        boxes, present = clip_boxes(moving, config.size, config.min_visible)
        out["boxes"][:, number], out["present"][:, number] = boxes, present
        out["labels"][number], out["tracks"][number] = label, number
        out["direction"][number], out["speed"][number] = direction(label), speed
        out["source_index"][number], out["start"][number] = pool.indices[chosen], start
        patches.append(patch)
        corners.append(corner)

    # drawn from the generator last, so that another background leaves the tracks as they are
    if config.scenes:
        scene = int(config.scenes * rng.random())
        if split == "test" and config.scenes_test == "unseen":
            scene += config.scenes
        out["scene"][...] = scene
        rng = shared_rng(config.seed, scene)
    out["video"][:] = background(config.background, config.size, rng)
    for patch, corner in zip(patches, corners, strict=True):
        for frame, (x, y) in zip(out["video"], corner.tolist(), strict=True):
            paste(frame, patch, x, y)
    if config.annotate_every > 1:
        out["annotated"][:: config.annotate_every] = True
        for name in ("boxes", "present"):
            out[name][~out["annotated"]] = 0
    return Sample(out)


def load_source(data_root: str | Path | None, config: MovingDigitsConfig) -> Digits:
    return load_digits(data_root)


def figures(arrays: Mapping[str, Any]) -> dict[str, float]:
    """The thesis's check figure, mean IoU without motion anticipation for T = 8; it needs every frame annotated."""
    if "annotated" in arrays:
        return {}
    boxes, present = arrays["boxes"][:], arrays["present"][:]
    if not after_keyframe(present, THESIS_HORIZON).any():
        return {}
    return {f"no_motion_iou_T{THESIS_HORIZON}": no_motion_iou(boxes, present, THESIS_HORIZON)}


def notes(config: MovingDigitsConfig) -> list[str]:
    lines = [
        "The class determines the direction of motion, by design: class k moves at 36 k degrees from the x "
        "axis (right) towards the y axis (down), so to know the digit is to know its way.",
        "Directions, starts, border rule and boxes are not printed in the thesis; its IoU without motion "
        "anticipation, 0.79, is the check (no_motion_iou).",
        "Positions are rounded to whole pixels for pixels and boxes alike; the motion itself is not rounded.",
    ]
    if config.boxes == "patch":
        lines.append("All boxes have the same size, the patch: a detector need not learn it from the picture.")
    if config.border in ("hold", "stop"):
        lines.append("Digits come to rest at the border: in many late frames nothing moves any more.")
    if config.border == "bounce":
        lines.append("After a bounce the direction is no longer the class's.")
    if config.border == "leave":
        lines.append("Digits leave and do not return: late frames hold few objects, with boxes cut at the frame.")
    if config.objects > 1:
        lines.append("Digits may overlap and boxes ignore it; only the first object's class is exactly balanced.")
    if config.speeds:
        lines.append("The speed is drawn apart from the digit: a still picture tells the way, but not how fast.")
    if config.scenes:
        shown = "others than" if config.scenes_test == "unseen" else "the same as"
        lines.append(f"Videos share {config.scenes} background pictures; those of test are {shown} those of train.")
    if config.background == "strokes":
        lines.append("Strokes are as bright as digits and may run into them.")
    if config.annotate_every > 1:
        lines.append(
            f"Only every {config.annotate_every}th frame is annotated (array annotated); on the others boxes and present "
            "are zero although digits are there."
        )
    return lines


GENERATOR = Generator(
    name="moving-digits", title="MovingDigits", version="1.1.0", section="2.4.1", file_format="track-video",
    config_type=MovingDigitsConfig, class_names=CLASS_NAMES, load_source=load_source, generate=generate, layout=layout,
    figures=figures, notes=notes,
)  # fmt: skip
