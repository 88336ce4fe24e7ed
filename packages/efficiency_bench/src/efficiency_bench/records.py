"""Run records: one JSON file per run, the only thing tables are computed from.

The format is `schemas/run_record.schema.json`, shipped inside this package.
"""

import hashlib
import json
import math
import numbers
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from .errors import UsageError, WorkError

SCHEMA_VERSION = 1


class RecordError(UsageError):
    """A file is not a run record that this version can read."""


@dataclass(frozen=True)
class Metric:
    """One measured number."""

    value: float
    """Finite; a run that measured NaN or infinity has failed and has no record."""
    unit: str
    """For example "%", "ms", "MAC", "bytes"."""

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, numbers.Real):
            raise WorkError(f"a metric is a real number, got {type(self.value).__name__} ({self.value!r})")
        value = float(self.value)
        if not math.isfinite(value):
            raise WorkError(f"a metric must be finite, got {value} {self.unit}".rstrip())
        object.__setattr__(self, "value", value)


@dataclass(frozen=True)
class RunRecord:
    """What one run measured, and everything needed to judge or repeat it."""

    run_id: str
    """From `run_id`; the record lies in `{run_id}.json`."""
    experiment: str
    """Name of the experiment."""
    kind: Literal["train", "measure"]
    """Trained something, or measured speed, operations or memory."""
    preset: str
    """Name of the preset the settings come from."""
    settings: Mapping[str, Any]
    """Every field of the experiment's settings."""
    seed: int
    """Seed of the run."""
    metrics: Mapping[str, Metric]
    """What was measured."""
    protocol: Mapping[str, Any]
    """How it was measured: scenario, warm-up, iterations, batch, dtype, input size."""
    data: Mapping[str, Mapping[str, str]]
    """For each data set: `name`, `source`, `digest` (sha256 over its files' digests) and the `folder`'s name."""
    packages: Mapping[str, str]
    """Versions, from `provenance.package_versions`."""
    sources: Mapping[str, str]
    """Package name to `provenance.source_digest`."""
    git: Mapping[str, Any]
    """From `provenance.git_state`: `commit` and `dirty`."""
    device: Mapping[str, Any]
    """From `devices.describe_device`."""
    started: str
    """UTC start time, "2026-11-22T17:20:00Z"."""
    duration_s: float
    """Wall-clock seconds from start to end."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Metrics that the run set out to measure and has no number for, each with the reason."""

    def __post_init__(self) -> None:
        if both := sorted(self.metrics.keys() & self.absent.keys()):
            raise WorkError(f"record {self.run_id}: {both[0]!r} is both measured and absent")

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, `schema_version` first.

        Raises:
            WorkError: a value is nothing JSON can hold, or the record does not follow the schema.
        """
        fields = {"schema_version": SCHEMA_VERSION} | asdict(self)
        try:
            # Through JSON and back, so that a record equals itself read again (tuples become lists).
            plain: dict[str, Any] = json.loads(json.dumps(fields, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise WorkError(f"record {self.run_id}: a value is not valid JSON ({error})") from error
        fault = _fault(plain)
        if fault is not None:
            raise WorkError(f"record {self.run_id}: {fault}")
        return plain


def load_record(path: str | os.PathLike[str]) -> RunRecord:
    """Read and validate one run record.

    Raises:
        RecordError: the file is absent, is no complete JSON, misses a field or has one too many, has a value
            of the wrong type, was written under another schema version, or calls one metric measured and absent.
    """
    file = Path(path)
    try:
        fields = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise RecordError(f"record {file} cannot be read: {os.strerror(error.errno or 0)}") from error
    except ValueError as error:  # a bad encoding or truncated JSON
        raise RecordError(f"record {file} is not complete, valid JSON ({error}); delete it and run again") from error
    if not isinstance(fields, dict):
        raise RecordError(f"record {file} holds a JSON {type(fields).__name__}, expected an object")
    version = fields.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"record {file} has schema_version {version!r}, this version reads {SCHEMA_VERSION}; "
            "delete it and run again"
        )
    fault = _fault(fields)
    if fault is not None:
        raise RecordError(f"record {file}: {fault}")
    del fields["schema_version"]
    try:
        metrics = {name: Metric(**metric) for name, metric in fields["metrics"].items()}
        return RunRecord(**fields | {"metrics": metrics})
    except WorkError as error:
        raise RecordError(f"record {file}: {error}") from error


def run_id(experiment: str, settings: Mapping[str, Any], data: Mapping[str, str], seed: int) -> str:
    """`{experiment}-{h}-s{seed}`: the same for the same settings on the same data, on any machine.

    `h` is the first 8 hexadecimal digits of the sha256 of {"settings": ..., "data": ...} as JSON with sorted
    keys and without spaces.

    Args:
        experiment: name of the experiment.
        settings: every field, after defaults, preset and row are merged.
        data: data set name to the name of the folder that holds it ("moving_digits-mnist").
        seed: seed of the run, not part of `h`: runs that differ in the seed alone share it.

    Raises:
        UsageError: a setting is nothing JSON can hold.
    """
    try:
        content = {"settings": dict(settings), "data": dict(data)}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"settings of {experiment} cannot be written as JSON ({error})") from error
    return f"{experiment}-{hashlib.sha256(text.encode()).hexdigest()[:8]}-s{seed}"


def _fault(fields: dict[str, Any]) -> str | None:
    """The first thing in which `fields` breaks the schema, with its place; None where it follows it."""
    error = best_match(_validator().iter_errors(fields))
    if error is None:
        return None
    where = ".".join(str(part) for part in error.absolute_path)
    return f"{where}: {error.message}" if where else error.message


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


@cache
def _validator() -> Draft202012Validator:
    text = resources.files(__package__).joinpath("schemas/run_record.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))
