"""A description of the device of a run that lets a reader judge the numbers."""

from __future__ import annotations

import platform
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficiency_bench.measure.energy import open_gpu
from efficiency_core.devices import resolve_device
from efficiency_core.errors import UsageError

if TYPE_CHECKING:
    import torch

_CPU_INFO = Path("/proc/cpuinfo")
_CPU_MAX_KHZ = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
_DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/dev/dxg"), Path("/dev/kfd"))


def describe_device(device: torch.device) -> dict[str, Any]:
    """What a run record keeps of the device; a value that is not known is None.

    Always: `type` ("cpu" | "cuda"), `name`, `threads` (of torch on the CPU), `clock_mhz` (highest clock). On CUDA also:
    `memory_bytes`, `cuda`, `cudnn` (versions torch was built with) and, where nvidia-ml-py is installed, `driver`,
    `memory_clock_mhz`, `power_limit_w`, `mig` (is the card split by MIG).
    """
    import torch

    if device.type == "cpu":
        return {"type": "cpu", "name": cpu_name(), "threads": torch.get_num_threads(), "clock_mhz": _cpu_clock_mhz()}
    if device.type != "cuda":
        raise UsageError(f"device {str(device)!r} cannot be described: expected a cpu or cuda device")
    properties = torch.cuda.get_device_properties(device)
    description: dict[str, Any] = {
        "type": "cuda",
        "name": properties.name,
        "threads": torch.get_num_threads(),
        "clock_mhz": None,
        "memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        **dict.fromkeys(("driver", "memory_clock_mhz", "power_limit_w", "mig")),
    }
    gpu, _ = open_gpu(device)
    if gpu is not None:
        with closing(gpu):
            description |= gpu.describe()
    return description


def device_here(name: str) -> str:
    """`cpu` or `cuda` for runs on this machine from `auto`, `cpu` or `cuda`. torch is asked only where a driver for GPUs is
    installed (NVIDIA's, also under Windows' Linux, or AMD's): importing it takes seconds.

    Raises:
        UsageError: `cuda` is asked for and there is no GPU that torch can use.
    """
    if name == "cpu" or any(path.exists() for path in _DRIVERS):
        return resolve_device(name)
    if name == "cuda":
        raise UsageError("device=cuda, but no driver for GPUs is installed on this machine; use device=cpu or auto")
    return "cpu"


def cpu_name() -> str:
    """The processor's model name, from /proc/cpuinfo where there is one."""
    return _cpu_field("model name") or platform.processor() or platform.machine() or "unknown"


def _cpu_clock_mhz() -> float | None:
    if _CPU_MAX_KHZ.is_file():
        return round(int(_CPU_MAX_KHZ.read_text()) / 1000, 1)
    clock = _cpu_field("cpu MHz")
    return round(float(clock), 1) if clock else None


def _cpu_field(key: str) -> str | None:
    """The first value of `key` in /proc/cpuinfo, None where the file or the key is absent."""
    if not _CPU_INFO.is_file():
        return None
    for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key and value.strip():
            return value.strip()
    return None
