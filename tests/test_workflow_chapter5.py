"""Tables and figures of chapter 5: they hold what the thesis prints, share their runs, and know the real data sets."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from efficiency_bench.data_sets import choose_variants, load_data_sets, with_real_settings
from efficiency_bench.figures import figure_runs, find_figures
from efficiency_bench.plan import RunSpec, runs_needed, with_starts
from efficiency_bench.presets import Preset, check_targets, find_preset
from efficiency_bench.tables import Row, Table, find_tables

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "workflows" / "config"
EVERY_TABLE, EVERY_FIGURE = (
    find(ROOT / "workflows" / kind) for find, kind in ((find_tables, "tables"), (find_figures, "figures"))
)
TABLES = {name: table for name, table in EVERY_TABLE.items() if name.startswith(("table5", "text5"))}
FIGURES = {name: figure for name, figure in EVERY_FIGURE.items() if name.startswith("fig5")}
DATA_SETS = load_data_sets(ROOT / "workflows" / "data.yaml")
PRESETS = ("smoke", "quick", "cpu", "paper")

# Typed from the printed thesis, apart from the YAML files: one line per row, cells divided by |.
PRINTED = {
    "table5_1": """
Baseline [36]|28.43
WA|24.92
BN [1]|23.02
BN + WA|22.39
IN [20]|25.58
IN + WA|24.63
LN [19]|26.78
LN + WA|24.01
GN [21]|25.46
GN + WA|23.64
""",
    "table5_2": """
64|Baseline [36]|6.46
64|WA|6.21
64|BN [23]|4.30
64|BN+WA|4.29
64|IN [20]|6.49
64|IN+WA|6.42
64|LN [19]|5.02
64|LN+WA|5.12
64|GN [21]|4.96
64|GN+WA|4.60
1|Baseline|7.27
1|WA|6.61
1|BN|-
1|BN+WA|-
1|IN|6.91
1|IN+WA|6.50
1|LN|6.82
1|LN+WA|5.76
1|GN|5.79
1|GN+WA|5.51
""",
    "table5_3": """
ResNet18|5.65|6.23
ResNet34|5.84|5.78
ResNet50|6.61|6.42
ResNet101|5.74|6.41
ResNet152|6.09|6.52
""",
    "table5_4": """
×|×|-|28.23
✓|×|35.74|27.97
×|✓|-|28.03
✓|✓|27.85|24.92
""",
    "table5_5": """
VGG16* (Baseline)|31.30|11.19
VGG16 (BN)*|29.58|10.16
VGG16 (WA)|29.78|10.23
VGG16 (BN+WA)|27.07|8.78
ResNet50 (Baseline)† [36]|27.60|-
ResNet50 (BN)*|24.89|7.71
ResNet50 (WA)|26.62|8.91
ResNet50 (BN+WA)|24.04|7.12
""",
    "table5_6": """
WA|34.62|42.89|52.05|44.09|87.67|80.00|56.89
BN [1]|46.92|48.91|57.53|37.11|90.41|70.00|58.48
BN + WA|49.23|36.38|58.90|40.00|91.78|76.92|58.87
GN [21]|46.92|42.89|50.68|39.76|82.19|75.38|56.30
GN + WA|46.15|54.46|50.68|37.83|87.67|78.46|59.21
IN [20]|36.92|33.98|41.10|37.11|84.93|76.92|51.83
IN + WA|39.23|41.45|38.36|38.07|90.41|73.85|53.56
LN [19]|37.69|29.89|45.20|33.97|79.45|69.23|49.24
LN + WA|50.77|42.89|56.16|41.69|91.78|80.77|60.68
""",
    "text5_4": """
