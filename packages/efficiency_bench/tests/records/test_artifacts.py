"""Arrays beside a record: written whole, listed in the record, and never another run's."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from efficiency_bench.records.artifacts import Example, artifacts_path, load_artifacts, write_artifacts
from efficiency_bench.records.run_record import Metric, RunRecord
from efficiency_core.errors import UsageError, WorkError


def a_record(protocol: dict[str, object]) -> RunRecord:
    return RunRecord(
        run_id="detection-00000000-s0", experiment="detection", kind="train", preset="quick", settings={}, seed=0,
        metrics={"map": Metric(1.0, "%")}, protocol=protocol, data={}, packages={}, sources={},
        git={"commit": None, "dirty": None}, device={}, started="2026-11-22T17:20:00Z", duration_s=1.0,
    )  # fmt: skip


def an_example() -> Example:
    return Example.of(
        frames=np.arange(3 * 4 * 5).reshape(3, 4, 5),
        index=[8, 9, 10],
        true=[[[0, 0, 2, 2]], [[1, 0, 3, 2], [2, 2, 4, 4]], np.zeros((0, 4))],
        found=[[[0, 0, 2, 3]], [], [[1, 1, 2, 2]]],
        keyframe=[True, False, False],
        true_labels=[["six"], ["six", "one"], []],
        found_labels=[["six"], [], ["eleven"]],
        scores=[[0.75], [], [0.5]],
    )


def test_an_example_is_padded_where_a_frame_has_fewer_boxes() -> None:
    example = an_example()
    assert example.true.shape == (3, 2, 4) and example.found.shape == (3, 1, 4) and example.frames.dtype == np.uint8
    assert np.isfinite(example.true[..., 0]).tolist() == [[True, False], [True, True], [False, False]]
    assert example.true_labels.tolist() == [["six", ""], ["six", "one"], ["", ""]]
    assert example.found_labels.tolist() == [["six"], [""], ["eleven"]], "no name is cut short"
    assert example.scores[0, 0] == 0.75 and np.isnan(example.scores[1, 0])


def test_labels_and_scores_may_be_left_out() -> None:
    example = Example.of(np.zeros((2, 4, 4, 3)), [0, 1], [[], []], [[[0, 0, 1, 1]], []])
    assert example.true.shape == (2, 0, 4) and example.found_labels.tolist() == [[""], [""]]
    assert np.isnan(example.scores).all() and not example.keyframe.any()


def test_entries_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one entry for each of 2 frames, got 1"):
        Example.of(np.zeros((2, 4, 4)), [0, 1], [[], []], [[]])
    with pytest.raises(ValueError, match="one label for each of 1 boxes, got 2"):
        Example.of(np.zeros((1, 4, 4)), [0], [[]], [[[0, 0, 1, 1]]], found_labels=[["a", "b"]])


def test_artifacts_come_back_as_they_were_and_the_same_bytes_twice(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    protocol = write_artifacts(record, an_example().arrays("six"))
    assert protocol["artifacts"]["file"] == "run.npz"
    assert protocol["artifacts"]["arrays"]["six/frames"] == ["uint8", 3, 4, 5]
    first = artifacts_path(record).read_bytes()
    arrays = load_artifacts(record, a_record(protocol))
    again = Example.read(arrays, "six", "run")
    for field in dataclasses.fields(Example):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(an_example(), field.name))
    assert write_artifacts(record, an_example().arrays("six")) == protocol
    assert artifacts_path(record).read_bytes() == first
    with pytest.raises(UsageError, match="run: has no example 'four'; it hands over six"):
        Example.read(arrays, "four", "run")


def test_a_run_without_artifacts_leaves_none_and_removes_an_older_runs(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    write_artifacts(record, {"a": np.zeros(3)})
    assert write_artifacts(record, {}) == {} and not artifacts_path(record).exists()
    with pytest.raises(UsageError, match="handed over no arrays to draw; experiment detection leaves none"):
        load_artifacts(record, a_record({}))


def test_a_file_that_is_not_the_records_own_is_refused(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    protocol = write_artifacts(record, {"a": np.zeros(3)})
    write_artifacts(record, {"a": np.ones(3)})
    with pytest.raises(UsageError, match=r"not the file its record was written with; remove .*run.json and run it"):
        load_artifacts(record, a_record(protocol))
    artifacts_path(record).unlink()
    with pytest.raises(UsageError, match="is not there although its record is"):
        load_artifacts(record, a_record(protocol))


def test_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="artifact 'a': expected an array of numbers or text"):
        write_artifacts(tmp_path / "run.json", {"a": np.array([{}])})
    assert list(tmp_path.iterdir()) == []
