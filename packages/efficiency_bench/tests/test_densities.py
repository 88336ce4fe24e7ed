"""Densities that figures draw: bins in common, areas of one, and numbers that are none."""

import numpy as np
import pytest

from efficiency_bench.experiments.densities import densities


def test_a_density_is_the_share_of_numbers_in_a_bin_over_its_width() -> None:
    rng = np.random.default_rng(0)
    sets = {"narrow": rng.normal(size=5000), "wide": 3 + 2 * rng.normal(size=800)}
    found = densities(list(sets.items()), bins=20)
    assert found.names.tolist() == list(sets) and found.x.shape == (2, 20)
    np.testing.assert_array_equal(found.x[0], found.x[1])
    width = found.x[0, 1] - found.x[0, 0]
    for row, numbers in enumerate(sets.values()):
        inside = 0
        for centre, height in zip(found.x[row], found.y[row], strict=True):
            count = sum(centre - width / 2 <= number < centre + width / 2 for number in numbers)
            assert height == pytest.approx(count / (len(numbers) * width), abs=2 / (len(numbers) * width))
            inside += count
        assert inside / len(numbers) > 0.97, "only the far tails are outside"
        assert found.y[row].sum() * width == pytest.approx(inside / len(numbers), abs=1e-3)


def test_far_numbers_and_such_that_are_none_do_not_flatten_the_rest() -> None:
    numbers = np.concatenate([np.linspace(-1, 1, 2000), [1e30, np.nan, np.inf]])
    found = densities([("a", numbers)])
    assert found.x.min() > -1.1 and found.x.max() < 1.1
    assert np.median(found.y) == pytest.approx(0.5, rel=0.05)


def test_a_single_value_and_no_value_have_bins_too() -> None:
    found = densities([("constant", np.full(10, 2.0)), ("nothing", np.array([np.nan]))])
    width = found.x[0, 1] - found.x[0, 0]
    assert found.y[0].sum() * width == pytest.approx(1) and found.y[1].sum() == 0
    assert np.isfinite(densities([("nothing", [np.inf])]).x).all()
    assert [densities([("a", range(n))]).x.shape[1] for n in (1, 400, 10**5)] == [12, 30, 60]
    with pytest.raises(ValueError, match="at least one set"):
        densities([])
