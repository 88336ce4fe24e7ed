"""Errors of commands: they survive pickling, and a ``ValueError`` of a method becomes one of usage."""

import pickle

import pytest

from efficiency_core.errors import BrokenFile, UsageError, checking


def test_a_broken_file_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(BrokenFile("a/1.jpg", "is empty")))
    assert (error.name, error.why, str(error)) == ("a/1.jpg", "is empty", "a/1.jpg: is empty")


def test_checking() -> None:
    with pytest.raises(UsageError, match=r"^w\.pt: no weights$"), checking("w.pt"):
        raise ValueError("no weights")
    with pytest.raises(UsageError, match=r"^no weights$"), checking():
        raise ValueError("no weights")
    with pytest.raises(KeyError), checking():
        raise KeyError("other errors pass")
