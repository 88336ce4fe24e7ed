"""Run records: one JSON file per run, the only thing tables are computed from."""

import hashlib
import json
import math
import numbers
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, Strict, StringConstraints, with_config
from typing_extensions import TypedDict  # pydantic refuses typing's before Python 3.12

from efficiency_bench.documents import Entry, Expected, Flag, Source, Text, check_document
from efficiency_core.errors import UsageError, WorkError
from efficiency_core.settings import flatten, short

SCHEMA_VERSION = 2
"""2: every record has a digest of its content. Records of version 1 have none and are refused."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Expected("a sha256, 64 hexadecimal digits")]
Count = Annotated[int, Strict(), Field(ge=0), Expected("a whole number from 0")]
Number = Annotated[float, Strict(), Expected("a number")]


class RecordError(UsageError):
    """A file is not a run record that this version can read."""


@dataclass(frozen=True)
class Metric:
    """One measured number."""

    value: Number
    """Finite; a run that measured NaN or infinity has failed and has no record."""
    unit: Annotated[str, Expected("a unit as text")]
    """For example "%", "ms", "MAC", "bytes"."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, numbers.Real):
            raise WorkError(f"a metric is a real number, got {type(self.value).__name__} ({self.value!r})")
        value = float(self.value)
        if not math.isfinite(value):
            raise WorkError(f"a metric must be finite, got {value} {self.unit}".rstrip())
        object.__setattr__(self, "value", value)


@with_config(ConfigDict(extra="forbid"))
class DataFacts(TypedDict):
    """A data set as the run read it."""

    name: Text
    source: Text
    digest: Digest
    folder: NotRequired[Text]


@with_config(ConfigDict(extra="forbid"))
class GitState(TypedDict):
    """State of the repository; None where there is none."""

    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40,64}$")] | None
    dirty: Flag | None


@with_config(ConfigDict(extra="allow"))
class DeviceFacts(TypedDict):
    """The device, described by `devices.describe_device`; CUDA devices have further keys."""

    type: Annotated[Literal["cpu", "cuda"], Expected("cpu or cuda")]
    name: Text
    threads: Annotated[int, Strict(), Field(ge=1), Expected("a whole number from 1")]
    clock_mhz: Number | None
    devices: NotRequired[Annotated[int, Strict(), Field(ge=2), Expected("a whole number from 2")]]
    """Devices, or processes on a CPU, among which the batches of its trainings were divided; not there for one."""


