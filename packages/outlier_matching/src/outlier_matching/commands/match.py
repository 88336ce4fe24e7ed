"""``outlier-matching match``."""

import csv
import io
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from efficiency_core.errors import BrokenFile
from efficiency_core.files import atomic_path
from outlier_matching.checkpoint import load_network
from outlier_matching.commands.options import MatchOptions
from outlier_matching.data.file_set import read_tensor
from outlier_matching.retrieval.gallery import Gallery, which_engine
from outlier_matching.retrieval.lookup import Match, Progress, describe_folder, match, open_gallery
from outlier_matching.retrieval.sheet import Picture, Row, check_sheet_name, write_sheet

_SECONDS_BETWEEN_LINES = 10.0
_SHOWN = 5  # matches per query on the sheet
_log = logging.getLogger(__name__)


def run(options: MatchOptions, device: str) -> int:
    """Match; writes the table and the sheet. Returns 1 if an image could not be read, else 0."""
    logging.getLogger("faiss").setLevel(logging.WARNING)  # faiss logs every build of it that it tries
    if options.sheet is not None:
        check_sheet_name(options.sheet)
    engine = which_engine(options.engine, device)
    saved = load_network(options.checkpoint)
    found = open_gallery(
        saved.network, options.gallery, index=options.index, batch=options.batch, device=device,
        progress=_progress("gallery"),
    )  # fmt: skip
    queries = describe_folder(
        saved.network, options.queries, batch=options.batch, device=device, progress=_progress("queries"), domain=1
    )
    matches = match(
        queries.gallery, found.gallery, max(options.top, _SHOWN) if options.sheet else options.top,
        references=saved.references, decision=saved.decision, engine=engine, device=device,
    )  # fmt: skip
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
    broken = [*found.broken, *queries.broken]
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
        pairs = zip(found.names[:top], found.distances[:top], strict=True)
        for rank, (name, distance) in enumerate(pairs, start=1):
            writer.writerow((found.query, rank, name, f"{distance:.6g}", probability, outlier))
    return text.getvalue()


def _write_sheet(path: Path, matches: Sequence[Match], queries: Gallery, gallery: Gallery, rows: int) -> None:
    shown = []
    for found in matches[:rows]:
        pairs = enumerate(zip(found.names[:_SHOWN], found.distances[:_SHOWN], strict=True), start=1)
        pictures = tuple(_picture(gallery.folder, name, f"{rank}: {distance:.3g}") for rank, (name, distance) in pairs)
        shown.append(Row(_picture(queries.folder, found.query), pictures, found.outlier_probability, found.outlier))
    said = "all" if len(shown) == len(matches) else f"the first {len(shown)} of"
    subtitle = f"{said} {len(matches)} queries in {len(gallery)} images of {Path(gallery.folder).name}, with distances"
    if matches[0].outlier_probability is not None:
        subtitle += "; below a query the probability that it is an outlier"
    write_sheet(path, shown, f"Nearest matches of {Path(queries.folder).name}", subtitle)


def _picture(folder: str, name: str, note: str = "") -> Picture:
    """A picture of the sheet. Its file may have been removed since its features were computed."""
    try:
        return Picture(read_tensor(Path(folder, name), name), name, note)
    except BrokenFile as error:
        _log.warning("not on the sheet: %s", error)
        return Picture(None, name, note)


def _progress(what: str) -> Progress:
    """Progress on one line of a terminal, or else one log line every ten seconds; nothing in the first two seconds."""
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
