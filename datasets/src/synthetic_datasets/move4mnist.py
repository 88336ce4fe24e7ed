"""Move4MNIST: which way does the digit move? Only some frames tell, and nothing but their order does.

X. Liu, Efficiency in Deep Learning (TU Delft, 2024), section 3.4 and figure 3.7: four classes, 1,800 train and 600 test
videos of 32 frames, an MNIST digit moving on a video background, with runs of background frames, black frames and frames
with another digit inserted. The thesis prints no more. Speed, runs and shares are measured on the four videos that the
author published; what they leave open is this project's choice, and each is an option.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .digits import CLASS_NAMES as DIGIT_NAMES
from .digits import SIDE, Digits, DigitSet, load_digits, resolve_data_root
from .errors import InputError
from .generator import Field, Generator, Sample
from .insertions import BLACK, DISTRACTOR, KINDS, MOTION, fewest_motion_frames, frame_kinds, runs_of
from .motion import Points, velocity, whole_pixels
from .moving_digits import paste, resize
from .moving_textures import moving_texture
from .seeding import factor_rng, sample_rng
from .shortcuts import kind_features, motion_frames, nearest_centroid_accuracy, seen_motion
from .tracks import box_in_patch
from .video_clips import Clips, load_clips

CLASS_NAMES = ("left", "right", "up", "down")
_DIRECTIONS = (math.pi, 0.0, -math.pi / 2, math.pi / 2)
"""Of class 0..3 in radians; x right, y down."""

Background = Literal["auto", "videos", "texture"]
Distractor = Literal["video", "run", "frame"]

CLEARANCE = 2.0
"""A distractor is at least this many pixels farther from the middle of the motion than the motion goes."""
_TRIES = 64
_KINDS_FACTOR, _DISTRACTOR_FACTOR, _BACKGROUND_FACTOR = range(3)
"""Streams of randomness of their own (``seeding.factor_rng``)."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Move4MNISTConfig:
    """Options of Move4MNIST.

    Raises:
        InputError: a value is out of its range, or options contradict each other.
    """

    seed: Annotated[int, "Seed of the whole data set."] = 0
    train: Annotated[int, "Videos in the train split; the class is the index modulo 4."] = 1800
    test: Annotated[int, "Videos in the test split."] = 600
    frames: Annotated[int, "Frames of a video, up to thousands."] = 32
    size: Annotated[tuple[int, int], "Height and width of a frame in pixels."] = (64, 64)
    digit_size: Annotated[int, "Side of the square digit patch in pixels."] = SIDE
    speeds: Annotated[
        tuple[float, ...], "Speeds in pixels per motion frame, of which every video has one, each as likely."
    ] = (0.5,)
    max_travel: Annotated[
        float, "Most pixels from the first to the last motion frame; a video that would go farther is slower."
    ] = 9.0
    background_share: Annotated[float, "Mean part of the frames that show the background alone."] = 0.1875
    black_share: Annotated[float, "Mean part of the frames that are black."] = 0.1875
    distractor_share: Annotated[float, "Mean part of the frames that show another digit instead."] = 0.1875
    spread: Annotated[float, "How far the part of a video may be from the mean, relative to it (0 to 1)."] = 0.5
    runs: Annotated[tuple[int, int], "Least and most runs of each of these kinds."] = (1, 3)
    distractor: Annotated[
        Distractor, "The other digit and its place are drawn for every video, every run or every frame."
    ] = "video"
    background: Annotated[
        Background,
        "Behind the digit: videos of a folder, generated texture, or, with auto, videos where the data root has any.",
    ] = "auto"
    videos: Annotated[
        str, "Folder of background videos, from the data root on; none is UCF101 or else videos there."
    ] = ""
    clips: Annotated[int, "Most background videos to use, a quarter of them for test."] = 100
    brightness: Annotated[
        float, "Backgrounds are dimmed by this factor, so that ink stands out on white, too (0 to 1)."
    ] = 0.8

    def __post_init__(self) -> None:
        for name in ("train", "test", "frames", "digit_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise InputError(f"seed: expected 0 or more, got {self.seed}")
        if not (math.isfinite(self.max_travel) and self.max_travel >= 1):
            raise InputError(f"max_travel: expected at least 1 px, got {self.max_travel}")
        if len(self.size) != 2 or min(self.size) - self.digit_size < self.max_travel:
            raise InputError(
                f"size: {self.size} (height, width) does not let a digit of {self.digit_size} px travel "
                f"{self.max_travel:g} px (max_travel)"
            )
        if not self.speeds or (wrong := [v for v in self.speeds if not (math.isfinite(v) and v > 0)]):
            raise InputError(f"speeds: expected px per motion frame above 0, got {wrong[0] if self.speeds else 'none'}")
        for name in ("background_share", "black_share", "distractor_share", "spread", "brightness"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        if len(self.runs) != 2 or not 1 <= self.runs[0] <= self.runs[1]:
            raise InputError(f"runs: expected the least (1 or more) and the most, got {self.runs}")
        for name, choices in (("distractor", Distractor), ("background", Background)):
            if getattr(self, name) not in get_args(choices):
                raise InputError(f"{name}: {getattr(self, name)!r} is unknown; one of {', '.join(get_args(choices))}")
        if self.background == "texture" and self.videos:
            raise InputError(f"videos: {self.videos!r} has no part in background texture; leave one of them out")
        if self.clips < 2:
            raise InputError(f"clips: expected at least 2, got {self.clips}")
        fewest = fewest_motion_frames(self.frames, self.shares, self.spread)
        if (fewest - 1) * min(self.speeds) < 1:
            raise InputError(
                f"frames: of {self.frames}, a video may have {fewest} motion frames, in which {min(self.speeds):g} px a "
                "frame do not add up to the 1 px that shows a direction; have more frames or speed, or smaller shares or spread"
            )

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of background, black and distractor frames."""
        return self.background_share, self.black_share, self.distractor_share


@dataclass(frozen=True)
class Material:
    """What videos are made of: digits, and clips behind them or None for generated textures."""

    digits: Digits
    clips: Clips | None

    @property
    def source(self) -> str:
        """Both names: ``mnist on ucf101``, ``sklearn-digits on texture``."""
        return f"{self.digits.source} on {self.clips.source if self.clips else 'texture'}"

    @property
    def credit(self) -> str:
        """Who made the digits and the clips."""
        return self.digits.credit + (f"; backgrounds: {self.clips.credit}" if self.clips else "")

    @property
    def licence(self) -> str:
        """Of the digits; the credit says what holds for clips."""
        return self.digits.licence

    @property
    def parts(self) -> dict[str, list[str]]:
        """The clips' names, in the order of their numbers."""
        return {"background_clip": list(self.clips.names)} if self.clips else {}


def load_material(data_root: str | Path | None, config: Move4MNISTConfig) -> Material:
    """Digits (``digits.load_digits``) and background videos, as ``config.background`` says.

    Raises:
        InputError: a folder does not exist or holds no usable videos, or PyAV is not installed. With ``auto``, only a data
            root with neither ``UCF101`` nor ``videos`` (or no data root) falls back to textures, the former with a warning.
    """
    root = resolve_data_root(data_root)
    digits = load_digits(data_root)
    if config.background == "texture":
        return Material(digits, None)
    places = (config.videos,) if config.videos else ("UCF101", "videos")
    folders = [folder for place in places if (folder := (root or Path()) / place).is_dir() and (root or config.videos)]
    if folders:
        return Material(digits, load_clips(folders[0], config.size, config.clips, config.seed))
    if config.background == "videos" or config.videos:
        where = (
            str((root or Path()) / config.videos) if config.videos else f"UCF101 and videos in {root or 'no data root'}"
        )
        raise InputError(f"videos: {where}: no such folder; name one with --videos, or --background texture")
    if root is not None:
        _LOG.warning("%s holds neither UCF101 nor videos; using generated textures as background", root)
    return Material(digits, None)


def layout(config: Move4MNISTConfig) -> dict[str, Field]:
    """The arrays of every video; T frames, H x W px. Videos of noise hardly shrink: the fastest gzip does for them."""
    length = config.frames
    return {
        "frames": Field((length, *config.size), "|u1", "grey frames (T, H, W)", gzip=1),
        "label": Field((), "<i8", "class: 0 left, 1 right, 2 up, 3 down"),
        "kind": Field((length,), "|u1", ", ".join(f"{number} {name}" for number, name in enumerate(KINDS))),
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
    """Video ``index`` of a split; the same bytes in any process, whatever else is made.

    The digit goes straight on by its speed from one motion frame to the next, whatever lies between them. The middle of
    its way is uniform over the places from which the way stays inside the frame in all four directions. So the place of
    the digit in the middle of the motion tells nothing, and at its ends no distribution that keeps digits inside tells
    less. Positions are rounded to whole pixels (halves up), for pixels and box alike; ink goes over the background by maximum.

    Raises:
        KeyError: unknown split.
    """
    rng = sample_rng(config.seed, split, index)
    pool = material.digits.splits[split]
    kind = frame_kinds(
        config.frames, config.shares, config.spread, config.runs, factor_rng(config.seed, split, index, _KINDS_FACTOR)
    )
    out = {name: np.zeros(spec.shape, spec.dtype) for name, spec in layout(config).items()}
    label, moving = index % len(CLASS_NAMES), np.flatnonzero(kind == MOTION)

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
    frames[kind == BLACK] = 0
    for frame, (x, y) in zip(moving.tolist(), corners.tolist(), strict=True):
        paste(frames[frame], ink, x, y)
        out["target_box"][frame] = _box(ink, x, y)

    rng = factor_rng(config.seed, split, index, _DISTRACTOR_FACTOR)
    centre = middle + _sides(ink) / 2
    for first, length in _distractor_spans(config, kind):
        other = (digit + 1 + int((len(DIGIT_NAMES) - 1) * rng.random())) % len(DIGIT_NAMES)
        chosen, ink = _drawn(pool, other, config.digit_size, rng)
        x, y = _away_from(centre, travel / 2 + CLEARANCE, _room(config, ink), _sides(ink), rng)
        for frame in range(first, first + length):
            if kind[frame] == DISTRACTOR:
                paste(frames[frame], ink, x, y)
                out["distractor_box"][frame] = _box(ink, x, y)
                out["distractor_digit"][frame], out["distractor_index"][frame] = other, pool.indices[chosen]
    return Sample(out)


def figures(arrays: Mapping[str, Any]) -> dict[str, float]:
    """How the frames divide, what samplers see of the motion, and what gives the class away without it, for the card."""
    kind, label, boxes = arrays["kind"][:], arrays["label"][:], arrays["target_box"][:]
    made = {f"share_{name}": float((kind == number).mean()) for number, name in enumerate(KINDS)}
    made["runs_per_video"] = float(np.mean([len(runs_of(row)) for row in kind]))
    length = kind.shape[1]
    for frames in sorted({count for count in (8, 16) if count < length} | {length}):
        counts, travel = seen_motion(kind, boxes, frames)
        made[f"seen_{frames}_motion_frames"] = float(counts.mean())
        made[f"seen_{frames}_at_most_2_motion_frames"] = float((counts <= 2).mean())
        made[f"seen_{frames}_travel_px"] = float(travel.mean())
        made[f"seen_{frames}_no_travel"] = float((travel < 1).mean())
    if np.bincount(label, minlength=len(CLASS_NAMES)).min() >= 2:
        rows = np.arange(len(kind))
        for name, frame in zip(("first", "middle", "last"), motion_frames(kind), strict=True):
            centres = (boxes[rows, frame, :2] + boxes[rows, frame, 2:]) / 2
            made[f"accuracy_from_place_in_{name}_motion_frame"] = nearest_centroid_accuracy(centres, label)
        made["accuracy_from_kinds"] = nearest_centroid_accuracy(kind_features(kind), label)
    return made


def notes(config: Move4MNISTConfig) -> list[str]:
    """What a user should know before trusting a number measured on this data."""
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
    """A random picture of a digit: its place in the pool, and its pixels, cut to its ink."""
    choices = pool.of_class(digit)
    chosen = int(choices[int(len(choices) * rng.random())])
    patch = resize(pool.images[chosen], side)
    left, top, right, bottom = box_in_patch(patch, "tight", 0).tolist()
    return chosen, patch[top:bottom, left:right]


def _sides(ink: NDArray[np.uint8]) -> Points:
    """(2,) width and height."""
    return np.array(ink.shape[::-1], float)


def _room(config: Move4MNISTConfig, ink: NDArray[np.uint8]) -> Points:
    """(2,) largest x and y at which the ink lies inside the frame."""
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


def _distractor_spans(config: Move4MNISTConfig, kind: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """(first frame, frames) of the parts of a video in which one digit at one place is the distractor."""
    if config.distractor == "video":
        return [(0, len(kind))]
    runs = [(first, length) for number, first, length in runs_of(kind) if number == DISTRACTOR]
    if config.distractor == "run":
        return runs
    return [(frame, 1) for first, length in runs for frame in range(first, first + length)]


def _away_from(
    centre: Points, distance: float, room: Points, sides: Points, rng: np.random.Generator
) -> tuple[int, int]:
    """A place for ink: uniform where its centre is ``distance`` or more from ``centre``, in any direction alike.

    It looks at no direction, so where a distractor is says nothing about the way. Where there is no such place among
    many, the farthest.
    """
    corners = whole_pixels(room * rng.random((_TRIES, 2)))
    far = np.linalg.norm(corners + sides / 2 - centre, axis=1)
    x, y = corners[int(np.argmax(far >= distance) if (far >= distance).any() else np.argmax(far))].tolist()
    return x, y


GENERATOR = Generator(
    name="move4mnist",
    title="Move4MNIST",
    version="1.0.0",
    summary="Videos of a handwritten digit that moves left, right, up or down, in some of the frames.",
    reference="X. Liu, Efficiency in Deep Learning, dissertation, TU Delft, 2024, section 3.4",
    file_format="label-video",
    config_type=Move4MNISTConfig,
    class_names=CLASS_NAMES,
    load_source=load_material,
    generate=generate,
    layout=layout,
    figures=figures,
    notes=notes,
)
