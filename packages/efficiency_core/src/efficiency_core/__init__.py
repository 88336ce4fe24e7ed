"""What the packages share: errors, files, commands, checkpoints, the training loop and readers of other people's files."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def lazy_names(room: str, **places: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a room that imports its modules when they are needed: module -> the names it hands on."""

    def find(name: str) -> Any:
        for module, names in places.items():
            if name in names.split():
                return getattr(import_module(f"{room}.{module}"), name)
        raise AttributeError(f"module {room!r} has no attribute {name!r}")

    return find
