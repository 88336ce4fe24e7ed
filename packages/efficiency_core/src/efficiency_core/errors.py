"""How a command, or the reading of one file of many, can end badly."""

from collections.abc import Iterator
from contextlib import contextmanager


class UsageError(Exception):
    """The request or its input cannot be used as given. The command exits with status 2."""


class WorkError(Exception):
    """The request was sound, but the work failed. The command exits with status 1."""


class Stopped(BaseException):
    """A signal, ``args[0]``, asks the process to end. The command cleans up and exits with status 128 plus its number."""


class BrokenFile(WorkError):
    """One image or video of a set cannot be read. Whoever reads the set decides whether to skip it or to stop.

    Attributes:
        name: the image or video, as its set names it.
        why: what is wrong with it, in a few words.
    """

    def __init__(self, name: str, why: str) -> None:
        # As arguments, so that the error survives pickling on its way from a worker process.
        super().__init__(name, why)
        self.name, self.why = name, why

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


@contextmanager
def checking(where: object = "") -> Iterator[None]:
    """Report a ``ValueError`` of the block as a :class:`UsageError`; ``where`` (file or setting) opens the message."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{where}: {error}" if where else str(error)) from error
