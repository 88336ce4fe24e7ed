"""Weights are read from files of every program, without running their code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from efficiency_core.errors import UsageError
from efficiency_core.network_file import read_state


def test_weights_come_by_themselves_or_under_a_key(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "lightning.ckpt")
    torch.save({"model": state}, tmp_path / "reference.pth")
    save_file(state, tmp_path / "bare.safetensors")
    for name in ("plain.pt", "lightning.ckpt", "reference.pth", "bare.safetensors"):
        found = read_state(tmp_path / name)
        assert found.keys() == state.keys() and all(torch.equal(found[key], value) for key, value in state.items())


def test_files_without_weights_are_named(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "run",))

    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    for name in ("broken.pt", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 no")
    for name, message in (
        ("missing.pt", "no such file; expected weights"),
        ("list.pt", "expected a dictionary of tensors, got list"),
        ("trap.pt", r"not readable weights \(not a file of tensors\)"),
        ("broken.pt", "not readable weights"),
        ("broken.safetensors", "not readable weights"),
    ):
        with pytest.raises(UsageError, match=rf"{name}: {message}"):
            read_state(tmp_path / name)
    assert not (tmp_path / "run").exists()
