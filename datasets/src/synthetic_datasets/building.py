"""From a generator and its options to a folder with the files of a data set."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .card import card
from .errors import BuildError, InputError
from .files import staging
from .generator import Generator, Sample, Source, config_json
from .hdf5 import FORMAT_VERSION, write
from .preview import contact_sheet
from .reader import SampleFile
from .seeding import SPLITS
from .workers import make


def build(
    generator: Generator, config: Any, out: Path, data_root: str | Path | None = None, workers: int = 1
) -> dict[str, Any]:
    """Make ``train.h5``, ``test.h5``, ``card.json`` and ``preview.png`` in ``out``, all or none.

    Returns the card. The files replace those of a former build only when all of them are finished.

    Args:
        generator: what to make, from ``registry.get``.
        config: its options, an instance of ``generator.config_type``.
        out: folder, made where it does not exist.
        data_root: folder of real data; see ``digits.resolve_data_root``.
        workers: processes that make samples; the files do not depend on it.

    Raises:
        InputError: ``data_root``, ``out`` or ``workers`` cannot be used.
        BuildError: a file cannot be written (full disk, no permission), or a worker process died.
    """
    if workers < 1:
        raise InputError(f"workers: expected at least 1, got {workers}")
    source = generator.load_source(data_root, config)
    try:
        finish = generator.finisher(config, out, data_root, source) if generator.finisher else None
        with staging(out) as folder:
            files = {}
            for split in SPLITS:
                count = getattr(config, split)
                samples: Iterable[Sample] = make(generator, config, split, source, 0, count, workers)
                if finish is not None:
                    samples = finish(samples)
                shown = tqdm(samples, split, count, unit="sample", delay=2, disable=None, leave=False)
                facts = file_facts(generator, config, split, source) | (finish.facts if finish is not None else {})
                write(folder / f"{split}.h5", shown, count, generator.layout(config), facts)
                files[split] = SampleFile(folder / f"{split}.h5")
            made = card(files)
            (folder / "card.json").write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            contact_sheet(files["train"]).save(folder / "preview.png")
            for file in files.values():
                file.close()
    except OSError as error:
        why = error.strerror or str(error)
        mend = "nothing was changed; free some space or choose another --out"
        raise BuildError(f"{out}: cannot be written ({why}); {mend}") from error
    return made


def file_facts(generator: Generator, config: Any, split: str, source: Source) -> dict[str, Any]:
    """Attributes of a split's file: enough to know what it is and to build it again."""
    names = generator.class_names
    return {
        "format": generator.file_format,
        "format_version": FORMAT_VERSION,
        "name": generator.title,
        "generator": generator.name,
        "generator_version": generator.version,
        "split": split,
        "config": config_json(config),
        "source": source.source,
        "source_credit": source.credit,
        "licence": source.licence,
        **({"parts": source.parts} if source.parts else {}),
        **({"domain_names": source.parts["domain"]} if "domain" in source.parts else {}),
        "class_names": list(names(config) if callable(names) else names),
        "summary": generator.summary,
        "reference": generator.reference,
        "notes": generator.notes(config),
    }
