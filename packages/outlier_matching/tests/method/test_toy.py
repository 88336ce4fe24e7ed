"""The toy of figure 4.1: its points, its four panels, that outliers end apart from inliers, and that it repeats."""

import pytest
import torch

from outlier_matching.method.config import ToyConfig
from outlier_matching.method.toy import run_toy, toy_data

SHORT = ToyConfig(source=128, target=192, batch=64, epochs=1)


def test_points_are_what_they_are_said_to_be() -> None:
    data = toy_data(ToyConfig(outlier_share=0.25))
    outliers = data.target_labels < 0
    assert data.source.shape == data.target.shape == (512, 2)
    assert int(outliers.sum()) == 128
    assert set(data.source_labels.tolist()) == {0, 1}
    assert set(data.target_labels.tolist()) == {-1, 0, 1}
    for label in (0, 1):
        centre = data.source[data.source_labels == label].mean(0)
        torch.testing.assert_close(centre, torch.tensor([float(label), 0.0]), rtol=0, atol=0.05)
    first = data.target[data.target_labels == 0].mean(0)
    torch.testing.assert_close(first, torch.tensor([0.5, 0.5]), rtol=0, atol=0.05)  # turned about 0, then moved
    assert ((data.target[outliers] < -1) & (data.target[outliers] > -3)).all()


def test_four_panels_with_their_numbers_the_same_every_time() -> None:
    panels, again = run_toy(SHORT), run_toy(SHORT)
    assert list(panels) == ["original", "no_outliers", "with_outliers", "our_method"]
    assert panels["original"].source.equal(toy_data(SHORT).source)
    assert set(panels["no_outliers"].numbers) == {"alignment", "accuracy"}
    assert set(panels["with_outliers"].numbers) == {"alignment", "accuracy", "separation"}
    assert set(panels["our_method"].numbers) == {"alignment", "accuracy", "separation", "f1"}
    outliers = round(192 * 0.35)
    assert len(panels["no_outliers"].target) == 192 - outliers
    assert not (panels["no_outliers"].target_labels < 0).any()
    for name, panel in panels.items():
        assert panel.source.shape == (128, 2)
        assert panel.target.equal(again[name].target)
        assert panel.numbers == again[name].numbers
        assert (panel.detected is not None) == (name == "our_method")
    other = run_toy(SHORT, seed=1)
    assert not other["our_method"].source.equal(panels["our_method"].source)


@pytest.mark.slow
def test_outliers_end_apart_from_inliers() -> None:
    """Figure 4.1: (b) aligns; in (c) outliers lie among the source; in (d) they are found and apart, inliers at their
    clusters."""
    panels = run_toy(ToyConfig())
    numbers = {name: panel.numbers for name, panel in panels.items()}
    assert numbers["no_outliers"]["alignment"] < 0.1 * numbers["original"]["alignment"]
    assert numbers["no_outliers"]["accuracy"] > 0.95
    assert numbers["with_outliers"]["separation"] < 0.95
    assert numbers["our_method"]["separation"] > 0.98
    assert numbers["our_method"]["f1"] > 0.95
    assert numbers["our_method"]["accuracy"] > 0.9
    assert numbers["our_method"]["alignment"] < numbers["original"]["alignment"]


def test_what_the_method_does_not_assume_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 0\.5"):
        ToyConfig(outlier_share=0.6)
    with pytest.raises(ValueError, match="batch must be even"):
        ToyConfig(batch=63)
    with pytest.raises(ValueError, match="clusters"):
        ToyConfig(clusters=0)
