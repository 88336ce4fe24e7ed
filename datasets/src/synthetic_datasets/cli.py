"""``synthdata``: build data sets, train the network that one needs, print a file's card, draw its preview.

Exit status: 0 done, 1 the work failed, 2 wrong usage or unusable input.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from . import jpegs, registry
from .building import build
from .card import split_facts
from .cyclegan import command as cyclegan
from .errors import BuildError, InputError
from .files import staging
from .generator import Generator
from .options import add_options, config_from
from .preview import contact_sheet
from .reader import ImageSetFile, SampleFile


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (argparse itself exits with 2 on wrong usage)."""
    options = parser().parse_args(arguments)
    logging.basicConfig(format="synthdata: %(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("synthetic_datasets").setLevel(logging.INFO)
    try:
        options.run(options)
    except (InputError, BuildError, OSError) as error:
        if options.debug:
            raise
        print(f"synthdata: error: {_message(error)}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print("synthdata: interrupted; no data set was changed, a training goes on when started again", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The command's parser; a generator's options come from the fields of its configuration."""
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument("--debug", action="store_true", help="show the traceback of an error")
    top = argparse.ArgumentParser(prog="synthdata", description="Generated data sets in which every factor is known.")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    building = commands.add_parser("build", help="make a data set", description="Make a data set.")
    generators = building.add_subparsers(metavar="GENERATOR", required=True)
    for name in registry.names():
        generator = registry.get(name)
        sub = generators.add_parser(name, help=generator.summary, description=generator.summary, parents=[debug])
        _add_build_options(sub, generator)
        sub.set_defaults(run=_build, generator=generator)

    training = commands.add_parser("train-cyclegan", help=cyclegan.HELP, description=cyclegan.HELP, parents=[debug])
    cyclegan.add_arguments(training)
    training.set_defaults(run=cyclegan.run)

    card = commands.add_parser("card", help="print what a file says about itself, as JSON", parents=[debug])
    card.add_argument("file", type=Path, metavar="FILE.h5")
    card.add_argument("--verify", action="store_true", help="first check the arrays against the content digest")
    card.set_defaults(run=_card)

    preview = commands.add_parser("preview", help="draw a contact sheet of a file", parents=[debug])
    preview.add_argument("file", type=Path, metavar="FILE.h5")
    preview.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="picture to write")
    preview.set_defaults(run=_preview)

    export = commands.add_parser("export", help=jpegs.HELP, description=jpegs.HELP, parents=[debug])
    export.add_argument("file", type=Path, metavar="FILE.h5")
    export.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder; source and target are made in it"
    )
    export.set_defaults(run=_export)
    return top


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'writing'}: {error.strerror}"
    return str(error)


def _add_build_options(sub: argparse.ArgumentParser, generator: Generator) -> None:
    files = sub.add_argument_group("files")
    files.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the files made")
    files.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder of real data sets (default: EFFICIENCY_DATA, else none)",
    )
    files.add_argument("--workers", type=int, default=1, metavar="N", help="processes; the files do not depend on it")
    options = sub.add_argument_group("options of the data set")
    add_options(options, generator.config_type)


def _build(options: argparse.Namespace) -> None:
    generator: Generator = options.generator
    config = config_from(options, generator.config_type)
    facts = build(generator, config, options.out, options.data_root, options.workers)["facts"]
    for split, made in facts["splits"].items():
        print(f"{options.out / split}.h5: {made['samples']} samples, digest {made['content_digest'][:12]}")
    print(f"{generator.title} {generator.version} from {facts['source']}, seed {facts['seed']}")


def _card(options: argparse.Namespace) -> None:
    with SampleFile(options.file) as file:
        if options.verify:
            file.verify()
        print(json.dumps(split_facts(file), indent=2, ensure_ascii=False))


def _export(options: argparse.Namespace) -> None:
    with ImageSetFile(options.file) as file:
        for name, count in jpegs.write_views(file, options.out).items():
            print(f"{options.out / name}: {count} images")


def _preview(options: argparse.Namespace) -> None:
    if options.out.suffix.lower() != ".png":
        raise InputError(f"--out: {options.out} does not end in .png; a preview is a PNG picture")
    with SampleFile(options.file) as file, staging(options.out.parent) as folder:
        contact_sheet(file).save(folder / options.out.name)
