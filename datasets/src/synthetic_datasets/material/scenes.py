"""Three ways to look at a thing: a product picture, a sharp photo of a desk, the same through a cheap webcam."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Range = tuple[float, float]
Pixels = NDArray[np.float32]

MARGIN = 0.03
"""Between the square of a thing and the border of the picture, at least."""
WOODS = ((150, 104, 62), (196, 152, 100), (96, 66, 46), (214, 184, 140))
PLAINS = ((206, 204, 196), (120, 128, 134), (86, 96, 84), (170, 150, 150), (70, 74, 92))


@dataclass(frozen=True)
class Scene:
    """A domain: ranges of everything that makes its pictures. Lengths are in widths of the picture."""

    scale: Range
    """Half the side of the square that a thing is drawn in; less where it would not fit, turned and tilted."""
    turn: float
    """Most degrees by which it is turned, either way."""
    tilt: float
    """Most by which perspective makes one side of it nearer than the other, either way."""
    off: float
    """Most that it is off the middle, either way, as far as it fits."""
    desk: bool
    """Whether it lies on a desk, with a shadow and light from one side, or stands before white."""
    light: Range
    """How unequal the light is: 0.3 makes one side 0.3 brighter and the other as much darker."""
    blur: Range
    """Deviation of the blur."""
    noise: Range
    """Deviation of the noise, in grey values."""
    cast: float
    """Most by which a colour channel is stronger or weaker, relative."""
    contrast: Range
    """About the middle grey."""


SCENES = {
    "dslr": Scene((0.27, 0.36), 22, 0.16, 0.1, True, (0.1, 0.3), (0, 0.003), (0, 2), 0.03, (0.95, 1.1)),
    "amazon": Scene((0.4, 0.47), 5, 0, 0.02, False, (0, 0), (0, 0.003), (0, 1), 0, (1, 1)),
    "webcam": Scene((0.24, 0.34), 22, 0.22, 0.12, True, (0.15, 0.4), (0.012, 0.024), (6, 14), 0.16, (0.55, 0.8)),
}


@dataclass(frozen=True)
class View:
    """One picture's camera, light and sensor: every factor of a scene, drawn."""

    centre: NDArray[np.float64]
    """(2,) x y in pixels."""
    scale: float
    """Pixels in a unit of the thing."""
    angle: float
    """Radians, clockwise."""
    tilt: NDArray[np.float64]
    """(2,) how much nearer the right and the lower side are."""
    desk: int
    """0 wood, 1 cloth, 2 plain; -1 for white."""
    desk_colour: NDArray[np.uint8]
    """(3,)"""
    light: NDArray[np.float64]
    """(2,) direction from which it comes, radians from x towards y, and how unequal it is."""
    blur: float
    """Deviation in pixels."""
    noise: float
    """Deviation in grey values."""
    gain: NDArray[np.float64]
    """(3,) of red, green and blue."""
    contrast: float

    def homography(self, oversampling: int) -> NDArray[np.float64]:
        """(3, 3) from the thing's coordinates to pixels of the picture made ``oversampling`` times as large."""
        moved = np.array([[1, 0, self.centre[0]], [0, 1, self.centre[1]], [0, 0, 1]])
        made: NDArray[np.float64] = np.diag([oversampling, oversampling, 1.0]) @ moved
        return made @ _turned(self.scale, self.angle, self.tilt)


def new_view(scene: Scene, size: int, rng: np.random.Generator) -> View:
    """Draw every factor, for a picture of ``size`` px."""
    angle = math.radians(scene.turn) * (2 * rng.random() - 1)
    tilt = scene.tilt * (2 * rng.random(2) - 1)
    corners = np.array([(-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)]) @ _turned(1, angle, tilt).T
    flat = corners[:, :2] / corners[:, 2:]
    low, high = flat.min(axis=0), flat.max(axis=0)
    scale = size * min(_between(scene.scale, rng), (1 - 2 * MARGIN) / float((high - low).max()))
    first, last = MARGIN * size - scale * low, (1 - MARGIN) * size - scale * high
    middle = size * (0.5 + scene.off * (2 * rng.random(2) - 1)) - scale * (low + high) / 2
    kind = int(3 * rng.random())
    colours = WOODS if kind == 0 else PLAINS
    colour = np.array(colours[int(len(colours) * rng.random())]) + 40 * (rng.random(3) - 0.5)
    return View(
        centre=np.clip(middle, first, last), scale=scale, angle=angle, tilt=tilt, desk=kind if scene.desk else -1,
        desk_colour=(np.clip(colour, 0, 255) if scene.desk else np.full(3, 255)).astype(np.uint8),
        light=np.array([2 * math.pi * rng.random(), _between(scene.light, rng)]),
        blur=size * _between(scene.blur, rng), noise=_between(scene.noise, rng),
        gain=1 + scene.cast * (2 * rng.random(3) - 1), contrast=_between(scene.contrast, rng),
    )  # fmt: skip


