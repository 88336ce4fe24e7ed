"""Keys of `snakemake --config`, and JSON schemas for editors."""

import json
from pathlib import Path

import pytest

from efficiency_bench.commands.showing import SchemasOptions, run_schemas
from efficiency_bench.workflow.config import Config, check_asked, read_config
from efficiency_core.errors import UsageError


def test_the_data_root_is_given_or_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFFICIENCY_DATA", raising=False)
    assert read_config({}) == Config(data_root="")
    monkeypatch.setenv("EFFICIENCY_DATA", str(tmp_path))
    assert read_config({"results": "out/", "mix_devices": True}) == Config("quick", str(tmp_path), "auto", "out", True)
    assert read_config({"data_root": ""}).data_root == "", "none is not the same as not given"


def test_true_and_false_may_be_written_as_in_yaml() -> None:
    """Snakemake hands `--config worker=false` over as text, `worker=False` as a truth value."""
    found = read_config({"worker": "false", "mix_devices": "true", "cluster": True})
    assert (found.worker, found.mix_devices, found.cluster) == (False, True, True)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("results/table2_4.csv", "results/table2_4.csv: results are in out; ask for out/table2_4.csv"),
        ("/else/claims.csv", "/else/claims.csv: results are in out; ask for out/claims.csv"),
        ("out/tabel2_4.csv", "out/tabel2_4.csv: no such result; did you mean out/table2_4.csv?"),
        ("out/clams.csv", "out/clams.csv: no such result; did you mean out/claims.csv?"),
    ],
)
def test_a_result_in_a_wrong_place_or_misspelt_is_named(asked: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_asked(["all", asked], "out", ["table2_4", "fig2_4", "claims"])
    assert str(caught.value) == expected


def test_other_files_and_rules_may_be_asked_for() -> None:
    asked = [
        "build",
        "out/table2_4.csv",
        "out/runs/video_detection-1-s0.json",
        "data/x/table2_4.h5",
        "out/table9_9.csv",
    ]
    check_asked([*asked, "other/notes.csv", "--report", "report.html"], "out", ["table2_4", "claims"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"prset": "smoke"}, "--config: unknown key 'prset'; did you mean 'preset'?"),
        ({"device": "gpu"}, "--config: device: expected auto, cpu or cuda, got 'gpu'"),
        ({"mix_devices": "yes"}, "--config: mix_devices: expected true or false, got 'yes'"),
        ({"data_root": "/no/such"}, "data_root: /no/such is no folder"),
    ],
)
def test_a_mistake_is_refused(values: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(values)
    assert expected in str(caught.value)


def test_every_kind_of_file_has_a_schema_with_sentences(tmp_path: Path) -> None:
    run_schemas(SchemasOptions(tmp_path))
    found = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert set(found) == {"table", "figure", "claims", "preset", "data", "config", "report"}
    row = found["table"]["$defs"]["Row"]
    assert row["required"] == ["id", "keys"] and not row["additionalProperties"]
    assert row["properties"]["id"]["description"] == "Name of the row in messages, unique in its table."
    check = found["claims"]["$defs"]["Check"]
    assert check["required"] == ["kind", "values"] and "cells" not in check["properties"]
    assert {"path", "real"}.isdisjoint(found["preset"]["properties"]), "the loader adds these"
    assert found["preset"]["properties"]["preset"]["description"] == "Name of the file without `.yaml`."