5.4.3|CIFAR-100|VGG16|WN|1|6.8|-
5.4.3|CIFAR-100|VGG16|WA|1|4.8|-
5.4.3|CIFAR-100|VGG16|GN|1|7.4|-
5.4.3|CIFAR-100|VGG16|WN|64|8.6|-
5.4.3|CIFAR-100|VGG16|WA|64|5.4|-
5.4.3|CIFAR-100|VGG16|BN|64|5.8|-
5.4.3|CIFAR-100|VGG16|GN|64|11.0|-
5.4.3|CIFAR-100|ResNet50|WN|64|-|-
5.4.3|CIFAR-100|ResNet50|BN, fine-tuned with WA|64|22.38|-
5.4.4|PASCAL VOC 2012|DeepLabv3, ResNet50|BN|4|-|73.80
5.4.4|PASCAL VOC 2012|DeepLabv3, ResNet50|BN+WA|4|-|74.87
""",
}
# What contradicts itself in the thesis -> where a note says so.
CONTRADICTIONS = {
    ("table5_1", "wa"): "24.92 for ResNet18 too",
    ("table5_2", "wa_64"): "Table 5.3 gives 6.42",
    ("table5_2", "bn_64"): "[23]",
    ("table5_2", "ln_wa_64"): "worse than LN alone",
    ("table5_3", "resnet50"): "Table 5.2 gives 6.21",
    ("table5_4", "both"): "24.92 for ResNet50 too",
    ("table5_6", "bn_wa"): "against the text",
    ("table5_6", "gn_wa"): "against the text",
    ("table5_6", "ln"): "no multiple of 1/415",
    ("text5_4", "vgg16_wn_1"): "can only be CIFAR-10",
    ("text5_4", "resnet50_bn_fine_tuned"): "22.39",
    ("text5_4", "segmentation_bn"): "1,499",
    ("text5_4", "segmentation_bn_wa"): "74.87 - 73.80 is 1.07",
}


def as_printed(table: Table, row: Row) -> list[str]:
    """A row's cells as the thesis prints them."""
    keys = {name: row.keys.get(name, "") for name in table.keys}
    reference = keys.pop("reference", "")
    if reference:
        keys["method"] += f" {reference}"
    return [*keys.values(), *(row.reported.get(m.name, "-") for m in table.metrics.values() if m.printed)]


@pytest.mark.parametrize("name", PRINTED)
def test_a_table_holds_what_the_thesis_prints(name: str) -> None:
    table = TABLES[name]
    assert [as_printed(table, row) for row in table.rows] == [
        line.split("|") for line in PRINTED[name].strip().splitlines()
    ]
    assert all(row.measures for row in table.rows), "this project has every method of the chapter"


def test_every_table_and_figure_is_there() -> None:
    assert list(TABLES) == ["table5_1", "table5_2", "table5_3", "table5_4", "text5_4", "table5_5", "table5_6"]
    assert list(FIGURES) == [f"fig5_{number}" for number in range(2, 13)], "5.1 is a drawing of the method"


def test_averages_of_table_5_6_are_those_of_its_cells() -> None:
    table = TABLES["table5_6"]
    directions = [name for name in table.metrics if len(name) == 3 and name != "avg"]
    assert len(directions) == 6
    for row in table.rows:
        mean = sum(float(row.reported[name]) for name in directions) / 6
        assert f"{mean:.2f}" == row.reported["avg"] or abs(mean - float(row.reported["avg"])) <= 0.0051, row.id


def test_what_contradicts_itself_is_noted() -> None:
    for (name, row_id), words in CONTRADICTIONS.items():
        (row,) = (row for row in TABLES[name].rows if row.id == row_id)
        assert words in " ".join(row.note.split()), (name, row_id)


def preset_of(name: str) -> Preset:
    return with_real_settings(find_preset(CONFIG, name), DATA_SETS)


def runs(names: Iterable[str], preset: Preset, root: str = "") -> dict[str, RunSpec]:
    """The runs of some tables and figures by their ids."""
    folders = {name: made.folder for name, made in choose_variants(DATA_SETS, preset, root).items()}
    wanted = list(names)
    needed = [
        *runs_needed([TABLES[name] for name in wanted if name in TABLES], preset, folders),
        *figure_runs([FIGURES[name] for name in wanted if name in FIGURES], preset, folders),
    ]
    return {run.run_id: run for run in needed}


