"""The options of a command from a frozen dataclass: tyro parses and shows them, a YAML file may give their defaults."""

import inspect
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import MISSING, dataclass, fields, is_dataclass
from itertools import dropwhile, takewhile, zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import docstring_parser
import tyro
from tyro.conf import FlagCreatePairsOff, Positional, PositionalMetavarFromFieldName, UseAppendAction, arg
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from efficiency_core.errors import UsageError
from efficiency_core.settings import annotations_of, build, convert, defaults_of, leaves, nearest, type_text
from efficiency_core.yaml_file import read_yaml

Pairs = Annotated[tuple[str, ...], UseAppendAction, arg(metavar="KEY=VALUE")]
"""The type of a field whose option is given once for each KEY=VALUE; :func:`~efficiency_core.settings.parse_pairs` reads it."""


@dataclass(frozen=True)
class Common:
    """The options that commands share."""

    settings: Annotated[Path | None, arg(metavar="FILE.yaml")] = None
    """YAML file of settings, with the names of these options; a group (``training.epochs``) is a mapping. Options go over it."""
    debug: Annotated[bool, FlagCreatePairsOff] = False
    """Show the traceback of an error."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the work is done; ``auto`` takes CUDA where there is a device."""


def parse_options(
    kind: type[Any], prog: str, summary: str, arguments: Sequence[str], device: bool
) -> tuple[Any, Common] | None:
    """The dataclass ``kind`` from command line arguments, and the options that all commands share; None after ``--help``.

    A field is the option ``--its-name``, a field of a nested dataclass ``--group.its-name``, or ``--its-name`` where no other
    option ends so. The help shows the sentence under every field.

    Args:
        kind: frozen dataclass; its annotations must be importable at run time. Fields whose annotation is ``Positional[...]``
            are positional arguments, those that are ``Pairs`` may be repeated.
        prog: how the command was called, for messages; ``arguments`` are what follows.
        summary: what the command does, if ``kind`` has no docstring.
        device: whether ``--device`` is one of the options.

    Raises:
        UsageError: for wrong arguments or a wrong settings file.
    """
    shared = [field.name for field in fields(Common) if device or field.name != "device"]
    known = _options(kind) | {name: annotation for name, annotation in _options(Common).items() if name in shared}
    rewritten = _full_names(arguments, known, prog)
    given, given_common = _from_file(kind, rewritten, device)
    registry = ConstructorRegistry()
    registry.struct_rule(_nested_rule)

    @registry.struct_rule
    def root_rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        if info.type is not kind:
            return None
        extra = [spec for spec in _specs(Common, given_common) if spec.name in shared]

        def instantiate(**values: Any) -> Any:
            common = Common(**{name: values.pop(name) for name in shared})
            return kind(**values), common

        return StructConstructorSpec(instantiate, (*_specs(kind, given), *extra))

    said = io.StringIO()
    try:
        with redirect_stderr(said):
            parsed: tuple[Any, Common] = tyro.cli(
                kind, prog=prog, description=_plain(_own_docstring(kind) or summary), args=rewritten, registry=registry,
                config=(PositionalMetavarFromFieldName,),
            )  # fmt: skip
    except SystemExit as error:
        if not error.code:
            return None
        raise UsageError(_one_line(said.getvalue(), kind, rewritten, known, prog)) from None
    sys.stderr.write(said.getvalue())
    return parsed


