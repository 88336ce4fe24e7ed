"""Tables and figures of chapter 4: they hold what the thesis prints, share their runs, and know the real data sets."""

from pathlib import Path

import pytest

from efficiency_bench.data_sets import choose_variants, load_data_sets, with_real_settings
from efficiency_bench.figures import figure_runs, find_figures
from efficiency_bench.plan import RunSpec, runs_needed
from efficiency_bench.presets import Preset, find_preset
from efficiency_bench.tables import Row, Table, find_tables

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "workflows" / "config"
TABLES = {name: t for name, t in find_tables(ROOT / "workflows" / "tables").items() if name.startswith("table4")}
FIGURES = {name: f for name, f in find_figures(ROOT / "workflows" / "figures").items() if name.startswith("fig4")}
DATA_SETS = load_data_sets(ROOT / "workflows" / "data.yaml")

# From the printed thesis, apart from the YAML files: one line per row, cells divided by |.
PRINTED = {
    "table4_2": """
SIFT + Fisher Vector|2.5 ± 0.4|3.6 ± 0.3|3.4 ± 0.3|3.5 ± 0.2|12.0 ± 0.5|3.5 ± 0.1|0.04|0.8 ± 0.05|0.3 ± 0.03
Siamese|8.3 ± 0.1|95.0 ± 0.2|31.7 ± 0.6|10.7 ± 0.5|99.2 ± 0.2|77.2 ± 0.3|0.2 ± 0.01|81.3 ± 0.3|60.6 ± 0.5
SiameseDA|26.4 ± 0.2|53.1 ± 0.1|46.2 ± 0.1|29.1 ± 0.1|99.7 ± 0.1|77.5 ± 0.2|0.4 ± 0.01|80.4 ± 0.1|59.5 ± 0.1
""",
    "table4_3": """
SiameseDA|26.4 ± 0.2|29.1 ± 0.1|0.4 ± 0.01
DA+OutlierDetection|11.9 ± 0.1|15.9 ± 0.2|1.1 ± 0.03
SiameseDAOut|5.4 ± 0.1|6.8 ± 0.1|0.2 ± 0.01
""",
}
PRINTED_4_1 = """
Domain adaptive image matching|SIFT + Fisher Vector|[11, 27]|trained on the source domain data
Domain adaptive image matching|Siamese network|[5]|trained on the source domain image pairs
Effectiveness of outlier detection|SiameseDA (upper bound)||trained without outliers
Effectiveness of outlier detection|SiameseDAOut (lower bound)||SiameseDA trained with outliers
"""
SHARE = {"method": "da_outlier_detection", "outlier_share": 0.1}


def lines(text: str) -> list[list[str]]:
    return [line.split("|") for line in text.strip().splitlines()]


def printed_rows(table: Table) -> list[Row]:
    """The rows that the thesis has; those this project adds come after them and say so."""
    added = [row for row in table.rows if row.note.startswith("added")]
    printed = [row for row in table.rows if not row.note.startswith("added")]
    assert [*printed, *added] == list(table.rows)
    assert [row.id for row in added] == ([] if table.number == "4.2" else ["isolation_forest"])
    assert not any(row.reported for row in added)
    return printed


@pytest.mark.parametrize("name", PRINTED)
def test_a_table_holds_what_the_thesis_prints(name: str) -> None:
    table = TABLES[name]
    metrics = [column for column in table.metrics.values() if column.printed]
    found = [
        [row.keys["method"]]
        + [
            " ± ".join(values[m.name] for values in (row.reported, row.reported_std) if m.name in values)
            for m in metrics
        ]
        for row in printed_rows(table)
    ]
    assert found == lines(PRINTED[name])


def test_the_baselines_are_those_of_the_thesis() -> None:
    table = TABLES["table4_1"]
    assert [[row.keys.get(key, "") for key in table.keys] for row in printed_rows(table)] == lines(PRINTED_4_1)
    assert not any(column.printed for column in table.metrics.values()), "it prints words alone"


def runs(names: list[str], preset: Preset, root: str = "") -> dict[str, RunSpec]:
    """The runs of some tables and figures by their ids."""
    folders = {name: made.folder for name, made in choose_variants(DATA_SETS, preset, root).items()}
    tables = [TABLES[name] for name in names if name in TABLES]
    figures = [FIGURES[name] for name in names if name in FIGURES]
    needed = [*runs_needed(tables, preset, folders), *figure_runs(figures, preset, folders)]
    return {run.run_id: run for run in needed}


def matching(found: dict[str, RunSpec]) -> dict[str, RunSpec]:
    return {run_id: run for run_id, run in found.items() if run.experiment == "image_matching"}


