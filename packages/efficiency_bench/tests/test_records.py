import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from efficiency_bench.devices import describe_device
from efficiency_bench.errors import UsageError, WorkError
from efficiency_bench.files import write_json
from efficiency_bench.provenance import git_state, package_versions, source_digest
from efficiency_bench.records import Metric, RecordError, RunRecord, load_record, run_id

DIGEST = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    settings = {"frames": 4, "sizes": [128, 160], "rate": 1e-3, "head": None}
    return RunRecord(
        run_id=run_id("video_detection", settings, {"moving_digits": "moving_digits-mnist"}, 0),
        experiment="video_detection",
        kind="train",
        preset="quick",
        settings=settings,
        seed=0,
        metrics={"keyframe_map": Metric(73.1, "%"), "macs": Metric(10**12, "MAC")},
        protocol={"batch": 1, "dtype": "float32"},
        data={"moving_digits": {"name": "MovingDigits", "source": "mnist", "digest": DIGEST}},
        packages=package_versions(),
        sources={"efficiency_bench": source_digest("efficiency_bench")},
        git=git_state(tmp_path),
        device=describe_device(torch.device("cpu")),
        started="2026-11-22T17:20:00Z",
        duration_s=12.3,
    )


def written(record: RunRecord, path: Path, **changes: Any) -> Path:
    write_json(path, record.to_json() | changes)
    return path


def test_a_record_equals_itself_read_again(record: RunRecord, tmp_path: Path) -> None:
    assert load_record(written(record, tmp_path / "r.json")) == record


