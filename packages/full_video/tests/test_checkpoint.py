"""Network files: what comes back, and what is refused; the tests of efficiency_core show the rest."""

from pathlib import Path

import pytest
import torch

from efficiency_core import network_file
from efficiency_core.errors import UsageError
from efficiency_core.settings import to_json
from full_video import NetworkConfig, build_network, load_network, save_network
from full_video.checkpoint import NETWORK
from full_video.data import Augmentation, ClipConfig, Sampling

CLIPS = ClipConfig(Sampling(8, "uniform"), Augmentation(size=32, resize=40, scales=(1.0, 0.5)), 9)
CONFIG = NetworkConfig(classes=2, width=8, clusters=3, frozen_norm="stem")


def test_everything_comes_back(tmp_path: Path) -> None:
    network = build_network(CONFIG).train()
    save_network(tmp_path / NETWORK, network, ["wave", "jump"], CLIPS)
    saved = load_network(tmp_path / NETWORK)
    assert saved.network.config == CONFIG and not saved.network.training
    assert (saved.class_names, saved.clips) == (("wave", "jump"), CLIPS)
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in saved.network.state_dict().items())
    with pytest.raises(ValueError, match="2 classes but 1 names"):
        save_network(tmp_path / "other.safetensors", network, ["wave"], CLIPS)


def test_content_that_makes_no_sense(tmp_path: Path) -> None:
    path, state = tmp_path / NETWORK, build_network(CONFIG).state_dict()
    facts = {"class_names": ["wave", "jump"], "clips": to_json(CLIPS)}
    for config, changed, message in (
        (to_json(CONFIG) | {"classes": 3}, {"class_names": list("abc")}, "do not fit its own configuration"),
        (to_json(CONFIG) | {"classes": 3}, {}, "2 class names for 3 classes"),
        (to_json(CONFIG) | {"backbone": "vgg16"}, {}, "its settings make no sense"),
        (to_json(CONFIG), {"clips": {"max_frames": 1}}, "written by another version"),
    ):
        network_file.save_network(path, "full_video.network/2", config, facts | changed, state)
        with pytest.raises(UsageError, match=rf"network\.safetensors: .*{message}"):
            load_network(path)
    network_file.save_network(path, "full_video.network/2", to_json(CONFIG), {}, state)
    with pytest.raises(UsageError, match=r"without class_names, clips"):
        load_network(path)
    network_file.save_network(path, "full_video.network/1", {}, {}, state)
    with pytest.raises(UsageError, match="of another kind"):
        load_network(path)
