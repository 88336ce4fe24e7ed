"""The sheet of queries and matches as one HTML page, its pictures inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from outlier_matching.sheet import RIGHT, WRONG, Picture, Row, shrunk

__all__ = ["sheet_page"]

_SIDE = 160  # pixels of a picture's longer side


def sheet_page(rows: Sequence[Row], title: str, subtitle: str = "") -> str:
    """An HTML page with one row a query, as :func:`~outlier_matching.sheet.draw_sheet` has it.

    Raises:
        ValueError: if there is no row.
    """
    if not rows:
        raise ValueError("a sheet needs at least one row")
    columns = max(len(row.matches) for row in rows)
    head = "".join(f"<th>{place}</th>" for place in range(1, columns + 1))
    body = "\n".join(_row(row, columns) for row in rows)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; color: #1e1e22; background: #fafaf8; margin: 2em; }}
h1 {{ font-size: 1.4em; margin: 0; }}
p {{ color: #6e6e74; margin: 0 0 1em; }}
table {{ border-collapse: separate; border-spacing: 8px 14px; }}
th {{ font-weight: normal; color: #6e6e74; text-align: left; }}
td {{ vertical-align: top; width: {_SIDE}px; max-width: {_SIDE}px; overflow-wrap: anywhere; font-size: 12px; }}
td:first-child {{ padding-right: 20px; }}
img {{ display: block; max-width: 100%; border: 1px solid #cdcdc8; }}
.right img {{ border: 4px solid {_color(RIGHT)}; }}
.wrong img {{ border: 4px solid {_color(WRONG)}; }}
.gone {{ height: {_SIDE}px; background: #cdcdc8; }}
.note {{ color: #6e6e74; }}
.wrong .verdict {{ color: {_color(WRONG)}; font-weight: bold; }}
.bar {{ background: #e4e4df; height: 6px; }}
.bar div {{ background: {_color(WRONG)}; height: 6px; }}
</style>
</head>
<body>
<h1>{_text(title)}</h1>
<p>{_text(subtitle)}</p>
<table>
<tr><th>query</th>{head}</tr>
{body}
</table>
</body>
</html>
"""


def _row(row: Row, columns: int) -> str:
    verdict = ""
    if row.outlier_probability is not None:
        percent = min(100.0, max(0.0, 100 * row.outlier_probability))
        bar = f'<div class="bar" title="outlier probability"><div style="width: {percent:.1f}%"></div></div>'
        verdict = f'<div class="verdict">{_text(row.verdict)}</div>{bar}'
    cells = [_cell(row.query, "wrong" if row.outlier else "", verdict)]
    for match in row.matches:
        cells.append(_cell(match, "" if match.right is None else "right" if match.right else "wrong", ""))
    cells += ["<td></td>"] * (columns - len(row.matches))
    return f"<tr>{''.join(cells)}</tr>"


def _cell(picture: Picture, kind: str, below: str) -> str:
    note = f'<div class="note">{_text(picture.note)}</div>' if picture.note else ""
    shown = '<div class="gone">cannot be read</div>'
    if picture.image is not None:
        file = io.BytesIO()
        shrunk(picture.image, _SIDE).save(file, format="JPEG", quality=85)
        data = base64.b64encode(file.getvalue()).decode()
        shown = f'<img alt="{_text(picture.name)}" src="data:image/jpeg;base64,{data}">'
    return f'<td class="{kind}">{shown}{_text(picture.name)}{note}{below}</td>'


def _text(text: str) -> str:
    return escape(text, quote=True)


def _color(color: tuple[int, int, int]) -> str:
    return "#%02x%02x%02x" % color  # noqa: UP031
