"""Training on labelled images or masks, for every experiment of this room: its data, its settings, and its divergence."""

from collections.abc import Callable
from typing import Any, TypeVar

from efficiency_bench.experiments.base import Context
from efficiency_core.errors import WorkError
from weight_align.training import SegmentationConfig, TrainConfig

Result = TypeVar("Result")


def open_split(
    context: Context, data: str, split: str, *, fold: int = 0, generated: str = "image-set", **options: str
) -> Any:
    """The images of a split, as `weight_align` opens them: a generated file of the format `generated` with its `options`, or a
    `fold` of a real data set (see `Context.open_file`)."""
    from weight_align.data import open_dataset

    return context.open_file(data, split, lambda file: open_dataset(file, generated, split, **options), fold)


def check_training(training: TrainConfig | SegmentationConfig) -> None:
    """Raise ValueError for settings that the bench decides itself."""
    if training.seed or training.steps:
        raise ValueError("training.seed and training.steps must be 0: a run has its own seed, and epochs as its length")


def until_it_diverges(work: Callable[[], Result]) -> tuple[Result | None, str]:
    """The result of `work`, a training or evaluation, and an empty reason; or None and the reason why its metrics are absent.

    The training loop raises a `WorkError` for a loss or a weight that is not finite, and evaluations do for such scores. Any
    other error, a full disk for example, is raised on.
    """
    try:
        return work(), ""
    except WorkError as error:
        if "not finite" not in str(error):
            raise
        return None, f"diverged, {str(error).partition(';')[0]}"
