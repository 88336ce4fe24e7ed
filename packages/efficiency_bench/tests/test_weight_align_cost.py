"""What normalisation costs, at the smallest scale: everything is compared with the plain network, and folding changes nothing."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from efficiency_bench.cli import main
from efficiency_bench.errors import UsageError, WorkError
from efficiency_bench.experiments.weight_align_cost import (
    FORMS,
    Settings,
    batch,
    folding,
    network_config,
    new_network,
    saved,
    training,
    unaligned,
)
from efficiency_bench.records import load_record
from efficiency_bench.settings import build_settings

CPU = torch.device("cpu")
SMALL = Settings(backbone="resnet18", width=4, batch_size=2, classes=10)


def test_every_form_is_timed_and_weighed_beside_the_plain_network(tmp_path: Path) -> None:
    words = ["backbone=resnet18", "width=4", "batch_size=2", "rounds=2", "warmup=0", 'forms=["wa_plain","bn","bn_wa"]']
    out = tmp_path / "run.json"
    main(
        [
            "measure",
            "weight_align_cost",
            *(w for word in words for w in ("--set", word)),
            "--device",
            "cpu",
            "--out",
            str(out),
        ]
    )
    record = load_record(out)
    values = {name: metric.value for name, metric in record.metrics.items()}
    for name in ("plain", "wa_plain", "bn", "bn_wa"):
        for what in ("step", "inference"):
            assert values[f"{what}_ms_{name}"] > 0
            p10, middle, p90 = (values[f"{what}_over_plain{p}_{name}"] for p in ("_p10", "", "_p90"))
            assert 0 < p10 <= middle <= p90
        assert values[f"saved_over_plain_{name}"] == pytest.approx(
            values[f"saved_gb_{name}"] / values["saved_gb_plain"]
        )
    assert values["step_over_unaligned_wa_plain"] == values["step_over_plain_wa_plain"]
    assert values["step_over_unaligned_bn_wa"] > 0 and "step_over_unaligned_bn" not in values
    assert values["step_over_plain_plain"] == values["saved_over_plain_plain"] == 1
    assert values["saved_gb_wa_plain"] < values["saved_gb_bn"], "weights are smaller than activations"
    assert values["folding_changes"] <= 1e-5
    assert record.kind == "measure" and record.protocol["rounds"] == 2 and "step_wa_plain" in record.protocol["units"]
    assert set(record.sources) == {"efficiency_bench", "weight_align"}


def test_a_scale_for_every_filter_is_all_that_weight_align_adds_to_the_parameters() -> None:
    plain, aligned = (new_network(SMALL, name, CPU) for name in ("plain", "wa_plain"))
    filters = sum(m.out_channels for m in plain.modules() if isinstance(m, nn.Conv2d))
    counts = [sum(p.numel() for p in network.parameters()) for network in (plain, aligned)]
    assert counts[1] - counts[0] == filters


def test_a_step_is_one_of_sgd() -> None:
    torch.manual_seed(0)
    network = new_network(SMALL, "plain", CPU)
    images, labels = batch(SMALL, CPU)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    loss = cross_entropy(network(images), labels)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    assert float(training(network, images, labels)()) == pytest.approx(float(loss.detach()), rel=1e-5)
    for was, gradient, now in zip(before, gradients, network.parameters(), strict=True):
        torch.testing.assert_close(now.detach(), was - 0.01 * (gradient + 0.0005 * was), rtol=1e-4, atol=1e-6)


def test_saved_bytes_of_one_layer_by_hand() -> None:
    layer = nn.Linear(3, 5, bias=False)
    images = torch.randn(4, 3, requires_grad=True)
    # The input, 4 x 3 numbers, for the weight's gradient; the log-softmax, 4 x 5; 4 labels of 8 bytes, and the loss's weight.
    assert saved(layer, images, torch.zeros(4, dtype=torch.int64)) == 4 * (4 * 3 + 4 * 5) + 4 * 8 + 4


def test_folding_is_judged_by_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    images, _ = batch(SMALL, CPU)
    assert folding(new_network(SMALL, "bn", CPU).eval(), images) == 0.0, "nothing to fold"
    assert folding(new_network(SMALL, "wa_plain", CPU).eval(), images) <= 1e-6
    import weight_align

    monkeypatch.setattr(weight_align, "fold", lambda network: network.fc.weight.data.mul_(1.1))
    with pytest.raises(WorkError, match="folding changed the outputs"):
        folding(new_network(SMALL, "bn_wa", CPU).eval(), images)


def test_forms_are_the_networks_they_say() -> None:
    for name, form in FORMS.items():
        config = network_config(SMALL, name)
        assert (config.norm, config.align, config.fixed_up) == (form.norm, form.align, form.fixup)
    pairs = {name: unaligned(name) for name in FORMS}
    assert pairs["wa"] == "fixup" and pairs["wa_plain"] == "plain" and pairs["in_wa"] == "in" and pairs["wn"] == ""


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"forms": ["frn"]}, "unknown form 'frn'; there are plain, fixup"), ({"rounds": 0}, "rounds must be at least 1")],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        build_settings(Settings, values, "row")
