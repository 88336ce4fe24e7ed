import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from efficiency_bench.documents import adapter
from efficiency_bench.measure.devices import describe_device
from efficiency_bench.records.json_file import write_json
from efficiency_bench.records.provenance import git_state, package_versions
from efficiency_bench.records.run_record import (
    Metric,
    RecordError,
    RunRecord,
    content_digest,
    difference,
    load_record,
    run_id,
)
from efficiency_core.errors import UsageError, WorkError

DIGEST = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    settings = {"frames": 4, "sizes": [128, 160], "rate": 1e-3, "head": None}
    return RunRecord(
        run_id=run_id("video_detection", settings, {"moving_digits": "moving_digits-mnist"}, 0),
        experiment="video_detection", kind="train", preset="quick", settings=settings, seed=0,
        metrics={"keyframe_map": Metric(73.1, "%"), "macs": Metric(10**12, "MAC")},
        protocol={"batch": 1, "dtype": "float32"},
        data={"moving_digits": {"name": "MovingDigits", "source": "mnist", "digest": DIGEST}},
        packages=package_versions(), sources={"efficiency_bench": DIGEST}, git=git_state(tmp_path),
        device=describe_device(torch.device("cpu")), started="2026-11-22T17:20:00Z", duration_s=12.3,
    )  # fmt: skip


def written(record: RunRecord, path: Path, **changes: Any) -> Path:
    write_json(path, record.to_json() | changes)
    return path


def test_a_record_equals_itself_read_again(record: RunRecord, tmp_path: Path) -> None:
    assert load_record(written(record, tmp_path / "r.json")) == record
    assert replace(record, settings={"sizes": (128, 160)}).to_json()["settings"] == {"sizes": [128, 160]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_a_metric_is_finite(value: float) -> None:
    with pytest.raises(WorkError, match=r"must be finite, got (nan|inf|-inf) ms"):
        Metric(value, "ms")


def test_a_metric_is_a_number_and_kept_as_float() -> None:
    for wrong in ("3", None, True, torch.tensor(3.0)):
        with pytest.raises(WorkError, match="a metric is a real number"):
            Metric(wrong, "ms")  # type: ignore[arg-type]
    for value in (3, np.float32(3), np.int64(3)):
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
        ("seed", "0", "seed: expected a whole number from 0, got '0'"),
        ("seed", -1, "seed: expected a whole number from 0, got -1"),
        ("kind", "trained", "kind: expected train or measure, got 'trained'"),
        ("metrics", {}, "metrics: expected at least one metric"),
        ("metrics", {"map": {"value": "73", "unit": "%"}}, "metrics.map.value: expected a number, got '73'"),
        ("metrics", {"map": {"value": 73}}, "metrics.map: the key 'unit' is missing"),
        ("data", {"d": {"name": "D", "source": "s", "digest": "abc"}}, "data.d.digest: expected a sha256"),
        ("git", {"commit": None}, "git: the key 'dirty' is missing"),
        ("device", {"type": "tpu", "name": "x", "threads": 1, "clock_mhz": None}, "device.type: expected cpu or cuda"),
        ("started", "yesterday", "started: expected a time in UTC"),
        ("surprise", 1, "unknown key 'surprise'"),
        ("schema_version", 1, "has schema_version 1, this version reads 2"),
    ],
)
def test_a_wrong_value_is_named(record: RunRecord, tmp_path: Path, field: str, value: Any, message: str) -> None:
    with pytest.raises(RecordError) as raised:
        load_record(written(record, tmp_path / "r.json", **{field: value}))
    assert message in str(raised.value) and str(tmp_path / "r.json") in str(raised.value)


@pytest.mark.parametrize(
    ("was", "now"),
    [('"value": 73.1', '"value": 79.1'), (DIGEST, "0" * 64), ('"dtype": "float32"', '"dtype": "float16"')],
)
def test_a_record_that_somebody_has_changed_is_refused(record: RunRecord, tmp_path: Path, was: str, now: str) -> None:
    """A metric, a digest of data or source, the protocol: any of it."""
    path = written(record, tmp_path / "r.json")
    path.write_text(path.read_text().replace(was, now, 1))
    with pytest.raises(RecordError, match=r"r\.json was changed after its run wrote it; delete it and run again$"):
        load_record(path)
    write_json(path, {name: value for name, value in record.to_json().items() if name != "digest"})
    with pytest.raises(RecordError, match=r"has no digest; delete it and run again$"):
        load_record(path)


def test_a_difference_names_the_setting_and_short_values() -> None:
    one = {"training": {"epochs": 4, "rates": list(range(100))}, "start": ""}
    assert difference(one, one) == ""
    assert difference(one, {**one, "training": {**one["training"], "epochs": 5}}) == (
        "training.epochs: expected 4, got 5"
    )
    said = difference(one, {**one, "training": {"epochs": 4, "rates": []}})
    assert said.startswith("training.rates: expected [0, 1, 2, ") and said.endswith("..., got []") and len(said) < 120
    assert difference(one, {**one, "new": 1}) == "new: expected nothing, got 1"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(record: RunRecord, tmp_path: Path, number: str) -> None:
    path = written(record, tmp_path / "r.json")
    path.write_text(path.read_text().replace("73.1", number))
    with pytest.raises(RecordError, match=r"r\.json"):
        load_record(path)


def test_a_file_that_is_no_record(tmp_path: Path) -> None:
    for text in ("[]", "3", "null"):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(RecordError, match="expected an object"):
            load_record(tmp_path / "r.json")
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

    plain = ("exp", {"a": 1}, {"d": "x"}, 0)
    changes = (("other",), ("exp", {"a": 2}), ("exp", {"a": 1}, {"d": "y"}), ("exp", {"a": 1}, {"d": "x"}, 1))
    ids = {run_id(*plain), *(run_id(*change, *plain[len(change) :]) for change in changes)}  # type: ignore[misc]
    assert len(ids) == 5, "it changes with every part"
    with pytest.raises(UsageError, match="settings of exp"):
        run_id("exp", {"path": Path("x")}, {}, 0)


def test_the_generated_schema_names_every_field(record: RunRecord) -> None:
    schema = adapter(RunRecord).json_schema()
    assert {*schema["properties"], "schema_version", "digest"} == set(record.to_json())
    assert set(schema["properties"]) - set(schema["required"]) == {"absent"}, "older records have none"


def test_a_metric_without_a_number_is_kept_with_its_reason(record: RunRecord, tmp_path: Path) -> None:
    told = replace(record, absent={"top1_error": "diverged, the loss is not finite at step 12"})
    assert load_record(written(told, tmp_path / "r.json")) == told
    fields = record.to_json()
    del fields["absent"]
    write_json(tmp_path / "old.json", fields | {"digest": content_digest(fields)})
    assert load_record(tmp_path / "old.json").absent == {}


def test_a_metric_is_measured_or_absent_and_not_both(record: RunRecord, tmp_path: Path) -> None:
    name = next(iter(record.metrics))
    with pytest.raises(WorkError, match=f"'{name}' is both measured and absent"):
        replace(record, absent={name: "diverged"})
    for absent, message in (({name: "diverged"}, "both measured and absent"), ({"other": ""}, r"absent\.other")):
        with pytest.raises(RecordError, match=message):
            load_record(written(record, tmp_path / "r.json", absent=absent))
