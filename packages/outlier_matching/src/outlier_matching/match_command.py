"""Look up the images of a folder in another folder: ranked matches as CSV, and which queries are outliers."""

from __future__ import annotations

import argparse
import csv
import io
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from outlier_matching.errors import BrokenImage, UsageError
from outlier_matching.files import atomic_path

if TYPE_CHECKING:
    from outlier_matching.gallery import Gallery
    from outlier_matching.matching import Match, Progress
    from outlier_matching.sheet import Picture

__all__ = ["INTERRUPTED", "add_arguments", "run"]

INTERRUPTED = "no matches were written"
_SECONDS_BETWEEN_LINES = 10.0
_SHOWN = 5  # matches of a query on the sheet
_log = logging.getLogger(__name__)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command, without ``--device`` and ``--debug``."""
    command.add_argument("queries", metavar="QUERY_DIR", type=Path, help="folder of the images to look up")
    command.add_argument(
        "--gallery", type=Path, required=True, metavar="DIR", help="folder to look in, or an index FILE.npz made of one"
    )
    command.add_argument("--checkpoint", type=Path, required=True, metavar="network.pt", help="network of a training")
    command.add_argument(
        "--index",
        type=Path,
        metavar="FILE.npz",
        help="keep the gallery's features here; next time only new and changed images are read",
    )
    command.add_argument("--out", default="-", metavar="FILE.csv", help="where the matches go (default: printed)")
    command.add_argument("--top", type=int, default=10, metavar="N", help="matches of a query (default 10)")
    command.add_argument(
        "--sheet", type=Path, metavar="FILE.html|png", help="also show the queries with their five nearest matches"
    )
    command.add_argument("--rows", type=int, default=50, metavar="N", help="queries on the sheet, at most (default 50)")
    command.add_argument(
        "--engine",
        choices=("auto", "faiss", "torch"),
        default="auto",
        help="what searches (default: faiss if it is there)",
    )
    command.add_argument("--batch", type=int, default=64, metavar="N", help="images read at once (default 64)")


def run(options: argparse.Namespace, device: str) -> int:
    """Match; writes the table, and the sheet where asked. Returns 1 if an image could not be read, else 0."""
    from outlier_matching.checkpoint import load_network
    from outlier_matching.gallery import which_engine
    from outlier_matching.matching import describe_folder, match, open_gallery
    from outlier_matching.sheet import check_sheet_name

    for name in ("top", "rows", "batch"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name} must be at least 1, got {getattr(options, name)}")
    if options.sheet is not None:
        check_sheet_name(options.sheet)
    engine = which_engine(options.engine, device)
    saved = load_network(options.checkpoint)
    found = open_gallery(
        saved.network,
        options.gallery,
        index=options.index,
        batch=options.batch,
        device=device,
        progress=_progress("gallery"),
    )
    queries = describe_folder(
        saved.network, options.queries, batch=options.batch, device=device, progress=_progress("queries"), domain=1
    )
    matches = match(
        queries.gallery,
        found.gallery,
        max(options.top, _SHOWN) if options.sheet else options.top,
        references=saved.references,
        decision=saved.decision,
        engine=engine,
        device=device,
    )
    _log.info("%d queries in a gallery of %d, searched by %s", len(matches), len(found.gallery), engine)
    if saved.references is None:
        _log.info("the network (%s) was trained without outlier detection: no outlier probabilities", saved.method)
    table = _table(matches, options.top)
    if options.out == "-":
        # As bytes: a file name need not be text.
        sys.stdout.flush()
        sys.stdout.buffer.write(table.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    else:
        with atomic_path(options.out) as temporary:
            temporary.write_text(table, encoding="utf-8", errors="surrogateescape", newline="")
    if options.sheet is not None:
        _write_sheet(options.sheet, matches, queries.gallery, found.gallery, options.rows)
    broken: Sequence[BrokenImage] = [*found.broken, *queries.broken]
    for error in broken:
        _log.warning("skipped %s", error)
    if broken:
        _log.warning("%d of the images cannot be read and were left out", len(broken))
    return 1 if broken else 0


def _table(matches: Sequence[Match], top: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("query", "rank", "match", "distance", "outlier_probability", "outlier"))
    for found in matches:
        probability = "" if found.outlier_probability is None else f"{found.outlier_probability:.6f}"
        outlier = "" if found.outlier is None else str(found.outlier).lower()
        pairs = list(zip(found.names, found.distances, strict=True))[:top]
        for rank, (name, distance) in enumerate(pairs, start=1):
            writer.writerow((found.query, rank, name, f"{distance:.6g}", probability, outlier))
    return text.getvalue()


def _write_sheet(path: Path, matches: Sequence[Match], queries: Gallery, gallery: Gallery, rows: int) -> None:
    from outlier_matching.sheet import Row, write_sheet

    shown = [
        Row(
            _picture(queries.folder, found.query),
            tuple(
                _picture(gallery.folder, name, f"{rank}: {distance:.3g}")
                for rank, (name, distance) in enumerate(
                    list(zip(found.names, found.distances, strict=True))[:_SHOWN], 1
                )
            ),
            found.outlier_probability,
            found.outlier,
        )
        for found in matches[:rows]
    ]
    said = "all" if len(shown) == len(matches) else f"the first {len(shown)} of"
    subtitle = f"{said} {len(matches)} queries in {len(gallery)} images of {Path(gallery.folder).name}, with distances"
    if matches[0].outlier_probability is not None:
        subtitle += "; below a query the probability that it is an outlier"
    write_sheet(path, shown, f"Nearest matches of {Path(queries.folder).name}", subtitle)


def _picture(folder: str, name: str, note: str = "") -> Picture:
    """A picture of the sheet; an image that was there when its features were made may be gone by now."""
    from outlier_matching.images import read_image
    from outlier_matching.sheet import Picture

    try:
        return Picture(read_image(Path(folder, name), name), name, note)
    except BrokenImage as error:
        _log.warning("not on the sheet: %s", error)
        return Picture(None, name, note)


def _progress(what: str) -> Progress:
    """Counts on one line of a terminal, elsewhere a line every ten seconds; nothing for what takes less than two."""
    started = time.perf_counter()
    said = started

    def tell(done: int, total: int) -> None:
        nonlocal said
        now = time.perf_counter()
        if sys.stderr.isatty():
            if now - started > 2:
                sys.stderr.write(f"\r{what}: {done} of {total} images" + ("\n" if done == total else ""))
                sys.stderr.flush()
        elif now - said > _SECONDS_BETWEEN_LINES:
            said = now
            _log.info("%s: %d of %d images", what, done, total)

    return tell
