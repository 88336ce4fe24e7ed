"""A frozen dataclass of options as arguments of a command, and back."""

import argparse
import dataclasses
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .errors import InputError


def add_options(group: argparse._ArgumentGroup, config_type: type[Any]) -> None:
    """An argument for every field, whose type is ``Annotated`` with a sentence for its help."""
    hints = get_type_hints(config_type, include_extras=True)
    for field in dataclasses.fields(config_type):
        hint, sentence = get_args(hints[field.name])
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            default=field.default,
            help=f"{sentence} (default: {_shown(field.default)})",
            **_argument_type(field.name, hint),
        )


def config_from(options: argparse.Namespace, config_type: type[Any]) -> Any:
    """The dataclass that the arguments ask for."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(config_type)}
    return config_type(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def check_ranges(config: Any, **ranges: tuple[float, float | None]) -> None:
    """Make sure that numbers of a configuration are in their range, name -> least and largest (None: any).

    Raises:
        InputError: one is not.
    """
    for name, (least, largest) in ranges.items():
        value = getattr(config, name)
        if not (least <= value and (largest is None or value <= largest)):
            expected = f"at least {least:g}" if largest is None else f"{least:g} to {largest:g}"
            raise InputError(f"{name}: expected {expected}, got {value}")


def _argument_type(name: str, hint: Any) -> dict[str, Any]:
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis:
        return {"type": get_args(hint)[0], "nargs": "+", "metavar": "N"}
    if get_origin(hint) is tuple:
        return {"type": get_args(hint)[0], "nargs": len(get_args(hint)), "metavar": "N"}
    return {"type": hint, "metavar": "N" if hint in (int, float) else name.upper()}


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
