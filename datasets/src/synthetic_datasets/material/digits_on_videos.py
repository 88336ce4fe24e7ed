"""What Move4MNIST is made of: digits, and real videos as backgrounds where there are any, decoded once by PyAV (the
``video`` extra), grey and small, train and test kept apart."""

import logging
import re
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from efficiency_core.errors import BrokenFile, UsageError
from synthetic_datasets.data_root import resolve_data_root
from synthetic_datasets.generators.generator import Source
from synthetic_datasets.material.digits import Digits, load_digits
from synthetic_datasets.seeding import shared_rng

Background = Literal["auto", "videos", "texture"]

FEW_SCENES = 8
"""A folder of fewer scenes than this gives both splits all of them, at different times."""
SHORTEST, LONGEST = 8, 600
"""Frames of a clip: a shorter one is left out, of a longer one the first so many are used."""

_LOG = logging.getLogger(__name__)
_UCF101_NAME = re.compile(r"(v_.+_g\d+)_c\d+")
_UCF101 = "UCF101, K. Soomro, A. R. Zamir and M. Shah, 2012 (videos of users, under no licence of their own)"


@dataclass(frozen=True)
class Stretch:
    """Consecutive frames of a clip that one split may use."""

    clip: int
    """Number of the clip in ``Clips.names``."""
    first: int
    """Frame of the clip that ``frames[0]`` is."""
    frames: NDArray[np.uint8]
    """(n, height, width) grey; n at least 2."""

    def play(self, offset: int, length: int) -> NDArray[np.uint8]:
        """(length, height, width) from ``offset`` on; at the end of the stretch it plays backwards, and so on."""
        last = len(self.frames) - 1
        phase = (offset + np.arange(length)) % (2 * last)
        return np.asarray(self.frames[np.minimum(phase, 2 * last - phase)])


@dataclass(frozen=True)
class Clips:
    """Backgrounds of both splits, in memory: a worker process gets them once, when it starts."""

    source: str
    """The folder's name in lower case."""
    credit: str
    """Who made the videos, as far as the folder's name tells."""
    names: tuple[str, ...]
    """Path of every clip used, below the folder."""
    splits: dict[str, tuple[Stretch, ...]]
    """Split name -> stretches; no frame is in both."""


@dataclass(frozen=True, kw_only=True)
class Material(Source):
    """What videos are made of. The licence is that of the digits; the credit says what holds for clips."""

    digits: Digits
    clips: Clips | None
    """Behind the digits; None for generated textures."""


def joined(digits: Digits, clips: Clips | None) -> Material:
    """Digits on clips, or on textures."""
    source, credit = f"{digits.source} on texture", digits.credit
    parts: dict[str, list[str]] = {}
    if clips is not None:
        source, parts = f"{digits.source} on {clips.source}", {"background_clip": list(clips.names)}
        credit += f"; backgrounds: {clips.credit}"
    return Material(source=source, credit=credit, licence=digits.licence, parts=parts, digits=digits, clips=clips)


def load_material(
    data_root: str | Path | None, background: Background, videos: str, clips: int, size: tuple[int, int], seed: int
) -> Material:
    """Digits (``digits.load_digits``), and background videos or none. Raises UsageError if a folder does not exist or
    holds no usable videos, or PyAV is not installed. With ``auto``, only a data root with neither ``UCF101`` nor
    ``videos`` (or no data root) falls back to textures, the former with a warning. ``videos``: a folder, from the data
    root on; if empty, ``UCF101``, else ``videos``. ``clips``: most videos to use; ``size``: height and width of a frame
    in pixels."""
    root = resolve_data_root(data_root)
    digits = load_digits(data_root)
    if background == "texture":
        return joined(digits, None)
    places = (videos,) if videos else ("UCF101", "videos")
    folders = [folder for place in places if (folder := (root or Path()) / place).is_dir() and (root or videos)]
    if folders:
        return joined(digits, load_clips(folders[0], size, clips, seed))
    if background == "videos" or videos:
        where = str((root or Path()) / videos) if videos else f"UCF101 and videos in {root or 'no data root'}"
        raise UsageError(f"videos: {where}: no such folder; name one with --videos, or --background texture")
    if root is not None:
        _LOG.warning("%s holds neither UCF101 nor videos; using generated textures as background", root)
    return joined(digits, None)


