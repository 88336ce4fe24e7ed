"""Checkpoints of detectors: what comes back, and what is refused. Damage of files is tested with their reader."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from efficiency_core.errors import UsageError
from efficiency_core.network_file import load_network, save_network
from location_anticipation import (
    DetectorConfig,
    build_detector,
    load_any,
    load_category_ids,
    load_detector,
    load_peer,
    save_detector,
)
from location_anticipation.peers import PeerConfig, build_peer

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Config = Callable[..., DetectorConfig]
FORMAT = "location_anticipation.detector/2"


def test_a_detector_comes_back_as_it_was(tmp_path: Path, tiny: Config) -> None:
    config = tiny(space="coder", anchor_sizes=(16, 32), fpn=False, class_agnostic=False, score_threshold=0.0)
    model = build_detector(config).eval()
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
    save_detector(tmp_path / "detector.safetensors", model, ["filled", "hollow"])
    loaded, names = load_detector(str(tmp_path / "detector.safetensors"))
    assert names == ["filled", "hollow"] and loaded.config == config and not loaded.training
    image = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (before,), (after,) = model([image]), loaded([image])
    assert len(before["boxes"]) > 0
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_names_must_fit_the_classes(tmp_path: Path, tiny: Config) -> None:
    with pytest.raises(ValueError, match="2 classes but 3 names"):
        save_detector(tmp_path / "detector.safetensors", build_detector(tiny()), ["a", "b", "c"])
    with pytest.raises(ValueError, match="2 classes but 1 ids"):
        save_detector(tmp_path / "detector.safetensors", build_detector(tiny()), ["a", "b"], [7])
    assert list(tmp_path.iterdir()) == []


def test_ids_of_the_categories_are_kept(tmp_path: Path, tiny: Config, checkpoint: Path) -> None:
    assert load_category_ids(checkpoint) == [1, 2]
    save_detector(tmp_path / "other.safetensors", build_detector(tiny()), ["a", "b"], (18, 90))
    assert load_category_ids(tmp_path / "other.safetensors") == [18, 90]
    stored = load_network(checkpoint, FORMAT)  # as older versions wrote it
    save_network(checkpoint, FORMAT, stored.config, {"class_names": ["a", "b"]}, stored.state)
    assert load_category_ids(checkpoint) == [1, 2]


def test_networks_are_read_by_their_own_function(tmp_path: Path, tiny: Config, checkpoint: Path) -> None:
    peer = PeerConfig("fgfa", flow_width=0.1, embedding_width=0.05)
    save_detector(tmp_path / "peer.safetensors", build_peer(tiny(horizon=0), peer), ["a", "b"])
    model, names = load_peer(tmp_path / "peer.safetensors")
    assert model.peer == peer and names == ["a", "b"] and not model.training
    assert type(load_any(tmp_path / "peer.safetensors")[0]) is type(model)
    with pytest.raises(UsageError, match=r"peer\.safetensors: a network of the method 'fgfa', read by load_peer"):
        load_detector(tmp_path / "peer.safetensors")
    with pytest.raises(UsageError, match=r"detector\.safetensors: a plain detector, read by load_detector"):
        load_peer(checkpoint)


def test_weights_of_another_method_or_size(checkpoint: Path) -> None:
    """Other damage of the configuration is tested with the reader of network files."""
    stored = load_network(checkpoint, FORMAT)
    for part, change in (("detector", {"num_classes": 5}), ("peer", {"method": "dff"})):
        config = stored.config | {part: stored.config[part] | change}
        save_network(checkpoint, FORMAT, config, stored.facts, stored.state)
        with pytest.raises(UsageError, match="its weights do not fit its own configuration"):
            load_any(checkpoint)
