"""Networks as files: what was saved is loaded, folded ones too, and nothing else is."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weight_align import fold, is_aligned
from weight_align.checkpoint import load_network, read_format, read_tensors, save_network, write_tensors
from weight_align.errors import UsageError, WorkError
from weight_align.networks import Network, NetworkConfig, build_network

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = NetworkConfig(5, width=4, align=True, gain="nf")
FACTS = {"class_names": ("a", "b", "c", "d", "e"), "mean": [0.5, 0.5, 0.5]}


@pytest.fixture
def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(CONFIG)
        nn.init.normal_(network.fc.weight)  # type: ignore[arg-type, union-attr]
        return network.eval()


@pytest.fixture
def saved(tmp_path: Path, network: Network) -> Path:
    save_network(tmp_path / "network.pt", network, FACTS)
    return tmp_path / "network.pt"


def change(path: Path, **entries: Any) -> None:
    content = torch.load(path, weights_only=True) | entries
    torch.save({key: value for key, value in content.items() if value != "gone"}, path)


def test_what_was_saved_is_loaded(saved: Path, network: Network) -> None:
    before = torch.get_rng_state()
    loaded = load_network(saved)
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.facts == FACTS and not loaded.network.training
    assert loaded.network.config == replace(CONFIG, fixup=True)  # what None meant
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.network.state_dict().items())
    assert read_format(saved) == "weight_align.network/1"


def test_a_folded_network_is_loaded_as_a_plain_one(tmp_path: Path, network: Network) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = network(images)
    save_network(tmp_path / "folded.pt", fold(network))
    loaded = load_network(tmp_path / "folded.pt").network
    assert not loaded.config.align and loaded.config.fixup and not is_aligned(loaded)
    assert torch.equal(loaded(images), before)


def test_equal_networks_give_equal_bytes(tmp_path: Path, network: Network) -> None:
    for name in ("a.pt", "b.pt"):
        save_network(tmp_path / name, network)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize("cut", [0, 10, 1000, -100])
def test_damaged_files(saved: Path, cut: int) -> None:
    saved.write_bytes(saved.read_bytes()[:cut])
    for read in (load_network, read_format):
        with pytest.raises(UsageError, match=r"network\.pt: not a readable checkpoint"):
            read(saved)
    with pytest.raises(UsageError, match=r"other\.pt: no such file; expected a checkpoint of weight_align"):
        load_network(saved.with_name("other.pt"))


def test_a_file_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "run",))

    torch.save({"format": "weight_align.network/1", "model": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(UsageError, match=r"trap\.pt: not a readable checkpoint \(not a file of tensors\)"):
        load_network(tmp_path / "trap.pt")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format": "other/1"}, r"of another kind \(format 'other/1', expected 'weight_align.network/1'\)"),
        ({"facts": "gone"}, r"not a whole checkpoint \(without facts\)"),
        (
            {"config": asdict(CONFIG) | {"depth": 3}},
            r"another version of this package \(settings that differ: \['depth'\]",
        ),
        ({"config": asdict(CONFIG) | {"width": -1}}, "its settings make no sense"),
        ({"config": asdict(CONFIG) | {"width": 8}}, "its weights do not fit its own configuration"),
        ({"config": asdict(CONFIG) | {"align": False}}, "its weights do not fit its own configuration"),
        ({"model": {}}, "its weights do not fit its own configuration"),
    ],
)
def test_checkpoints_of_something_else(saved: Path, entries: dict[str, Any], message: str) -> None:
    change(saved, **entries)
    with pytest.raises(UsageError, match=message):
        load_network(saved)


def test_tensors_of_any_kind(tmp_path: Path) -> None:
    write_tensors(tmp_path / "t.pt", {"format": "x/1", "a": torch.ones(2)})
    assert torch.equal(read_tensors(tmp_path / "t.pt", "x/1")["a"], torch.ones(2))
    torch.save(torch.ones(2), tmp_path / "bare.pt")
    assert read_format(tmp_path / "bare.pt") is None
    with pytest.raises(UsageError, match="format None, expected 'x/1'"):
        read_tensors(tmp_path / "bare.pt", "x/1")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WorkError, match="a folder has this name"):
        write_tensors(tmp_path / "folder", {})