def trained(found: dict[str, RunSpec]) -> dict[str, RunSpec]:
    return {run_id: run for run_id, run in found.items() if run.experiment == "image_classification"}


def test_tables_and_figures_share_their_runs() -> None:
    preset = replace(preset_of("paper"), seeds=(0,))
    of = {name: trained(runs([name], preset)) for name in (*TABLES, *FIGURES)}
    counts = {name: len(found) for name, found in of.items()}
    assert counts | {"fig5_2": 0} == counts and {counts[f"fig5_{n}"] for n in (7, 8)} == {0}, "these need no training"
    assert [counts[f"table5_{n}"] for n in range(1, 6)] == [10, 20, 10, 8, 8] and counts["text5_4"] == 9
    # CIFAR-100 and ImageNet have CIFAR-10's stand-in, so tables that differ in the data alone have the same runs.
    assert of["table5_1"].keys() < of["table5_2"].keys()
    for number in (4, 5, 9, 10, 11, 12):
        assert of[f"fig5_{number}"].keys() <= of["table5_1"].keys(), f"figure 5.{number} draws runs of table 5.1"
    whole = set().union(*(of[f"table5_{n}"] for n in range(1, 6)))
    assert len(of["fig5_6"].keys() - whole) == 3, "its own are the factors other than the thesis's"
    assert len(of["fig5_3"].keys() - whole) == 16


def test_table_5_6_starts_from_the_networks_of_table_5_1() -> None:
    for name in PRESETS:
        preset = find_preset(CONFIG, name)
        adapted = runs(["table5_6"], preset)
        starts = {run.start.run_id for run in adapted.values() if run.start is not None}
        assert len(starts) == len(adapted) == 9 * len(preset.seeds)
        assert starts < trained(runs(["table5_1"], preset)).keys(), "all but the baseline"
    (tuned,) = (run for run in runs(["text5_4"], find_preset(CONFIG, "smoke")).values() if run.start is not None)
    assert tuned.start is not None and tuned.start.run_id in runs(["table5_1"], find_preset(CONFIG, "smoke"))


def test_rows_differ_in_the_method_alone() -> None:
    method = {
        "backbone", "norm", "align", "centre", "variance", "batch_size", "scale_factor", "fixup", "start"
    }  # fmt: skip
    for name in PRESETS:
        for target in (*TABLES, *FIGURES):
            for experiment in ("image_classification", "domain_adaptation", "semantic_segmentation"):
                recipes = [
                    {key: value for key, value in run.settings.items() if key not in method}
                    for run in runs([target], find_preset(CONFIG, name)).values()
                    if run.experiment == experiment
                ]
                assert all(recipe == recipes[0] for recipe in recipes), (name, target, experiment)


def test_the_thesiss_protocol_is_the_largest_preset() -> None:
    found = runs(TABLES, preset_of("paper")).values()
    wanted = {"backbone": "resnet50", "norm": "gn", "align": False, "batch_size": 64}
    (full,) = (
        run
        for run in found
        if run.experiment == "image_classification" and run.seed == 0 and wanted.items() <= run.settings.items()
    )
    expected = {"width": 64, "epochs": 300, "images": 0, "learning_rate": 0.01, "single_learning_rate": 0.001}
    expected |= {"milestones": [0.5, 0.75], "weight_decay": 0.0005, "schedule": "step", "clip_norm": 0.0}
    assert {name: full.settings[name] for name in expected} == expected
    (segmented, *_) = (run for run in found if run.experiment == "semantic_segmentation")
    assert (segmented.settings["epochs"], segmented.settings["batch_size"], segmented.settings["learning_rate"]) == (
        50,
        4,
        0.007,
    )


