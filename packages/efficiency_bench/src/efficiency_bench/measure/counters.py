"""Counts of a piece of work that every machine gives alike, and the file in the repository they are compared with.

Work is counted on the CPU, also where a GPU is there: which operators run does not depend on the kind of processor or on
the number of threads. It can depend on the versions of torch, torchvision and numpy, so the file names those it was made with.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from efficiency_bench.measure.flops import count_macs
from efficiency_bench.measure.memory import saved_bytes
from efficiency_core.errors import UsageError
from efficiency_core.files import atomic_path

LIBRARIES = ("numpy", "torch", "torchvision")
"""Libraries whose versions some counts depend on."""
VERSION_BOUND = ("operators", "saved_bytes", "calls")
"""Counts that depend on these versions. All others (multiply-adds, parameters, bytes of a result) follow from shapes."""

Counts = Mapping[str, int]


def count(
    work: Callable[[], object],
    *,
    forward: Callable[[], object] | None = None,
    network: nn.Module | None = None,
    given: Iterable[Tensor] = (),
) -> dict[str, int]:
    """Counts of one call of `work`, which may be a whole training step.

    Args:
        work: is called once. An optimiser that makes its state in the first step needs a step before.
        forward: a forward pass up to the loss, whose saved bytes are counted; None leaves them out.
        network: parameters are counted, and are not part of the saved bytes; None leaves them out.
        given: other tensors that are not part of the saved bytes.

    Returns:
        `macs`: multiply-adds of convolutions, matrix products and attention. `operators`: calls of operators that ran,
        backward pass and optimiser included. `saved_bytes`: bytes that `forward` leaves behind for the backward pass.
        `parameters`: of the network.
    """
    log = _OperatorCalls()
    with log:
        counts = {"macs": count_macs(work, ()).macs}
    counts["operators"] = log.number
    if forward is not None:
        weights = [] if network is None else [*network.parameters(), *network.buffers()]
        counts["saved_bytes"] = saved_bytes(forward, exclude=[*weights, *given]).total
    if network is not None:
        counts["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    return counts


def count_calls(work: Callable[[], object], package: str) -> int:
    """How often `work` enters or resumes a function of a package, in this thread. Comprehensions and lambdas do not count,
    since newer Python inlines some of them."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"package {package!r} is not installed")
    (folder,) = spec.submodule_search_locations
    number = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal number
        code = frame.f_code
        number += event == "call" and code.co_name[0] != "<" and code.co_filename.startswith(folder)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return number


class _OperatorCalls(TorchDispatchMode):
    """Counts the operators that run inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


def library_versions() -> dict[str, str]:
    """Library -> version here, without the build (2.14.1 for 2.14.1+cpu)."""
    return {name: version(name).partition("+")[0] for name in LIBRARIES}


@dataclass(frozen=True)
class CounterFile:
    """The counts of every benchmark, and the versions of the libraries they were made with."""

    counters: Mapping[str, Counts]
    """Benchmark -> name of the count -> the count."""
    versions: Mapping[str, str]
    """Library -> version."""

    @classmethod
    def read(cls, path: Path) -> "CounterFile":
        """Raises UsageError if the file is missing or holds something else."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(content["counters"], content["versions"])
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror}); make bench-counters writes it") from error
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{path}: is no file of counters ({error!r}); make bench-counters writes it") from error

    def write(self, path: Path) -> None:
        """Sorted, so that a change of one count is a change of one line."""
        content = {"versions": self.versions, "counters": self.counters}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def other_versions(self, here: Mapping[str, str]) -> str:
        """In words, which libraries have another version here; empty if none has."""
        names = [name for name in LIBRARIES if self.versions.get(name) != here[name]]
        return ", ".join(f"{name} {here[name]}, counted with {self.versions.get(name)}" for name in names)

    def differences(self, benchmark: str, counts: Counts, here: Mapping[str, str]) -> list[str]:
        """A sentence for every count that is not the one in the file. With other versions than the file's, the counts that
        depend on them are left out."""
        if benchmark not in self.counters:
            return [f"{benchmark} is not in the file of counters"]
        left_out = VERSION_BOUND if self.other_versions(here) else ()
        kept = self.counters[benchmark]
        return [
            f"{benchmark}: {_change(name, kept.get(name), counts.get(name))}"
            for name in sorted({*kept, *counts} - {*left_out})
            if kept.get(name) != counts.get(name)
        ]


def _change(name: str, before: int | None, now: int | None) -> str:
    if before is None or now is None:
        return f"{name} is counted {'only in the file' if now is None else 'here but not in the file'}"
    times = f", {now / before:.3g} times as many" if before else ""
    return f"{name} {now:,}, the file has {before:,}{times}"
