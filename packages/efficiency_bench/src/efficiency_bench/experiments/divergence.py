"""A training that diverges is a finding, not a failure of the bench: it ends here with a reason in place of a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def until_it_diverges(work: Callable[[], Result]) -> tuple[Result | None, str]:
    """What `work`, a training of `weight_align` or an evaluation, returns, and no reason; or None, and the reason.

    `weight_align` stops a training with a loss or a weight that is not finite, and an evaluation with scores that are not, by a
    `WorkError` that says so. Any other error of it, a full disk for example, is raised on.
    """
    from weight_align.errors import WorkError

    try:
        return work(), ""
    except WorkError as error:
        said = str(error)
        if "not finite" not in said:
            raise
        return None, f"diverged, {said.partition(';')[0]}"
