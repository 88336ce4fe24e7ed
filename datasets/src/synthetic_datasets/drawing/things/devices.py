"""Devices, drawn: each function draws one thing of its class into the square from -1 to 1."""

from synthetic_datasets.drawing.pen import Colour, Pen, bend, shade
from synthetic_datasets.drawing.things.look import BLACK, DARK, GREY, METAL, SCREENS, WHITE, Look


def _keys(
    pen: Pen, left: float, top: float, right: float, bottom: float, columns: int, rows: int, colour: Colour
) -> None:
    across, down = (right - left) / columns, (bottom - top) / rows
    for row in range(rows):
        for column in range(columns):
            x, y = left + column * across, top + row * down
            end, low = x + 0.8 * across, y + 0.8 * down
            pen.area([(x, y), (end, y), (end, low), (x, low)], colour, False)


def _readable(body: Colour) -> Colour:
    return WHITE if sum(body) < 330 else DARK


def calculator(pen: Pen, look: Look) -> None:
    half = look.between(0.52, 0.68)
    pen.box(-half, -0.95, half, 0.95, look.body, 0.1)
    pen.box(-half + 0.1, -0.84, half - 0.1, look.between(-0.55, -0.42), (176, 196, 168), 0.03)
    columns, rows = look.whole(4, 5), look.whole(4, 5)
    _keys(pen, -half + 0.11, -0.28, half - 0.06, 0.88, columns, rows, _readable(look.body))
    pen.area([(half - 0.32, 0.6), (half - 0.1, 0.6), (half - 0.1, 0.83), (half - 0.32, 0.83)], look.accent, False)


def desktop_computer(pen: Pen, look: Look) -> None:
    half, depth = look.between(0.34, 0.44), look.between(0.3, 0.5)
    side = [(half - 0.2, -0.95), (half + depth, -0.8), (half + depth, 0.8), (half - 0.2, 0.95)]
    pen.area(side, shade(look.body, 0.7))
    pen.box(-half - 0.2, -0.95, half - 0.2, 0.95, look.body, 0.03)
    left, right = -half - 0.1, half - 0.3
    for drive in range(look.whole(1, 3)):
        pen.box(left, -0.82 + 0.2 * drive, right, -0.69 + 0.2 * drive, shade(look.body, 1.3))
    pen.oval((left + right) / 2, 0, 0.09, 0.09, look.accent)
    for vent in range(look.whole(4, 6)):
        pen.line([(left, 0.4 + 0.09 * vent), (right, 0.4 + 0.09 * vent)], 0.035, shade(look.body, 0.4))


def headphones(pen: Pen, look: Look) -> None:
    across, down = look.between(0.62, 0.76), look.between(0.8, 0.95)
    pen.line(bend(0, 0.15, across, down, 180, 360, 24), look.between(0.09, 0.16), look.body)
    cup, tall = look.between(0.16, 0.24), look.between(0.32, 0.44)
    for sign in (-1, 1):
        pen.oval(sign * across, 0.42, cup, tall, shade(look.body, 0.8))
        pen.oval(sign * (across - 0.1), 0.42, cup * 0.7, tall * 0.85, look.accent)
    if look.maybe():
        pen.line(bend(-across + 0.25, 0.78, 0.25, 0.16, 180, 20, 10), 0.035, BLACK)


def keyboard(pen: Pen, look: Look) -> None:
    half = look.between(0.3, 0.42)
    pen.box(-0.98, -half, 0.98, half, look.body, 0.05)
    key = _readable(look.body)
    split = look.between(0.5, 0.62) if look.maybe() else 0.9
    rows, low = look.whole(3, 4), half - 0.2
    _keys(pen, -0.9, -half + 0.08, split, low, look.whole(11, 13), rows, key)
    if split < 0.9:
        _keys(pen, split + 0.06, -half + 0.08, 0.94, low, 3, rows, key)
    pen.area([(-0.5, low + 0.02), (0.3, low + 0.02), (0.3, half - 0.06), (-0.5, half - 0.06)], key, False)


def laptop_computer(pen: Pen, look: Look) -> None:
    half, hinge, wide = look.between(0.66, 0.76), look.between(0.1, 0.25), look.between(0.88, 0.97)
    pen.box(-half, -0.8, half, hinge, look.body, 0.05)
    pen.box(-half + 0.08, -0.72, half - 0.08, hinge - 0.08, look.one_of(SCREENS))
    pen.area([(-half, hinge), (half, hinge), (wide, 0.8), (-wide, 0.8)], shade(look.body, 1.15))
    key, bottom = _readable(look.body), hinge + 0.55 * (0.8 - hinge)
    _keys(pen, -half + 0.02, hinge + 0.05, half, bottom, 11, 4, key)
    pen.area([(-0.2, bottom + 0.05), (0.2, bottom + 0.05), (0.22, 0.74), (-0.22, 0.74)], shade(look.body, 0.75))


def mobile_phone(pen: Pen, look: Look) -> None:
    half = look.between(0.4, 0.5)
    pen.box(-half, -0.95, half, 0.95, look.body, look.between(0.08, 0.2))
    screen = look.one_of(SCREENS)
    if look.maybe(0.65):
        pen.box(-half + 0.06, -0.76, half - 0.06, 0.7, screen)
        for row in range(look.whole(2, 4)):
            for column in range(3):
                x, y = -half + 0.15 + column * (2 * half - 0.22) / 3, -0.6 + 0.26 * row
                pen.area([(x, y), (x + 0.14, y), (x + 0.14, y + 0.14), (x, y + 0.14)], look.accent, False)
        pen.oval(0, 0.83, 0.07, 0.07, shade(look.body, 1.4))
    else:
        pen.box(-half + 0.08, -0.72, half - 0.08, 0.02, screen)
        _keys(pen, -half + 0.1, 0.22, half - 0.02, 0.88, 3, 4, _readable(look.body))
    pen.line([(-0.1, -0.86), (0.1, -0.86)], 0.035, BLACK)


