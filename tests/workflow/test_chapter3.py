"""Tables and figures of chapter 3 share their runs, start from one network, and know the real data sets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from efficiency_bench.experiments.recognition.action_recognition import Settings
from efficiency_bench.workflow.plan import with_starts
from efficiency_bench.workflow.presets import overlaid
from efficiency_core.settings import build
from full_video import build_network

TABLES = [f"table3_{number}" for number in range(1, 9)]
FIGURES = [f"fig3_{number}" for number in range(4, 9)]


def test_tables_that_overlap_share_their_runs(workflow: Any) -> None:
    of = {name: workflow.runs([name], "paper") for name in TABLES}
    assert of["table3_6"].keys() < of["table3_3"].keys(), "the appendix adds no run"
    assert of["table3_7"].keys() < of["table3_5"].keys() and of["table3_8"].keys() < of["table3_4"].keys()
    trained = {run_id for run_id, run in of["table3_3"].items() if run.kind == "train"}
    assert trained < of["table3_2"].keys(), "on the stand-in Breakfast's two tables train the same network"
    tsn_8 = {run_id for run_id, run in of["table3_5"].items() if not run.settings["network"]["shift"]}
    assert tsn_8 and tsn_8 <= of["table3_4"].keys(), "short videos have one stand-in"


def test_figures_draw_the_runs_of_tables(workflow: Any) -> None:
    trained, drawn = workflow.runs(TABLES, "paper"), workflow.runs(FIGURES, "paper")
    assert {drawn[run_id].experiment for run_id in drawn.keys() - trained.keys()} == {"gradient_similarity"}


def test_rows_differ_in_the_method_alone(workflow: Any, preset: str) -> None:
    method = {
        "network": {"clusters": 0, "grouping": "", "shift": True},
        "training": {"sampling": {"frames": 0, "rule": ""}},
    }
    for name in TABLES:
        runs = [run for run in workflow.runs([name], preset).values() if run.experiment == "action_recognition"]
        # A table of plain rows may have one that is streamed besides.
        usual = "plain" if any(run.settings["training"]["memory"] == "plain" for run in runs) else "streamed"
        recipes = [overlaid(run.settings, method) for run in runs if run.settings["training"]["memory"] == usual]
        assert len(recipes) >= 2 and all(recipe == recipes[0] for recipe in recipes)


def test_every_row_starts_from_the_same_network(workflow: Any, preset: str) -> None:
    """Also those with a streamed stem and the networks behind the figures."""
    trained = [run for run in workflow.runs([*TABLES, *FIGURES], preset).values() if run.kind == "train"]
    for seed in workflow.preset(preset).seeds:
        starts = {run.start.run_id if run.start else "" for run in trained if run.seed == seed}
        assert len(starts) == 1 and "" not in starts
    start = trained[0].start
    assert start.start is None and start.settings["start"] == "random"
    assert (start.settings["network"]["clusters"], start.settings["training"]["sampling"]["frames"]) == (0, 8)
    assert start.data["move4mnist"].startswith("move4mnist_start")


def test_a_start_comes_before_what_starts_from_it(workflow: Any) -> None:
    runs = workflow.runs(["table3_1"], "paper").values()
    every = [run.run_id for run in with_starts(runs)]
    for run in runs:
        if run.start is not None:
            assert every.index(run.start.run_id) < every.index(run.run_id)
    assert len(every) == len(set(every)) == len(runs) + len(workflow.preset("paper").seeds)


def test_pretrained_weights_need_no_start(workflow: Any, tmp_path: Path) -> None:
    (tmp_path / "Breakfast" / "P03").mkdir(parents=True)
    (tmp_path / "Breakfast" / "P54").mkdir()
    for preset in ("quick", "paper"):
        trained = [run for run in workflow.runs(["table3_3"], preset, tmp_path).values() if run.kind == "train"]
        assert trained and all(run.start is None and run.settings["weights"] for run in trained)
        networks = {(run.settings["network"]["width"], run.settings["training"]["optimizer"]) for run in trained}
        assert networks == {(64, "sgd")}


def test_real_sets_are_read_where_the_data_root_has_them(workflow: Any, tmp_path: Path) -> None:
    places = ("UCF101/ucfTrainTestlist", "Breakfast/P03", "Breakfast/P54", "20bn-something-something-v2", "videos")
    for place in places:
        (tmp_path / place).mkdir(parents=True)
    variants = workflow.variants("paper", tmp_path)
    assert variants["move4mnist"].folder == "move4mnist-sklearn_ucf101", "backgrounds from UCF101 before other videos"
    assert variants["ucf101"].files == ("train.index.json", "test.index.json")
    assert variants["ucf101"].roots == {"train.index.json": "UCF101", "test.index.json": "UCF101"}
    assert variants["something_v2"].read["test.index.json"].split == "validation"
    assert variants["hmdb51"].folder == variants["something_v1"].folder == "move4mnist_short-sklearn_ucf101"
    of = {name: workflow.runs([name], "paper", tmp_path) for name in ("table3_2", "table3_3", "table3_4")}
    backbones = {
        name: {run.settings["network"]["backbone"] for run in found.values() if run.experiment == "action_recognition"}
        for name, found in of.items()
    }
    assert backbones["table3_2"] == {"resnet18"} and backbones["table3_3"] == {"resnet50"}
    settings = {run.data["move4mnist"]: run.settings for run in of["table3_4"].values()}
    real = settings["ucf101-ucf101"]
    assert (real["network"]["frozen_norm"], real["weights"]) == ("all", "IMAGENET1K_V1")
    assert settings["move4mnist_short-sklearn_ucf101"]["weights"] == "", "HMDB51 is not there"


def test_the_settings_of_real_sets_can_be_trained(workflow: Any) -> None:
    """A stem that is streamed needs fixed statistics in all of its layers; the network refuses otherwise."""
    recipes = [
        form.settings["paper"]["action_recognition"]
        for data_set in workflow.data_sets.values()
        for form in data_set.real
        if form.read and "action_recognition" in form.settings.get("paper", {})
    ]
    found = [build(Settings, recipe, "the recipe") for recipe in recipes]
    assert len(found) > 1 and {settings.training.memory for settings in found} == {"streamed"}
    for config in {replace(one.network, classes=2, backbone="resnet18", width=8) for one in found}:
        network = build_network(config).train()
        network.memory = "streamed"
        network(torch.zeros(1, 9, 3, 32, 32, dtype=torch.uint8)).sum().backward()


def test_a_row_whose_network_is_not_the_printed_one_says_so(workflow: Any) -> None:
    found = workflow.runs(["table3_4"], "paper").values()
    assert {run.settings["network"]["backbone"] for run in found} == {"resnet18"}
    for name in TABLES[2:]:
        table = workflow.tables[name]
        for row in table.rows:
            if row.measures:
                assert "ResNet-18 that learned motion on move4mnist_start" in row.note, f"{name}: {row.id}"
                assert ("not Kinetics" in row.note) == ("pre_train" in {*table.keys}), f"{name}: {row.id}"


def test_the_smallest_preset_trains_few_networks(workflow: Any) -> None:
    """Every row, method and memory of chapter 3 is still run."""
    found = [run.settings for run in workflow.runs(TABLES, "smoke").values() if run.kind == "train"]
    assert len(found) == 15
    assert {settings["training"]["memory"] for settings in found} == {"plain", "streamed"}
    assert {settings["network"]["grouping"] for settings in found} == {"cumulative", "slope", "uniform"}
