"""MovingDigits: every digit class has its own linear motion, so a still picture tells where it will go.

X. Liu, Efficiency in Deep Learning (TU Delft, 2024), section 2.4.1: 200 train and 80 test videos, ten MNIST
classes equally often, 32 frames of 64 x 64 px, one digit a video, 2 px per frame. The thesis prints neither
the ten directions nor the starts, the rule at the border or how boxes are drawn: those defaults are this
project's, and each is an option.

Further options make stand-ins for real videos out of it: several speeds, background pictures that training has or
has not shown, and long videos of which only every N-th frame is annotated.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .backgrounds import BACKGROUNDS, Background, background
from .digits import CLASS_NAMES, SIDE, Digits, load_digits
from .errors import InputError
from .generator import Field, Generator, Sample
from .motion import BORDERS, Border, trajectory, velocity, whole_pixels
from .seeding import factor_rng, sample_rng, shared_rng
from .tracks import BOX_KINDS, BoxKind, after_keyframe, box_in_patch, clip_boxes, no_motion_iou

CLASSES = len(CLASS_NAMES)
THESIS_HORIZON = 8

ScenesTest = Literal["seen", "unseen"]
_SPEED_FACTOR = 0
"""Number of the speed's own stream of randomness (``seeding.factor_rng``)."""


@dataclass(frozen=True)
class MovingDigitsConfig:
    """Options of MovingDigits; the defaults are the thesis's figures where it prints them.

    Raises:
        InputError: a value is out of its range, or options contradict each other.
    """

    seed: Annotated[int, "Seed of the whole data set."] = 0
    train: Annotated[int, "Videos in the train split; the class is the index modulo 10."] = 200
    test: Annotated[int, "Videos in the test split."] = 80
    frames: Annotated[int, "Frames of a video."] = 32
    size: Annotated[tuple[int, int], "Height and width of a frame in pixels."] = (64, 64)
    digit_size: Annotated[int, "Side of the square digit patch in pixels."] = SIDE
    objects: Annotated[int, "Digits in a video; all after the first are of any class. They may overlap."] = 1
    speed: Annotated[float, "Speed in pixels per frame."] = 2.0
    speeds: Annotated[
        tuple[float, ...], "Speeds in pixels per frame of which every digit has one, each as likely, in place of speed."
    ] = ()
    border: Annotated[
        Border,
        "At the border, hold clamps each coordinate alone, stop ends the motion, bounce reflects, "
        "leave lets the digit go out.",
    ] = "hold"
    boxes: Annotated[BoxKind, "Box of a digit: its whole patch, or tight around its ink."] = "patch"
    ink_threshold: Annotated[int, "Ink, for tight boxes: grey values above this (0 to 254)."] = 32
    background: Annotated[Background, "Picture behind the digits, still in a video."] = "black"
    scenes: Annotated[int, "Background pictures of a split, one for every video; 0 gives each video its own."] = 0
    scenes_test: Annotated[
        ScenesTest, "Whether the test split has the train split's scenes (seen) or as many new ones (unseen)."
    ] = "seen"
    annotate_every: Annotated[int, "Annotate every so many frames only, from the first on."] = 1
    min_visible: Annotated[float, "A digit is present while this part of its box or more is in the frame."] = 0.1

    def __post_init__(self) -> None:
        for name in ("train", "test", "frames", "objects", "digit_size", "annotate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("seed", "scenes"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if len(self.size) != 2 or min(self.size) < self.digit_size:
            raise InputError(f"size: {self.size} (height, width) does not hold a digit of {self.digit_size} px")
        for name, values in (("speed", (self.speed,)), ("speeds", self.speeds)):
            if wrong := [value for value in values if not (math.isfinite(value) and value >= 0)]:
                raise InputError(f"{name}: expected 0 or more px per frame, got {wrong[0]}")
        if not 0 <= self.ink_threshold < 255:
            raise InputError(f"ink_threshold: expected 0 to 254, got {self.ink_threshold}")
        if not 0 < self.min_visible <= 1:
            raise InputError(f"min_visible: expected a part above 0 and up to 1, got {self.min_visible}")
        choices = {
            "border": BORDERS,
            "boxes": BOX_KINDS,
            "background": BACKGROUNDS,
            "scenes_test": get_args(ScenesTest),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name}: {getattr(self, name)!r} is unknown; one of {', '.join(known)}")
        if self.scenes and self.background == "black":
            raise InputError(
                f"scenes: {self.scenes} pictures, but background black has none; choose another background"
            )
        if self.scenes_test == "unseen" and not self.scenes:
            raise InputError("scenes_test: unseen needs scenes of 1 or more; with 0 no two videos share a background")


def direction(label: int) -> float:
    """Direction of motion of class ``label`` in radians, 36 degrees a class, x to the right and y down.

    So zeros move to the right, and the angle turns clockwise on the screen: ones to the right and slightly
    down.
    """
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
    """Video ``index`` of a split; the same bytes in any process, whatever else is made.

    A patch is drawn at its position rounded to whole pixels (halves up) and its box is made from the same
    rounded position, so box and pixels agree exactly, while the motion itself is not rounded. Patches are
    combined with the background and with each other by the maximum of grey values. Boxes take no account of
    one digit covering another.

    Raises:
        InputError: a digit has no ink above ``ink_threshold`` where boxes are tight.
        KeyError: unknown split.
    """
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


def resize(patch: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The digit at another size (bicubic); unchanged at its own."""
    if patch.shape == (side, side):
        return patch
    return np.asarray(Image.fromarray(patch).resize((side, side), Image.Resampling.BICUBIC))


def paste(frame: NDArray[np.uint8], patch: NDArray[np.uint8], x: int, y: int) -> None:
    """Draw ``patch`` into ``frame`` in place by maximum, its top left corner at (x, y); cut at the frame."""
    left, top = max(x, 0), max(y, 0)
    inside = frame[top : max(y + patch.shape[0], 0), left : max(x + patch.shape[1], 0)]
    np.maximum(inside, patch[top - y :, left - x :][: inside.shape[0], : inside.shape[1]], out=inside)


def load_source(data_root: str | Path | None, config: MovingDigitsConfig) -> Digits:
    """``digits.load_digits``; which digits there are does not depend on the options."""
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
    """What a user should know before trusting a number measured on this data."""
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
    name="moving-digits",
    title="MovingDigits",
    version="1.1.0",
    summary="Videos of handwritten digits in which every digit class has its own linear motion.",
    reference="X. Liu, Efficiency in Deep Learning, dissertation, TU Delft, 2024, section 2.4.1",
    file_format="track-video",
    config_type=MovingDigitsConfig,
    class_names=CLASS_NAMES,
    load_source=load_source,
    generate=generate,
    layout=layout,
    figures=figures,
    notes=notes,
)
