"""Files of checkpoints and of networks that are handed on."""

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import Adam

from efficiency_core.checkpoint import load_optimizer, read_tensors, write_tensors
from efficiency_core.errors import UsageError, WorkError
from efficiency_core.network_file import config_from, load_network, restored, save_network


def test_tensors_come_back_and_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    content = {"format": "a.training/1", "x": torch.arange(5), "nested": {"names": ["b", None]}}
    for name in ("one.pt", "two.pt"):
        write_tensors(tmp_path / name, content)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    got = read_tensors(tmp_path / "one.pt", "a.training/1")
    assert torch.equal(got["x"], content["x"]) and got["nested"] == content["nested"]


class Code:
    def __reduce__(self):
        return print, ("code of a checkpoint was run",)


def test_files_that_are_no_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"none.pt: no such file; expected a checkpoint of a$"):
        read_tensors(tmp_path / "none.pt", "a.training/1")
    (tmp_path / "code.pt").write_bytes(pickle.dumps(Code()))
    (tmp_path / "text.pt").write_text("no checkpoint")
    write_tensors(tmp_path / "other.pt", {"format": "b.training/1"})
    torch.save([1], tmp_path / "list.pt")
    whole = (tmp_path / "other.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    for name in ("code", "text", "half"):
        with pytest.raises(UsageError, match=rf"{name}.pt: not a readable checkpoint \(") as error:
            read_tensors(tmp_path / f"{name}.pt", "a.training/1")
        assert "weights_only" not in str(error.value) and "\n" not in str(error.value)
    assert "was run" not in capsys.readouterr().out
    for name, found in (("other", "'b.training/1'"), ("list", "None")):
        with pytest.raises(UsageError, match=rf"of another kind \(format {found}, expected 'a.training/1'\)"):
            read_tensors(tmp_path / f"{name}.pt", "a.training/1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pt"
    write_tensors(path, {"format": "a.training/1"})
    before, opened = path.read_bytes(), Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: opened(Path("/dev/full"), *args))
    with pytest.raises(WorkError, match=r"x.pt: cannot be written \(No space left on device\)"):
        write_tensors(path, {"format": "a.training/1", "x": torch.zeros(100_000)})
    monkeypatch.undo()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_optimizer_moments_take_the_weights_order() -> None:
    plain = nn.Parameter(torch.randn(2, 3, 4, 4))
    optimizer = Adam([plain])
    plain.grad = torch.randn_like(plain)
    optimizer.step()
    other = nn.Parameter(plain.detach().clone().to(memory_format=torch.channels_last))
    continued = Adam([other])
    load_optimizer(continued, optimizer.state_dict())
    moment = continued.state[other]["exp_avg"]
    assert moment.stride() == other.stride() and torch.equal(moment, optimizer.state[plain]["exp_avg"])
    assert continued.state[other]["step"] == 1


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (3, 4)


@dataclass(frozen=True)
class Config:
    width: int = 2
    gain: float | None = None
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError("width must be 1 or more")


def test_networks_come_back(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    references = [torch.randn(4, 2), torch.randn(1, 2)]
    facts = {"class_names": ["a", "b"], "references": references, "mean": torch.randn(3), "none": None, "empty": []}
    for name in ("one", "two"):
        save_network(tmp_path / name, "a.network/2", asdict(Config(inner=Inner((5,)))), facts, network.state_dict())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    file = load_network(tmp_path / "one", "a.network/1", "a.network/2")
    assert file.format == "a.network/2" and config_from(Config, file.config, "one") == Config(inner=Inner((5,)))
    assert all(torch.equal(part, other) for part, other in zip(file.facts["references"], references, strict=True))
    assert torch.equal(file.facts["mean"], facts["mean"])
    assert (file.facts["class_names"], file.facts["none"], file.facts["empty"]) == (["a", "b"], None, [])
    before = torch.get_rng_state()
    again = restored("one", lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), file.state)
    assert torch.equal(torch.get_rng_state(), before) and not again.training
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    with pytest.raises(UsageError, match=r"do not fit its own configuration .*; the file is damaged"):
        restored("one", lambda: nn.Conv2d(3, 4, 3), file.state)


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none: no such file; expected a network of a$"):
        load_network(tmp_path / "none", "a.network/1")
    save_network(tmp_path / "whole", "b.network/1", {}, {"x": torch.zeros(9)}, {"w": torch.zeros(9)})
    whole = (tmp_path / "whole").read_bytes()
    (tmp_path / "half").write_bytes(whole[:-20])
    (tmp_path / "odd").write_bytes(whole.replace(b"facts/x/0", b"facts/y/0"))
    write_tensors(tmp_path / "torch", {"format": "b.network/1"})
    for name, error in (
        ("half", r"not a readable network file, which is safetensors \("), ("torch", "not a readable network file"),
        ("odd", "its description cannot be read .*the file is damaged"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"{name}: {error}"):
            load_network(tmp_path / name, "b.network/1")
    with pytest.raises(UsageError, match=r"kind \(format 'b.network/1', expected 'a.network/1' or 'a.network/2'\)"):
        load_network(tmp_path / "whole", "a.network/1", "a.network/2")


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        ({"width": 2, "inner": {"sizes": [1]}}, r"another version of this package \(settings that differ: gain\)"),
        ({"width": 2, "gain": 1, "inner": {"new": 1}}, r"\(settings that differ: inner.new, inner.sizes\)"),
        (
            {"width": 0, "gain": None, "inner": {"sizes": [1]}},
            "settings make no sense; the file is damaged: width must",
        ),
        ({"width": "2", "gain": None, "inner": {"sizes": [1]}}, "make no sense.*width: expected a whole number"),
    ],
)
def test_configurations_that_cannot_be_used(stored: dict, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        config_from(Config, stored, "x")
