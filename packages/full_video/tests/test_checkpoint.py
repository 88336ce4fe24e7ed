"""Checkpoints: what comes back, what is refused, and what a full disk leaves."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from full_video.augmentation import Augmentation
from full_video.checkpoint import load_network, read_tensors, save_network, write_tensors
from full_video.errors import UsageError, WorkError
from full_video.inputs import InputConfig
from full_video.networks import NetworkConfig, build_network
from full_video.sampling import Sampling

SizeLimit = Callable[[int], AbstractContextManager[None]]

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
INPUTS = InputConfig(sampling=Sampling(4, "dense", 2), augmentation=Augmentation(size=32, resize=40), max_frames=9)


def config(**changes: Any) -> NetworkConfig:
    return NetworkConfig(**{"classes": 2, "clusters": 4} | changes)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_network(tmp_path / "network.pt", build_network(config()), ["left", "right"], INPUTS)
    return tmp_path / "network.pt"


def change(path: Path, **changes: Any) -> None:
    """Rewrite a checkpoint with other content; None leaves an entry out."""
    content = torch.load(path, weights_only=True) | changes
    torch.save({key: value for key, value in content.items() if value is not None}, path)


def test_a_network_comes_back_as_it_was(tmp_path: Path) -> None:
    shape = config(clusters=3, grouping="slope", average="before_relu", stem_shift=False, frozen_norm="stem")
    network = build_network(shape).eval()
    torch.nn.init.normal_(network.fc.weight)
    save_network(tmp_path / "network.pt", network, ["left", "right"], INPUTS)
    loaded = load_network(str(tmp_path / "network.pt"))
    assert loaded.class_names == ("left", "right")
    assert loaded.network.config == shape and not loaded.network.training
    assert (loaded.sampling, loaded.augmentation, loaded.max_frames) == (INPUTS.sampling, INPUTS.augmentation, 9)
    frames = torch.randint(0, 256, (1, 6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(network(frames), loaded.network(frames))


def test_it_holds_tensors_and_plain_values_only(saved: Path) -> None:
    content = torch.load(saved, weights_only=True)  # refuses anything else
    assert set(content) == {"format", "config", "class_names", "sampling", "augmentation", "max_frames", "model"}
    assert content["config"] == asdict(config())
    assert "layer1.0.conv1.weight" in content["model"]  # torchvision's names


def test_equal_content_gives_equal_bytes_whatever_the_name(tmp_path: Path) -> None:
    content = {"format": "x", "weight": torch.arange(1000.0)}
    for name in ("a.pt", "a.pt", "other name.pt"):
        write_tensors(tmp_path / name, content)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "other name.pt").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "other name.pt"]


def test_names_must_fit_the_classes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 classes but 3 names"):
        save_network(tmp_path / "network.pt", build_network(config()), ["a", "b", "c"], INPUTS)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pt: no such file; expected a checkpoint"):
        load_network(tmp_path / "none.pt")
    with pytest.raises(UsageError, match="no such file"):
        load_network(tmp_path)  # a folder


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9999])
def test_a_truncated_file(saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UsageError, match=r"network\.pt: not a readable checkpoint \(.+\)") as caught:
        load_network(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"hello", b"\x80\x02.", b"\x80\x02}q\x00.", b"u", b"(lp0\n0."])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.pt").write_bytes(content)
    with pytest.raises(UsageError, match=r"odd\.pt: ") as caught:
        load_network(tmp_path / "odd.pt")
    assert len(str(caught.value)) < len(str(tmp_path)) + 300  # not torch's advice to run what is in it


def test_a_file_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "run",))

    torch.save({"format": "full_video.network/1", "model": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(UsageError, match=r"trap\.pt: not a readable checkpoint \(not a file of tensors\)"):
        load_network(tmp_path / "trap.pt")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "content", [{"format": "location_anticipation.detector/1"}, {"state": 1}, [1, 2], torch.ones(1)]
)
def test_another_models_checkpoint(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(UsageError, match=r"other\.pt: a checkpoint of another kind \(format .*, expected"):
        load_network(tmp_path / "other.pt")


def test_another_number_of_classes_than_its_weights(saved: Path) -> None:
    change(saved, config=asdict(config(classes=3)), class_names=["a", "b", "c"])
    with pytest.raises(UsageError, match=r"network\.pt: its weights do not fit its own configuration"):
        load_network(saved)
    change(saved, config=asdict(config(classes=3)), class_names=["a", "b"])
    with pytest.raises(UsageError, match=r"network\.pt: 2 class names for 3 classes"):
        load_network(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": asdict(config()) | {"backbone": "vgg16"}}, "its settings make no sense .backbone must be one of"),
        ({"augmentation": asdict(Augmentation()) | {"size": 0}}, "its settings make no sense"),
        (
            {"sampling": {"frames": 4}},
            r"another version of this package \(settings that differ: \['rule', 'stride'\]\)",
        ),
        ({"model": None, "max_frames": None}, r"not a whole checkpoint \(without max_frames, model\)"),
    ],
)
def test_content_that_makes_no_sense(saved: Path, changes: dict[str, Any], message: str) -> None:
    change(saved, **changes)
    with pytest.raises(UsageError, match=message):
        load_network(saved)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, file_size_limit: SizeLimit) -> None:
    content = {"format": "x", "weight": torch.zeros(100)}
    write_tensors(tmp_path / "a.pt", content)
    with file_size_limit(20_000), pytest.raises(WorkError, match=r"a\.pt: cannot be written"):
        write_tensors(tmp_path / "a.pt", {"format": "x", "weight": torch.zeros(100_000)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert torch.equal(read_tensors(tmp_path / "a.pt", "x")["weight"], content["weight"])
