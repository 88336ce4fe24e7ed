"""A small town in the place of Pittsburgh: ray-cast views of parameterised facades at 30-degree yaws and two pitches. A
place is a stretch of street with houses on all four sides; the upper pitch sees sky, clouds and wires, no landmark."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthetic_datasets.seeding import shared_rng

PITCH_DEGREES = {1: 4.0, 2: 62.0}
"""How far above the horizon a view of each pitch looks; Pittsburgh's second, 26.5 degrees, would still see houses here."""
YAW_STEP_DEGREES, VIEW_DEGREES = 30.0, 60.0
"""Between neighbouring yaws (yaw 1 is at 0), and across a view's width."""
SAMPLES = 2
"""Rays across a pixel, and down."""

VISITS = 999
"""Most visits to a place; one more is kept for ``street_photo``."""

_PLACE, _WALK, _VISIT = 10_000_000, 50_000_000, 100_000_000
"""Where the numbers of the town's own random streams start (``seeding.shared_rng``)."""
_WALLS = np.array(
    [
        (166, 88, 66), (148, 64, 56), (190, 118, 82), (206, 178, 140), (226, 208, 170), (198, 196, 190), (158, 164, 168),
        (122, 132, 142), (150, 166, 136), (208, 160, 130), (232, 226, 214), (116, 88, 78), (176, 188, 200), (222, 190, 120),
    ],
    float,
)  # fmt: skip
_SHOPS = np.array([(170, 40, 44), (36, 84, 130), (40, 104, 66), (212, 168, 40), (70, 66, 72), (120, 60, 120)], float)
Pixels = NDArray[np.float64]


@dataclass(frozen=True)
class Wall:
    """The houses along one side of a place, from one end of the wall to the other; all arrays have one entry a house."""

    edges: Pixels
    """(houses + 1,) where houses begin and end, metres along the wall."""
    height: Pixels
    """Metres."""
    colour: Pixels
    """(houses, 3), 0..255, as is every colour."""
    trim: Pixels
    """Cornice and window frames."""
    glass: Pixels
    """Windows."""
    shop: Pixels
    """Ground floor."""
    storey: Pixels
    """Height of a storey, metres."""
    bay: Pixels
    """Distance of windows, metres."""
    opening: Pixels
    """(houses, 2) part of a bay and of a storey that the window takes."""
    brick: Pixels
    """How strongly courses of brick show, 0 to 0.2."""


@dataclass(frozen=True)
class Place:
    """One street: the camera stands near its middle; x points across, y along, in metres."""

    azimuth: float
    """Direction of yaw 1 against the street, radians."""
    sides: Pixels
    """(4,) distance of the walls at +x, -x, +y and -y, in which order the walls are, too."""
    walls: list[Wall]
    wires: Pixels
    """(n, 2) x and height of overhead wires along the street."""


def place(seed: int, number: int) -> Place:
    """Place ``number`` of a town, the same whatever else is made of it."""
    rng = shared_rng(seed, _PLACE + number)
    sides = np.concatenate([rng.uniform(7, 11, 2), rng.uniform(14, 30, 2)])
    wires = np.stack([rng.uniform(-5, 5, 3), rng.uniform(6.5, 9, 3)], axis=1)
    walls = [_wall(rng) for _ in range(4)]
    return Place(float(rng.uniform(0, 2 * math.pi)), sides, walls, wires)


def view(
    seed: int, number: int, visit: int, pitch: int, yaw: int, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], float]:
    """(height, width, 3) picture of place ``number``, and which part of it (0..1) shows houses. Visits, 0 to 999,
    differ in light, weather, clouds and by up to half a metre and four degrees in where the camera stands and looks, as
    two drives through a street do; walls do not change. ``pitch``: 1 level, 2 up; ``yaw``: 1 to 12; ``size``: (height,
    width), pixels."""
    key = ((number * (VISITS + 1) + visit) * 2 + pitch - 1) * 12 + yaw - 1
    rng = shared_rng(seed, _VISIT + key)
    scene = place(seed, number)
    eye = np.array([*rng.uniform(-0.5, 0.5, 2), rng.uniform(2.3, 2.7)])
    turn = scene.azimuth + math.radians((yaw - 1) * YAW_STEP_DEGREES + rng.uniform(-4, 4))
    rise = math.radians(PITCH_DEGREES[pitch] + rng.uniform(-1.5, 1.5))
    rays = _rays(turn, rise, (SAMPLES * size[0], SAMPLES * size[1]))
    large, houses = _colours(scene, eye, rays, rng)
    mean = large.reshape(size[0], SAMPLES, size[1], SAMPLES, 3).mean(axis=(1, 3))
    grain = rng.normal(0, 2.5, size)[..., None]  # a camera's, and why no two pictures are ever the same
    return np.clip(np.rint(mean + grain), 0, 255).astype(np.uint8), float(houses.mean())


