"""The two piles of pictures a CycleGAN learns from: photos and paintings, from folders or generated; no torch."""

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .. import paintings, town
from ..errors import InputError
from ..pictures import find_pictures, read_picture, scaled
from ..seeding import shared_rng

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

    def some(self, numbers: list[int]) -> Pixels:
        """(n, side, side, 3) the pictures of these numbers."""
        return np.stack([self.read(number) for number in numbers])


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
    """Photos and paintings, scaled to ``side`` px whatever their shape.

    Folders are read with all folders below them. A tenth of each domain (64 at most, evenly spread) is held out.

    Args:
        photos: folder of photos, Pittsburgh's in either layout for example; None generates a town.
        paints: folder of paintings; None generates them.
        side: pixels.
        seed: of what is generated.
        generated: how many pictures of a domain are generated.
        memory: bytes above which a folder's pictures are read anew each time.

    Raises:
        InputError: a folder cannot be used or holds fewer than two pictures, or a picture is in both domains.
    """
    made = []
    for folder, name, draw in (
        (photos, "town", lambda number: np.asarray(town.street_photo(seed, number, (side, side)))),
        (paints, "generated paintings", lambda number: paintings.painting(seed, number, (side, side))),
    ):
        made.append(_generated(name, generated, side, draw, seed) if folder is None else _folder(folder, side, memory))
    (photo_pile, photo_keys), (paint_pile, paint_keys) = made
    shared = set(photo_keys) & set(paint_keys)
    if shared:
        which = paint_keys[min(shared)]
        raise InputError(
            f"{which}: the same picture is among the photos too, as {photo_keys[min(shared)]}; take it out of one"
        )
    seen_photos, unseen_photos = _held_out(photo_pile, seed, 0)
    seen_paints, unseen_paints = _held_out(paint_pile, seed, 1)
    return Material(seen_photos, seen_paints, unseen_photos, unseen_paints)


def _generated(
    name: str, count: int, side: int, draw: Callable[[int], Pixels], seed: int
) -> tuple[Pile, dict[str, str]]:
    if count < 2:
        raise InputError(f"generated: expected at least 2 pictures of a domain, got {count}")
    shown = tqdm(range(count), name, unit="picture", delay=2, disable=None, leave=False)
    stack = np.stack([draw(number) for number in shown])
    return Pile(name, hashlib.sha256(stack.tobytes()).hexdigest(), side, count, stack.__getitem__), {}


def _folder(folder: Path, side: int, memory: int) -> tuple[Pile, dict[str, str]]:
    """The pictures of a folder, and digest -> path where their bytes were read."""
    paths = find_pictures(folder)
    if len(paths) * side * side * 3 > memory:
        return _lazy(folder, paths, side), {}
    pixels: list[Pixels] = []
    keys: dict[str, str] = {}
    broken = 0
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(_read, path, side) for path in paths]
        for path, job in zip(
            paths, tqdm(jobs, folder.name, unit="picture", delay=2, disable=None, leave=False), strict=True
        ):
            try:
                picture, digest = job.result()
            except InputError as error:
                _LOG.warning("%s; left out", error)
                broken += 1
                continue
            if digest in keys:
                _LOG.warning("%s: the same picture as %s; left out", path, keys[digest])
                continue
            keys[digest] = str(path)
            pixels.append(picture)
    if len(pixels) < 2:
        raise InputError(
            f"{folder}: expected at least 2 different pictures, got {len(pixels)} ({broken} cannot be read)"
        )
    stack = np.stack(pixels)
    return Pile(folder.name, _digest(list(keys)), side, len(stack), stack.__getitem__), keys


def _lazy(folder: Path, paths: list[Path], side: int) -> Pile:
    """Too many for memory: known by name and length, decoded when wanted."""
    known = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in paths]
    warned: set[Path] = set()

    def read(number: int) -> Pixels:
        for step in range(len(paths)):
            path = paths[(number + step) % len(paths)]
            try:
                return _read(path, side)[0]
            except InputError as error:  # the next picture takes its place, the same one every time
                if path not in warned:
                    _LOG.warning("%s; the picture after it is taken instead", error)
                warned.add(path)
        raise InputError(f"{folder}: none of its {len(paths)} pictures can be read")

    return Pile(folder.name, _digest(known), side, len(paths), read)


def _read(path: Path, side: int) -> tuple[Pixels, str]:
    picture, digest = read_picture(path)
    return scaled(picture, (side, side)), digest


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _held_out(pile: Pile, seed: int, number: int) -> tuple[Pile, Pile]:
    """A pile as what is trained on and what is not: a random tenth, 64 at most, one at least."""
    count = min(HELD_OUT_MOST, max(1, len(pile) // HELD_OUT_PART))
    order = shared_rng(seed, number).permutation(len(pile))
    unseen, seen = np.sort(order[:count]).tolist(), np.sort(order[count:]).tolist()
    return _part(pile, seen, "seen"), _part(pile, unseen, "unseen")


def _part(pile: Pile, numbers: list[int], what: str) -> Pile:
    digest = hashlib.sha256(f"{pile.digest} {what}".encode()).hexdigest()
    return Pile(pile.name, digest, pile.side, len(numbers), lambda number: pile.read(numbers[number]))
