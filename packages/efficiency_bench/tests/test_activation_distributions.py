"""Distributions in the untrained network of section 5.3.4: plain-loop statistics, and what each method does to them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from efficiency_bench.artifacts import load_artifacts
from efficiency_bench.cli import main
from efficiency_bench.drawn import read_series
from efficiency_bench.errors import UsageError
from efficiency_bench.experiments.activation_distributions import (
    METHODS,
    PICTURED,
    Method,
    Settings,
    activations,
    build,
    statistics,
)
from efficiency_bench.records import load_record
from efficiency_bench.settings import build_settings

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


def test_statistics_are_those_of_a_loop_over_all_numbers_of_a_channel() -> None:
    outputs = torch.randn(3, 2, 4, 5) * 2 + 1
    means, variances = statistics(outputs)
    for channel in range(2):
        numbers = [float(outputs[b, channel, y, x]) for b in range(3) for y in range(4) for x in range(5)]
        mean = sum(numbers) / len(numbers)
        assert means[channel] == pytest.approx(mean)
        assert variances[channel] == pytest.approx(sum((number - mean) ** 2 for number in numbers) / len(numbers))


def test_layers_are_what_the_convolutions_and_norms_put_out() -> None:
    network = build(SMALL, Method("bn", align=True), seed=3)
    given = inputs(SMALL)
    layers = activations(network, given)
    assert len(layers) == 8
    maps = given
    for layer, convolution, norm in zip(layers[:-1], network.convolutions, network.norms, strict=True):
        maps = convolution(maps)
        torch.testing.assert_close(layer.before, maps)
        maps = norm(maps)
        torch.testing.assert_close(layer.after, maps)
        maps = maps.relu()
    torch.testing.assert_close(layers[-1].after, network.classifier(maps.flatten(1)))


def test_methods_share_their_weights_and_align_all_but_the_classifier() -> None:
    plain, aligned = (build(SMALL, METHODS[name], seed=0) for name in ("baseline", "wa"))
    torch.testing.assert_close(plain.classifier.weight, aligned.classifier.weight, rtol=0, atol=0)
    for layer, other in zip(plain.convolutions, aligned.convolutions, strict=True):
        assert isinstance(layer, nn.Conv2d) and isinstance(other, nn.Conv2d)
        weight = layer.weight.detach()
        for filter_, found in zip(weight, other.weight.detach(), strict=True):
            expected = (filter_ - filter_.mean()) * (2 / filter_.numel() / filter_.var(correction=0)) ** 0.5
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    other_seed = build(SMALL, METHODS["baseline"], seed=1)
    assert not torch.equal(other_seed.classifier.weight, plain.classifier.weight)


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
