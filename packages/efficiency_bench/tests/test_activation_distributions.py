"""Distributions in the untrained network of section 5.3.4: plain-loop statistics, and what each method does to them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from efficiency_bench.artifacts import load_artifacts
from efficiency_bench.cli import main
from efficiency_bench.drawn import read_series
from efficiency_bench.errors import UsageError
from efficiency_bench.experiments.activation_distributions import (
    METHODS,
    PICTURED,
    Method,
    Settings,
    build,
    layers_of,
    lines,
)
from efficiency_bench.records import load_record
from efficiency_bench.settings import build_settings
from weight_align.distributions import channel_statistics

SMALL = Settings(batch=4, image_size=5, width=8, classes=9)


def inputs(settings: Settings) -> torch.Tensor:
    return torch.randn(
        (settings.batch, 3, settings.image_size, settings.image_size), generator=torch.Generator().manual_seed(7)
    )


@pytest.fixture(scope="module")
def record_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run.json"
    main(["run", "activation_distributions", "--set", "image_size=12", "--device", "cpu", "--out", str(out)])
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
        same = (
            aligned[name.replace(".weight", ".parametrizations.weight.original")] if "conv" in name else aligned[name]
        )
        assert torch.equal(weight, same) and torch.equal(weight, normed[name]), name
    other_seed = build(SMALL, METHODS["baseline"], seed=1).state_dict()
    assert not torch.equal(other_seed["classifier.weight"], plain["classifier.weight"])


def test_the_numbers_of_the_record(record_path: Path) -> None:
    record = load_record(record_path)
    values = {name: metric.value for name, metric in record.metrics.items()}
    # Filters of mean zero pass the variance of what ReLU leaves alone, 1 - 1/pi of what equation 5.8 expects.
    assert values["variance_per_layer_wa"] == pytest.approx(1 - 1 / np.pi, rel=0.08)
    assert values["variance_per_layer_wa_nf"] == pytest.approx(1, rel=0.08), "the norm-free gain gives it back"
    assert values["variance_per_layer_wa_nf"] / values["variance_per_layer_wa"] == pytest.approx(
        1 / (1 - 1 / np.pi), rel=1e-4
    )
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
                assert read_series(arrays, example, "run").names.tolist() == [f"channel {n}" for n in range(1, 9)]
        lines = read_series(arrays, f"{method}_variances", "run")
        assert lines.x[0].tolist() == list(range(1, 9)) and (lines.y > 0).all()
    every = read_series(arrays, "variance_by_layer", "run")
    assert len(every.names) == len(METHODS) and "WA, norm-free gain" in every.names.tolist()
    same = [read_series(arrays, f"wa_{what}", "run").y for what in ("layer3", "before_layer3")]
    np.testing.assert_array_equal(*same)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        words = ["--set", "batch=4", "--set", "image_size=5", "--set", "width=8", "--seed", "2"]
        main(["run", "activation_distributions", *words, "--device", "cpu", "--out", str(tmp_path / f"{name}.json")])
    a, b = (load_record(tmp_path / f"{name}.json") for name in ("a", "b"))
    assert a.metrics == b.metrics and a.protocol["artifacts"]["sha256"] == b.protocol["artifacts"]["sha256"]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="width must be at least 8"):
        build_settings(Settings, {"width": 4}, "row")
