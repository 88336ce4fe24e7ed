"""From a generator and its options to a folder with the files of a data set."""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from efficiency_core.errors import UsageError, WorkError
from efficiency_core.files import check_output, locked
from efficiency_core.processes import as_worker
from synthetic_datasets.generators import SUMMARIES
from synthetic_datasets.generators.generator import Finisher, Generator, Sample, Source
from synthetic_datasets.previews.preview import contact_sheet
from synthetic_datasets.seeding import SPLITS
from synthetic_datasets.storage.card import card
from synthetic_datasets.storage.hdf5 import FORMAT_VERSION, write
from synthetic_datasets.storage.reader import SampleFile

_THESIS = "X. Liu, Efficiency in Deep Learning, dissertation, TU Delft, 2024"
_BATCH = 4
"""Samples a task: few, to keep memory small; more than one, as every task has its own cost."""
_STAGING = ".building-"

_job: tuple[Generator, Any, str, Any]
"""What a worker process makes samples of, set when it starts: the source (MNIST: 55 MB) travels once."""


def build(
    generator: Generator, config: Any, out: Path, data_root: str | Path | None = None, workers: int = 1
) -> dict[str, Any]:
    """Make ``train.h5``, ``test.h5``, ``card.json`` and ``preview.png`` in ``out``, all or none. Returns the card. The
    files replace those of a former build only when all of them are finished. Raises UsageError if ``data_root``,
    ``out`` or ``workers`` cannot be used; WorkError if a file cannot be written (full disk, no permission), or a worker
    process died. ``config``: an instance of ``generator.config_type``; ``out``: a folder, made where it does not exist;
    ``data_root``: see ``data_root.resolve_data_root``; ``workers``: processes that make samples, which the files do not
    depend on."""
    if workers < 1:
        raise UsageError(f"workers: expected at least 1, got {workers}")
    for name in (*(f"{split}.h5" for split in SPLITS), "card.json", "preview.png"):
        check_output(out / name)
    source = generator.load_source(data_root, config)
    try:
        finish: Finisher | None = None
        finished_by: dict[str, Any] = {}
        if generator.finisher is not None:
            finish, finished_by = generator.finisher(config, out, data_root, source)
        with staging(out) as folder:
            files = {}
            for split in SPLITS:
                count = getattr(config, split)
                samples: Iterable[Sample] = make(generator, config, split, source, 0, count, workers)
                if finish is not None:
                    samples = finish(samples)
                shown = tqdm(samples, split, count, unit="sample", delay=2, disable=None, leave=False)
                facts = file_facts(generator, config, split, source) | finished_by
                write(folder / f"{split}.h5", shown, count, generator.layout(config), facts)
                files[split] = SampleFile(folder / f"{split}.h5")
            made = card(files, generator.figures)
            (folder / "card.json").write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            contact_sheet(files["train"]).save(folder / "preview.png")
    except OSError as error:
        why = error.strerror or str(error)
        mend = "nothing was changed; free some space or choose another --out"
        raise WorkError(f"{out}: cannot be written ({why}); {mend}") from error
    return made


def file_facts(generator: Generator, config: Any, split: str, source: Source) -> dict[str, Any]:
    """Attributes of a split's file: enough to know what it is and to build it again."""
    names = generator.class_names
    return {
        "format": generator.file_format, "format_version": FORMAT_VERSION, "name": generator.title,
        "generator": generator.name, "generator_version": generator.version, "split": split,
        "config": json.dumps(dataclasses.asdict(config), sort_keys=True), "source": source.source,
        "source_credit": source.credit, "licence": source.licence, **({"parts": source.parts} if source.parts else {}),
        **({"domain_names": source.parts["domain"]} if "domain" in source.parts else {}),
        "class_names": list(names(config) if callable(names) else names), "summary": SUMMARIES[generator.name],
        "reference": f"{_THESIS}, section {generator.section}", "notes": generator.notes(config),
    }  # fmt: skip


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A temporary folder inside ``out``; its files move into ``out`` on success and vanish on failure. All files of a
    data set move together, after the last is finished: a failed build leaves the former data set untouched and never a
    new train split beside an old test split. ``out`` is made where needed, and removed again when the build fails and
    it was made for it. Raises UsageError if ``out`` is a file, or another process builds into it."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder")
    made = not out.exists()
    try:
        with locked(out):
            for stale in out.glob(f"{_STAGING}*"):  # of a build that was killed
                shutil.rmtree(stale)
            with tempfile.TemporaryDirectory(prefix=_STAGING, dir=out) as name:
                folder = Path(name)
                yield folder
                for path in sorted(folder.iterdir()):
                    shutil.move(path, os.path.realpath(out / path.name))  # a link stays a link
    except BaseException:
        if made and out.exists() and not any(out.iterdir()):
            out.rmdir()
        raise


def make(
    generator: Generator, config: Any, split: str, source: Any, start: int, stop: int, workers: int = 1
) -> Iterator[Sample]:
    """Samples ``start`` to ``stop`` (exclusive) of a split, in order, for any number of workers; memory does not grow
    with the number of samples. Raises WorkError if a worker process died."""
    if workers == 1:
        for index in range(start, stop):
            yield generator.generate(config, split, index, source)
        return
    tasks = iter([range(first, min(first + _BATCH, stop)) for first in range(start, stop, _BATCH)])
    with ProcessPoolExecutor(workers, initializer=_start, initargs=(generator, config, split, source)) as pool:
        waiting = [pool.submit(_work, task) for task in islice(tasks, 2 * workers)]
        try:
            while waiting:
                yield from waiting.pop(0).result()
                waiting.extend(pool.submit(_work, task) for task in islice(tasks, 1))
        except BrokenProcessPool as error:
            raise WorkError(f"a worker process died while making the {split} split; try --workers 1") from error
        finally:
            for future in waiting:
                future.cancel()


def _start(generator: Generator, config: Any, split: str, source: Any) -> None:
    global _job
    as_worker()
    _job = generator, config, split, source


def _work(indices: range) -> list[Sample]:
    generator, config, split, source = _job
    return [generator.generate(config, split, index, source) for index in indices]
