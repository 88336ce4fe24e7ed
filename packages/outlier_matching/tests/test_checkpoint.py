"""Networks as files: what was saved is loaded, and a file that makes no sense is named."""

from pathlib import Path
from typing import Any

import pytest
import torch

from efficiency_core import network_file
from efficiency_core.errors import UsageError
from outlier_matching.checkpoint import load_network, save_network
from outlier_matching.networks.network import MatchingNetwork


@pytest.fixture
def saved(tmp_path: Path, network: MatchingNetwork) -> Path:
    references = [torch.full((k, 16), float(k)) for k in (1, 2, 3)]
    path = tmp_path / "network.safetensors"
    save_network(path, network, method="da_outlier_detection", references=references, decision="majority")
    return path


def test_what_was_saved_is_loaded(saved: Path, network: MatchingNetwork, tmp_path: Path) -> None:
    loaded = load_network(saved)
    assert (loaded.method, loaded.decision) == ("da_outlier_detection", "majority")
    assert loaded.network.config == network.config
    assert not loaded.network.training
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.network.state_dict().items())
    assert loaded.references is not None
    assert [part.tolist() for part in loaded.references] == [[[float(k)] * 16] * k for k in (1, 2, 3)]
    save_network(tmp_path / "a.safetensors", network, method="siamese")
    assert load_network(tmp_path / "a.safetensors").references is None


@pytest.mark.parametrize("shapes", [[(1, 16)] * 2, [(1, 5)] * 3, [(0, 16)] * 3, [(16,)] * 3])
def test_references_that_do_not_fit(tmp_path: Path, network: MatchingNetwork, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"references must be three of \(K, 16\), K at least 1"):
        save_network(tmp_path / "a", network, method="x", references=[torch.zeros(shape) for shape in shapes])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("config", "facts", "message"), [
    ({"embedding": 5}, {}, "its weights do not fit its own configuration"),
    ({"size": 1}, {}, "size must be 16 pixels or more"),
    ({"sides": 3}, {}, "another version of this package"),
    ({}, {"references": [torch.zeros(1, 3)] * 3}, "references must be three of .* the file is damaged"),
    ({}, {"decision": "never"}, "decision must be one of largest, majority, got 'never'; the file is damaged"),
])  # fmt: skip
def test_content_that_makes_no_sense(saved: Path, config: Any, facts: Any, message: str) -> None:
    stored = network_file.load_network(saved, "outlier_matching.network/2")
    network_file.save_network(saved, stored.format, stored.config | config, stored.facts | facts, stored.state)
    with pytest.raises(UsageError, match=message):
        load_network(saved)
