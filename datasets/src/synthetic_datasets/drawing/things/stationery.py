"""Things on a desk, drawn into the square from -1 to 1."""

from synthetic_datasets.drawing.pen import Pen, bend, shade
from synthetic_datasets.drawing.things.look import BLACK, DARK, GREY, METAL, WHITE, Look


def bottle(pen: Pen, look: Look) -> None:
    half, neck, shoulder = look.between(0.3, 0.42), look.between(0.1, 0.17), look.between(-0.45, -0.15)
    left = [(-neck, -0.8), (-neck, shoulder - 0.25), *bend(0, shoulder + 0.05, half, 0.3, 230, 180, 6)]
    outline = [*left, (-half, 0.85), (-half + 0.08, 0.95)]
    pen.area([*outline, *[(-x, y) for x, y in reversed(outline)]], look.body)
    pen.box(-neck - 0.03, -0.97, neck + 0.03, -0.78, look.accent, 0.03)
    if look.maybe(0.75):
        top = look.between(0, 0.25)
        pen.box(-half, top, half, top + look.between(0.3, 0.45), WHITE if sum(look.body) < 520 else look.accent)
    pen.line([(-half + 0.1, shoulder + 0.1), (-half + 0.1, 0.75)], 0.045, shade(look.body, 1.45))


def mug(pen: Pen, look: Look) -> None:
    side, half, low = look.one_of((-1, 1)), look.between(0.48, 0.56), look.between(0.65, 0.8)
    pen.ring(side * (half + 0.08), 0.1, look.between(0.26, 0.34), 0.4, look.between(0.1, 0.15), shade(look.body, 0.85))
    x = -side * 0.18
    wall = [(x - half, -0.62), *bend(x, low, half, 0.15, 180, 0, 14), (x + half, -0.62)]
    pen.area(wall, look.body)
    if look.maybe(0.6):
        pen.box(x - half, -0.1, x + half, look.between(0.1, 0.3), look.accent)
    pen.oval(x, -0.62, half, 0.17, shade(look.body, 1.3))
    pen.oval(x, -0.59, half * 0.86, 0.11, (70, 44, 28) if look.maybe() else shade(look.body, 0.5))


def paper_notebook(pen: Pen, look: Look) -> None:
    half, rings = look.between(0.58, 0.68), look.whole(8, 12)
    pen.box(-half + 0.06, -0.86, half + 0.08, 0.94, WHITE, 0.03)
    pen.box(-half, -0.92, half, 0.88, look.body, 0.05)
    for ring in range(rings):
        y = -0.82 + 1.6 * ring / (rings - 1)
        pen.oval(-half + 0.1, y, 0.035, 0.035, BLACK)
        pen.line([(-half - 0.12, y), (-half + 0.1, y)], 0.04, METAL)
    if look.maybe(0.7):
        pen.box(-half + 0.35, -0.6, half - 0.15, -0.15, WHITE)
        for line in range(look.whole(1, 3)):
            pen.line([(-half + 0.42, -0.5 + 0.12 * line), (half - 0.25, -0.5 + 0.12 * line)], 0.025, GREY)
    else:
        pen.line([(half - 0.18, -0.9), (half - 0.18, 0.86)], 0.08, look.accent)


def pen(pen: Pen, look: Look) -> None:
    a, b, thick = (-0.72, 0.72), (0.78, -0.78), look.between(0.11, 0.17)

    def along(part: float, aside: float = 0) -> tuple[float, float]:
        return a[0] + part * (b[0] - a[0]) + 0.707 * aside, a[1] + part * (b[1] - a[1]) + 0.707 * aside

    pen.line([along(-0.09), along(0.03)], 0.045, METAL)
    pen.area([along(-0.06), along(0.08, -thick / 2), along(0.08, thick / 2)], METAL)
    pen.area([along(0.06, -thick / 2), along(1, -thick / 2), along(1, thick / 2), along(0.06, thick / 2)], look.body)
    grip = [along(0.08, -thick / 2), along(0.28, -thick / 2), along(0.28, thick / 2), along(0.08, thick / 2)]
    pen.area(grip, look.accent)
    if look.maybe():
        pen.line([along(1.0), along(1.07)], thick * 0.55, METAL)
    cap = look.between(0.58, 0.68)
    pen.line([along(cap, thick * 0.62), along(0.97, thick * 0.62)], 0.05, METAL)
    pen.line([along(cap, -thick / 2), along(cap, thick / 2)], 0.035, shade(look.body, 0.5))


def punchers(pen: Pen, look: Look) -> None:
    rise, back = look.between(0.45, 0.62), look.between(0.7, 0.88)
    pen.box(-0.92, 0.42, 0.92, 0.6, DARK, 0.05)
    pen.box(-0.98, 0.56, 0.95, 0.68, BLACK, 0.04)
    for x in (-0.4, 0.15):
        pen.box(x - 0.08, -0.05, x + 0.08, 0.44, METAL)
        pen.box(x - 0.15, 0.24, x + 0.15, 0.44, shade(look.body, 0.6))
    lever = [(-0.75, 0.14), (-0.7, -0.08), (back, -rise - 0.2), (back + 0.1, -rise), (0.5, 0.12)]
    pen.area(lever, look.body)
    pen.oval(-0.55, 0.12, 0.13, 0.13, METAL)
    if look.maybe():
        pen.line([(-0.2, -0.14), (back - 0.15, -rise - 0.02)], 0.06, look.accent)


