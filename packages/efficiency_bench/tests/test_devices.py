from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from efficiency_bench import devices
from efficiency_bench.devices import describe_device, resolve_device
from efficiency_bench.errors import UsageError


def test_cpu_and_auto_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("built", "message"), [(None, "built without CUDA"), ("13.0", "finds no CUDA device")])
def test_cuda_is_never_replaced(monkeypatch: pytest.MonkeyPatch, built: str | None, message: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built)
    with pytest.raises(UsageError, match=message):
        resolve_device("cuda")


def test_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 1)
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:0", "", "CPU"])
def test_an_unknown_name(name: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu or cuda"):
        resolve_device(name)


def test_the_cpu_is_described() -> None:
    description = describe_device(torch.device("cpu"))
    assert set(description) == {"type", "name", "threads", "clock_mhz"}
    assert description["type"] == "cpu"
    assert description["name"]
    assert description["threads"] == torch.get_num_threads()


def test_the_clock_and_the_name_of_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU 3000\ncpu MHz\t\t: 2445.406\n")
    monkeypatch.setattr(devices, "_CPU_INFO", folder / "cpuinfo")
    monkeypatch.setattr(devices, "_CPU_MAX_KHZ", folder / "max")
    assert describe_device(torch.device("cpu"))["name"] == "Some CPU 3000"
    assert describe_device(torch.device("cpu"))["clock_mhz"] == 2445.4
    (folder / "max").write_text("3600000\n")
    assert describe_device(torch.device("cpu"))["clock_mhz"] == 3600.0
    monkeypatch.setattr(devices, "_CPU_INFO", folder / "absent")
    monkeypatch.setattr(devices, "_CPU_MAX_KHZ", folder / "absent")
    assert describe_device(torch.device("cpu"))["clock_mhz"] is None
    assert describe_device(torch.device("cpu"))["name"]


def test_a_gpu_without_nvml_has_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="NVIDIA Some Card", total_memory=2**33)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(devices, "open_gpu", lambda device: (None, "not installed"))
    description = describe_device(torch.device("cuda", 0))
    assert description["name"] == "NVIDIA Some Card"
    assert description["memory_bytes"] == 2**33
    assert description["cuda"] == torch.version.cuda
    for unknown in ("driver", "clock_mhz", "memory_clock_mhz", "power_limit_w", "mig"):
        assert description[unknown] is None


def test_another_kind_of_device() -> None:
    with pytest.raises(UsageError, match="meta"):
        describe_device(torch.device("meta"))
