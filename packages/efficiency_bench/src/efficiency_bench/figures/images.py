"""Figures of kind `images`: rows of images."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from efficiency_bench.figures.canvas import fill_panels, hide_frame, make_panels
from efficiency_bench.figures.kinds import Panel, PicturesFigure
from efficiency_bench.records.pictures import Pictures
from efficiency_bench.workflow.columns import ColumnFacts

IMAGE_COLUMNS = {
    "panel": ColumnFacts("panel of the figure"),
    "row": ColumnFacts("what the row shows"),
    "column": ColumnFacts("place in the row, from 1", "1"),
    "image": ColumnFacts("number of the image in its data set", "1"),
    "shows": ColumnFacts("what the image shows"),
}


def draw_images(figure: PicturesFigure, found: Mapping[str, Pictures | None]) -> Canvas:
    """The figure's panels below each other, each a grid of images whose rows are named at the left."""
    cell = 0.72  # inches of an image
    every = [found[panel.id] for panel in figure.panels]
    shapes = [(2, 6) if pictures is None else pictures.index.shape for pictures in every]
    heights = [cell * rows + 0.3 for rows, _ in shapes]
    size = (cell * max(columns for _, columns in shapes) + 1.8, sum(heights) + 0.2)
    canvas, parts = make_panels(len(figure.panels), 1, size, {"height_ratios": heights})
    fill_panels(parts, figure.panels, found, _draw_panel)
    return canvas


def image_lines(panel: Panel, pictures: Pictures) -> list[dict[str, str]]:
    """Lines of the CSV: one per image; columns count from 1."""
    rows = zip(pictures.rows.tolist(), pictures.index.tolist(), pictures.names.tolist(), strict=True)
    return [
        {"row": name, "column": str(column), "image": str(number), "shows": text}
        for name, numbers, texts in rows
        for column, (number, text) in enumerate(zip(numbers, texts, strict=True), 1)
        if number >= 0
    ]


def _draw_panel(axes: Axes, panel: Panel, pictures: Pictures) -> None:
    """The images on a white sheet, with gaps between them."""
    rows, columns, height, width, _ = pictures.images.shape
    gap = max(1, width // 16)
    below, beside = height + gap, width + gap
    sheet = np.full((rows * below - gap, columns * beside - gap, 3), 255, np.uint8)
    for row, column in np.ndindex(rows, columns):
        top, left = row * below, column * beside
        sheet[top : top + height, left : left + width] = pictures.images[row, column]
    axes.imshow(sheet, interpolation="nearest")
    axes.set_yticks([row * below + height / 2 for row in range(rows)], pictures.rows.tolist(), fontsize=7)
    axes.set_xticks([])
    hide_frame(axes)
