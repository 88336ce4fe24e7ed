"""A video as a folder of images, one per frame."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from efficiency_core.errors import BrokenFile, UsageError, checking
from efficiency_core.readers import list_frames, read_image
from full_video.networks.frames import Wanted, rising_indices


class FrameFolder:
    """The images of a folder as frames. An image is read when it is asked for; none is kept.

    Broken (``BrokenFile``) is a folder without images, with fewer than ``count``, with a gap in the numbers, with an image
    that cannot be read, or with one of another size than the first, and one where :func:`check_names` fails. Images beyond a
    declared ``count`` are left out.

    Args:
        name: what messages call the video; by default the folder.
        template: file names with the number of the frame (``img_{:05d}.jpg``), the first of any number. Without it, all images
            in natural order of their names, where a missing number among numbered images is a missing frame. Optical flow
            (``flow_x_00001.jpg``) next to frames of the same numbers is left out.
        count: number of frames as a list of videos declares it; None: all images."""

    def __init__(
        self, folder: str | Path, name: str | None = None, template: str | None = None, count: int | None = None
    ) -> None:
        self.folder, self.name = Path(folder), str(folder) if name is None else name
        self.template, self.count = template, count
        self._size: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, wanted: Wanted) -> Tensor:
        indices = rising_indices(wanted, len(self)).tolist()
        if not indices:
            return self._read(0)[None][:0]
        frames: list[Tensor] = []
        for before, index in zip([-1, *indices], indices, strict=False):
            frames.append(frames[-1] if index == before else self._read(index))
        return torch.stack(frames)

    @cached_property
    def _files(self) -> Sequence[str]:
        try:
            images = list_frames(self.folder)
        except OSError as error:
            missing = not self.folder.exists()
            why = "no such file or folder" if missing else f"cannot be read ({error.strerror or error})"
            raise BrokenFile(self.name, why) from error
        if not images:
            first = "" if self.template is None else f", the first should be {self.template.format(1)}"
            raise BrokenFile(self.name, f"no images in this folder{first}")
        try:
            if self.template is not None:
                return self._by_template(self.template, _numbers(images, self.template), set(images))
            images = _one_series(images)
        except ValueError as error:
            raise BrokenFile(self.name, str(error)) from error
        self._check_gaps(images)
        if self.count is None:
            return images
        if len(images) < self.count:
            raise BrokenFile(self.name, f"{self.count} frames are declared, the folder holds {len(images)}")
        return images[: self.count]

    def _by_template(self, template: str, numbers: Sequence[int], present: set[str]) -> Sequence[str]:
        first = numbers[0]
        if self.count is not None:
            files = [template.format(number) for number in range(first, first + self.count)]
            if missing := [file for file in files if file not in present]:
                raise BrokenFile(self.name, f"{self.count} frames are declared, {missing[0]} is missing")
            return files
        for expected, number in enumerate(numbers, start=first):
            if number != expected:
                last = template.format(numbers[-1])
                raise BrokenFile(self.name, f"{template.format(expected)} is missing, the frames go to {last}")
        return [template.format(number) for number in numbers]

    def _check_gaps(self, images: Sequence[str]) -> None:
        """Where all names differ in one number alone, the numbers must follow each other."""
        matches = [re.fullmatch(r"(\D*)(\d+)(\D*)", Path(file).stem) for file in images]
        numbered = [match for match in matches if match is not None]
        if len(numbered) < len(images) or len({(match[1], match[3]) for match in numbered}) > 1:
            return
        numbers = [int(match[2]) for match in numbered]
        for before, after, file in zip(numbers, numbers[1:], images[1:], strict=False):
            if after != before + 1:
                raise BrokenFile(self.name, f"frame {before + 1} is missing before {file}")

    def _read(self, index: int) -> Tensor:
        pixels = self._pixels(index)
        if self._size is None:
            self._size = (pixels if index == 0 else self._pixels(0)).shape
        if pixels.shape != self._size:
            (_, height, width), (_, first_height, first_width) = pixels.shape, self._size
            first = f"{self._files[0]} is {first_width}x{first_height}"
            raise BrokenFile(self.name, f"{self._files[index]} is {width}x{height}, {first}")
        return pixels

    def _pixels(self, index: int) -> Tensor:
        file = self._files[index]
        try:
            return torch.from_numpy(read_image(self.folder / file, file)).permute(2, 0, 1).contiguous()
        except BrokenFile as error:
            raise BrokenFile(self.name, str(error)) from error


def check_template(template: str | None) -> None:
    """Raise UsageError if the template of file names does not depend on the number of the frame."""
    if template is None:
        return
    try:
        sound = template.format(1) != template.format(2)
    except (ValueError, IndexError, KeyError):
        sound = False
    if not sound:
        raise UsageError(f"template must hold the frame's number as in 'img_{{:05d}}.jpg', got {template!r}")


def check_names(folder: Path, template: str | None, where: str) -> None:
    """Raise UsageError, opened by ``where``, if none of the images of a folder has a name of the template, or, without one,
    several series of images have the same numbers and it cannot be told which one is the frames."""
    images = list_frames(folder)
    with checking(f"{where}: {folder}"):
        if images and template is not None:
            _numbers(images, template)
        elif images:
            _one_series(images)


def _numbers(images: Sequence[str], template: str) -> list[int]:
    """Numbers of the images with a name of the template, rising."""
    present = set(images)
    candidates = {int(number) for file in images for number in re.findall(r"\d+", file)}
    numbers = sorted(number for number in candidates if template.format(number) in present)
    if not numbers:
        raise ValueError(f"no image has a name of the template {template}; the first image is {images[0]}")
    return numbers


def _one_series(images: Sequence[str]) -> list[str]:
    """``images`` without optical flow of the same numbers."""
    series: dict[tuple[int, ...], set[str]] = {}
    for file in images:
        if numbers := tuple(map(int, re.findall(r"\d+", file))):
            series.setdefault(numbers, set()).add(re.sub(r"\d+", "*", file))
    parallel: set[str] = set().union(*(names for names in series.values() if len(names) > 1))
    frames = {name for name in parallel if "flow" not in name.casefold()}
    if parallel and len(frames) != 1:
        some = ", ".join(sorted(parallel)[:4])
        raise ValueError(f"several series of images ({some}); name the frames by a template such as img_{{:05d}}.jpg")
    return [file for file in images if re.sub(r"\d+", "*", file) not in parallel - frames]
