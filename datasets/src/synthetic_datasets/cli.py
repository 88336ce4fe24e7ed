"""``synthdata``: build data sets, print a file's card, draw its preview.

Exit status: 0 done, 1 the work failed, 2 wrong usage or unusable input.
"""

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from . import registry
from .building import build
from .card import split_facts
from .errors import BuildError, InputError
from .files import staging
from .generator import Generator
from .preview import contact_sheet
from .reader import SampleFile


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (argparse itself exits with 2 on wrong usage)."""
    options = parser().parse_args(arguments)
    logging.basicConfig(format="synthdata: %(levelname)s: %(message)s", stream=sys.stderr)
    try:
        options.run(options)
    except (InputError, BuildError, OSError) as error:
        if options.debug:
            raise
        print(f"synthdata: error: {_message(error)}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print("synthdata: interrupted; no file was changed", file=sys.stderr)
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

    card = commands.add_parser("card", help="print what a file says about itself, as JSON", parents=[debug])
    card.add_argument("file", type=Path, metavar="FILE.h5")
    card.add_argument("--verify", action="store_true", help="first check the arrays against the content digest")
    card.set_defaults(run=_card)

    preview = commands.add_parser("preview", help="draw a contact sheet of a file", parents=[debug])
    preview.add_argument("file", type=Path, metavar="FILE.h5")
    preview.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="picture to write")
    preview.set_defaults(run=_preview)
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
    hints = get_type_hints(generator.config_type, include_extras=True)
    for field in dataclasses.fields(generator.config_type):
        hint, sentence = get_args(hints[field.name])
        options.add_argument(
            f"--{field.name.replace('_', '-')}",
            default=field.default,
            help=f"{sentence} (default: {_shown(field.default)})",
            **_argument_type(field.name, hint),
        )


def _argument_type(name: str, hint: Any) -> dict[str, Any]:
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis:
        return {"type": get_args(hint)[0], "nargs": "+", "metavar": "N"}
    if get_origin(hint) is tuple:
        return {"type": get_args(hint)[0], "nargs": len(get_args(hint)), "metavar": "N"}
    return {"type": hint, "metavar": "N" if hint in (int, float) else name.upper()}


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _build(options: argparse.Namespace) -> None:
    generator: Generator = options.generator
    fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(generator.config_type)}
    config = generator.config_type(**{key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()})
    facts = build(generator, config, options.out, options.data_root, options.workers)["facts"]
    for split, made in facts["splits"].items():
        print(f"{options.out / split}.h5: {made['samples']} samples, digest {made['content_digest'][:12]}")
    print(f"{generator.title} {generator.version} from {facts['source']}, seed {facts['seed']}")


def _card(options: argparse.Namespace) -> None:
    with SampleFile(options.file) as file:
        if options.verify:
            file.verify()
        print(json.dumps(split_facts(file), indent=2, ensure_ascii=False))


def _preview(options: argparse.Namespace) -> None:
    if options.out.suffix.lower() != ".png":
        raise InputError(f"--out: {options.out} does not end in .png; a preview is a PNG picture")
    with SampleFile(options.file) as file, staging(options.out.parent) as folder:
        contact_sheet(file).save(folder / options.out.name)
