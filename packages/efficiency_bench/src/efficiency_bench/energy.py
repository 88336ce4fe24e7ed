"""Energy a graphics card used, from NVML's counter.

The counter is refreshed about every 100 ms and on A100 and H100 the sensor behind it looks only about a
quarter of the time (arXiv 2312.02741), so a window should last at least `SHORT_WINDOW_S` of steady
repetition. Where there is no counter (CPU, no nvidia-ml-py, a card before Volta, MIG) the result is None and
a reason, never a zero.
"""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch

from .nvml import Gpu, open_gpu

SHORT_WINDOW_S = 5.0


@dataclass(frozen=True)
class Energy:
    """What one window used."""

    joules: float
    """Energy of the whole card over the window, idle power included."""
    seconds: float
    """Length of the window."""
    idle_watts: float | None
    """Power of the card at rest, as given to the meter; None when it was not."""

    @property
    def watts(self) -> float:
        """Mean power over the window."""
        return self.joules / self.seconds

    @property
    def joules_above_idle(self) -> float | None:
        """`joules` less what the card uses at rest in the same time; None when its idle power is unknown."""
        return None if self.idle_watts is None else self.joules - self.idle_watts * self.seconds

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

    Args:
        device: the device that works in the block; synchronised at both ends.
        idle_watts: power of the card at rest (`Energy.watts` of a window in which nothing runs), if it was
            measured.
        nvml: an object to use in place of the module `pynvml`.
    """

    result: Energy | None
    """What the block used; None until it has ended, after an exception, and where there is no counter."""
    reason: str
    """Why there is no result, beginning with "not available:"; empty when there is one."""

    def __init__(self, device: torch.device, *, idle_watts: float | None = None, nvml: Any = None) -> None:
        self._device = device
        self._idle_watts = idle_watts
        self._nvml = nvml
        self._gpu: Gpu | None = None
        self._start_mj = 0
        self._start_s = 0.0
        self.result = None
        self.reason = "not available: the block has not ended"

    def __enter__(self) -> Self:
        self.result, self.reason = None, "not available: the block has not ended"
        self._gpu, why = open_gpu(self._device, self._nvml)
        if self._gpu is None:
            self.reason = f"not available: {why}"
            return self
        if self._gpu.mig():
            self._close("the card is split by MIG and its counter covers the whole card")
            return self
        self._synchronize()
        start = self._gpu.energy_millijoules()
        if start is None:
            self._close("this card has no energy counter")
            return self
        self._start_mj, self._start_s = start, time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._gpu is None:
            return
        if kind is not None:
            self._close("the block ended with an error")
            return
        self._synchronize()
        seconds = time.perf_counter() - self._start_s
        end = self._gpu.energy_millijoules()
        if end is None or end <= self._start_mj:
            self._close(f"the counter did not move in {seconds:.3f} s")
            return
        self.result = Energy((end - self._start_mj) / 1000, seconds, self._idle_watts)
        self._close("")

    def _close(self, why: str) -> None:
        if self._gpu is not None:
            self._gpu.__exit__(None, None, None)
        self._gpu = None
        self.reason = f"not available: {why}" if why else ""

    def _synchronize(self) -> None:
        torch.cuda.synchronize(self._device)