def test_tuples_become_lists(record: RunRecord) -> None:
    assert replace(record, settings={"sizes": (128, 160)}).to_json()["settings"] == {"sizes": [128, 160]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_a_metric_is_finite(value: float) -> None:
    with pytest.raises(WorkError, match=r"must be finite, got (nan|inf|-inf) ms"):
        Metric(value, "ms")


@pytest.mark.parametrize("value", ["3", None, True, torch.tensor(3.0)])
def test_a_metric_is_a_number(value: Any) -> None:
    with pytest.raises(WorkError, match="a metric is a real number"):
        Metric(value, "ms")


@pytest.mark.parametrize("value", [3, np.float32(3), np.int64(3)])
def test_a_metric_is_kept_as_float(value: Any) -> None:
    metric = Metric(value, "ms")
    assert type(metric.value) is float and metric.value == 3.0


def test_every_length_of_a_truncated_file_is_refused(record: RunRecord, tmp_path: Path) -> None:
    text = written(record, tmp_path / "r.json").read_text().rstrip()
    for length in range(0, len(text), 97):
        (tmp_path / "cut.json").write_text(text[:length])
        with pytest.raises(RecordError, match="not complete, valid JSON"):
            load_record(tmp_path / "cut.json")


def test_every_missing_field_is_named(record: RunRecord, tmp_path: Path) -> None:
    fields = record.to_json()
    for name in fields.keys() - {"absent"}:
        write_json(tmp_path / "r.json", {key: value for key, value in fields.items() if key != name})
        with pytest.raises(RecordError, match=name):
            load_record(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seed", "0", "seed: '0' is not of type 'integer'"),
        ("seed", -1, "seed: -1"),
        ("kind", "trained", "kind: 'trained' is not one of"),
        ("metrics", {}, "metrics: {}"),
        ("metrics", {"map": {"value": "73", "unit": "%"}}, "metrics.map.value: '73' is not of type 'number'"),
        ("metrics", {"map": {"value": 73}}, "metrics.map: 'unit' is a required property"),
        ("data", {"d": {"name": "D", "source": "s", "digest": "abc"}}, "data.d.digest: 'abc' does not match"),
        ("git", {"commit": None}, "git: 'dirty' is a required property"),
        ("device", {"type": "tpu", "name": "x", "threads": 1, "clock_mhz": None}, "device.type: 'tpu'"),
        ("started", "yesterday", "started: 'yesterday' does not match"),
        ("surprise", 1, "'surprise' was unexpected"),
        ("schema_version", 2, "has schema_version 2, this version reads 1"),
    ],
)
def test_a_wrong_value_is_named(record: RunRecord, tmp_path: Path, field: str, value: Any, message: str) -> None:
    with pytest.raises(RecordError) as raised:
        load_record(written(record, tmp_path / "r.json", **{field: value}))
    assert message in str(raised.value)
    assert str(tmp_path / "r.json") in str(raised.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(record: RunRecord, tmp_path: Path, number: str) -> None:
    path = written(record, tmp_path / "r.json")
    path.write_text(path.read_text().replace("73.1", number))
    with pytest.raises(RecordError, match=r"r\.json"):
        load_record(path)


@pytest.mark.parametrize("text", ["[]", "3", "null"])
def test_json_that_is_no_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(RecordError, match="expected an object"):
        load_record(tmp_path / "r.json")


def test_an_absent_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read: No such file"):
        load_record(tmp_path / "none.json")
    with pytest.raises(RecordError, match="cannot be read: Is a directory"):
        load_record(tmp_path)


def test_a_record_against_the_schema_cannot_be_written(record: RunRecord) -> None:
    with pytest.raises(WorkError, match="metrics"):
        replace(record, metrics={}).to_json()
    with pytest.raises(WorkError, match="not valid JSON"):
        replace(record, settings={"path": Path("x")}).to_json()


def test_the_run_id_is_the_digest_of_the_canonical_json() -> None:
    text = '{"data":{"d":"d-mnist"},"settings":{"a":[1,2],"b":0.5}}'
    expected = f"exp-{hashlib.sha256(text.encode()).hexdigest()[:8]}-s3"
    assert run_id("exp", {"b": 0.5, "a": (1, 2)}, {"d": "d-mnist"}, 3) == expected
    assert run_id("exp", {"a": [1, 2], "b": 0.5}, {"d": "d-mnist"}, 3) == expected


def test_the_run_id_changes_with_every_part() -> None:
    ids = {
        run_id("exp", {"a": 1}, {"d": "x"}, 0),
        run_id("exp", {"a": 2}, {"d": "x"}, 0),
        run_id("exp", {"a": 1}, {"d": "y"}, 0),
        run_id("exp", {"a": 1}, {"d": "x"}, 1),
        run_id("other", {"a": 1}, {"d": "x"}, 0),
    }
    assert len(ids) == 5


def test_settings_json_cannot_hold_are_refused() -> None:
    with pytest.raises(UsageError, match="settings of exp"):
        run_id("exp", {"path": Path("x")}, {}, 0)


def test_the_schema_is_valid_and_names_every_field(record: RunRecord) -> None:
    from importlib import resources

    from jsonschema import Draft202012Validator

    text = resources.files("efficiency_bench").joinpath("schemas/run_record.schema.json").read_text()
    schema = json.loads(text)
    Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == set(record.to_json())
    assert set(schema["properties"]) - set(schema["required"]) == {"absent"}, "older records have none"


def test_a_metric_without_a_number_is_kept_with_its_reason(record: RunRecord, tmp_path: Path) -> None:
    told = replace(record, absent={"top1_error": "diverged, the loss is not finite at step 12"})
    assert load_record(written(told, tmp_path / "r.json")) == told
    fields = record.to_json()
    del fields["absent"]
    write_json(tmp_path / "old.json", fields)
    assert load_record(tmp_path / "old.json").absent == {}


def test_a_metric_is_measured_or_absent_and_not_both(record: RunRecord, tmp_path: Path) -> None:
    name = next(iter(record.metrics))
    with pytest.raises(WorkError, match=f"'{name}' is both measured and absent"):
        replace(record, absent={name: "diverged"})
    fields = record.to_json()
    write_json(tmp_path / "r.json", {**fields, "absent": {name: "diverged"}})
    with pytest.raises(RecordError, match="both measured and absent"):
        load_record(tmp_path / "r.json")
    write_json(tmp_path / "r.json", {**fields, "absent": {"other": ""}})
    with pytest.raises(RecordError, match=r"absent\.other"):
        load_record(tmp_path / "r.json")