def load_clips(folder: Path, size: tuple[int, int], most: int, seed: int) -> Clips:
    """Decode up to ``most`` videos anywhere below ``folder``.

    Scenes, not clips, are divided: clips of UCF101 with the same group (``v_Class_g01_c01``) show the same scene; any
    other file is a scene of its own. A quarter of the scenes, in a random order that the seed decides, is for test, the
    rest for train, and so are the clips, taken from the scenes in turn. With fewer than ``FEW_SCENES`` scenes both
    splits use all clips: train the first three quarters of each, test the rest.

    A file that cannot be decoded to its end, or is too short, is left out with a warning that names it. Raises
    UsageError if PyAV is not installed, or there is not a usable video for each split. ``size``: (height, width) to
    which the middle of a frame that has this shape is scaled. ``most``: clips of both splits together, at least 2."""
    from efficiency_core.readers.video import VIDEO_SUFFIXES

    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not found:
        raise UsageError(f"{folder}: holds no video ({' '.join(VIDEO_SUFFIXES)}); add some, or --background texture")
    scenes: dict[str, list[Path]] = {}
    for path in found:
        match = _UCF101_NAME.fullmatch(path.stem)
        scenes.setdefault(match[1] if match else str(path), []).append(path)
    order = np.argsort(shared_rng(seed, 0).random(len(scenes)), kind="stable").tolist()
    shuffled = [list(scenes.values())[place] for place in order]

    few = len(scenes) < FEW_SCENES
    for_test = 0 if few else max(1, len(shuffled) // 4)
    quarter = 0 if few else most // 4
    parts = {"train": (shuffled[for_test:], most - quarter), "test": (shuffled[:for_test], quarter)}
    names: list[str] = []
    stretches: dict[str, list[Stretch]] = {"train": [], "test": []}
    for split, (groups, quota) in parts.items():
        rounds = zip_longest(*groups)  # the first of every group, then the second, and so on
        queue = iter([path for paths in rounds for path in paths if path is not None])
        total = min(quota, sum(map(len, groups)))
        for _ in tqdm(range(total), f"{split} backgrounds", unit="clip", delay=2, disable=None, leave=False):
            clip = next((clip for path in queue if (clip := _decoded(path, folder, size))), None)
            if clip is None:
                break
            name, frames = clip
            cut = 3 * len(frames) // 4 if few else len(frames)
            stretches[split].append(Stretch(len(names), 0, frames[:cut]))
            if few:
                stretches["test"].append(Stretch(len(names), cut, frames[cut:]))
            names.append(name)
    for split, made in stretches.items():
        if not made:
            raise UsageError(f"{folder}: no video can be decoded for the {split} split; see the warnings above")
    source = folder.name.lower()
    credit = _UCF101 if source == "ucf101" else f"the videos of a folder named {folder.name}, whose terms are their own"
    return Clips(source, credit, tuple(names), {split: tuple(made) for split, made in stretches.items()})


def fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The largest part of a grey picture in its middle that has the shape of ``size``, scaled to it; never distorted."""
    height, width = size
    scale = min(image.shape[0] / height, image.shape[1] / width)
    left, top = (image.shape[1] - scale * width) / 2, (image.shape[0] - scale * height) / 2
    box = (left, top, left + scale * width, top + scale * height)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box))


def _decoded(path: Path, folder: Path, size: tuple[int, int]) -> tuple[str, NDArray[np.uint8]] | None:
    from efficiency_core.readers.video import frame_pixels, open_video

    try:
        with open_video(path) as video:
            frames = [fit(frame_pixels(frame, "gray"), size) for frame in islice(video, LONGEST)]
            damage = video.broken
    except BrokenFile as error:
        _LOG.warning("%s: left out, %s", path, error.why)
        return None
    if damage is not None:
        _LOG.warning("%s: left out, not a readable video (%s)", path, damage)
        return None
    if len(frames) < SHORTEST:
        _LOG.warning("%s: left out, %d frames, expected at least %d", path, len(frames), SHORTEST)
        return None
    return path.relative_to(folder).as_posix(), np.stack(frames)
