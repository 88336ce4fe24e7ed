"""The figures of a report: pictures inside the page, with files to download."""

import base64
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from efficiency_bench.claims.ledger import Verdict
from efficiency_bench.figures.kinds import CurveFigure, Figure, Panel, SeriesPanel
from efficiency_bench.report.builds import Build, Cells
from efficiency_bench.report.matching import Choices
from efficiency_bench.report.rows import Runs
from efficiency_bench.workflow.presets import overlaid

SUFFIXES = (".svg", ".png", ".csv")
PALETTE = 128
"""Colours of a picture in the page; the SVG to download has all."""


@dataclass(frozen=True)
class FigureView:
    """A figure of the thesis in one build, or in none."""

    figure: Figure
    status: str
    """`measured`, `partly measured` or `not built`."""
    source: str
    """The build; empty where none has drawn it."""
    files: tuple[Path, ...]
    """Its picture and numbers: those of .svg, .png and .csv that there are."""
    facts: dict[str, str]
    """`dataset`, `preset`, `device`, `scale` and `note`."""
    runs: Runs
    claims: tuple[Verdict, ...]


def view_figure(
    figure: Figure, builds: Sequence[Build], choices: Choices, claims: Sequence[Verdict]
) -> list[FigureView]:
    """The figure in every build that has its numbers; in one view without files if none has."""
    concerned = tuple(claim for claim in claims if figure.name in claim.targets)
    views = []
    for build in builds:
        lines = build.table(figure.name)
        if lines is None:
            continue
        drawn = [line["status"] == "measured" for line in lines]
        status = "measured" if all(drawn) else "partly measured" if any(drawn) else "not run"
        names = ("dataset", "preset", "device", "scale", "note")
        facts = {name: "; ".join(dict.fromkeys(line[name] for line in lines if line.get(name))) for name in names}
        paths = [build.folder / f"{figure.name}{suffix}" for suffix in SUFFIXES]
        files = tuple(path for path in paths if path.is_file())
        runs = _runs(figure, build, choices, lines)
        views.append(FigureView(figure, status, build.name, files, facts, runs, concerned))
    return views or [FigureView(figure, "not built", "", (), {}, (), concerned)]


def _runs(figure: Figure, build: Build, choices: Choices, lines: Sequence[Cells]) -> Runs:
    """The runs that the figure draws; none for a curve, whose points are a table of their own."""
    if isinstance(figure, CurveFigure):
        return ()
    found: dict[str, None] = {}
    for panel in figure.panels:
        for line in [line for line in lines if line["panel"] == panel.label and line["status"] == "measured"][:1]:
            for choice in _choices(panel):
                found |= dict.fromkeys(record.run_id for record in choices.runs(build, choice, figure, line)[:1])
    return tuple((build.name, run) for run in found)


def _choices(panel: Panel) -> list[Panel]:
    """The panel once for each of its runs."""
    parts = panel.parts if isinstance(panel, SeriesPanel) else ()
    return [replace(panel, settings=overlaid(panel.settings, part.settings)) for part in parts] or [panel]


def picture_uri(path: Path) -> str:
    """The PNG with a palette of `PALETTE` colours, a third of its size, as an address that needs no network."""
    with Image.open(path) as picture:
        small = io.BytesIO()
        picture.convert("RGB").quantize(PALETTE).save(small, "PNG", optimize=True)
    return _uri("image/png", small.getvalue())


def download_uri(path: Path) -> str:
    """The file, packed by gzip, as an address that needs no network. CSV and SVG files shrink to a tenth."""
    return _uri("application/gzip", gzip.compress(path.read_bytes(), mtime=0))


def packed(text: str) -> str:
    """A text, packed by gzip, in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
