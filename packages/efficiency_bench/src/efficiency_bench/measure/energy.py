"""Energy a graphics card used, from NVML's counter; where there is none the result is None and a reason, never a zero.

The counter is refreshed about every 100 ms, and on A100 and H100 the sensor behind it looks only about a quarter of the
time (arXiv 2312.02741), so a window should last at least `SHORT_WINDOW_S` of steady repetition.

NVML is NVIDIA's management library, for what torch does not tell: energy, clocks, driver, power limit, MIG. Its
binding is the optional package nvidia-ml-py (`pip install "efficiency_bench[energy]"`), imported as `pynvml`."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch

SHORT_WINDOW_S = 5.0


@dataclass(frozen=True)
class Energy:
    """What one window used."""

    joules: float
    """Energy of the whole card over the window, idle power included."""
    seconds: float
    """Length of the window."""

    @property
    def watts(self) -> float:
        """Mean power over the window."""
        return self.joules / self.seconds

    @property
    def short(self) -> bool:
        """The window is shorter than `SHORT_WINDOW_S`, so the figure is coarse."""
        return self.seconds < SHORT_WINDOW_S


class EnergyMeter:
    """Measures the energy of a block of work on one device.

    Example:
        >>> with EnergyMeter(torch.device("cpu")) as meter:
        ...     _ = torch.ones(2) + 1
        >>> meter.result, meter.reason
        (None, 'not available: NVML reads NVIDIA cards only, the device is cpu')

    The device is synchronised at both ends. `nvml` takes the place of the module `pynvml`.
    """

    result: Energy | None = None
    """What the block used; None until it has ended, after an exception, and where there is no counter."""
    reason: str = "not available: the block has not ended"
    """Why there is no result, beginning with "not available:"; empty when there is one."""

    def __init__(self, device: torch.device, *, nvml: Any = None) -> None:
        self._device, self._nvml = device, nvml
        self._gpu: Gpu | None = None
        self._start = (0, 0.0)

    def __enter__(self) -> Self:
        self.result, self.reason = None, type(self).reason
        self._gpu, why = open_gpu(self._device, self._nvml)
        if self._gpu is None:
            self._close(why)
        elif self._gpu.mig():
            self._close("the card is split by MIG and its counter covers the whole card")
        elif (start := self._read(self._gpu)) is None:
            self._close("this card has no energy counter")
        else:
            self._start = start, time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._gpu is None:
            return
        if kind is not None:
            self._close("the block ended with an error")
            return
        end, seconds = self._read(self._gpu), time.perf_counter() - self._start[1]
        if end is None or end <= self._start[0]:
            self._close(f"the counter did not move in {seconds:.3f} s")
            return
        self.result = Energy((end - self._start[0]) / 1000, seconds)
        self._close("")

    def _read(self, gpu: Gpu) -> int | None:
        """The counter in millijoules when all work is done."""
        import torch

        torch.cuda.synchronize(self._device)
        return gpu.energy_millijoules()

    def _close(self, why: str) -> None:
        if self._gpu is not None:
            self._gpu.close()
        self._gpu, self.reason = None, f"not available: {why}" if why else ""


class Gpu:
    """One graphics card, by the handle of the initialised binding `nvml`."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def close(self) -> None:
        """Close the library."""
        self._nvml.nvmlShutdown()

    def energy_millijoules(self) -> int | None:
        """Energy used since the driver was loaded, None where the card has no such counter (before Volta)."""
        value = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if value is None else int(value)

    def mig(self) -> bool | None:
        """Is the card split by MIG (its energy counter covers the whole card); None where unknown."""
        mode = self._ask("nvmlDeviceGetMigMode")
        return None if mode is None else bool(mode[0])

    def describe(self) -> dict[str, Any]:
        """`driver`, highest `clock_mhz` and `memory_clock_mhz`, `power_limit_w`, `mig`; None if unknown."""
        driver = self._nvml.nvmlSystemGetDriverVersion()
        limit = self._ask("nvmlDeviceGetPowerManagementLimit")
        return {
            "driver": driver.decode() if isinstance(driver, bytes) else driver,
            "clock_mhz": self._ask("nvmlDeviceGetMaxClockInfo", self._nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": self._ask("nvmlDeviceGetMaxClockInfo", self._nvml.NVML_CLOCK_MEM),
            "power_limit_w": None if limit is None else limit / 1000,
            "mig": self.mig(),
        }

    def _ask(self, function: str, *arguments: Any) -> Any:
        """The card's answer, None where the card, the driver or the permissions do not give one."""
        try:
            return getattr(self._nvml, function)(self._handle, *arguments)
        except self._nvml.NVMLError as error:
            known = ("NOT_SUPPORTED", "FUNCTION_NOT_FOUND", "NO_PERMISSION")
            if getattr(error, "value", None) in [getattr(self._nvml, f"NVML_ERROR_{name}") for name in known]:
                return None
            raise


def open_gpu(device: torch.device, nvml: Any = None) -> tuple[Gpu | None, str]:
    """The card behind a torch device, or None and the reason why there is none.

    The card is found by its UUID, so CUDA_VISIBLE_DEVICES is respected. `nvml` takes the place of the module `pynvml`.
    """
    if device.type != "cuda":
        return None, f"NVML reads NVIDIA cards only, the device is {device.type}"
    import torch

    try:
        nvml = nvml or importlib.import_module("pynvml")
    except ModuleNotFoundError:
        return None, 'nvidia-ml-py is not installed (pip install "efficiency_bench[energy]")'
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return None, f"NVML did not start ({error})"
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    try:
        return Gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid if uuid[:4] in ("GPU-", "MIG-") else f"GPU-{uuid}")), ""
    except nvml.NVMLError as error:
        nvml.nvmlShutdown()
        return None, f"NVML does not know this card ({error})"
