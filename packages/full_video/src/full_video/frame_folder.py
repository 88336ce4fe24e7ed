"""A video as a folder of images, one to a frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from full_video.errors import BrokenVideo, UsageError
from full_video.frames import Wanted, rising_indices

__all__ = ["IMAGE_SUFFIXES", "FrameFolder", "natural_order"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


def natural_order(name: str) -> list[tuple[bool, int, str]]:
    """Sort key by which ``frame10`` comes after ``frame9``: runs of digits count as numbers."""
    parts = re.findall(r"\d+|\D+", name.casefold())
    return [(not part[0].isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


class FrameFolder:
    """The images of a folder as frames; an image is opened when it is asked for, and none is kept.

    Args:
        folder: where they lie; hidden and other files are passed over.
        name: what messages call the video; by default the folder.
        template: how the files are called, with the frame's number from 1 (``img_{:05d}.jpg``); without it, all images
            in natural order of their names, and a missing number among numbered ones is a missing frame.
        count: number of frames as a list of videos declares it; without it, all there are.

    What is broken: no image, fewer than ``count``, a gap in the numbers, an unreadable image, or one of another size
    than the first. Images beyond a declared ``count`` are left out, as the list says.
    """

    def __init__(
        self, folder: str | Path, name: str | None = None, template: str | None = None, count: int | None = None
    ) -> None:
        self.folder = Path(folder)
        self.name = str(folder) if name is None else name
        self.template = template
        self.count = count
        self._size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, wanted: Wanted) -> Tensor:
        indices = rising_indices(wanted, len(self))
        if not len(indices):
            return self._read(0)[None][:0]
        frames: Tensor | None = None
        for at, index in enumerate(indices.tolist()):
            if frames is not None and index == indices[at - 1]:
                frames[at] = frames[at - 1]
                continue
            pixels = self._read(index)
            if frames is None:
                frames = pixels.new_empty((len(indices), *pixels.shape))
            frames[at] = pixels
        assert frames is not None
        return frames

    @cached_property
    def _files(self) -> Sequence[str]:
        try:
            present = {path.name for path in self.folder.iterdir()}
        except OSError as error:
            why = (
                "no such file or folder" if not self.folder.exists() else f"cannot be read ({error.strerror or error})"
            )
            raise BrokenVideo(self.name, why) from error
        if self.template is not None:
            return self._by_template(self.template, present)
        images = [file for file in present if Path(file).suffix.lower() in IMAGE_SUFFIXES and file[0] != "."]
        images.sort(key=lambda file: (natural_order(file), file))
        if not images:
            raise BrokenVideo(self.name, "no images in this folder")
        self._check_gaps(images)
        if self.count is None:
            return images
        if len(images) < self.count:
            raise BrokenVideo(self.name, f"{self.count} frames are declared, the folder holds {len(images)}")
        return images[: self.count]

    def _by_template(self, template: str, present: set[str]) -> Sequence[str]:
        if self.count is not None:
            files = [template.format(number) for number in range(1, self.count + 1)]
            missing = [file for file in files if file not in present]
            if missing:
                raise BrokenVideo(self.name, f"{self.count} frames are declared, {missing[0]} is missing")
            return files
        numbers = _numbers(template, present)
        if not numbers:
            raise BrokenVideo(self.name, f"no images in this folder, the first should be {template.format(1)}")
        for expected, number in enumerate(numbers, start=1):
            if number != expected:
                last = template.format(numbers[-1])
                raise BrokenVideo(self.name, f"{template.format(expected)} is missing, the frames go to {last}")
        return [template.format(number) for number in numbers]

    def _check_gaps(self, images: Sequence[str]) -> None:
        """Where all names differ in one number alone, the numbers must follow each other."""
        numbered = [re.fullmatch(r"(\D*)(\d+)(\D*)", Path(file).stem) for file in images]
        matches = [match for match in numbered if match is not None]
        if len(matches) < len(images) or len({(match[1], match[3]) for match in matches}) > 1:
            return
        numbers = [int(match[2]) for match in matches]
        for before, after, file in zip(numbers, numbers[1:], images[1:], strict=False):
            if after != before + 1:
                raise BrokenVideo(self.name, f"frame {before + 1} is missing before {file}")

    def _read(self, index: int) -> Tensor:
        file = self._files[index]
        pixels = _pixels(self.folder / file, self.name)
        size = pixels.shape[:2]
        self._size = self._size or (size if index == 0 else _pixels(self.folder / self._files[0], self.name).shape[:2])
        if size != self._size:
            raise BrokenVideo(
                self.name, f"{file} is {size[1]}x{size[0]}, {self._files[0]} is {self._size[1]}x{self._size[0]}"
            )
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _numbers(template: str, present: set[str]) -> list[int]:
    """Numbers, rising, for which ``template`` gives a file that is there."""
    candidates = {int(number) for file in present for number in re.findall(r"\d+", file)}
    return sorted(number for number in candidates if template.format(number) in present)


def _pixels(path: Path, name: str) -> NDArray[Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise UsageError('images need Pillow: pip install "full_video[video]"') from error
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):  # 16 and 32 bits a pixel, which Pillow would cut off at 255
                raise BrokenVideo(name, f"{path.name} has pixels of type {image.mode!r}, expected 8 bits a colour")
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's readers raise for missing and broken files
        raise BrokenVideo(name, f"{path.name} is not a readable image ({error})") from error
