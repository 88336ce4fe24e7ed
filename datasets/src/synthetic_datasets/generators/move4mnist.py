"""Move4MNIST: which way does the digit move? Only some frames tell, and only by their order (X. Liu, Efficiency in Deep
Learning, TU Delft, 2024, section 3.4 and figure 3.7). Speed, runs and shares are measured on the four videos that the
author published; what they leave open is this project's choice, and each is an option."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic_datasets.generators.generator import Field, Generator, GeneratorConfig, Sample
from synthetic_datasets.generators.shortcuts import motion_figures
from synthetic_datasets.material.backgrounds import moving_texture
from synthetic_datasets.material.digits import CLASS_NAMES as DIGIT_NAMES
from synthetic_datasets.material.digits import SIDE, DigitSet, paste, resize
from synthetic_datasets.material.digits_on_videos import Background, Material, load_material
from synthetic_datasets.motion import insertions
from synthetic_datasets.motion.paths import Points, away_from, velocity, whole_pixels
from synthetic_datasets.motion.tracks import box_in_patch
from synthetic_datasets.seeding import factor_rng, sample_rng

CLASS_NAMES = ("left", "right", "up", "down")
_DIRECTIONS = (math.pi, 0.0, -math.pi / 2, math.pi / 2)
"""Of class 0..3 in radians; x right, y down."""

CLEARANCE = 2.0
"""A distractor is at least this many pixels farther from the middle of the motion than the motion goes."""
_KINDS_FACTOR, _DISTRACTOR_FACTOR, _BACKGROUND_FACTOR = range(3)
"""Streams of randomness of their own (``seeding.factor_rng``)."""


@dataclass(frozen=True)
class Move4MNISTConfig(GeneratorConfig):
    """Options of Move4MNIST."""

    train: int = 1800
    """Videos in the train split; the class is the index modulo 4."""
    test: int = 600
    """Videos in the test split."""
    frames: int = 32
    """Frames of a video, up to thousands."""
    size: tuple[int, int] = (64, 64)
    """Height and width of a frame in pixels."""
    digit_size: int = SIDE
    """Side of the square digit patch in pixels."""
    speeds: tuple[float, ...] = (0.5,)
    """Speeds in pixels per motion frame, of which every video has one, each as likely."""
    max_travel: float = 9.0
    """Most pixels from the first to the last motion frame; a video that would go farther is slower."""
    background_share: float = 0.1875
    """Mean part of the frames that show the background alone."""
    black_share: float = 0.1875
    """Mean part of the frames that are black."""
    distractor_share: float = 0.1875
    """Mean part of the frames that show another digit instead."""
    spread: float = 0.5
    """How far the part of a video may be from the mean, relative to it (0 to 1)."""
    runs: tuple[int, int] = (1, 3)
    """Least and most runs of each of these kinds."""
    distractor: insertions.Distractor = "video"
    """The other digit and its place are drawn for every video, every run or every frame."""
    background: Background = "auto"
    """Behind the digit: videos of a folder, generated texture, or, with auto, videos where the data root has any."""
    videos: str = ""
    """Folder of background videos, from the data root on; none is UCF101 or else videos there."""
    clips: int = 100
    """Most background videos to use, a quarter of them for test."""
    brightness: float = 0.8
    """Backgrounds are dimmed by this factor, so that ink stands out on white, too (0 to 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges(frames=(1, None), digit_size=(1, None), max_travel=(1, None), clips=(2, None))
        self.check_ranges(background_share=(0, 1), black_share=(0, 1), distractor_share=(0, 1), spread=(0, 1))
        self.check_ranges(brightness=(0, 1))
        if len(self.size) != 2 or min(self.size) - self.digit_size < self.max_travel:
            raise ValueError(
                f"size: {self.size} (height, width) does not let a digit of {self.digit_size} px travel "
                f"{self.max_travel:g} px (max_travel)"
            )
        if not self.speeds or not all(math.isfinite(speed) and speed > 0 for speed in self.speeds):
            raise ValueError(f"speeds: expected px per motion frame above 0, got {self.speeds or 'none'}")
        if len(self.runs) != 2 or not 1 <= self.runs[0] <= self.runs[1]:
            raise ValueError(f"runs: expected the least (1 or more) and the most, got {self.runs}")
        if self.background == "texture" and self.videos:
            raise ValueError(f"videos: {self.videos!r} has no part in background texture; leave one of them out")
        fewest = insertions.fewest_motion_frames(self.frames, self.shares, self.spread)
        if (fewest - 1) * min(self.speeds) < 1:
            raise ValueError(
                f"frames: of {self.frames}, a video may have {fewest} motion frames, in which {min(self.speeds):g} px a "
                "frame do not add up to the 1 px that shows a direction; have more frames or speed, or smaller shares or spread"
            )

    @property
    def shares(self) -> tuple[float, float, float]:
        return self.background_share, self.black_share, self.distractor_share


def load_source(data_root: str | Path | None, config: Move4MNISTConfig) -> Material:
    return load_material(data_root, config.background, config.videos, config.clips, config.size, config.seed)


def layout(config: Move4MNISTConfig) -> dict[str, Field]:
    """The arrays of every video; T frames, H x W px. Noise compresses poorly, so gzip level 1."""
    length = config.frames
    return {
        "frames": Field((length, *config.size), "|u1", "grey frames (T, H, W)", gzip=1),
        "label": Field((), "<i8", "class: 0 left, 1 right, 2 up, 3 down"),
        "kind": Field((length,), "|u1", ", ".join(f"{number} {name}" for number, name in enumerate(insertions.KINDS))),
        "target_box": Field((length, 4), "<f4", "x1 y1 x2 y2 of the target's ink in pixels; zeros unless kind is 0"),
        "distractor_box": Field((length, 4), "<f4", "the same of the distractor; zeros unless kind is 3"),
        "digit": Field((), "<i8", "class of the target, the digit 0..9"),
        "source_index": Field((), "<i8", "which picture of the source the target is"),
        "speed": Field((), "<f4", "pixels per motion frame"),
        "start": Field((2,), "<f4", "x y of the target's ink box in the first motion frame, before rounding"),
        "distractor_digit": Field((length,), "<i8", "class of the distractor, never the target's; -1 unless kind is 3"),
        "distractor_index": Field((length,), "<i8", "which picture of the source it is; -1 unless kind is 3"),
        "background_clip": Field((), "<i8", "number of the background video in the list parts; -1 for texture"),
        "background_offset": Field((), "<i8", "its frame behind frame 0; -1 for texture"),
    }


def generate(config: Move4MNISTConfig, split: str, index: int, material: Material) -> Sample:
    """The digit goes straight on by its speed from one motion frame to the next, whatever lies between them. The middle
    of its way is uniform over the places from which the way stays inside the frame in all four directions, so the place
    in the middle of the motion tells nothing, and at its ends as little as can be. Positions are rounded to whole
    pixels (halves up), for pixels and box alike; ink goes over the background by maximum."""
    rng = sample_rng(config.seed, split, index)
    pool = material.digits.splits[split]
    kind = insertions.frame_kinds(
        config.frames, config.shares, config.spread, config.runs, factor_rng(config.seed, split, index, _KINDS_FACTOR)
    )
    out = {name: np.zeros(spec.shape, spec.dtype) for name, spec in layout(config).items()}
    label, moving = index % len(CLASS_NAMES), np.flatnonzero(kind == insertions.MOTION)

    digit = int(len(DIGIT_NAMES) * rng.random())
    chosen, ink = _drawn(pool, digit, config.digit_size, rng)
    speed = config.speeds[int(len(config.speeds) * rng.random())]
    travel = min(speed * (len(moving) - 1), config.max_travel)
    step = velocity(_DIRECTIONS[label], travel / (len(moving) - 1))
    room = _room(config, ink)
    middle = travel / 2 + (room - travel) * rng.random(2)
    start = middle - step * (len(moving) - 1) / 2
    corners = whole_pixels(start + np.arange(len(moving))[:, None] * step)

    out["label"][...], out["digit"][...], out["source_index"][...] = label, digit, pool.indices[chosen]
    out["speed"][...], out["start"][:], out["kind"][:] = travel / (len(moving) - 1), start, kind
    out["distractor_digit"][:] = out["distractor_index"][:] = -1
    frames = out["frames"]
    frames[:], clip, offset = _background(config, split, index, material)
    out["background_clip"][...], out["background_offset"][...] = clip, offset
    frames[kind == insertions.BLACK] = 0
    for frame, (x, y) in zip(moving.tolist(), corners.tolist(), strict=True):
        paste(frames[frame], ink, x, y)
        out["target_box"][frame] = _box(ink, x, y)

    rng = factor_rng(config.seed, split, index, _DISTRACTOR_FACTOR)
    centre = middle + _sides(ink) / 2
    for first, length in insertions.distractor_spans(config.distractor, kind):
        other = (digit + 1 + int((len(DIGIT_NAMES) - 1) * rng.random())) % len(DIGIT_NAMES)
        chosen, ink = _drawn(pool, other, config.digit_size, rng)
        x, y = away_from(centre, travel / 2 + CLEARANCE, _room(config, ink), _sides(ink), rng)
        for frame in range(first, first + length):
            if kind[frame] == insertions.DISTRACTOR:
                paste(frames[frame], ink, x, y)
                out["distractor_box"][frame] = _box(ink, x, y)
                out["distractor_digit"][frame], out["distractor_index"][frame] = other, pool.indices[chosen]
    return Sample(out)


def figures(arrays: Mapping[str, Any]) -> dict[str, float]:
    return motion_figures(arrays["kind"][:], arrays["label"][:], arrays["target_box"][:])


def notes(config: Move4MNISTConfig) -> list[str]:
    lines = [
        "Speed, kinds and runs follow the author's four published videos (0.5 px per motion frame; 49 % motion, 16 % "
        "background, 16 % black, 19 % distractor frames, 1 to 3 runs a kind); the defaults insert more (56 % on average, 28 "
        "to 84 % in a video), so that the few frames a sampler takes show less of the motion.",
        "The motion goes on from one motion frame to the next; the background plays on behind inserted frames.",
        "A digit that stays inside cannot go right from the right border, so its place at the ends of the motion tells the "
        "class a little: a rule is right in at most 1/4 + travel / (2 range) of the videos, range being that of the middle of "
        "the way; accuracy_from_place_... is what it comes to (chance is 0.25). In the middle of the motion it tells nothing.",
        "Kinds, runs, digits, distractors and backgrounds are drawn without knowledge of the class.",
        "Positions are rounded to whole pixels for pixels and boxes alike: at 0.5 px a frame the digit rests every other "
        "motion frame.",
        f"Backgrounds are dimmed to {config.brightness:g} of their brightness; real ones are cut to the frame's shape, not "
        "distorted, and play backwards at their end where a video is longer.",
        "Train and test backgrounds share no scene, or, where a folder has fewer than 8, no frame: the latter test on places "
        "seen in training.",
    ]
    if config.distractor != "video":
        lines.append(f"The other digit is drawn anew for every {config.distractor}, unlike the author's.")
    return lines


def _drawn(pool: DigitSet, digit: int, side: int, rng: np.random.Generator) -> tuple[int, NDArray[np.uint8]]:
    choices = pool.of_class(digit)
    chosen = int(choices[int(len(choices) * rng.random())])
    patch = resize(pool.images[chosen], side)
    left, top, right, bottom = box_in_patch(patch, "tight", 0).tolist()
    return chosen, patch[top:bottom, left:right]


def _sides(ink: NDArray[np.uint8]) -> Points:
    return np.array(ink.shape[::-1], float)


def _room(config: Move4MNISTConfig, ink: NDArray[np.uint8]) -> Points:
    return np.array(config.size[::-1], float) - _sides(ink)


def _box(ink: NDArray[np.uint8], x: int, y: int) -> tuple[int, int, int, int]:
    return x, y, x + ink.shape[1], y + ink.shape[0]


def _background(
    config: Move4MNISTConfig, split: str, index: int, material: Material
) -> tuple[NDArray[np.uint8], int, int]:
    """(T, H, W) frames, and the clip and frame they begin with or -1 for both."""
    rng = factor_rng(config.seed, split, index, _BACKGROUND_FACTOR)
    dimmed = np.rint(np.arange(256) * config.brightness).astype(np.uint8)
    if material.clips is None:
        return dimmed[moving_texture(config.frames, config.size, rng)], -1, -1
    stretches = material.clips.splits[split]
    stretch = stretches[int(len(stretches) * rng.random())]
    starts = len(stretch.frames) - config.frames + 1
    offset = int((starts if starts > 0 else len(stretch.frames)) * rng.random())
    return dimmed[stretch.play(offset, config.frames)], stretch.clip, stretch.first + offset


GENERATOR = Generator(
    name="move4mnist", title="Move4MNIST", version="1.0.0", section="3.4", file_format="label-video",
    config_type=Move4MNISTConfig, class_names=CLASS_NAMES, load_source=load_source, generate=generate, layout=layout,
    figures=figures, notes=notes,
)  # fmt: skip
