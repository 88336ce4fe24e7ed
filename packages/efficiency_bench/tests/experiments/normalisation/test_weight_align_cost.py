"""What normalisation costs, at the smallest scale: everything is compared with the plain network, and folding changes nothing."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from efficiency_bench.experiments.normalisation.weight_align_cost import (
    FORMS,
    Settings,
    batch,
    folding,
    network_config,
    new_network,
    training,
    unaligned,
)
from efficiency_bench.run import RunContext, run_experiment
from efficiency_core.errors import WorkError
from weight_align.networks import NetworkConfig

CPU = torch.device("cpu")
SMALL = Settings(network=NetworkConfig(10, "resnet18", width=4), batch_size=2)


def test_every_form_is_timed_and_weighed_beside_the_plain_network(tmp_path: Path) -> None:
    settings = {
        "network": {"backbone": "resnet18", "width": 4}, "batch_size": 2, "rounds": 2, "warmup": 0,
        "forms": ["wa_plain", "bn", "bn_wa"],
    }  # fmt: skip
    record = run_experiment("weight_align_cost", settings, RunContext(tmp_path / "run.json", device="cpu"))
    values = {name: metric.value for name, metric in record.metrics.items()}
    for name in ("plain", "wa_plain", "bn", "bn_wa"):
        for what in ("step", "inference"):
            assert values[f"{what}_ms_{name}"] > 0
            p10, middle, p90 = (values[f"{what}_over_plain{p}_{name}"] for p in ("_p10", "", "_p90"))
            assert 0 < p10 <= middle <= p90
        saved_share = values[f"saved_gb_{name}"] / values["saved_gb_plain"]
        assert values[f"saved_over_plain_{name}"] == pytest.approx(saved_share)
    assert values["step_over_unaligned_wa_plain"] == values["step_over_plain_wa_plain"]
    assert values["step_over_unaligned_bn_wa"] > 0 and "step_over_unaligned_bn" not in values
    assert values["step_over_plain_plain"] == values["saved_over_plain_plain"] == 1
    assert values["saved_gb_wa_plain"] < values["saved_gb_bn"], "weights are smaller than activations"
    assert values["folding_changes"] <= 1e-5
    assert record.kind == "measure" and record.protocol["rounds"] == 2 and "step_wa_plain" in record.protocol["units"]
    assert "weight_align" in record.sources


def test_a_step_is_one_of_sgd() -> None:
    torch.manual_seed(0)
    network = new_network(SMALL, "plain", CPU)
    images, labels = batch(SMALL, CPU, torch.contiguous_format)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    loss = cross_entropy(network(images), labels)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    assert float(training(network, images, labels)()) == pytest.approx(float(loss.detach()), rel=1e-5)
    for was, gradient, now in zip(before, gradients, network.parameters(), strict=True):
        torch.testing.assert_close(now.detach(), was - 0.01 * (gradient + 0.0005 * was), rtol=1e-4, atol=1e-6)


def test_folding_is_judged_by_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    images, _ = batch(SMALL, CPU, torch.contiguous_format)
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