def test_tables_and_figures_share_their_runs() -> None:
    preset = find_preset(CONFIG, "paper")
    assert list(FIGURES) == ["fig4_1", "fig4_3", "fig4_4", "fig4_5"]
    of = {name: matching(runs([name], preset)) for name in (*TABLES, *FIGURES)}
    seeds = len(preset.seeds)
    assert len(of["table4_2"]) == 9 * seeds and len(of["table4_3"]) == 12 * seeds
    assert of["table4_1"].keys() < of["table4_2"].keys() | of["table4_3"].keys()
    upper = {run_id for run_id, run in of["table4_2"].items() if run.settings["method"] == "siamese_da"}
    assert len(upper) == 3 * seeds and upper < of["table4_3"].keys(), "SiameseDA is in both"
    assert of["fig4_3"].keys() < of["fig4_4"].keys() < of["table4_3"].keys(), "figures draw runs of tables"
    ten = {run_id for run_id, run in of["fig4_5"].items() if run.settings["outlier_share"] == 0.1}
    assert len(ten) == 3 * seeds and ten < of["table4_3"].keys()
    assert sorted({run.settings["outlier_share"] for run in of["fig4_5"].values()}) == [0.05, 0.1, 0.2, 0.3, 0.4]


def test_rows_differ_in_the_method_alone() -> None:
    method = {"method", "outlier_share", "front"}
    for name in ("smoke", "quick", "paper"):
        found = matching(runs([*TABLES, *FIGURES], find_preset(CONFIG, name)))
        recipes = [{key: value for key, value in run.settings.items() if key not in method} for run in found.values()]
        assert recipes and all(recipe == recipes[0] for recipe in recipes)


def test_stand_ins_where_there_is_no_real_data() -> None:
    folders = {
        name: made.folder.partition("-")[0] for name, made in choose_variants(DATA_SETS, preset_of("paper"), "").items()
    }
    assert (folders["office31"], folders["pitts_cyclegan"], folders["shape"]) == ("objects", "pitts_town", "shape")


def preset_of(name: str) -> Preset:
    return with_real_settings(find_preset(CONFIG, name), DATA_SETS)


def test_real_sets_are_read_in_their_own_layout(tmp_path: Path) -> None:
    for place in ("office31/dslr", "office31/amazon", "office31/webcam", "pitts_cyclegan"):
        (tmp_path / place).mkdir(parents=True)
    for split in ("train", "test"):
        (tmp_path / "pitts_cyclegan" / f"{split}.h5").touch()
    preset = preset_of("paper")
    variants = choose_variants(DATA_SETS, preset, str(tmp_path))
    for name, kind in (("office31", "office31"), ("pitts_cyclegan", "image-set")):
        assert variants[name].files == ("train.index.json", "test.index.json")
        how = variants[name].read["test.index.json"]
        assert (how.package, how.format, how.root, how.split) == ("outlier_matching", kind, name, "test")
    found = matching(runs(["table4_3"], preset, str(tmp_path)))
    backbones = {run.data["shape"]: run.settings["backbone"] for run in found.values()}
    assert backbones == {
        "shape-drawn": "small_dbn",
        "office31-office31": "alexnet",
        "pitts_cyclegan-pittsburgh": "alexnet",
    }
    real = next(run.settings for run in found.values() if run.data["shape"] == "office31-office31")
    assert (real["weights"], real["trained"], real["image_size"]) == ("IMAGENET1K_V1", "thesis", 227)
    assert (real["epochs"], real["warmup_epochs"], real["batch"], real["dropout"]) == (40, 0, 64, 0.5), "the release's"
    assert (real["learning_rate"], real["head_learning_rate"], real["gamma"], real["eta"]) == (0.0001, 0.001, 1.0, 1.5)


def test_the_smallest_preset_runs_every_method_once() -> None:
    found = runs([*TABLES, *FIGURES], find_preset(CONFIG, "smoke"))
    trained = matching(found)
    assert len(trained) == 10 and len(found) == 12
    assert {run.settings["method"] for run in trained.values()} == {
        "sift_fv", "siamese", "siamese_da", "da_outlier_detection"
    }  # fmt: skip
    assert {run.experiment for run in found.values()} == {"image_matching", "matching_toy", "matching_cost"}


def test_the_method_is_what_figures_show_of_it() -> None:
    (panel,) = {panel.id: panel for panel in FIGURES["fig4_3"].panels if panel.id == "shape"}.values()
    assert dict(panel.settings) == SHARE
    for panel in FIGURES["fig4_4"].panels:
        parts = {part.label: dict(part.settings) for part in panel.parts}
        assert list(parts) == ["SiameseDA", "DA+OutlierDetection", "SiameseDAOut"]
        assert parts["DA+OutlierDetection"] == SHARE and parts["SiameseDAOut"]["outlier_share"] == 0.1
