"""What the tests of the core share: one thread, and the command."""

from collections.abc import Callable, Iterator

import pytest
import torch

from weight_align.cli import main


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One torch thread: small tensors are faster so, and another job on the machine does not get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command; returns exit status, standard output and standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err

    return command