def ring_binder(pen: Pen, look: Look) -> None:
    spine, deep = look.between(0.16, 0.26), look.between(0.5, 0.62)
    x = -0.35
    side = [(x + spine, -0.95), (x + spine + deep, -0.78), (x + spine + deep, 0.8), (x + spine, 0.95)]
    pen.area(side, shade(look.body, 0.75))
    pen.area([(x - spine, -0.95), (x + spine, -0.95), (x + spine + deep, -0.78), (x - spine + deep, -0.82)], WHITE)
    pen.box(x - spine, -0.95, x + spine, 0.95, look.body)
    pen.box(x - spine * 0.65, -0.72, x + spine * 0.65, look.between(-0.05, 0.15), WHITE)
    for line in range(look.whole(1, 4)):
        pen.line([(x - spine * 0.4, -0.6 + 0.13 * line), (x + spine * 0.4, -0.6 + 0.13 * line)], 0.03, GREY)
    pen.oval(x, 0.6, spine * 0.55, spine * 0.6, METAL)
    pen.oval(x, 0.6, spine * 0.36, spine * 0.4, BLACK)
    pen.box(x + spine + deep - 0.05, -0.74, x + spine + deep, -0.55, METAL)
    pen.box(x + spine + deep - 0.05, 0.56, x + spine + deep, 0.75, METAL)


def ruler(pen: Pen, look: Look) -> None:
    half, marks = look.between(0.13, 0.21), look.whole(16, 26)
    colour = shade(look.body, 1.3)
    pen.box(-0.98, -half, 0.98, half, colour)
    ink = BLACK if sum(colour) > 380 else WHITE
    for mark in range(marks + 1):
        x = -0.92 + 1.84 * mark / marks
        pen.line([(x, -half + 0.01), (x, -half + half * (0.95 if mark % 5 == 0 else 0.5))], 0.022, ink)
    if look.maybe():
        pen.oval(0.88, half * 0.45, 0.05, 0.05, WHITE if ink == BLACK else BLACK)


def scissors(pen: Pen, look: Look) -> None:
    spread, joint = look.between(0.12, 0.34), (0.0, look.between(0.0, 0.12))
    x, y = joint
    for sign in (-1, 1):
        tip = (sign * spread, -0.95)
        pen.area([tip, (x + sign * 0.1, y - 0.1), (x - sign * 0.1, y + 0.12), (x - sign * 0.14, y - 0.02)], METAL)
        ring = (-sign * look.between(0.3, 0.4), 0.62)
        pen.line([(x, y + 0.04), (ring[0] * 0.7, ring[1] - 0.22)], 0.12, look.body)
        pen.ring(*ring, look.between(0.19, 0.25), look.between(0.25, 0.32), 0.11, look.body)
    pen.oval(x, y, 0.055, 0.055, DARK)


def stapler(pen: Pen, look: Look) -> None:
    front, thick = look.between(-0.32, -0.12), look.between(0.26, 0.36)
    pen.area([(-0.92, 0.36), (0.96, 0.3), (0.96, 0.48), (-0.92, 0.5)], DARK)
    pen.area([(-0.8, front + thick), (0.8, 0.22), (0.84, 0.32), (-0.78, front + thick + 0.1)], METAL)
    back = bend(-0.76, front + 0.14, 0.16, 0.14, 180, 270, 5)
    pen.area([(-0.94, front + thick), *back, (0.6, -0.12), (0.92, 0.06), (0.94, 0.34), (0.7, 0.3)], look.body)
    if look.maybe():
        pen.line([(-0.6, front + 0.13), (0.4, 0.02)], 0.07, look.accent)
    pen.box(-0.86, 0.3, -0.62, 0.38, METAL)


def tape_dispenser(pen: Pen, look: Look) -> None:
    r, x = look.between(0.4, 0.5), look.between(-0.35, -0.22)
    y = 0.02
    nose = (0.88, look.between(0.0, 0.15))
    pen.line([(x, y - r), (nose[0] - 0.04, nose[1] - 0.06)], 0.05, (226, 212, 160))
    base = [
        (-0.95, 0.72), (-0.88, 0.2), (x, 0.32), (0.45, 0.3), (0.78, nose[1]), (nose[0] + 0.06, nose[1]), (0.96, 0.72),
    ]  # fmt: skip
    pen.oval(x, y, r, r, (226, 212, 160))
    pen.oval(x, y, r * 0.72, r * 0.72, look.accent)
    pen.oval(x, y, r * 0.28, r * 0.28, WHITE)
    pen.area(base, look.body)
    teeth = [(nose[0] - 0.14 + 0.05 * n, nose[1] - (0.07 if n % 2 else 0.0)) for n in range(6)]
    pen.line(teeth, 0.04, METAL)