def monitor(pen: Pen, look: Look) -> None:
    bottom, neck = look.between(0.35, 0.5), look.between(0.06, 0.14)
    pen.box(-neck, bottom - 0.05, neck, 0.82, shade(look.body, 0.75))
    if look.maybe():
        pen.oval(0, 0.82, look.between(0.35, 0.5), 0.1, look.body)
    else:
        foot = look.between(0.35, 0.5)
        pen.area([(-foot * 0.8, 0.76), (foot * 0.8, 0.76), (foot, 0.9), (-foot, 0.9)], look.body)
    pen.box(-0.96, -0.82, 0.96, bottom, look.body, 0.04)
    pen.box(-0.87, -0.73, 0.87, bottom - look.between(0.09, 0.16), look.one_of(SCREENS))
    pen.oval(0.8, bottom - 0.045, 0.03, 0.03, look.accent)


def mouse(pen: Pen, look: Look) -> None:
    half, top = look.between(0.45, 0.58), -0.5
    if look.maybe(0.75):
        sway = look.between(-0.4, 0.4)
        pen.line([(0, top), (sway * 0.4, -0.7), (sway, -0.8), (sway * 1.6, -0.97)], 0.05, DARK)
    pen.oval(0, 0.2, half, 0.75, look.body)
    pen.line(bend(0, 0.2, half, 0.75, 190, 350, 20)[1:-1], 0.02, shade(look.body, 0.5))
    pen.line([(0, top - 0.02), (0, 0.02)], 0.035, shade(look.body, 0.45))
    pen.line(bend(0, -0.2, half * 0.93, 0.22, 180, 0, 16), 0.035, shade(look.body, 0.45))
    pen.box(-0.07, -0.36, 0.07, -0.12, look.accent, 0.06)


def phone(pen: Pen, look: Look) -> None:
    low, wide = look.between(0.7, 0.85), look.between(0.82, 0.95)
    pen.line([(-0.8 + 0.02 * n, 0.05 + 0.045 * n + (0.05 if n % 2 else -0.05)) for n in range(14)], 0.05, DARK)
    pen.area([(-0.6, -0.4), (0.6, -0.4), (wide, low), (-wide, low)], look.body)
    _keys(pen, -0.3, -0.1, 0.36, low - 0.12, 3, 4, _readable(look.body))
    if look.maybe():
        pen.box(-0.32, -0.33, 0.32, -0.17, (176, 196, 168))
    grip = shade(look.body, 0.75)
    pen.line(bend(0, -0.35, 0.72, 0.3, 200, 340, 16), look.between(0.16, 0.24), grip)
    for sign in (-1, 1):
        pen.oval(sign * 0.72, -0.36, 0.23, 0.19, grip)


def printer(pen: Pen, look: Look) -> None:
    top, half = look.between(-0.3, -0.15), look.between(0.84, 0.96)
    pen.area([(-0.5, -0.9), (0.5, -0.9), (0.58, top), (-0.58, top)], WHITE)
    pen.area([(-half * 0.88, top - 0.16), (half * 0.88, top - 0.16), (half, top), (-half, top)], shade(look.body, 1.25))
    pen.box(-half, top, half, 0.6, look.body, 0.05)
    pen.box(-0.64, 0.12, 0.64, 0.34, BLACK)
    pen.area([(-0.52, 0.24), (0.52, 0.24), (0.62, 0.86), (-0.62, 0.86)], WHITE)
    for line in range(look.whole(2, 4)):
        pen.line([(-0.42, 0.36 + 0.1 * line), (0.42, 0.36 + 0.1 * line)], 0.025, GREY)
    for button in range(look.whole(2, 3)):
        pen.oval(half - 0.12 - 0.14 * button, top + 0.11, 0.045, 0.045, look.accent)


def projector(pen: Pen, look: Look) -> None:
    side, deep = look.one_of((-1, 1)), look.between(0.18, 0.3)
    pen.area([(-0.8, -0.35 - deep), (0.8, -0.35 - deep), (0.96, -0.3), (-0.96, -0.3)], shade(look.body, 1.25))
    for sign in (-1, 1):
        pen.box(sign * 0.7 - 0.09, 0.4, sign * 0.7 + 0.09, 0.56, BLACK)
    pen.box(-0.96, -0.32, 0.96, 0.45, look.body, 0.08)
    radius = look.between(0.27, 0.34)
    for part, colour in ((1.0, METAL), (0.78, BLACK), (0.5, (60, 80, 130)), (0.18, WHITE)):
        pen.oval(side * 0.5, 0.06, radius * part, radius * part, colour)
    for vent in range(look.whole(4, 6)):
        x = -side * (0.78 - 0.13 * vent)
        pen.line([(x, -0.12), (x, 0.28)], 0.045, shade(look.body, 0.4))


def speaker(pen: Pen, look: Look) -> None:
    half, middle = look.between(0.46, 0.6), look.between(0.25, 0.35)
    pen.box(-half, -0.95, half, 0.95, look.body, look.between(0.02, 0.12))
    cone = DARK if sum(look.body) > 250 else GREY
    for x_radius, y in ((half * 0.78, middle), (half * look.between(0.38, 0.5), -0.55)):
        for part, colour in ((1.0, METAL), (0.86, cone), (0.36, look.accent)):
            pen.oval(0, y, x_radius * part, x_radius * part, colour)
