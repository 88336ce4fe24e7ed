"""Networks as files: what was saved is loaded, nothing else is, and no file is advice to run what is in it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from outlier_matching.checkpoint import load_network, read_tensors, save_network, write_tensors
from outlier_matching.errors import UsageError, WorkError
from outlier_matching.networks import MatchingNetwork, NetworkConfig, build_network

pytestmark = pytest.mark.usefixtures("one_thread")
SizeLimit = Callable[[int], AbstractContextManager[None]]
CONFIG = NetworkConfig(backbone="small", embedding=4, width=6, trained="all", size=32)


@pytest.fixture
def network() -> MatchingNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_network(CONFIG)


@pytest.fixture
def saved(tmp_path: Path, network: MatchingNetwork) -> Path:
    references = [torch.full((k, 4), float(k)) for k in (1, 2, 3)]
    save_network(tmp_path / "network.pt", network, method="da_outlier_detection", references=references)
    return tmp_path / "network.pt"


def change(path: Path, **entries: Any) -> None:
    content = torch.load(path, weights_only=True) | entries
    torch.save({key: value for key, value in content.items() if value != "gone"}, path)


def test_what_was_saved_is_loaded(saved: Path, network: MatchingNetwork) -> None:
    before = torch.get_rng_state()
    loaded = load_network(saved)
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.method == "da_outlier_detection" and loaded.network.config == CONFIG
    assert not loaded.network.training
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.network.state_dict().items())
    assert loaded.references is not None
    assert [part.tolist() for part in loaded.references] == [[[1.0] * 4], [[2.0] * 4] * 2, [[3.0] * 4] * 3]


def test_a_training_without_outliers_has_no_references(tmp_path: Path, network: MatchingNetwork) -> None:
    save_network(tmp_path / "a.pt", network, method="siamese")
    save_network(tmp_path / "b.pt", network, method="siamese")
    assert load_network(tmp_path / "a.pt").references is None
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize("shapes", [[(1, 4), (1, 4)], [(1, 4), (1, 4), (1, 5)], [(1, 4), (0, 4), (1, 4)], [(4,)] * 3])
def test_references_that_do_not_fit(tmp_path: Path, network: MatchingNetwork, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"references must be three of \(K, 4\), K at least 1"):
        save_network(tmp_path / "a.pt", network, method="x", references=[torch.zeros(shape) for shape in shapes])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cut", [0, 10, 1000, -100])
def test_damaged_files(saved: Path, cut: int) -> None:
    saved.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(UsageError, match=r"network\.pt: not a readable checkpoint"):
        load_network(saved)
    with pytest.raises(UsageError, match=r"other\.pt: no such file; expected a checkpoint of outlier_matching"):
        load_network(saved.with_name("other.pt"))


def test_a_file_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "run",))

    torch.save({"format": "outlier_matching.network/1", "model": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(UsageError, match=r"trap\.pt: not a readable checkpoint \(not a file of tensors\)"):
        load_network(tmp_path / "trap.pt")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [{"format": "full_video.network/1"}, {"state": 1}, [1, 2], torch.ones(1)])
def test_another_models_checkpoint(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(UsageError, match=r"other\.pt: a checkpoint of another kind \(format .*, expected"):
        load_network(tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": asdict(CONFIG) | {"embedding": 5}}, "its weights do not fit its own configuration"),
        ({"config": asdict(CONFIG) | {"size": 1}}, "its settings make no sense .size must be 16 pixels or more"),
        ({"config": {"size": 32}}, r"another version of this package \(settings that differ: \['backbone', 'dropout'"),
        ({"references": [torch.zeros(1, 3)] * 3}, "its weights do not fit its own configuration .references must be"),
        ({"model": "gone", "method": "gone"}, r"not a whole checkpoint \(without method, model\)"),
    ],
)
def test_content_that_makes_no_sense(saved: Path, changes: dict[str, Any], message: str) -> None:
    change(saved, **changes)
    with pytest.raises(UsageError, match=message):
        load_network(saved)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, file_size_limit: SizeLimit) -> None:
    content = {"format": "x", "weight": torch.zeros(100)}
    write_tensors(tmp_path / "a.pt", content)
    before = (tmp_path / "a.pt").read_bytes()
    with file_size_limit(20_000), pytest.raises(WorkError, match=r"a\.pt: cannot be written"):
        write_tensors(tmp_path / "a.pt", {"format": "x", "weight": torch.zeros(100_000)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert (tmp_path / "a.pt").read_bytes() == before and read_tensors(tmp_path / "a.pt", "x")["format"] == "x"
