"""The ways a command of this package, or the reading of one image, can end badly."""


class UsageError(Exception):
    """The request or its input cannot be used as given; the command exits with status 2."""


class WorkError(Exception):
    """The request was sound but the work failed; the command exits with status 1."""


class BrokenImage(WorkError):
    """One image cannot be read: a training stops.

    Attributes:
        name: which image, as its set names it.
        why: what is wrong with it, in a few words.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)  # as arguments, so that it survives pickling
        self.name = name
        self.why = why

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"
