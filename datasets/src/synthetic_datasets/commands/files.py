"""Subcommands that read one file: ``card``, ``preview`` and ``export``."""

import json
from dataclasses import dataclass
from pathlib import Path

from efficiency_core.command import OutputFile, OutputFolder, Positional
from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class CardOptions:
    """Options of ``card``."""

    file: Positional[Path]
    """HDF5 file of a split."""
    verify: bool = False
    """First check the arrays against the content digest."""


@dataclass(frozen=True)
class PreviewOptions:
    """Options of ``preview``."""

    file: Positional[Path]
    """HDF5 file of a split."""
    out: OutputFile[Path]
    """PNG picture to write."""


@dataclass(frozen=True)
class ExportOptions:
    """Options of ``export``."""

    file: Positional[Path]
    """HDF5 file of a split of Pitts-CycleGAN."""
    out: OutputFolder[Path]
    """Folder; the folders source and target are made in it."""


def print_card(options: CardOptions) -> None:
    from synthetic_datasets.generators.registry import get_generator
    from synthetic_datasets.storage.card import split_facts
    from synthetic_datasets.storage.reader import SampleFile

    file = SampleFile(options.file)
    if options.verify:
        file.verify()
    figures = get_generator(file.facts.get("generator", "")).figures
    print(json.dumps(split_facts(file, figures), indent=2, ensure_ascii=False))


def preview(options: PreviewOptions) -> None:
    from efficiency_core.draw import write_png
    from synthetic_datasets.previews.preview import contact_sheet
    from synthetic_datasets.storage.reader import SampleFile

    if options.out.suffix.lower() != ".png":
        raise UsageError(f"--out: {options.out} does not end in .png; a preview is a PNG picture")
    write_png(options.out, contact_sheet(SampleFile(options.file)))


def export(options: ExportOptions) -> None:
    from synthetic_datasets.storage.jpegs import write_views
    from synthetic_datasets.storage.reader import ImageSetFile

    for name, count in write_views(ImageSetFile(options.file), options.out).items():
        print(f"{options.out / name}: {count} images")