def _wall(rng: np.random.Generator) -> Wall:
    widths = rng.uniform(5, 13, 14)
    count, pick = len(widths), rng.integers(len(_WALLS), size=len(widths))
    colour = np.clip(_WALLS[pick] + rng.normal(0, 12, (count, 3)), 20, 250)
    storey = rng.uniform(2.8, 3.8, count)
    return Wall(
        edges=np.concatenate([[0.0], np.cumsum(widths)]) - widths.sum() / 2,
        height=storey * rng.integers(2, 5, count) + 0.6, colour=colour,
        trim=np.where(rng.random((count, 1)) < 0.6, colour * 0.55, np.minimum(colour * 1.35, 250)),
        glass=np.array([62, 74, 92]) + rng.normal(0, 14, (count, 1)) + rng.normal(0, 8, (count, 3)),
        shop=_SHOPS[rng.integers(len(_SHOPS), size=count)], storey=storey, bay=rng.uniform(1.5, 3.4, count),
        opening=np.stack([rng.uniform(0.35, 0.75, count), rng.uniform(0.4, 0.75, count)], axis=1),
        brick=rng.uniform(0, 0.2, count) * (rng.random(count) < 0.7),
    )  # fmt: skip


def _rays(turn: float, rise: float, size: tuple[int, int]) -> Pixels:
    height, width = size
    focal = width / 2 / math.tan(math.radians(VIEW_DEGREES / 2))
    right, down = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    forward = np.array([math.cos(rise) * math.sin(turn), math.cos(rise) * math.cos(turn), math.sin(rise)])
    sideways = np.array([math.cos(turn), -math.sin(turn), 0.0])
    upwards = np.cross(sideways, forward)
    rays: Pixels = focal * forward + right[..., None] * sideways - down[..., None] * upwards
    return rays / focal


def _colours(scene: Place, eye: Pixels, rays: Pixels, rng: np.random.Generator) -> tuple[Pixels, NDArray[np.bool_]]:
    x, y, z = np.moveaxis(rays, -1, 0)
    right, left, ahead, behind = scene.sides
    with np.errstate(divide="ignore"):
        reach_x = np.where(x > 0, right - eye[0], -left - eye[0]) / x
        reach_y = np.where(y > 0, ahead - eye[1], -behind - eye[1]) / y
        reach_ground = np.where(z < 0, -eye[2] / z, np.inf)
    reach = np.minimum(reach_x, reach_y)
    side = np.where(reach_x < reach_y, np.where(x > 0, 0, 1), np.where(y > 0, 2, 3))
    along = np.where(side < 2, eye[1] + reach * y, eye[0] + reach * x)
    up = eye[2] + reach * z

    light = rng.uniform(0.85, 1.1)
    sun = rng.uniform(0.72, 1.12, 4)  # of each wall
    warmth = 1 + rng.uniform(-0.06, 0.06) * np.array([1.0, 0.0, -1.0])
    out = _sky(rays, rng)
    for wire_x, wire_z in scene.wires:  # seen against the sky, thinner the farther away
        with np.errstate(divide="ignore", invalid="ignore"):
            height = (wire_z - eye[2]) / z
            near = np.abs(eye[0] + height * x - wire_x) < 0.03 + 0.006 * height
        out[near & (height > 0)] *= 0.45
    ground = reach_ground < reach
    street = np.stack([eye[0] + reach_ground[ground] * x[ground], eye[1] + reach_ground[ground] * y[ground]])
    out[ground] = _ground(street, scene)
    houses = np.zeros(ground.shape, bool)
    for number, wall in enumerate(scene.walls):
        mine = (side == number) & ~ground
        colour, solid = _facade(wall, along[mine], up[mine])
        where = np.flatnonzero(mine)[solid]
        out.reshape(-1, 3)[where] = colour[solid] * sun[number]
        houses.reshape(-1)[where] = True
    return out * light * warmth, houses


