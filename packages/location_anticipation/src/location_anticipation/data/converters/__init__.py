"""Converters of published data sets to CocoVID."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from location_anticipation.data.converters.registry import FORMATS, convert

__all__ = ["FORMATS", "convert"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.registry"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
