"""Furniture and things one carries or rides, drawn into the square from -1 to 1."""

import math

from synthetic_datasets.drawing.pen import Pen, bend, shade
from synthetic_datasets.drawing.things.look import BLACK, BODIES, DARK, GREY, METAL, WHITE, Look


def back_pack(pen: Pen, look: Look) -> None:
    half, strap = look.between(0.54, 0.66), shade(look.body, 0.6)
    pen.line(bend(0, -0.82, 0.2, 0.15, 180, 360), 0.08, strap)
    for sign in (-1, 1):
        pen.line(bend(sign * half, 0.1, look.between(0.16, 0.26), 0.6, -90, 90 if sign > 0 else -270, 16), 0.11, strap)
    pen.box(-half, -0.84, half, 0.92, look.body, 0.34)
    pen.line(bend(0, -0.12, half * 0.75, 0.45, 200, 340, 14), 0.035, shade(look.body, 0.4))
    pocket = look.between(0.02, 0.18)
    pen.box(-half * 0.76, pocket, half * 0.76, 0.8, look.accent if look.maybe() else shade(look.body, 0.8), 0.12)
    pen.line([(-half * 0.6, pocket + 0.14), (half * 0.6, pocket + 0.14)], 0.035, METAL)
    pen.line([(half * 0.6, pocket + 0.14), (half * 0.6, pocket + 0.26)], 0.035, METAL)


def bike(pen: Pen, look: Look) -> None:
    r, spread, ground = look.between(0.36, 0.43), look.between(0.54, 0.57), 0.42
    left, right, crank = (-spread, ground), (spread, ground), (-0.08, ground)
    spokes, turn = look.whole(5, 8), look.between(0, 1)
    for x, y in (left, right):
        pen.ring(x, y, r, r, 0.06, BLACK)
        for spoke in range(spokes):
            angle = math.pi * (spoke + turn) / spokes
            dx, dy = r * math.cos(angle), r * math.sin(angle)
            pen.line([(x - dx, y - dy), (x + dx, y + dy)], 0.012, GREY)
    seat, head = (-0.24, -0.3), (0.36, look.between(-0.4, -0.3))
    for tube in ((left, seat, crank, left), (crank, head), (right, head)):
        pen.line(tube, 0.065, look.body)
    if look.maybe(0.75):
        pen.line((seat, head), 0.065, look.body)
    pen.line([seat, (-0.28, -0.47)], 0.05, METAL)
    pen.line([(-0.44, -0.49), (-0.1, -0.47)], 0.09, look.accent)
    pen.line([head, (0.32, -0.58), (look.between(0.45, 0.55), -0.62)], 0.05, METAL)
    pen.oval(*crank, 0.1, 0.1, DARK)


def bike_helmet(pen: Pen, look: Look) -> None:
    down, low = look.between(0.72, 0.85), look.between(0.15, 0.25)
    pen.line([(-0.6, low), (-0.1, 0.85), (0.1, 0.85), (0.55, low)], 0.06, BLACK)
    pen.area(bend(0, low, 0.95, down, 180, 360, 24), look.body)
    vents = look.whole(3, 4)
    for vent in range(vents):
        x = -0.6 + 1.2 * vent / (vents - 1)
        slope = 0.45 * x
        top = low - down * 0.74 + abs(x) * 0.25
        foot, tip = low - 0.16, -slope * 0.6
        pen.area([(x - 0.08, foot), (x + 0.08, foot), (x + 0.07 + tip, top), (x - 0.07 + tip, top)], DARK)
    pen.line([(-0.93, low), (0.93, low)], 0.11, look.accent)
    if look.maybe():
        pen.area([(0.85, low - 0.08), (1.0, low + 0.1), (0.6, low + 0.06)], BLACK)


def bookcase(pen: Pen, look: Look) -> None:
    half, shelves = look.between(0.6, 0.78), look.whole(3, 4)
    pen.box(-half, -0.96, half, 0.96, look.body)
    height = 1.8 / shelves
    for shelf in range(shelves):
        top = -0.9 + shelf * height
        bottom = top + height - 0.07
        pen.box(-half + 0.07, top, half - 0.07, bottom, shade(look.body, 0.45))
        x = -half + 0.09
        end = look.between(0.1, half - 0.09)
        while x < end:
            width, high = look.between(0.07, 0.13), height * look.between(0.5, 0.8)
            pen.box(x, bottom - high, min(x + width, half - 0.08), bottom, look.one_of(BODIES))
            x += width


