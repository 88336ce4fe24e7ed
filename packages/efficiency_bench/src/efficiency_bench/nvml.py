"""NVIDIA's management library, for what torch does not tell: clocks, driver, power limit, MIG, energy.

The binding is the optional package nvidia-ml-py (`pip install "efficiency_bench[energy]"`), imported as
`pynvml`.
"""

import importlib
from types import TracebackType
from typing import Any, Self

import torch


class Gpu:
    """One graphics card as NVML sees it; a context manager that closes the library.

    Args:
        nvml: the binding, already initialised (module `pynvml`, or an object with the same functions).
        handle: NVML's handle of the card.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
            nvml = self._nvml
            unanswered = (
                nvml.NVML_ERROR_NOT_SUPPORTED,
                nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
                nvml.NVML_ERROR_NO_PERMISSION,
            )
            if getattr(error, "value", None) in unanswered:
                return None
            raise


def open_gpu(device: torch.device, nvml: Any = None) -> tuple[Gpu | None, str]:
    """The card behind a torch device, or None and the reason why there is none.

    The card is found by its UUID, so CUDA_VISIBLE_DEVICES is respected.

    Args:
        device: a torch device.
        nvml: an object to use in place of the module `pynvml`.
    """
    if device.type != "cuda":
        return None, f"NVML reads NVIDIA cards only, the device is {device.type}"
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ModuleNotFoundError:
            return None, 'nvidia-ml-py is not installed (pip install "efficiency_bench[energy]")'
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return None, f"NVML did not start ({error})"
    try:
        return Gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(_uuid(device))), ""
    except nvml.NVMLError as error:
        nvml.nvmlShutdown()
        return None, f"NVML does not know this card ({error})"


def _uuid(device: torch.device) -> str:
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
