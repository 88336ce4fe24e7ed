from types import SimpleNamespace

import pytest
import torch

from efficiency_bench.measure import energy
from efficiency_bench.measure.energy import Energy, EnergyMeter, open_gpu

CUDA = torch.device("cuda", 0)


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class FakeNvml:
    """NVML with one card whose counter shows the given millijoules, one after the other."""

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_FUNCTION_NOT_FOUND = 13
    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2

    def __init__(self, *millijoules: int, mig: int | None = 0, broken: str = "") -> None:
        self.counter = iter(millijoules)
        self.mig = mig
        self.broken = broken
        self.open = 0

    def nvmlInit(self) -> None:
        if self.broken == "init":
            raise NVMLError(9)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if self.broken == "uuid":
            raise NVMLError(6)
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        assert handle == "GPU-1234"
        if self.broken:
            raise NVMLError({"counter": 3, "lost": 15}[self.broken])
        return next(self.counter)

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:
        if self.mig is None:
            raise NVMLError(3)
        return self.mig, self.mig

    def nvmlDeviceGetMaxClockInfo(self, handle: str, kind: int) -> int:
        return {1: 1980, 2: 2619}[kind]

    def nvmlDeviceGetPowerManagementLimit(self, handle: str) -> int:
        return 700_000

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.1"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A card with UUID 1234, and the times the meter's clock shows, to be filled by the test."""
    times: list[float] = []
    properties = SimpleNamespace(uuid="1234")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(energy, "time", SimpleNamespace(perf_counter=lambda: times.pop(0)))
    return times


def measure(fake: FakeNvml) -> EnergyMeter:
    with EnergyMeter(CUDA, nvml=fake) as meter:
        pass
    assert fake.open == 0
    return meter


def test_the_arithmetic(clock: list[float]) -> None:
    clock += [100.0, 110.0]
    meter = measure(FakeNvml(5_000_000, 9_000_000))
    assert meter.reason == "" and meter.result == Energy(joules=4000.0, seconds=10.0)
    assert meter.result.watts == 400.0 and not meter.result.short
    clock += [0.0, 2.0]
    short = measure(FakeNvml(1000, 3000, mig=None)).result
    assert short is not None and short.short


@pytest.mark.parametrize(
    ("fake", "reason"),
    [
        (FakeNvml(7, 7), "the counter did not move"),
        (FakeNvml(7, 6), "the counter did not move"),
        (FakeNvml(mig=1), "split by MIG"),
        (FakeNvml(broken="counter"), "no energy counter"),
        (FakeNvml(broken="init"), "NVML did not start (NVML error 9)"),
        (FakeNvml(broken="uuid"), "NVML does not know this card (NVML error 6)"),
    ],
)
def test_no_counter_is_a_reason_and_never_a_zero(clock: list[float], fake: FakeNvml, reason: str) -> None:
    clock += [0.0, 1.0]
    meter = measure(fake)
    assert meter.result is None and meter.reason.startswith("not available: ") and reason in meter.reason


def test_an_error_that_is_not_about_support_is_not_swallowed(clock: list[float]) -> None:
    with pytest.raises(NVMLError, match="15"):
        measure(FakeNvml(broken="lost"))


def test_an_error_in_the_block_passes_and_leaves_no_result(clock: list[float]) -> None:
    clock += [0.0, 1.0]
    fake = FakeNvml(1, 2)
    with pytest.raises(RuntimeError, match="diverged"), EnergyMeter(CUDA, nvml=fake) as meter:
        raise RuntimeError("diverged")
    assert meter.result is None and "ended with an error" in meter.reason and fake.open == 0


def test_a_cpu_and_a_missing_extra_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(energy.importlib, "import_module", missing)
    gpu, reason = open_gpu(CUDA)
    assert gpu is None and "efficiency_bench[energy]" in reason
    with EnergyMeter(torch.device("cpu")) as meter:
        pass
    assert meter.result is None
    assert meter.reason == "not available: NVML reads NVIDIA cards only, the device is cpu"


def test_a_card_is_described(clock: list[float]) -> None:
    fake = FakeNvml()
    gpu, _ = open_gpu(CUDA, fake)
    assert gpu is not None
    clocks = {"clock_mhz": 1980, "memory_clock_mhz": 2619}
    assert gpu.describe() == {"driver": "570.1", **clocks, "power_limit_w": 700.0, "mig": False}
    gpu.close()
    assert fake.open == 0
