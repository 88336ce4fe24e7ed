"""Settings of a training that make no sense are refused."""

from typing import Any

import pytest

from outlier_matching import TrainConfig


@pytest.mark.parametrize(("changes", "message"), [
    ({"method": "dann"}, "method must be one of siamese, siamese_da, da_outlier_detection, got 'dann'"),
    ({"outlier_share": 1.0}, r"outlier_share must be in \[0, 1\) or null, got 1.0"),
    ({"batch": 7}, "batch must be even and 4 or more, got 7"),
    ({"epochs": 0}, "epochs must be 1 or more, got 0"),
    ({"eta": float("nan")}, "eta must be 0 or more, got nan"),
    ({"margin": 0.0}, "margin must be positive, got 0.0"),
    ({"precision": "8"}, "precision must be one of .*, got '8'"),
    ({"nearest_share": 0.0}, "nearest_share must be above 0 and at most 1, got 0.0"),
    ({"epochs": 3, "warmup_epochs": 3}, "warmup_epochs 3 leave none of 3 epochs to adapt in"),
    ({"epochs": 3, "warmup_epochs": 1, "align_epochs": 2}, "leave none of 3 epochs to find outliers in"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)
