"""One run: its record, what it starts from, and when the work of an earlier start is dropped."""

import json
import os
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from efficiency_bench.records.artifacts import load_artifacts
from efficiency_bench.records.json_file import write_json
from efficiency_bench.run import RunContext, drop_stale_work, run_experiment
from efficiency_core.errors import UsageError
from efficiency_core.files import locked

pytestmark = pytest.mark.usefixtures("toys")


def context(shape: Path, out: str = "run.json", **more: object) -> RunContext:
    return RunContext(shape.parent / out, {"shape": shape}, device="cpu", **more)  # type: ignore[arg-type]


def test_a_run_and_its_record(toys: dict, shape: Path) -> None:
    record = run_experiment("toy", {"training": {"gamma": 1}}, context(shape, seed=3, preset="smoke"))
    assert record.run_id.startswith("toy-") and record.run_id.endswith("-s3")
    assert record.settings == {"training": {"epochs": 2, "gamma": 1.0}, "pretrained": False}
    assert record.kind == "train" and record.preset == "smoke" and record.device["type"] == "cpu"
    assert {name: metric.value for name, metric in record.metrics.items()} == {"epochs": 2.0, "error": 1.0}
    assert record.absent == {"top5": "not measured"} and record.protocol["batch"] == 4
    assert record.data["shape"] | {"digest": ""} == {
        "name": "Shape", "source": "drawn", "digest": "", "folder": "shape-drawn",
    }  # fmt: skip
    assert set(record.sources) == {"synthetic_datasets"}
    out = shape.parent / "run.json"
    assert not out.exists(), "the caller writes the record"
    assert load_artifacts(out, record)["curve"].tolist() == [0, 1, 2]
    settings = toys["toy"].settings_type()
    assert run_experiment("toy", settings, context(shape, "other.json")).settings["training"]["gamma"] == 0.5


@pytest.mark.parametrize(
    ("name", "settings", "more", "message"),
    [
        ("toy", {"training": {"epoch": 3}}, {}, "settings of toy: unknown setting 'training.epoch'; did you mean"),
        (
            "toy",
            {"training": {"epochs": 0}},
            {},
            "settings of toy: training: epochs must be at least 1, got 0|epochs must be",
        ),
        ("toy", {}, {"data": {}}, "--data shape=DIR"),
        ("toy", {}, {"data": {"shape": Path("no/such")}}, "no/such: no such folder; `synthdata build shape"),
        ("toy", {}, {"images": {"digits": Path(".")}}, "--images digits: this experiment reads shape"),
        ("toy", {}, {"images": {"shape": Path("no/such")}}, "no/such is no folder"),
        ("toy", {}, {"device": "tpu"}, "auto, cpu or cuda, got 'tpu'"),
        ("toy", {}, {"start": Path("x.json")}, "starts from no other run"),
        ("toy", {"pretrained": True}, {}, "starts from the network of a run of toy with seed 0"),
        ("clock", {}, {}, "--data shape: this experiment reads no data"),
    ],
)
def test_what_does_not_fit_is_refused(shape: Path, name: str, settings: dict, more: dict, message: str) -> None:
    given = {"out": shape.parent / "run.json", "data": {"shape": shape}, "device": "cpu"} | more
    with pytest.raises(UsageError, match=message):
        run_experiment(name, settings, RunContext(**given))


def test_a_run_starts_from_the_network_of_the_run_it_asks_for(shape: Path) -> None:
    first = context(shape, "first.json")
    record = run_experiment("toy", {"training": {"epochs": 3}}, first)
    write_json(first.out, record.to_json())
    second = run_experiment("toy", {"pretrained": True}, context(shape, "second.json", start=first.out))
    assert second.protocol["start"]["run_id"] == record.run_id
    assert (shape.parent / "second" / "network.safetensors").read_text() == "scratch"
    other = run_experiment("toy", {"training": {"epochs": 4}}, context(shape, "other.json"))
    write_json(shape.parent / "other.json", other.to_json())
    with pytest.raises(UsageError, match=r"other\.json: training\.epochs: expected 3, got 4"):
        run_experiment("toy", {"pretrained": True}, context(shape, "third.json", start=shape.parent / "other.json"))
    (first.out.with_suffix("") / "network.safetensors").unlink()
    diverged = run_experiment("toy", {"pretrained": True}, context(shape, "third.json", start=first.out))
    assert diverged.protocol["start"]["network_sha256"] == "", "its record has absent metrics and says why"
    write_json(first.out, replace(record, absent={}).to_json())
    with pytest.raises(UsageError, match="is not there any more"):
        run_experiment("toy", {"pretrained": True}, context(shape, "third.json", start=first.out))


def test_work_of_other_data_is_dropped(shape: Path, caplog: pytest.LogCaptureFixture) -> None:
    digests = set()
    for epochs, content in ((2, "train-1"), (4, "train-1"), (2, "train-2")):
        with h5py.File(shape / "train.h5", "a") as file:
            file.attrs["content_digest"] = content
        record = run_experiment("toy", {}, context(shape))
        digests.add(record.data["shape"]["digest"])
        assert record.metrics["epochs"].value == epochs
    assert len(digests) == 2 and "the data has changed" in caplog.text


def test_work_of_other_source_is_dropped_and_the_benchs_own_does_not_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    drop_stale_work(folder, {"weight_align": "a", "efficiency_bench": "a"}, {"shape": "d"})
    (folder / "training.pt").touch()
    drop_stale_work(folder, {"weight_align": "a", "efficiency_bench": "b"}, {"shape": "d"})
    (folder / "data.json").unlink()  # a run of before data were noted
    drop_stale_work(folder, {"weight_align": "a", "efficiency_bench": "b"}, {"shape": "other"})
    assert (folder / "training.pt").exists() and not caplog.text
    drop_stale_work(folder, {"weight_align": "b", "efficiency_bench": "b"}, {"shape": "d"})
    assert not (folder / "training.pt").exists() and "the source has changed" in caplog.text
    assert json.loads((folder / "sources.json").read_text()) == {"weight_align": "b"}


def test_a_folder_that_is_not_the_runs_own_is_left_alone(shape: Path) -> None:
    thesis = shape.parent / "run" / "chapter2.tex"
    thesis.parent.mkdir()
    thesis.write_text("precious")
    with pytest.raises(UsageError, match="choose another --out"):
        run_experiment("toy", {}, context(shape))
    assert thesis.read_text() == "precious"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("x5", r"x5 does not end in \.json"),
        ("x5.npz", r"does not end in \.json"),
        ("arrays.json", r"arrays\.npz: is a folder"),
        ("file.json", r"file: is a file; name a folder"),
    ],
)
def test_an_output_that_could_not_be_written_is_refused_before_the_work(shape: Path, out: str, message: str) -> None:
    (shape.parent / "arrays.npz").mkdir()
    (shape.parent / "file").touch()
    before = sorted(shape.parent.rglob("*"))
    with pytest.raises(UsageError, match=message):
        run_experiment("toy", {}, context(shape, out))
    assert sorted(shape.parent.rglob("*")) == before


def test_one_process_works_on_a_record(shape: Path) -> None:
    with (
        locked(shape.parent / "run", shape.parent / ".run.lock"),
        pytest.raises(UsageError, match=rf"{shape.parent}/run: process {os.getpid()} on .* works in this folder; wait"),
    ):
        run_experiment("toy", {}, context(shape))
    assert not (shape.parent / "run").exists() and run_experiment("toy", {}, context(shape)).metrics
    assert not list(shape.parent.glob(".*"))
