"""The frames of a video as a folder of image files."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.readers import image_size, list_frames, read_image


class ImageFolder:
    """One frame to an image file, in natural order of the names; hidden and other files are ignored.

    Iterating gives paths: an image is decoded when its pixels are asked for, so that of the frames between keyframes
    only the header is read.

    Attributes: those of :class:`~location_anticipation.data.frame_sources.FrameSource`; ``rate`` is None.

    Raises:
        UsageError: if there is no image in the folder, or one is not readable or has another size than the first.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.label = str(folder)
        self.name = folder.resolve().name
        self.rate: Fraction | None = None
        self.pixel_aspect = Fraction(1)
        self.file: str | None = None
        self.damage: str | None = None
        self.broken: str | None = None
        self._files = [folder / name for name in list_frames(folder)]
        if not self._files:
            raise UsageError(f"{folder}: no images in this folder")
        self.frame_count: int | None = len(self._files)
        try:
            sizes = {path: image_size(path) for path in self._files}
        except BrokenFile as error:
            raise UsageError(str(error)) from error
        self.height, self.width = sizes[self._files[0]]
        for path, (height, width) in sizes.items():
            if (height, width) != (self.height, self.width):
                raise UsageError(
                    f"{path}: is {width}x{height}, but {self._files[0].name} is {self.width}x{self.height}: "
                    "the frames of a video must be of one size"
                )

    def __iter__(self) -> Iterator[Path]:
        return iter(self._files)

    def seconds(self, frame: Path) -> None:
        """Images have no times."""

    def rgb(self, frame: Path) -> NDArray[np.uint8]:
        """The upright pixels of an image, uint8 (H, W, 3), RGB."""
        try:
            pixels = read_image(frame)
        except BrokenFile as error:
            raise UsageError(str(error)) from error
        if pixels.shape != (self.height, self.width, 3):
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise UsageError(f"{frame}: is {size}, its header said {self.width}x{self.height}")
        return pixels

    def file_name(self, index: int) -> str:
        """Name of a frame's file in the folder."""
        return self._files[index].name
