"""Which device a run uses, and a description of it that lets a reader judge the numbers."""

import platform
from pathlib import Path
from typing import Any

import torch

from .errors import UsageError
from .nvml import open_gpu

_CPU_INFO = Path("/proc/cpuinfo")
_CPU_MAX_KHZ = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")


def resolve_device(name: str) -> torch.device:
    """The device that `--device auto|cpu|cuda` asks for; `auto` takes CUDA where there is one.

    Raises:
        UsageError: another name, or `cuda` on a machine where torch finds no CUDA device (never a silent
            fallback).
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device {name!r} is unknown: expected auto, cpu or cuda")
    if name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if name == "auto":
        return torch.device("cpu")
    if torch.version.cuda is None:
        raise UsageError("device 'cuda' was asked for, but this torch is built without CUDA; use auto or cpu")
    raise UsageError("device 'cuda' was asked for, but torch finds no CUDA device; use auto or cpu")


def describe_device(device: torch.device) -> dict[str, Any]:
    """What a run record keeps of the device; a value that is not known is None.

    Always: `type` ("cpu" | "cuda"), `name`, `threads` (of torch on the CPU), `clock_mhz` (highest clock).
    On CUDA also: `memory_bytes`, `cuda`, `cudnn` (versions torch was built with) and, read through NVML where
    nvidia-ml-py is installed, `driver`, `memory_clock_mhz`, `power_limit_w`, `mig` (is the card split by
    MIG).
    """
    if device.type == "cpu":
        return {
            "type": "cpu",
            "name": cpu_name(),
            "threads": torch.get_num_threads(),
            "clock_mhz": _cpu_clock_mhz(),
        }
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
        "driver": None,
        "memory_clock_mhz": None,
        "power_limit_w": None,
        "mig": None,
    }
    gpu, _ = open_gpu(device)
    if gpu is not None:
        with gpu:
            description |= gpu.describe()
    return description


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
