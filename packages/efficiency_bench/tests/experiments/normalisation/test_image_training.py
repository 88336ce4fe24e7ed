"""A training that diverges becomes a reason; whatever else goes wrong stays an error."""

import pytest

from efficiency_bench.experiments.normalisation.image_training import until_it_diverges
from efficiency_core.errors import UsageError, WorkError


def fail(error: Exception) -> int:
    raise error


def test_what_comes_out_and_why_not() -> None:
    assert until_it_diverges(lambda: 7) == (7, "")
    text = "the loss is not finite at step 12 (nan); the checkpoint x/training.pt is from before. A lower rate mends it"
    expected = (None, "diverged, the loss is not finite at step 12 (nan)")
    assert until_it_diverges(lambda: fail(WorkError(text))) == expected


@pytest.mark.parametrize("error", [WorkError("no space left"), UsageError("a loss not finite"), ValueError("x")])
def test_other_errors_are_raised_on(error: Exception) -> None:
    with pytest.raises(type(error)):
        until_it_diverges(lambda: fail(error))