def _sentences(kind: type[Any]) -> dict[str, str]:
    """Field -> the sentence under it, of the dataclass and those it inherits from, in plain text on one line."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if is_dataclass(owner):
            described = docstring_parser.parse_from_object(owner).params
            found |= {entry.arg_name: _plain(entry.description or "") for entry in described}
    return found


def _plain(text: str) -> str:
    """Without the marks of reStructuredText (``x``, :func:`~module.x`) and line breaks."""
    return " ".join(re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", text).replace("`", "").split())


def _own_docstring(kind: type[Any]) -> str:
    text = vars(kind).get("__doc__") or ""
    return "" if text.startswith(f"{kind.__name__}(") else inspect.cleandoc(text)  # what dataclass() writes itself


def _nested_rule(info: StructTypeInfo) -> StructConstructorSpec | None:
    if not is_dataclass(info.type):
        return None
    given = vars(info.default) if isinstance(info.default, info.type) else {}
    return StructConstructorSpec(info.type, tuple(_specs(info.type, given)))


def _specs(kind: type[Any], given: Mapping[str, Any]) -> Iterator[StructFieldSpec]:
    """tyro's fields of a dataclass, with the values ``given`` as defaults."""
    texts, defaults = _sentences(kind), {**defaults_of(kind), **given}
    for name, annotation in annotations_of(kind).items():
        default = defaults[name]
        text = texts.get(name) or _plain(_own_docstring(type(default)) if is_dataclass(default) else "")
        yield StructFieldSpec(name, annotation, tyro.MISSING if default is MISSING else default, text)


def _options(kind: type[Any]) -> dict[str, Any]:
    """Dotted name -> annotation of every option; positional arguments have none."""
    return {
        name: annotation
        for name, annotation in leaves(kind).items()
        if Positional not in getattr(annotation, "__metadata__", ())
    }


def _from_file(kind: type[Any], arguments: Sequence[str], device: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the file that ``--settings`` names, if it does: those of ``kind``, and the shared ones."""
    path = None
    for word, following in zip_longest(arguments, arguments[1:]):
        if word == "--settings" or word.startswith("--settings="):
            path = word.partition("=")[2] or following
    if path is None:
        return {}, {}
    values, where = read_yaml(path)
    shared = {"device": values.pop("device")} if device and "device" in values else {}
    return convert(kind, values, where), {name: getattr(build(Common, shared, where), name) for name in shared}


def _full_names(arguments: Sequence[str], known: Mapping[str, Any], prog: str) -> list[str]:
    spelled = {name.replace("_", "-") for name in known}
    spelled |= {re.sub(r"([^.]+)$", r"no-\1", name.replace("_", "-")) for name, kind in known.items() if kind is bool}
    if {"-h", "--help"} & set(arguments):
        return list(arguments)
    words = []
    for word in arguments:
        option, equals, value = word.partition("=")
        name = option[2:].replace("_", "-")
        if not re.match(r"--[a-zA-Z]", word):
            words.append(word)
            continue
        full = [name] if name in spelled else sorted(other for other in spelled if other.endswith(f".{name}"))
        if len(full) > 1:
            raise UsageError(f"{option} may be --{' or --'.join(full)}: write one of them in full")
        if not full:
            meant = nearest(name, [*spelled, *(other.rpartition(".")[2] for other in spelled)])
            advice = f"did you mean --{meant}?" if meant else f"see {prog} --help"
            raise UsageError(f"unknown option {option}; {advice}")
        words.append(f"--{full[0]}{equals}{value}")
    return words


def _one_line(box: str, kind: type[Any], arguments: Sequence[str], known: Mapping[str, Any], prog: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = (line[2:].rstrip("│ ") for line in plain.splitlines()[1:])  # the first line is a title
    is_rule = re.compile("[─-]{4,}╯?").fullmatch
    inside = list(takewhile(lambda line: not is_rule(line), dropwhile(is_rule, lines)))
    text = " ".join(" ".join(inside).split())
    if text.startswith("Missing from"):
        names = [line.strip() for line in inside if re.match(r" {4}\S", line)]
        return f"missing: {', '.join(names)} (see {prog} --help)"
    about = re.match(r"(?:Error parsing|.*for argument) '?(--[\w.-]+)", text)
    if about and (annotation := known.get(about[1][2:].replace("-", "_"))) is not None:
        return f"{about[1]}: expected {type_text(annotation)}, got {_value_of(about[1], arguments) or 'nothing'}"
    text = text.replace("Unrecognized options:", "unexpected argument:")
    return re.sub(f"^Error parsing (?:{kind.__name__}: )?", "", text) or plain.strip()


def _value_of(option: str, arguments: Sequence[str]) -> str:
    values: list[str] = []
    for word in reversed(arguments):
        name, _, value = word.partition("=")
        if name == option:
            return value or " ".join(values)
        values = [] if word.startswith("--") else [word, *values]
    return ""
