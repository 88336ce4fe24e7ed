"""The two piles of pictures a CycleGAN learns from: photos and paintings, from folders or generated; no torch."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.readers import mapped
from synthetic_datasets.material import paintings, town
from synthetic_datasets.material.pictures import find_pictures, read_picture, scaled
from synthetic_datasets.seeding import shared_rng

MEMORY = 2**30
"""Bytes that the pictures of one domain may take as pixels; more pictures are read from their files whenever needed."""
GENERATED = 400
"""Photos, and paintings, that are generated where no folder is named."""
HELD_OUT_PART, HELD_OUT_MOST = 10, 64
"""One picture in so many is not trained on but looked at; so many at most."""

_LOG = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Pile:
    """Pictures of one domain, all scaled to the same square."""

    name: str
    """Where they come from, in a few words: ``town``, or the folder's name."""
    digest: str
    """SHA-256 over what they are; a training goes on only with the same pictures."""
    side: int
    """Pixels."""
    count: int
    read: Callable[[int], Pixels]
    """Number of a picture -> (side, side, 3)."""

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class Material:
    """Both domains, each with some pictures held out from training."""

    photos: Pile
    paintings: Pile
    unseen_photos: Pile
    unseen_paintings: Pile

    @property
    def digest(self) -> str:
        """Of all four."""
        piles = (self.photos, self.paintings, self.unseen_photos, self.unseen_paintings)
        return hashlib.sha256(" ".join(pile.digest for pile in piles).encode()).hexdigest()


def load_material(
    photos: Path | None, paints: Path | None, side: int, seed: int, generated: int = GENERATED, memory: int = MEMORY
) -> Material:
    """Photos and paintings, scaled to ``side`` px whatever their shape. Folders are read with all folders below them,
    anew each time if their pictures take more than ``memory`` bytes. Where a folder is None, ``generated`` pictures of
    a town, or paintings of one, are generated from ``seed``. A tenth of each domain (64 at most, evenly spread) is held
    out. Raises UsageError if a folder cannot be used or holds fewer than two pictures, or a picture is in both
    domains."""
    made = []
    for folder, name, draw in (
        (photos, "town", lambda number: np.asarray(town.street_photo(seed, number, (side, side)))),
        (paints, "generated paintings", lambda number: paintings.painting(seed, number, (side, side))),
    ):
        made.append(_generated(name, generated, side, draw) if folder is None else _folder(folder, side, memory))
    (photo_pile, photo_keys), (paint_pile, paint_keys) = made
    if shared := set(photo_keys) & set(paint_keys):
        photo, paint = photo_keys[min(shared)], paint_keys[min(shared)]
        raise UsageError(f"{paint}: the same picture is among the photos, {photo}; take it out of one")
    seen_photos, unseen_photos = _held_out(photo_pile, seed, 0)
    seen_paints, unseen_paints = _held_out(paint_pile, seed, 1)
    return Material(seen_photos, seen_paints, unseen_photos, unseen_paints)


def draws(seed: int, step: int) -> np.random.Generator:
    """Randomness of one step: a pure function of the step, so that a resumed training needs no state of it."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, step)))


def picture_number(seed: int, domain: int, count: int, draw: int) -> int:
    """Which of ``count`` pictures the ``draw``-th draw of a domain is: a new random order for every pass over them."""
    turn, place = divmod(draw, count)
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2, domain, turn))).permutation(count)
    return int(order[place])


def cropped(pixels: Pixels, size: int, flip: bool, rng: np.random.Generator) -> Pixels:
    """A random square of ``size`` px, mirrored or not: (size, size, 3) of (side, side, 3)."""
    top, left = rng.integers(pixels.shape[0] - size + 1, size=2).tolist()
    mirrored = rng.random() < 0.5 and flip
    square = pixels[top : top + size, left : left + size]
    return square[:, ::-1] if mirrored else square


def middle(pile: Pile, size: int, count: int) -> Pixels:
    """The middle squares of the first ``count`` pictures of a pile, (n, size, size, 3)."""
    edge = (pile.side - size) // 2
    pictures = np.stack([pile.read(number) for number in range(min(count, len(pile)))])
    return pictures[:, edge : edge + size, edge : edge + size]


def _generated(name: str, count: int, side: int, draw: Callable[[int], Pixels]) -> tuple[Pile, dict[str, str]]:
    if count < 2:
        raise UsageError(f"generated: expected at least 2 pictures of a domain, got {count}")
    shown = tqdm(range(count), name, unit="picture", delay=2, disable=None, leave=False)
    stack = np.stack([draw(number) for number in shown])
    return Pile(name, hashlib.sha256(stack.tobytes()).hexdigest(), side, count, stack.__getitem__), {}


def _folder(folder: Path, side: int, memory: int) -> tuple[Pile, dict[str, str]]:
    paths = find_pictures(folder)
    if len(paths) * side * side * 3 > memory:
        return _lazy(folder, paths, side), {}
    pixels: list[Pixels] = []
    keys: dict[str, str] = {}
    broken = 0
    shown = tqdm(paths, folder.name, unit="picture", delay=2, disable=None, leave=False)

    def read_or_why(path: Path) -> tuple[Pixels, str] | BrokenFile:
        try:
            return _read(path, side)
        except BrokenFile as error:
            return error

    for path, read in zip(shown, mapped(read_or_why, paths, 4), strict=True):
        if isinstance(read, BrokenFile):
            _LOG.warning("%s; left out", read)
            broken += 1
        elif read[1] in keys:
            _LOG.warning("%s: the same picture as %s; left out", path, keys[read[1]])
        else:
            pixels.append(read[0])
            keys[read[1]] = str(path)
    if len(pixels) < 2:
        raise UsageError(f"{folder}: expected 2 different pictures or more, got {len(pixels)} ({broken} unreadable)")
    stack = np.stack(pixels)
    return Pile(folder.name, _digest(list(keys)), side, len(stack), stack.__getitem__), keys


def _lazy(folder: Path, paths: list[Path], side: int) -> Pile:
    known = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in paths]
    warned: set[Path] = set()

    def read(number: int) -> Pixels:
        for step in range(len(paths)):
            path = paths[(number + step) % len(paths)]
            try:
                return _read(path, side)[0]
            except BrokenFile as error:  # the next picture takes its place, the same one every time
                if path not in warned:
                    _LOG.warning("%s; the picture after it is taken instead", error)
                warned.add(path)
        raise UsageError(f"{folder}: none of its {len(paths)} pictures can be read")

    return Pile(folder.name, _digest(known), side, len(paths), read)


def _read(path: Path, side: int) -> tuple[Pixels, str]:
    picture, digest = read_picture(path)
    return scaled(picture, (side, side)), digest


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _held_out(pile: Pile, seed: int, number: int) -> tuple[Pile, Pile]:
    count = min(HELD_OUT_MOST, max(1, len(pile) // HELD_OUT_PART))
    order = shared_rng(seed, number).permutation(len(pile))
    unseen, seen = np.sort(order[:count]).tolist(), np.sort(order[count:]).tolist()
    return _part(pile, seen, "seen"), _part(pile, unseen, "unseen")


def _part(pile: Pile, numbers: list[int], what: str) -> Pile:
    digest = hashlib.sha256(f"{pile.digest} {what}".encode()).hexdigest()
    return Pile(pile.name, digest, pile.side, len(numbers), lambda number: pile.read(numbers[number]))
