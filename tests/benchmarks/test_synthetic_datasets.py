"""Speed of the generators."""

from pytest_benchmark.fixture import BenchmarkFixture

from synthetic_datasets.digits import load_digits
from synthetic_datasets.moving_digits import MovingDigitsConfig, generate


def test_moving_digits_video(benchmark: BenchmarkFixture) -> None:
    """One video of 32 frames, from nothing to pixels and boxes; nothing is written."""
    config, digits = MovingDigitsConfig(), load_digits(None)
    sample = benchmark(generate, config, "train", 0, digits)
    benchmark.extra_info["bytes"] = sum(array.nbytes for array in sample.arrays.values())
    assert sample.arrays["video"].shape == (32, 64, 64)
