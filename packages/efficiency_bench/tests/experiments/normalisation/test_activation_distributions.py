"""Distributions in the untrained network of section 5.3.4: statistics by loops, effects of the methods, densities."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from efficiency_bench.experiments.normalisation.activation_distributions import (
    METHODS,
    PICTURED,
    Method,
    Settings,
    asymmetry,
    build,
    densities,
    layers_of,
    lines,
    product_asymmetries,
)
from efficiency_bench.records.artifacts import load_artifacts
from efficiency_bench.records.json_file import write_json
from efficiency_bench.records.pictures import Series
from efficiency_bench.records.run_record import load_record
from efficiency_bench.run import RunContext, run_experiment
from weight_align.method import channel_statistics

SMALL = Settings(batch=4, image_size=5, width=8, classes=9)


def inputs(settings: Settings) -> torch.Tensor:
    shape = (settings.batch, 3, settings.image_size, settings.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def record_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run.json"
    record = run_experiment("activation_distributions", {"image_size": 12}, RunContext(out, device="cpu"))
    write_json(out, record.to_json())
    return out


def test_statistics_by_layer_are_those_of_a_loop_over_all_numbers_of_a_channel() -> None:
    network = build(SMALL, Method("gn"), seed=3)
    _, after = layers_of(network, inputs(SMALL))
    found = lines("gn", list(channel_statistics(after).values()))
    assert set(found) == {"gn_means", "gn_variances"} and len(after) == 8
    for layer, outputs in enumerate(after.values()):
        for channel in range(8):
            numbers = outputs[:, channel].flatten().tolist()
            mean = sum(numbers) / len(numbers)
            assert found["gn_means"].y[channel, layer] == pytest.approx(mean, abs=1e-5)
            variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
            assert found["gn_variances"].y[channel, layer] == pytest.approx(variance, rel=1e-4)


def test_layers_are_what_the_convolutions_and_norms_put_out() -> None:
    network = build(SMALL, Method("bn", align=True), seed=3)
    maps = given = inputs(SMALL)
    before, after = layers_of(network, given)
    assert list(before) == [*(f"conv{n}" for n in range(1, 8)), "classifier"]
    assert list(after) == [*(f"norm{n}" for n in range(1, 8)), "classifier"]
    for number in range(1, 8):
        maps = network.get_submodule(f"conv{number}")(maps)
        torch.testing.assert_close(before[f"conv{number}"], maps)
        maps = network.get_submodule(f"norm{number}")(maps)
        torch.testing.assert_close(after[f"norm{number}"], maps)
        maps = maps.relu()
    torch.testing.assert_close(after["classifier"], network.get_submodule("classifier")(maps.flatten(1)))


def test_methods_share_their_weights_and_align_all_but_the_classifier() -> None:
    plain, aligned, normed = (build(SMALL, METHODS[name], seed=0).state_dict() for name in ("baseline", "wa", "gn"))
    for name, weight in plain.items():
        same = aligned[name.replace(".weight", ".parametrizations.weight.original") if "conv" in name else name]
        assert torch.equal(weight, same) and torch.equal(weight, normed[name]), name
    other_seed = build(SMALL, METHODS["baseline"], seed=1).state_dict()
    assert not torch.equal(other_seed["classifier.weight"], plain["classifier.weight"])


def test_the_numbers_of_the_record(record_path: Path) -> None:
    record = load_record(record_path)
    values = {name: metric.value for name, metric in record.metrics.items()}
    # Filters of mean zero pass the variance of what ReLU leaves alone, 1 - 1/pi of what equation 5.8 expects.
    assert values["variance_per_layer_wa"] == pytest.approx(1 - 1 / np.pi, rel=0.08)
    assert values["variance_per_layer_wa_nf"] == pytest.approx(1, rel=0.08), "the norm-free gain gives it back"
    gain = values["variance_per_layer_wa_nf"] / values["variance_per_layer_wa"]
    assert gain == pytest.approx(1 / (1 - 1 / np.pi), rel=1e-4)
    for name in ("bn", "in", "bn_wa", "in_wa"):
        assert values[f"last_variance_{name}"] == pytest.approx(1, rel=1e-3) and values[f"mean_spread_{name}"] < 1e-3
    assert values["mean_spread_wa"] < 0.2 < 0.5 < values["mean_spread_baseline"], "aligned channels do not drift apart"
    assert values["mean_spread_ln"] > 0.5 > values["mean_spread_ln_wa"], "layer norm leaves what alignment takes away"
    by_layer = record.protocol["by_layer"]
    assert set(by_layer) == set(METHODS) and len(by_layer["gn"]["mean_of_variances"]) == 8
    assert by_layer["wa"]["mean_of_variances"][6] == pytest.approx(values["last_variance_wa"])


def test_its_pictures(record_path: Path) -> None:
    arrays = load_artifacts(record_path, load_record(record_path))
    for method in METHODS:
        for number in PICTURED:
            for example in (f"{method}_layer{number}", f"{method}_before_layer{number}"):
                assert Series.read(arrays, example, "run").names.tolist() == [f"channel {n}" for n in range(1, 9)]
        lines = Series.read(arrays, f"{method}_variances", "run")
        assert lines.x[0].tolist() == list(range(1, 9)) and (lines.y > 0).all()
    every = Series.read(arrays, "variance_by_layer", "run")
    assert len(every.names) == len(METHODS) and "WA, norm-free gain" in every.names.tolist()
    same = [Series.read(arrays, f"wa_{what}", "run").y for what in ("layer3", "before_layer3")]
    np.testing.assert_array_equal(*same)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    settings = {"batch": 4, "image_size": 5, "width": 8}
    contexts = [RunContext(tmp_path / f"{name}.json", seed=2, device="cpu") for name in ("a", "b")]
    a, b = (run_experiment("activation_distributions", settings, context) for context in contexts)
    assert a.metrics == b.metrics and a.protocol["artifacts"]["sha256"] == b.protocol["artifacts"]["sha256"]


def test_a_density_is_the_share_of_numbers_in_a_bin_over_its_width() -> None:
    rng = np.random.default_rng(0)
    sets = {"narrow": rng.normal(size=5000), "wide": 3 + 2 * rng.normal(size=800)}
    found = densities(list(sets.items()))
    assert found.names.tolist() == list(sets) and found.x.shape == (2, 60)
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


def test_the_asymmetry_of_numbers_is_their_distance_from_their_negatives() -> None:
    assert asymmetry([-2, -1, 1, 2]) == 0 and asymmetry([0.0, 0.0]) == 0
    assert asymmetry([1, 2, 3]) == 1 and asymmetry([-1.0]) == 1
    assert asymmetry([-1, 1, 2, 3]) == 0.5  # up to -2: none of the numbers, two of the four negatives


def test_products_are_symmetric_only_if_a_factor_is() -> None:
    found = product_asymmetries(seed=3)
    assert found["product_asymmetry_symmetric"].value < 0.005
    # P(product > 0) = P(exponential > 1) = 1 / e, so at zero the shares differ by 1 - 2 / e.
    assert found["product_asymmetry_skewed"].value > 1 - 2 / math.e - 0.01
    assert product_asymmetries(seed=3) == found
