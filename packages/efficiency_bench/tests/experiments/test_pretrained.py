"""Weights under the data root: which are used, and what a record says of them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from efficiency_bench.experiments.pretrained import with_weights
from efficiency_bench.run import RunContext, run_experiment
from efficiency_core.errors import UsageError

FILE = "data_root/weights/net.pt"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EFFICIENCY_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    return tmp_path


def test_the_file_is_used_and_without_it_the_name(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    every = {"training": {"weights": f"bgr:{FILE}|IMAGENET1K_V1", "epochs": 3}, "start": "random"}
    named = {"training": {"weights": "IMAGENET1K_V1", "epochs": 3}, "start": "random"}
    assert with_weights(every) == (named, {"training.weights": {"name": "IMAGENET1K_V1"}})
    assert "training.weights: no weights/net.pt under EFFICIENCY_DATA" in caplog.text
    with pytest.raises(
        UsageError, match=r"^weights: .*weights/net.pt: no such file; EFFICIENCY_DATA is '.*', and no other"
    ):
        with_weights({"weights": FILE})
    (root / "weights" / "net.pt").write_bytes(b"numbers")
    found, used = with_weights(every)
    assert found["training"] == {"weights": f"bgr:{root}/weights/net.pt", "epochs": 3}
    assert used == {"training.weights": {"file": "weights/net.pt", "sha256": hashlib.sha256(b"numbers").hexdigest()}}
    monkeypatch.delenv("EFFICIENCY_DATA")
    assert with_weights(every)[0] == named, "the working directory is no data root"
    assert with_weights({"weights": "IMAGENET1K_V1"}) == ({"weights": "IMAGENET1K_V1"}, {})


def test_a_training_starts_from_the_file_and_the_record_says_so(
    data_set: Callable[..., Path], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from torchvision.models import squeezenet1_1

    network = {
        "backbone": "squeezenet1_1",
        "size": 64,
        "embedding": 8,
        "width": 16,
        "dropout": 0.0,
        "trained": "thesis",
    }
    settings: dict[str, Any] = {
        "network": network,
        "training": {"method": "siamese", "epochs": 1, "steps": 2, "batch": 8, "weights": f"bgr:{FILE}"},
    }
    data = data_set("shape", "shape-drawn", train=90, test=90, size=32)
    context = RunContext(root / "run.json", {"shape": data}, device="cpu")
    torch.save(squeezenet1_1(weights=None).features.state_dict(prefix="features."), root / "weights" / "net.pt")
    first = run_experiment("image_matching", settings, context)
    assert first.settings["training"]["weights"] == f"bgr:{FILE}"
    assert str(root) not in json.dumps(first.protocol)
    digest = hashlib.sha256((root / "weights" / "net.pt").read_bytes()).hexdigest()
    assert first.protocol["weights"] == {"training.weights": {"file": "weights/net.pt", "sha256": digest}}
    torch.manual_seed(1)
    torch.save(squeezenet1_1(weights=None).features.state_dict(prefix="features."), root / "weights" / "net.pt")
    second = run_experiment("image_matching", settings, context)
    assert "the data has changed" in caplog.text and second.run_id == first.run_id
    assert second.metrics["map_ts"] != first.metrics["map_ts"]
