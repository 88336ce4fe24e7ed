from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from efficiency_bench.measure import devices
from efficiency_bench.measure.devices import describe_device, device_here
from efficiency_core.errors import UsageError


def test_the_clock_and_the_name_of_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU 3000\ncpu MHz\t\t: 2445.406\n")
    monkeypatch.setattr(devices, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(devices, "_CPU_MAX_KHZ", tmp_path / "max")
    threads = torch.get_num_threads()
    expected = {"type": "cpu", "name": "Some CPU 3000", "threads": threads, "clock_mhz": 2445.4}
    assert describe_device(torch.device("cpu")) == expected
    (tmp_path / "max").write_text("3600000\n")
    assert describe_device(torch.device("cpu"))["clock_mhz"] == 3600.0
    monkeypatch.setattr(devices, "_CPU_INFO", tmp_path / "absent")
    monkeypatch.setattr(devices, "_CPU_MAX_KHZ", tmp_path / "absent")
    bare = describe_device(torch.device("cpu"))
    assert bare["clock_mhz"] is None and bare["name"]


def test_a_gpu_without_nvml_has_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="NVIDIA Some Card", total_memory=2**33)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(devices, "open_gpu", lambda device: (None, "not installed"))
    description = describe_device(torch.device("cuda", 0))
    assert (description["name"], description["memory_bytes"]) == ("NVIDIA Some Card", 2**33)
    assert description["cuda"] == torch.version.cuda
    for unknown in ("driver", "clock_mhz", "memory_clock_mhz", "power_limit_w", "mig"):
        assert description[unknown] is None


def test_another_kind_of_device() -> None:
    with pytest.raises(UsageError, match="meta"):
        describe_device(torch.device("meta"))


def test_cuda_is_refused_and_auto_decided_without_asking_torch_where_no_driver_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    monkeypatch.setattr(devices, "resolve_device", lambda name: asked.append(name) or "cuda")
    monkeypatch.setattr(devices, "_DRIVERS", (tmp_path / "driver",))
    assert device_here("auto") == "cpu" and asked == []
    with pytest.raises(UsageError, match="device=cuda, but no driver for GPUs is installed on this machine; use "):
        device_here("cuda")
    (tmp_path / "driver").touch()
    assert device_here("auto") == device_here("cuda") == "cuda" and asked == ["auto", "cuda"]
