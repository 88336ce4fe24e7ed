"""Tables and figures of chapter 4 share their runs and know the real data sets."""

from pathlib import Path
from typing import Any

from efficiency_core.settings import flatten

TABLES = ["table4_1", "table4_2", "table4_3"]
FIGURES = ["fig4_1", "fig4_3", "fig4_4", "fig4_5"]


def matching(workflow: Any, names: list[str], preset: str, root: Path | None = None) -> dict[str, Any]:
    found = workflow.runs(names, preset, root)
    return {run_id: run for run_id, run in found.items() if run.experiment == "image_matching"}


def test_tables_and_figures_share_their_runs(workflow: Any) -> None:
    of = {name: matching(workflow, [name], "paper") for name in (*TABLES, *FIGURES)}
    seeds = len(workflow.preset("paper").seeds)
    assert len(of["table4_2"]) == 9 * seeds and len(of["table4_3"]) == 12 * seeds
    assert of["table4_1"].keys() < of["table4_2"].keys() | of["table4_3"].keys()
    upper = {run_id for run_id, run in of["table4_2"].items() if run.settings["training"]["method"] == "siamese_da"}
    assert len(upper) == 3 * seeds and upper < of["table4_3"].keys(), "SiameseDA is in both"
    assert of["fig4_3"].keys() < of["fig4_4"].keys() < of["table4_3"].keys(), "figures draw runs of tables"
    ten = {run_id for run_id, run in of["fig4_5"].items() if run.settings["outlier_share"] == 0.1}
    assert len(ten) == 3 * seeds and ten < of["table4_3"].keys()
    assert sorted({run.settings["outlier_share"] for run in of["fig4_5"].values()}) == [0.05, 0.1, 0.2, 0.3, 0.4]


def test_rows_differ_in_the_method_alone(workflow: Any, preset: str) -> None:
    method = {"training.method", "features", "outlier_share", "front"}
    recipes = [
        {key: value for key, value in flatten(run.settings).items() if key not in method}
        for run in matching(workflow, [*TABLES, *FIGURES], preset).values()
    ]
    assert recipes and all(recipe == recipes[0] for recipe in recipes)


def test_real_sets_are_read_in_their_own_layout(workflow: Any, tmp_path: Path) -> None:
    for place in ("office31/dslr", "office31/amazon", "office31/webcam", "pitts_cyclegan"):
        (tmp_path / place).mkdir(parents=True)
    for split in ("train", "test"):
        (tmp_path / "pitts_cyclegan" / f"{split}.h5").touch()
    variants = workflow.variants("paper", tmp_path)
    for name, kind in (("office31", "office31"), ("pitts_cyclegan", "image-set")):
        assert variants[name].files == ("train.index.json", "test.index.json")
        how = variants[name].read["test.index.json"]
        assert (how.package, how.format, how.root, how.split) == ("outlier_matching", kind, name, "test")
    settings = {run.data["shape"]: run.settings for run in matching(workflow, ["table4_3"], "paper", tmp_path).values()}
    assert {folder: one["network"]["backbone"] for folder, one in settings.items()} == {
        "shape-drawn": "small_dbn",
        "office31-office31": "alexnet",
        "pitts_cyclegan-pittsburgh": "alexnet",
    }
    network, training = settings["office31-office31"]["network"], settings["office31-office31"]["training"]
    assert (training["weights"], network["trained"], network["size"]) == ("IMAGENET1K_V1", "thesis", 227)
    expected = {"epochs": 40, "warmup_epochs": 0, "batch": 64, "gamma": 1.0, "eta": 1.5}
    expected |= {"learning_rate": 0.0001, "head_learning_rate": 0.001}
    assert {name: training[name] for name in expected} == expected and network["dropout"] == 0.5, "the release's"


def test_the_smallest_preset_runs_every_method_once(workflow: Any) -> None:
    found, trained = workflow.runs([*TABLES, *FIGURES], "smoke"), matching(workflow, [*TABLES, *FIGURES], "smoke")
    assert len(trained) == 10 and len(found) == 12
    methods = {(run.settings["features"], run.settings["training"]["method"]) for run in trained.values()}
    assert {("sift_fv", "da_outlier_detection"), ("network", "siamese"), ("network", "siamese_da")} <= methods
    assert len(methods) == 4
    assert {run.experiment for run in found.values()} == {"image_matching", "matching_toy", "matching_cost"}


def test_figures_show_the_method_with_a_tenth_of_outliers(workflow: Any) -> None:
    share = {"training": {"method": "da_outlier_detection"}, "outlier_share": 0.1}
    (panel,) = (panel for panel in workflow.figures["fig4_3"].panels if panel.id == "shape")
    assert dict(panel.settings) == share
    for panel in workflow.figures["fig4_4"].panels:
        parts = {part.label: dict(part.settings) for part in panel.parts}
        assert list(parts) == ["SiameseDA", "DA+OutlierDetection", "SiameseDAOut"]
        assert parts["DA+OutlierDetection"] == share and parts["SiameseDAOut"]["outlier_share"] == 0.1