def test_stand_ins_where_there_is_no_real_data() -> None:
    folders = {
        name: made.folder.partition("-")[0] for name, made in choose_variants(DATA_SETS, preset_of("paper"), "").items()
    }
    assert {folders[name] for name in ("cifar10", "cifar100", "imagenet")} == {"coloured_shapes"}
    assert (folders["office31_domains"], folders["voc2012"]) == ("objects_domains", "shape_scenes")


def test_cifar_10_stands_in_where_it_alone_is_there(tmp_path: Path) -> None:
    for place in ("cifar10/train", "cifar10/test"):
        (tmp_path / place).mkdir(parents=True)
    variants = choose_variants(DATA_SETS, preset_of("paper"), str(tmp_path))
    assert {variants[name].folder for name in ("cifar10", "cifar100", "imagenet")} == {"cifar10-jpeg"}
    how = variants["cifar100"].read["test.index.json"]
    assert (how.package, how.format, how.name, how.source) == ("weight_align", "image-folder", "CIFAR-10", "JPEG")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-100-python").mkdir()
    variants = choose_variants(DATA_SETS, preset_of("paper"), str(tmp_path))
    assert variants["cifar10"].folder == "cifar10-batches" and variants["cifar100"].folder == "cifar100-python"
    preset = replace(preset_of("paper"), seeds=(0,))
    of = {name: trained(runs([name], preset, str(tmp_path))) for name in ("table5_1", "table5_2")}
    assert not of["table5_1"].keys() & of["table5_2"].keys()


def test_real_sets_bring_their_own_settings(tmp_path: Path) -> None:
    places = ("ILSVRC2012/train", "ILSVRC2012/val", "VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClass",
              "office31/amazon", "office31/dslr", "office31/webcam")  # fmt: skip
    for place in places:
        (tmp_path / place).mkdir(parents=True)
    preset = preset_of("paper")
    variants = choose_variants(DATA_SETS, preset, str(tmp_path))
    assert variants["imagenet"].folder == "imagenet-ilsvrc2012" and variants["voc2012"].folder == "voc2012-own"
    assert [dict(fold) for fold in variants["office31_domains"].read["train.index.json"].folds] == [
        {"domain": "amazon"}, {"domain": "dslr"}, {"domain": "webcam"}
    ]  # fmt: skip
    found = next(iter(trained(runs(["table5_5"], preset, str(tmp_path))).values())).settings
    assert (found["stem"], found["epochs"], found["learning_rate"], found["milestones"]) == (
        "imagenet",
        100,
        0.1,
        [0.3, 0.6, 0.9],
    )
    segmented = [
        run.settings
        for run in runs(["text5_4"], preset, str(tmp_path)).values()
        if run.experiment == "semantic_segmentation"
    ]
    assert {(one["weights"], one["crop"], one["width"], one["norm"]) for one in segmented} == {
        ("IMAGENET1K_V1", 513, 64, "bn")
    }
    (tmp_path / "VOCdevkit/VOC2012/SegmentationClassAug").mkdir()
    augmented = choose_variants(DATA_SETS, preset, str(tmp_path))["voc2012"]
    assert augmented.folder == "voc2012-augmented" and augmented.read["train.index.json"].split == "train_aug"


@pytest.mark.parametrize("name", PRESETS)
def test_settings_of_single_tables_are_of_tables_there_are(name: str) -> None:
    check_targets(find_preset(CONFIG, name), [*EVERY_TABLE, *EVERY_FIGURE])


def test_the_smallest_preset_has_few_runs() -> None:
    found = runs([*TABLES, *FIGURES], find_preset(CONFIG, "smoke"))
    counts: dict[str, int] = {}
    for run in with_starts(found.values()):
        counts[run.experiment] = counts.get(run.experiment, 0) + 1
    assert counts == {
        "image_classification": 31,
        "domain_adaptation": 9,
        "semantic_segmentation": 2,
        "activation_distributions": 1,
        "weight_align_cost": 5,
    }
