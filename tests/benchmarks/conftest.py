"""Fixtures and gates of the benchmarks: counters and ratios block, times are reported.

Counters are compared with counters.json wherever the benchmarks run, also without timing. Ratios need timing. Times are
compared with a baseline only where `--benchmark-compare` names one of this machine."""

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from efficiency_bench.measure.counters import VERSION_BOUND, CounterFile, library_versions
from efficiency_bench.measure.speed import interleave
from efficiency_bench.measure.time_gates import fingerprint, other_machine, smallest_ratio, times_over_baseline
from efficiency_core.devices import resolve_device

FILE = Path(__file__).with_name("counters.json")
RATIOS = "ratios"
SLOW = 1.5
"""From which multiple of its baseline on a time is named in the report."""

Work = Callable[[], object]


@dataclass
class Gates:
    """What the benchmarks of a run found."""

    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    ratios: list[str] = field(default_factory=list)
    red: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    """Benchmark -> fastest round in seconds."""
    baseline: dict[str, float] | None = None
    """The same of the baseline; None: there is none of this machine."""
    no_baseline: str = "there is no baseline; make bench saves one"


KEY = pytest.StashKey[Gates]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-counters", action="store_true", help=f"write {FILE.name} anew with the counters of this run"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[KEY] = Gates()


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_machine_info() -> dict[str, Any]:
    """In place of pytest-benchmark's own, which holds the clock of the moment and so differs in every run."""
    return fingerprint(torch.device(resolve_device("auto")))


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_compare_machine_info(
    config: pytest.Config, machine_info: dict[str, Any], compared_benchmark: dict[str, Any]
) -> None:
    """Note the times of a baseline of this machine, and take out those of another one."""
    gates, kept = config.stash[KEY], compared_benchmark["benchmarks"]
    if odd := other_machine(compared_benchmark["machine_info"], machine_info):
        gates.no_baseline = f"not compared with the baseline of another machine ({odd}); make bench saves one here"
        compared_benchmark["benchmarks"] = []
    else:
        gates.baseline = {each["fullname"]: each["stats"]["min"] for each in kept if each["group"] != RATIOS}
    # pytest-benchmark compares next, and would print both dictionaries.
    compared_benchmark["machine_info"] = machine_info


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the counters, or fail where the file has some of a benchmark that does not exist."""
    config, gates = session.config, session.config.stash[KEY]
    if exitstatus or not gates.counters or hasattr(config, "workerinput"):
        return
    options = config.option
    whole = not (options.keyword or options.markexpr) and all(Path(name).is_dir() for name in config.args)
    if config.getoption("write_counters", False):
        kept = CounterFile.read(FILE).counters if FILE.exists() and not whole else {}
        CounterFile({**kept, **gates.counters}, library_versions()).write(FILE)
    elif whole and (gone := sorted(CounterFile.read(FILE).counters.keys() - gates.counters.keys())):
        gates.red.append(
            f"{FILE.name} has benchmarks that do not exist: {', '.join(gone)}; make bench-counters drops them"
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    gates = config.stash[KEY]
    if not (gates.counters or gates.ratios):
        return
    write = terminalreporter.write_line
    terminalreporter.section("gates")
    if config.getoption("write_counters", False):
        write(f"counters: those of {len(gates.counters)} benchmarks are written to {FILE.name}, if no test failed")
    else:
        write(f"counters: {len(gates.counters)} benchmarks compared with {FILE.name}")
        if other := CounterFile.read(FILE).other_versions(library_versions()):
            write(
                f"counters: {', '.join(VERSION_BOUND)} are not compared, because their file has other versions ({other})"
            )
    for line in gates.ratios:
        write(f"ratio: {line}")
    if gates.baseline is not None:
        over = times_over_baseline(gates.times, gates.baseline)
        slow = {name: value for name, value in over.items() if value > SLOW}
        worst = f", {next(iter(over.values())):.2f} at most" if over else ""
        write(f"times: {len(over)} compared with the baseline{worst}; {len(slow)} above {SLOW}, which does not block")
        for name, value in slow.items():
            write(f"times: {name.rpartition('/')[2]} takes {value:.2f} times as long as in the baseline")
    elif gates.times and config.getoption("benchmark_compare", None):
        write(f"times: {gates.no_baseline}")
    for line in gates.red:
        write(f"RED: {line}", red=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Times of one thread hardly depend on what else runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device that is timed. Counters are taken on the CPU."""
    return torch.device(resolve_device("auto"))


@pytest.fixture
def gate(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Callable[[Mapping[str, int]], None]:
    """Compares the counters of this benchmark with the file: `gate(counts)`."""

    def check(counts: Mapping[str, int]) -> None:
        name = f"{request.path.stem.removeprefix('test_')}.{request.node.name.removeprefix('test_')}"
        gates = request.config.stash[KEY]
        gates.counters[name] = dict(counts)
        benchmark.extra_info.update(counts)
        if request.config.getoption("write_counters", False):
            return
        if found := CounterFile.read(FILE).differences(name, counts, library_versions()):
            gates.red += found
            pytest.fail(
                "\n".join([*found, "If this is meant, make bench-counters writes the file anew."]), pytrace=False
            )

    return check


@pytest.fixture
def timed(benchmark: BenchmarkFixture, device: torch.device, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Times `work` with warm-up, the device synchronised inside every call: `timed(work, rounds)`."""

    def run(work: Work, rounds: int = 6) -> None:
        def synchronised() -> None:
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        benchmark.pedantic(synchronised, rounds=rounds, warmup_rounds=2)
        if benchmark.stats is not None:
            request.config.stash[KEY].times[benchmark.fullname] = benchmark.stats.stats.min

    return run


@pytest.fixture
def ratio(benchmark: BenchmarkFixture, device: torch.device, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Times two works in turns and fails where the first takes more than `most` times as long as the second:
    `ratio({"first": work, "second": work}, most)`. Without timing, both run once."""

    def run(works: dict[str, Work], most: float, rounds: int = 20, calls: int = 1) -> None:
        first, second = works
        benchmark.group = RATIOS
        options: dict[str, Any] = {"rounds": rounds, "warmup": 2, "calls": calls, "device": device}
        if benchmark.disabled:
            options |= {"rounds": 1, "warmup": 0, "calls": 1}
        # Without timing nothing is judged.
        limit = float("inf") if benchmark.disabled else most
        gc.freeze()  # or the garbage collector, which runs before every call, would go through all of torch each time
        value = benchmark.pedantic(smallest_ratio, (lambda: interleave(works, **options), first, second, limit))
        gc.unfreeze()
        benchmark.extra_info["ratio"] = value
        line = f"{first} takes {value:.2f} times as long as {second}, {most} is allowed"
        gates = request.config.stash[KEY]
        if not benchmark.disabled:
            gates.ratios.append(line)
        if value > limit:
            gates.red.append(line)
            pytest.fail(line, pytrace=False)

    return run