def _facade(wall: Wall, along: Pixels, up: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    house = np.clip(np.searchsorted(wall.edges, along, side="right") - 1, 0, len(wall.height) - 1)
    within, width = along - wall.edges[house], np.diff(wall.edges)[house]
    height, storey, bay = wall.height[house], wall.storey[house], wall.bay[house]
    bays = np.maximum(1, np.floor(width / bay))
    across = np.abs((within / width * bays) % 1 - 0.5) * 2 / wall.opening[house, 0]
    floor, rise = np.divmod(up, storey)
    middle = np.abs(rise / storey - 0.5) * 2 / wall.opening[house, 1]
    window = np.maximum(across, middle)

    courses = 1 + wall.brick[house] * np.where((up / 0.3) % 1 < 0.5, 1, -1) * 0.5
    colour = wall.colour[house] * courses[:, None]
    upstairs = (floor >= 1) & (up < height - 0.6)
    colour = np.where((upstairs & (window < 1.25))[:, None], wall.trim[house], colour)
    colour = np.where((upstairs & (window < 1))[:, None], wall.glass[house], colour)
    shop_window = (floor < 1) & (across < 1.3) & (rise < 2.3) & (rise > 0.5)
    colour = np.where((floor < 1)[:, None], wall.shop[house], colour)
    colour = np.where(shop_window[:, None], wall.glass[house] * 0.8, colour)
    colour = np.where((up > height - 0.6)[:, None], wall.trim[house], colour)
    edge = np.minimum(within, width - within) < 0.12
    return np.where(edge[:, None], colour * 0.7, colour), up < height


def _ground(street: Pixels, scene: Place) -> Pixels:
    x, y = street
    middle = (scene.sides[0] - scene.sides[1]) / 2
    half = (scene.sides[0] + scene.sides[1]) / 2
    offset = np.abs(x - middle)
    colour = np.where((offset > half - 2.5)[:, None], (168.0, 164.0, 156.0), (92.0, 92.0, 96.0))
    line = (offset < 0.12) & (y % 4 < 2)
    return np.where(line[:, None], (214.0, 206.0, 170.0), colour)


def _sky(rays: Pixels, rng: np.random.Generator) -> Pixels:
    top = np.array([70, 120, 190]) + rng.normal(0, 14, 3)
    low = np.array([186, 206, 226]) + rng.normal(0, 10, 3)
    elevation = np.arctan2(rays[..., 2], np.hypot(rays[..., 0], rays[..., 1]))
    share = np.clip(elevation / (math.pi / 2), 0, 1)[..., None] ** 0.7
    blue = low + (top - low) * share
    # clouds lie in a plane above, so that they grow finer towards the horizon
    flat = rays[..., :2] / np.maximum(rays[..., 2:], 0.08)
    noise = sum(_noise(flat * scale, rng) / scale for scale in (1.0, 2.0, 4.0))
    cover = rng.uniform(0.75, 1.15)
    cloud = np.clip((noise - cover + 0.1) * 3, 0, 0.9)[..., None]
    return blue + (np.array([238, 238, 236]) - blue) * cloud


def _noise(points: Pixels, rng: np.random.Generator) -> Pixels:
    """Smooth noise in 0..1 at points of a plane: random values on whole numbers, interpolated; it repeats every 32."""
    grid = rng.random((32, 32))
    low = np.floor(points)
    part = points - low
    part = part * part * (3 - 2 * part)
    x, y = (low[..., axis].astype(int) % 32 for axis in (0, 1))
    a, b = part[..., 0], part[..., 1]
    upper = grid[x, y] * (1 - a) + grid[(x + 1) % 32, y] * a
    lower = grid[x, (y + 1) % 32] * (1 - a) + grid[(x + 1) % 32, (y + 1) % 32] * a
    return upper * (1 - b) + lower * b


def street_photo(seed: int, number: int, size: tuple[int, int], first_place: int = 0) -> Image.Image:
    """Photo ``number`` of a walk through the town: a new place each, any yaw, every fourth looking up. The walk is a
    visit of its own, so that no photo is one of a data set's."""
    yaw = int(shared_rng(seed, _WALK + first_place + number).integers(1, 13))
    pitch = 2 if number % 4 == 3 else 1
    return Image.fromarray(view(seed, first_place + number, VISITS, pitch, yaw, size)[0])
