"""Data sets that can be built by name, one module each: options, a pure ``generate``, and what there is to know."""

__all__ = ["SUMMARIES"]

SUMMARIES = {
    "coloured-shapes": (
        "Images of one of ten shapes in any colour, size and turn, on textures, among strokes and partly under them."
    ),
    "move4mnist": "Videos of a handwritten digit that moves left, right, up or down, in some of the frames.",
    "moving-digits": "Videos of handwritten digits in which every digit class has its own linear motion.",
    "objects": "Images of drawn things of 31 classes: on a desk (dslr), before white (amazon), through a webcam.",
    "pitts-cyclegan": "Street views, and paintings of street views and skies that CycleGAN made; skies match nothing.",
    "shape": (
        "Images of two geometric shapes, solid black (source) or dotted and coloured (target), and letters as outliers."
    ),
    "shape-scenes": (
        "Images of several coloured shapes that lie over one another on a texture, with the class of every pixel."
    ),
}
"""Name on the command line -> what the data set is. The module in this room has the same name, with ``_`` for ``-``."""