def desk_chair(pen: Pen, look: Look) -> None:
    half, seat = look.between(0.4, 0.52), look.between(0.1, 0.2)
    pen.line([(0, seat), (0, 0.68)], 0.1, METAL)
    for x, y in ((-0.58, 0.85), (-0.3, 0.92), (0, 0.9), (0.3, 0.92), (0.58, 0.85)):
        pen.line([(0, 0.66), (x, y - 0.05)], 0.07, DARK)
        pen.oval(x, y, 0.06, 0.06, BLACK)
    pen.line([(0, seat), (0, -0.3)], 0.12, DARK)
    pen.box(-half, -0.95, half, look.between(-0.25, -0.1), look.body, look.between(0.1, 0.3))
    pen.box(-half - 0.08, seat - 0.1, half + 0.08, seat + 0.1, look.body, 0.1)
    if look.maybe(0.6):
        for sign in (-1, 1):
            x = sign * (half + 0.14)
            pen.line([(x * 0.85, seat), (x, seat - 0.05), (x, seat - 0.32)], 0.055, DARK)
            pen.line([(x - 0.1, seat - 0.34), (x + 0.1, seat - 0.34)], 0.085, BLACK)


def desk_lamp(pen: Pen, look: Look) -> None:
    elbow = (look.between(-0.6, -0.4), look.between(-0.35, -0.1))
    head = (look.between(0.2, 0.35), look.between(-0.72, -0.6))
    foot = (look.between(-0.2, 0.1), 0.84)
    arm = METAL if look.maybe() else shade(look.body, 0.7)
    pen.line([foot, elbow, head], 0.075, arm)
    pen.oval(*elbow, 0.075, 0.075, DARK)
    pen.oval(*foot, look.between(0.36, 0.5), 0.11, look.body)
    x, y = head
    pen.oval(x + 0.3, y + 0.42, 0.13, 0.12, (255, 240, 170))
    pen.area([(x - 0.08, y + 0.02), (x + 0.14, y - 0.12), (x + 0.66, y + 0.26), (x - 0.02, y + 0.56)], look.body)
    pen.oval(x + 0.02, y - 0.03, 0.12, 0.12, look.body)


def file_cabinet(pen: Pen, look: Look) -> None:
    half, drawers, deep = look.between(0.42, 0.56), look.whole(2, 4), look.between(0.15, 0.3)
    pen.area([(half, -0.95), (half + deep, -0.85), (half + deep, 0.82), (half, 0.95)], shade(look.body, 0.65))
    pen.box(-half, -0.95, half, 0.95, look.body)
    height = 1.84 / drawers
    for drawer in range(drawers):
        top = -0.9 + drawer * height
        pen.box(-half + 0.05, top, half - 0.05, top + height - 0.05, shade(look.body, 1.2))
        middle = top + height * 0.5
        pen.line([(-0.17, middle), (0.17, middle)], 0.085, DARK if sum(look.body) > 200 else METAL)
        pen.box(-0.14, middle - 0.2, 0.14, middle - 0.1, WHITE)


def letter_tray(pen: Pen, look: Look) -> None:
    trays, wide = look.whole(2, 3), look.between(0.8, 0.95)
    step = 1.3 / trays
    for number in reversed(range(trays)):
        floor = -0.45 + step * (number + 1) - 0.1
        for x in (-wide + 0.05, wide - 0.05) if number else ():
            pen.line([(x, floor - step), (x, floor)], 0.05, METAL)
        bottom = [(-wide * 0.75, floor - 0.32), (wide * 0.75, floor - 0.32), (wide, floor), (-wide, floor)]
        pen.area(bottom, shade(look.body, 0.7))
        if look.maybe(0.7):
            far, near = floor - 0.29, floor - 0.04
            pen.area([(-wide * 0.62, far), (wide * 0.62, far), (wide * 0.8, near), (-wide * 0.8, near)], WHITE)
        for x in (-wide, wide):
            side = [(x * 0.75, floor - 0.46), (x, floor - 0.14), (x, floor + 0.06), (x * 0.75, floor - 0.3)]
            pen.area(side, look.body)
        for x0, x1 in ((-wide, -0.3), (0.3, wide)):
            pen.box(x0, floor - 0.06, x1, floor + 0.06, look.body)


def trash_can(pen: Pen, look: Look) -> None:
    top, bottom = look.between(0.6, 0.72), look.between(0.42, 0.5)
    below = bend(0, 0.84, bottom, 0.12, 0, 180, 10)
    pen.area([(-top, -0.62), (top, -0.62), (bottom, 0.84), *below, (-bottom, 0.84)], look.body)
    ribs = look.whole(4, 7)
    for rib in range(1, ribs):
        part = 2 * rib / ribs - 1
        bulge = 0.1 * math.sqrt(1 - part**2)
        pen.line([(part * top, -0.55 + bulge), (part * bottom, 0.84 + bulge)], 0.03, shade(look.body, 0.6))
    if look.maybe(0.65):
        pen.oval(0, -0.64, top, 0.16, shade(look.body, 0.35))
        pen.ring(0, -0.64, top, 0.16, 0.06, shade(look.body, 1.2))
    else:
        pen.area(bend(0, -0.62, top + 0.05, 0.34, 180, 360, 20), look.accent)
        pen.line([(-0.14, -0.94), (0.14, -0.94)], 0.08, DARK)