def _turned(scale: float, angle: float, tilt: NDArray[np.float64]) -> NDArray[np.float64]:
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    perspective = np.array([[1, 0, 0], [0, 1, 0], [-tilt[0], -tilt[1], 1]])
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ perspective


def photograph(thing: Pixels, view: View, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W, 3) the picture of ``thing`` (H, W, 4: colour times cover, and cover, 0..1), as ``view`` says. Desk, shadow
    and thing are lit, then blurred, then coloured and made noisy by the sensor."""
    size = thing.shape[0]
    cover = thing[:, :, 3:]
    if view.desk < 0:
        picture = 1 - cover + thing[:, :, :3]
    else:
        reach = 0.035 * size
        shadow = np.roll(
            _blurred(cover, 0.03 * size)[:, :, 0],
            (-round(reach * math.sin(view.light[0])), -round(reach * math.cos(view.light[0]))), (0, 1),
        )  # fmt: skip
        along = (np.arange(size, dtype=np.float32) + 0.5) / (size / 2) - 1
        x, y = view.light[1] * math.cos(view.light[0]), view.light[1] * math.sin(view.light[0])
        lit = np.asarray(1 + x * along[None, :, None] + y * along[:, None, None], np.float32)
        under = desk(view.desk, view.desk_colour, size, rng) * (1 - 0.45 * shadow[:, :, None])
        picture = (under * (1 - cover) + thing[:, :, :3]) * lit
    if view.blur > 0.2:
        picture = _blurred(picture, view.blur)
    seen = 0.5 + view.contrast * (picture * view.gain.astype(np.float32) - 0.5)
    noisy = 255 * seen + np.float32(view.noise) * rng.standard_normal(seen.shape, np.float32)
    if view.desk < 0:  # product pictures are cut out: what is before white has no noise around it
        noisy = np.where((cover > 0) | (picture < 1), noisy, 255)
    return np.asarray(np.rint(np.clip(noisy, 0, 255)), np.uint8)


def desk(kind: int, colour: NDArray[np.uint8], size: int, rng: np.random.Generator) -> Pixels:
    """(size, size, 3) a table top of that colour, 0..1: wood has grain along one way, cloth a weave, plain ones specks."""
    if kind == 0:
        grain = 0.6 * cloud(size, (max(2, size // 24), size), rng) + 0.4 * cloud(size, (2, max(2, size // 3)), rng)
        texture = grain if rng.random() < 0.5 else grain.T
        strength = 0.5
    elif kind == 1:
        thread = np.arange(size) // max(1, size // 64) % 2
        texture = 0.5 * (thread[:, None] ^ thread) + 0.5 * cloud(size, (2, 2), rng)
        strength = 0.25
    else:
        texture = 0.6 * cloud(size, (max(2, size // 4),) * 2, rng) + 0.4 * cloud(size, (1, 1), rng)
        strength = 0.2
    lit = 1 + strength * (texture - 0.5)
    return np.asarray(lit[:, :, None] * colour.astype(np.float32) / 255, np.float32)


def cloud(size: int, spacing: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """(size, size) a random grid with ``spacing`` px between its rows and its columns, enlarged smoothly; about 0..1."""
    grid = rng.random((size // spacing[0] + 2, size // spacing[1] + 2), np.float32)
    sides = (grid.shape[1] * spacing[1], grid.shape[0] * spacing[0])
    large = Image.fromarray(grid).resize(sides, Image.Resampling.BICUBIC)
    return np.asarray(large, np.float32)[spacing[0] // 2 :, spacing[1] // 2 :][:size, :size]


def _blurred(picture: Pixels, deviation: float) -> Pixels:
    blur = ImageFilter.GaussianBlur(deviation)
    grey = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    parts = (Image.fromarray(np.ascontiguousarray(part)).filter(blur) for part in np.moveaxis(grey, 2, 0))
    return np.asarray(np.stack([np.asarray(part) for part in parts], axis=2) / 255, np.float32)


def _between(limits: Range, rng: np.random.Generator) -> float:
    return limits[0] + (limits[1] - limits[0]) * float(rng.random())
