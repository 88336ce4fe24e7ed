"""Real videos as backgrounds: decoded once by PyAV (the ``video`` extra), grey and small, train and test kept apart."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from .errors import InputError
from .seeding import shared_rng

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm")
FEW_SCENES = 8
"""A folder of fewer scenes than this gives both splits all of them, at different times."""
SHORTEST, LONGEST = 8, 600
"""Frames of a clip: a shorter one is left out, of a longer one the first so many are used."""

_LOG = logging.getLogger(__name__)
_UCF101_NAME = re.compile(r"(v_.+_g\d+)_c\d+")
_CREDITS = {
    "ucf101": "UCF101, K. Soomro, A. R. Zamir and M. Shah, 2012 (videos of users, under no licence of their own)"
}


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


def load_clips(folder: Path, size: tuple[int, int], most: int, seed: int) -> Clips:
    """Decode up to ``most`` videos anywhere below ``folder``.

    Scenes, not clips, are divided: clips of UCF101 with the same group (``v_Class_g01_c01``) show the same scene; any
    other file is a scene of its own. A quarter of the scenes, in a random order that the seed decides, is for test, the
    rest for train, and so are the clips, taken from the scenes in turn. With fewer than ``FEW_SCENES`` scenes both splits
    use all clips: train the first three quarters of each, test the rest.

    A file that cannot be decoded to its end, or is too short, is left out with a warning that names it.

    Args:
        folder: searched with all folders below it for files ending in one of ``SUFFIXES``.
        size: (height, width) of a frame; the middle of a frame that has this shape is cut out and scaled.
        most: most clips of both splits together, at least 2.
        seed: of the data set.

    Raises:
        InputError: PyAV is not installed, or there is not a usable video for each split.
    """
    av = _import_av()
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise InputError(f"{folder}: holds no video ({' '.join(SUFFIXES)}); put some there, or --background texture")
    scenes: dict[str, list[Path]] = {}
    for path in found:
        match = _UCF101_NAME.fullmatch(path.stem)
        scenes.setdefault(match[1] if match else str(path), []).append(path)
    order = np.argsort(shared_rng(seed, 0).random(len(scenes)), kind="stable").tolist()
    shuffled = [list(scenes.values())[place] for place in order]

    few = len(scenes) < FEW_SCENES
    for_test = 0 if few else max(1, len(shuffled) // 4)
    wanted = {"train": most, "test": 0} if few else {"train": most - most // 4, "test": most // 4}
    parts = {"train": shuffled[for_test:], "test": shuffled[:for_test]}
    names: list[str] = []
    stretches: dict[str, list[Stretch]] = {"train": [], "test": []}
    for split, quota in wanted.items():
        queue = iter(_in_turn(parts[split]))
        total = min(quota, sum(map(len, parts[split])))
        for _ in tqdm(range(total), f"{split} backgrounds", unit="clip", delay=2, disable=None, leave=False):
            clip = next((clip for path in queue if (clip := _decoded(av, path, folder, size))), None)
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
            raise InputError(f"{folder}: no video can be decoded for the {split} split; see the warnings above")
    source = folder.name.lower()
    credit = _CREDITS.get(source, f"the videos of a folder named {folder.name}, whose terms are their own")
    return Clips(source, credit, tuple(names), {split: tuple(made) for split, made in stretches.items()})


def fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The largest part of a grey picture in its middle that has the shape of ``size``, scaled to it; never distorted."""
    height, width = size
    scale = min(image.shape[0] / height, image.shape[1] / width)
    left, top = (image.shape[1] - scale * width) / 2, (image.shape[0] - scale * height) / 2
    box = (left, top, left + scale * width, top + scale * height)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box))


def _in_turn(groups: list[list[Path]]) -> list[Path]:
    """The first of every group, then the second of every group that has one, and so on."""
    longest = max(map(len, groups), default=0)
    return [group[place] for place in range(longest) for group in groups if place < len(group)]


def _decoded(av: ModuleType, path: Path, folder: Path, size: tuple[int, int]) -> tuple[str, NDArray[np.uint8]] | None:
    """A clip's name and frames, or None after a warning."""
    frames: list[NDArray[np.uint8]] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            for frame in container.decode(stream):
                grey = np.rot90(frame.to_ndarray(format="gray"), round(frame.rotation / 90) % 4)
                frames.append(fit(np.ascontiguousarray(grey), size))
                if len(frames) == LONGEST:
                    break
    except (av.FFmpegError, IndexError) as error:  # IndexError: no video stream
        _LOG.warning("%s: left out, not a readable video (%s)", path, error)
        return None
    if len(frames) < SHORTEST:
        _LOG.warning("%s: left out, %d frames, expected at least %d", path, len(frames), SHORTEST)
        return None
    return path.relative_to(folder).as_posix(), np.stack(frames)


def _import_av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise InputError(
            'background videos need PyAV: pip install "synthetic_datasets[video]", or --background texture'
        ) from error
    return av
