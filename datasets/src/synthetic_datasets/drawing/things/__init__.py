"""Things of 31 classes, the names of Office-31's, each drawn from parts with proportions and colours of its own."""

from collections.abc import Callable

from synthetic_datasets.drawing.pen import Pen
from synthetic_datasets.drawing.things import devices, furniture, stationery
from synthetic_datasets.drawing.things.look import Look, new_look

Sketch = Callable[[Pen, Look], None]

_SKETCHES: tuple[Sketch, ...] = (
    furniture.back_pack, furniture.bike, furniture.bike_helmet, furniture.bookcase, stationery.bottle, devices.calculator,
    furniture.desk_chair, furniture.desk_lamp, devices.desktop_computer, furniture.file_cabinet, devices.headphones,
    devices.keyboard, devices.laptop_computer, furniture.letter_tray, devices.mobile_phone, devices.monitor, devices.mouse,
    stationery.mug, stationery.paper_notebook, stationery.pen, devices.phone, devices.printer, devices.projector,
    stationery.punchers, stationery.ring_binder, stationery.ruler, stationery.scissors, devices.speaker, stationery.stapler,
    stationery.tape_dispenser, furniture.trash_can,
)  # fmt: skip

THINGS: dict[str, Sketch] = {sketch.__name__: sketch for sketch in _SKETCHES}
"""Class name -> what draws a thing of it, in alphabetical order."""

__all__ = ["THINGS", "Look", "Sketch", "new_look"]