@dataclass(frozen=True)
class RunRecord(Entry):
    """What one run of one experiment measured, and everything needed to judge or repeat it."""

    run_id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+-[0-9a-f]{8}-s[0-9]+$"), Expected("a run id")]
    """From `run_id`; the record lies in `{run_id}.json`."""
    experiment: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$"), Expected("the name of an experiment")]
    kind: Annotated[Literal["train", "measure"], Expected("train or measure")]
    """Trained something, or measured speed, operations or memory."""
    preset: Text
    """Name of the preset that it was run for. Presets with the same settings share the record."""
    settings: Mapping[str, Any]
    """Every field of the experiment's settings, nested as its dataclasses are."""
    seed: Count
    metrics: Annotated[Mapping[str, Metric], Expected("at least one metric")]
    protocol: Mapping[str, Any]
    """How it was measured: scenario, warm-up, iterations, batch, dtype, input size."""
    data: Mapping[str, DataFacts]
    """The data sets, by the name the experiment has for them."""
    packages: Mapping[str, str]
    """Versions, from `provenance.package_versions`."""
    sources: Mapping[str, Digest]
    """Package of this repository -> sha256 over those of its files that the run rests on (`sources.run_sources`; records of
    version 0.1.0: over all of its files)."""
    git: GitState
    """From `provenance.git_state`."""
    device: DeviceFacts
    """From `devices.describe_device`."""
    started: Annotated[
        str,
        StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"),
        Expected('a time in UTC such as "2026-11-22T17:20:00Z"'),
    ]
    duration_s: Annotated[float, Strict(), Field(ge=0), Expected("seconds")]
    """Wall-clock seconds from start to end."""
    absent: Mapping[str, Text] = field(default_factory=dict)
    """Metrics that the run set out to measure and has no number for, each with the reason."""

    def __post_init__(self) -> None:
        if not self.metrics:
            raise WorkError(f"{self.run_id}: metrics: expected at least one metric")
        if both := sorted(self.metrics.keys() & self.absent.keys()):
            raise WorkError(f"{self.run_id}: {both[0]!r} is both measured and absent")

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, `schema_version` first and a `digest` of all others last; a `WorkError` if a value is
        nothing JSON can hold, or is of another type than its field."""
        try:
            # Through JSON and back, so that a record equals itself read again (tuples become lists).
            plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise WorkError(f"record {self.run_id}: a value is not valid JSON ({error})") from error
        try:
            check_document(RunRecord, Source(plain, lambda _: f"record {self.run_id}"))
        except UsageError as error:
            raise WorkError(str(error)) from error
        content = {"schema_version": SCHEMA_VERSION, **plain}
        return {**content, "digest": content_digest(content)}


def content_digest(content: Mapping[str, Any]) -> str:
    """sha256 (hex) over the JSON values of a record without its `digest`, with sorted keys and without spaces."""
    plain = {name: value for name, value in content.items() if name != "digest"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load_record(path: str | os.PathLike[str]) -> RunRecord:
    """Read and check one run record; a `RecordError` if it is unreadable, incomplete, of another version, or not what its run
    wrote."""
    file = Path(path)
    try:
        fields = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise RecordError(f"record {file} cannot be read: {os.strerror(error.errno or 0)}") from error
    except ValueError as error:  # a bad encoding or truncated JSON
        raise RecordError(f"record {file} is not complete, valid JSON ({error}); delete it and run again") from error
    if not isinstance(fields, dict):
        raise RecordError(f"record {file} holds a JSON {type(fields).__name__}, expected an object")
    wanted, digest = content_digest(fields), fields.pop("digest", None)
    version = fields.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"record {file} has schema_version {version!r}, this version reads {SCHEMA_VERSION}; "
            "delete it and run again"
        )
    try:
        record = check_document(RunRecord, Source(fields, lambda _: f"record {file}"))
    except WorkError as error:
        raise RecordError(f"record {file}: {error}") from error
    except UsageError as error:
        raise RecordError(str(error)) from error
    if digest != wanted:
        what = "was changed after its run wrote it" if digest else "has no digest"
        raise RecordError(f"record {file} {what}; delete it and run again")
    return record


def difference(expected: Mapping[str, Any], got: Mapping[str, Any]) -> str:
    """`training.epochs: expected 4, got 5`: the first of the settings that differ, by its dotted name; empty if none does."""
    wanted, found = flatten(expected), flatten(got)
    for name in [*wanted, *found]:
        if name not in found or name not in wanted or found[name] != wanted[name]:
            values = [short(values[name]) if name in values else "nothing" for values in (wanted, found)]
            return f"{name}: expected {values[0]}, got {values[1]}"
    return ""


def run_id(experiment: str, settings: Mapping[str, Any], data: Mapping[str, str], seed: int) -> str:
    """`{experiment}-{h}-s{seed}`: the same for the same settings on the same data, on any machine.

    `h` is the first 8 hexadecimal digits of the sha256 of {"settings": ..., "data": ...} as JSON with sorted keys and
    without spaces: every setting, and data set -> name of its folder ("moving_digits-mnist"). A `UsageError` if JSON
    cannot hold a setting.
    """
    try:
        content = {"settings": dict(settings), "data": dict(data)}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"settings of {experiment} cannot be written as JSON ({error})") from error
    return f"{experiment}-{hashlib.sha256(text.encode()).hexdigest()[:8]}-s{seed}"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
