"""Recipes: the learning rate over time, and values that make no sense."""

from typing import Any

import pytest

from weight_align.training import SegmentationConfig, TrainConfig
from weight_align.training.sgd import SgdTask


def rates(total: int, **changes: Any) -> list[float]:
    task = object.__new__(SgdTask)
    task.config = TrainConfig(**changes)
    return [task.rate(step, total) for step in range(total)]


def test_schedules() -> None:
    found = rates(300)
    assert found[:150] == pytest.approx([0.01] * 150)
    assert found[150:225] == pytest.approx([0.001] * 75)
    assert found[225:] == pytest.approx([0.0001] * 75)
    found = rates(100 * 7, learning_rate=0.1, milestones=(0.3, 0.6, 0.9))
    assert [found[k * 7 - 1] / found[k * 7] for k in (30, 60, 90)] == pytest.approx([10, 10, 10])
    assert len({round(rate, 9) for rate in found}) == 4
    cosine = rates(100, schedule="cosine", learning_rate=0.2)
    assert cosine[0] == 0.2 and cosine[50] == pytest.approx(0.1) and 0 < cosine[99] < 1e-4
    poly = rates(100, schedule="poly", power=0.9, learning_rate=0.007)
    assert poly[0] == 0.007 and poly[75] == pytest.approx(0.007 * 0.25**0.9)
    warm = rates(100, warmup_share=0.04)
    assert warm[:5] == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])


def test_segmentation() -> None:
    config = SegmentationConfig()
    assert (config.epochs, config.batch_size, config.learning_rate) == (50, 4, 0.007)
    assert (config.schedule, config.power, config.weight_decay) == ("poly", 0.9, 5e-4)
    for changes, message in (
        ({"crop": 8}, "crop must be 16 or more, got 8"),
        ({"zoom": (2.0, 0.5)}, "zoom must be two rising factors above 0"),
        ({"normalisation": "none"}, "normalisation must be one of imagenet, data"),
    ):
        with pytest.raises(ValueError, match=message):
            SegmentationConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("changes", "message"), [
    ({"schedule": "linear"}, "schedule must be one of step, cosine, poly, got 'linear'"),
    ({"precision": "16"}, "precision must be one of 32-true, bf16-mixed, 16-mixed, auto, got '16'"),
    ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
    ({"epochs": 0}, "epochs must be 1 or more, got 0"),
    ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
    ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
    ({"weight_decay": -1.0}, "weight_decay must be 0 or more, got -1.0"),
    ({"milestones": (150, 225)}, r"parts of the training between 0 and 1, such as 0.5 0.75, got \(150, 225\)"),
    ({"milestones": (0.5, 0.5)}, "milestones must be rising"),
    ({"warmup_share": 1.0}, r"warmup_share must be in \[0, 1\), got 1.0"),
    ({"padding": -1}, "padding must be 0 or more, got -1"),
    ({"erasing": 1.5}, "erasing must be a probability, got 1.5"),
    ({"normalisation": "none"}, "normalisation must be one of data, imagenet, got 'none'"),
])  # fmt: skip
def test_recipes_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)
