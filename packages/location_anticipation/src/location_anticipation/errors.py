"""The two ways a command of this package can end badly."""


class UsageError(Exception):
    """The request or its input cannot be used as given; the command exits with status 2."""


class WorkError(Exception):
    """The request was sound but the work failed; the command exits with status 1."""
