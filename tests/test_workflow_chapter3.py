"""Tables and figures of chapter 3: they hold what the thesis prints, share their runs, and know the real data sets."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from efficiency_bench.data_sets import choose_variants, load_data_sets, with_real_settings
from efficiency_bench.experiments.action_recognition import Settings
from efficiency_bench.figures import figure_runs, find_figures
from efficiency_bench.plan import RunSpec, runs_needed, with_starts
from efficiency_bench.presets import Preset, find_preset
from efficiency_bench.tables import Row, Table, find_tables
from full_video.networks import NetworkConfig, build_network

ROOT = Path(__file__).parents[1]
TABLES = {
    name: table for name, table in find_tables(ROOT / "workflows" / "tables").items() if name.startswith("table3")
}
FIGURES = {
    name: figure for name, figure in find_figures(ROOT / "workflows" / "figures").items() if name.startswith("fig3")
}
DATA_SETS = load_data_sets(ROOT / "workflows" / "data.yaml")

# From the printed thesis, apart from the YAML files: one line per row, cells divided by |, percent signs and units left out.
PRINTED = {
    "table3_1": """
TSM|8|-|14.56|1.04|90.13 ± 0.38
TSM|16|-|29.12|1.72|93.78 ± 0.33
TSM|all|-|58.24|3.15|98.83 ± 0.16
Ours-uniform|all|8|28.61|1.56|90.25 ± 0.28
Ours-slope|all|8|28.61|1.56|93.33 ± 0.19
Ours-cumulative|all|8|28.61|1.56|94.08 ± 0.25
Ours-uniform|all|16|38.51|1.79|92.73 ± 0.25
Ours-slope|all|16|38.51|1.79|94.06 ± 0.18
Ours-cumulative|all|16|38.51|1.79|95.27 ± 0.21
""",
    "table3_2": """
TSM|8|-|97.6|59.1
TSM|16|-|113.7|61.4
Ours-uniform|all|8|100.1|58.3
Ours-slope|all|8|99.6|60.7
Ours-cumulative|all|8|101.3|62.0
Ours-uniform|all|16|114.0|60.2
Ours-slope|all|16|114.5|63.7
Ours-cumulative|all|16|115.2|64.4
""",
    "table3_3": """
ResNet-152 [49]|ResNet152|64|-|41.1
ActionVLAD [49]|ResNet152|64|-|55.5
VideoGraph [49]|ResNet152|64|-|59.1
TSM (our impl.) [4]|ResNet50|16|-|72.1
Ours-slope|ResNet50|all|16|74.9
Ours-cumulative|ResNet50|all|16|76.6
""",
    "table3_4": """
TSM (our impl.) [4]|ResNet50|Kinetics|1|-|91.2|65.1
TSN [4]|ResNet50|Kinetics|8|-|91.7|64.7
SI+DI+OF+DOF [34]|ResNeXt50|Imagenet|dynamic images|-|95.0|71.5
TSM [4]|ResNet50|Kinetics|8|-|95.9|73.5
STM [50]|ResNet50|ImageNet+Kinetics|16|-|96.2|72.2
Ours-slope|TSM-ResNet50|Kinetics|all|8|96.2|73.3
Ours-cumulative|TSM-ResNet50|Kinetics|all|8|96.4|73.4
""",
    "table3_5": """
TSN [4]|8|-|19.7|30.0
TRN-Multiscale [4]|8|-|38.9|48.8
TSM [4]|8|-|45.6|59.1
TSM [4]|16|-|47.2|63.4
STM [50]|8|-|49.2|62.3
STM [50]|16|-|50.7|64.2
Ours-slope|all|8|46.7|60.2
Ours-cumulative|all|8|49.5|62.7
Ours-cumulative|all|16|51.4|65.1
""",
    "table3_6": """
ResNet152 [49]|ResNet152|-|-|64|-|41.1
ActionVLAD [49]|ResNet152|-|-|64|-|55.5
VideoGraph [49]|ResNet152|-|-|64|-|59.1
TSM (our impl.) [4]|ResNet50|-|-|16|-|72.1
I3D [49]|3D Inception-v1|✓|-|512|-|58.6
I3D + ActionVLAD [49]|3D Inception-v1|✓|-|512|-|65.5
I3D + VideoGraph [49]|3D Inception-v1|✓|-|512|-|69.5
3D ResNet-50 + Timeception [51]|3D ResNet-50|✓|-|512|-|71.3
Ours-slope|ResNet50|-|-|all|16|74.9
Ours-cumulative|ResNet50|-|-|all|16|76.6
""",
    "table3_7": """
TSN [4]|ResNet50|-|-|8|-|19.7|30.0
TRN-Multiscale [4]|ResNet50|-|-|8|-|38.9|48.8
TSM [4]|Resnet50|-|-|8|-|45.6|59.1
STM [50]|ResNet50|-|-|8|-|49.2|62.3
MSNet-R50 [52]|TSM-ResNet50|-|-|8|-|50.9|63.0
I3D [53]|I3D|✓|-|32|-|41.6|-
NL-I3D [53]|I3D|✓|-|32|-|44.4|-
NL-I3D+GCN [53]|I3D|✓|-|32|-|46.1|-
S3D-G [54]|Inception|✓|-|64|-|48.2|-
ECO [2]|BNIncep+3D Res18|✓|-|8|-|39.6|-
ECO [2]|BNIncep+3D Res18|✓|-|16|-|41.4|-
ECO-En Lite [2]|BNIncep+3D Res18|✓|-|92|-|46.4|-
ECO-En Lite-RGB+Flow [2]|BNIncep+3D Res18|✓|✓|92+92|-|49.5|-
DFB-Net [55]|3D ResNet50|✓|-|16|-|50.1|-
Ours-slope|TSM-ResNet50|-|-|all|8|46.7|60.2
Ours-cumulative|TSM-ResNet50|-|-|all|8|49.5|62.7
""",
    "table3_8": """
TSM (our impl.) [4]|ResNet50|Kinetics|-|-|1|-|91.2|65.1
TSN [4]|ResNet50|Kinetics|-|-|8|-|91.7|64.7
SI+DI+OF+DOF [34]|ResNeXt150|Imagenet|-|✓|dynamic images|-|95.0|71.5
TSM [4]|ResNet50|Kinetics|-|-|8|-|95.9|73.5
STM [50]|ResNet50|ImageNet+Kinetics|-|-|16|-|96.2|72.2
MSNet-R50 [52]|TSM-ResNet50|Kinetics|-|-|8|-|-|75.8
ECO-En Lite [2]|BNIncep+3D Res18|Kinetics|✓|-|8|-|94.8|72.4
RGB I3D [1]|3D Inception-v1|Kinetics|✓|-|64|-|95.1|74.3
Two-stream I3D [1]|3D Inception-v1|Kinetics|✓|✓|64+64|-|97.8|80.9
Ours-slope|TSM-ResNet50|Kinetics|-|-|all|8|96.2|73.3
Ours-cumulative|TSM-ResNet50|Kinetics|-|-|all|8|96.4|73.4
""",
}
METRICS = {
    "table3_1": ("flops_g", "memory_gb", "top1"),
    "table3_2": ("train_s_per_epoch", "top1"),
    "table3_3": ("top1",),
    "table3_4": ("top1_ucf101", "top1_hmdb51"),
    "table3_5": ("top1_v1", "top1_v2"),
    "table3_6": ("top1",),
    "table3_7": ("top1_v1", "top1_v2"),
    "table3_8": ("top1_ucf101", "top1_hmdb51"),
}
ADDED = {
    "table3_1": ["streamed_8", "streamed_16", "mgsampler_8", "mgsampler_16", "tsn_8"],
    "table3_2": ["mgsampler_16"],
    "table3_3": ["mgsampler_16"],
    "table3_4": ["mgsampler_8"],
    "table3_5": ["mgsampler_8"],
}


def printed_and_added(table: Table) -> tuple[Table, list[Row]]:
    """The table as the thesis prints it, and the rows this project adds after it, which say so."""
    added = [row for row in table.rows if row.note.startswith("added")]
    printed = [row for row in table.rows if not row.note.startswith("added")]
    assert [*printed, *added] == list(table.rows)
    assert not any(row.reported for row in added)
    return replace(table, rows=tuple(printed)), added


def as_printed(table: Table, row: Row, metrics: tuple[str, ...]) -> list[str]:
    """A row's cells as the thesis prints them."""
    method = f"{row.keys['method']} {row.keys.get('reference', '')}".strip()
    others = [row.keys[name].replace("yes", "✓") for name in table.keys if name not in ("method", "reference")]
    values = []
    for name in metrics:
        value, spread = row.reported.get(name, "-"), row.reported_std.get(name)
        values.append(f"{value} ± {spread}" if spread else value)
    return [method, *others, *values]


@pytest.mark.parametrize("name", PRINTED)
def test_a_table_holds_what_the_thesis_prints(name: str) -> None:
    table, added = printed_and_added(TABLES[name])
    cells = [line.split("|") for line in PRINTED[name].strip().splitlines()]
    assert [as_printed(table, row, METRICS[name]) for row in table.rows] == cells
    assert [row.id for row in added] == ADDED.get(name, [])
    assert all("needs" in row.missing for row in table.rows if not row.measures)


def test_what_this_project_has_is_measured_and_nothing_else() -> None:
    for table in TABLES.values():
        own = {row.id for row in table.rows if row.keys["method"].startswith(("TSM", "TSN", "Ours"))}
        assert {row.id for row in table.rows if row.measures} == own


def runs(name: str, preset: Preset, root: str = "") -> dict[str, RunSpec]:
    """The runs of one table by their ids."""
    folders = {name: made.folder for name, made in choose_variants(DATA_SETS, preset, root).items()}
    return {run.run_id: run for run in runs_needed([TABLES[name]], preset, folders)}


def test_tables_that_overlap_share_their_runs() -> None:
    preset = find_preset(ROOT / "workflows" / "config", "paper")
    of = {name: runs(name, preset) for name in TABLES}
    assert of["table3_6"].keys() < of["table3_3"].keys(), "the appendix adds no run"
    assert of["table3_7"].keys() < of["table3_5"].keys() and of["table3_8"].keys() < of["table3_4"].keys()
    trained = {run_id for run_id, run in of["table3_3"].items() if run.kind == "train"}
    assert trained < of["table3_2"].keys(), "on the stand-in Breakfast's two tables train the same network"
    tsm_8 = {run_id for run_id, run in of["table3_5"].items() if run.settings.get("method") == "tsn"}
    assert tsm_8 and tsm_8 <= of["table3_4"].keys(), "short videos have one stand-in"


def test_figures_draw_the_runs_of_tables() -> None:
    preset = find_preset(ROOT / "workflows" / "config", "paper")
    folders = {name: made.folder for name, made in choose_variants(DATA_SETS, preset, "").items()}
    assert list(FIGURES) == ["fig3_4", "fig3_5", "fig3_6", "fig3_7", "fig3_8"]
    trained = {run_id for name in TABLES for run_id in runs(name, preset)}
    drawn = {run.run_id: run for run in figure_runs(FIGURES.values(), preset, folders)}
    assert {run.experiment for run_id, run in drawn.items() if run_id not in trained} == {"gradient_similarity"}


def test_every_row_of_a_table_is_trained_by_the_same_recipe() -> None:
    method = {"method", "frames", "rule", "clusters", "grouping"}
    for preset in ("smoke", "quick", "cpu", "paper"):
        for name in TABLES:
            found = [
                {key: value for key, value in run.settings.items() if key not in method}
                for run in runs(name, find_preset(ROOT / "workflows" / "config", preset)).values()
                if run.experiment == "action_recognition" and run.settings["memory"] == "plain"
            ]
            assert found and all(recipe == found[0] for recipe in found)


def test_every_row_of_a_table_starts_from_the_same_network() -> None:
    """Also those with a streamed stem and the networks behind the figures."""
    for name in ("smoke", "quick", "cpu", "paper"):
        preset = find_preset(ROOT / "workflows" / "config", name)
        folders = {name: made.folder for name, made in choose_variants(DATA_SETS, preset, "").items()}
        drawn = {run.run_id: run for run in figure_runs(FIGURES.values(), preset, folders)}
        every = [*(run for table in TABLES for run in runs(table, preset).values()), *drawn.values()]
        trained = [run for run in every if run.kind == "train"]
        for seed in preset.seeds:
            starts = {run.start.run_id if run.start else "" for run in trained if run.seed == seed}
            assert len(starts) == 1 and "" not in starts
        start = trained[0].start
        assert start is not None and start.start is None and start.settings["start"] == "random"
        assert (start.settings["method"], start.settings["frames"]) == ("tsm", 8)
        assert start.data["move4mnist"].startswith("move4mnist_start")


def test_a_start_comes_before_what_starts_from_it() -> None:
    preset = find_preset(ROOT / "workflows" / "config", "paper")
    every = [run.run_id for run in with_starts(runs("table3_1", preset).values())]
    for run in runs("table3_1", preset).values():
        if run.start is not None:
            assert every.index(run.start.run_id) < every.index(run.run_id)
    assert len(every) == len(set(every)) == len(runs("table3_1", preset)) + len(preset.seeds)


def test_pretrained_weights_need_no_start(tmp_path: Path) -> None:
    (tmp_path / "Breakfast" / "P03").mkdir(parents=True)
    (tmp_path / "Breakfast" / "P54").mkdir()
    for name in ("quick", "paper"):
        preset = with_real_settings(find_preset(ROOT / "workflows" / "config", name), DATA_SETS)
        trained = [run for run in runs("table3_3", preset, str(tmp_path)).values() if run.kind == "train"]
        assert trained and all(run.start is None and run.settings["weights"] for run in trained)
        assert {(run.settings["width"], run.settings["optimizer"]) for run in trained} == {(64, "sgd")}


def test_real_sets_are_read_where_the_data_root_has_them(tmp_path: Path) -> None:
    places = ("UCF101/ucfTrainTestlist", "Breakfast/P03", "Breakfast/P54", "20bn-something-something-v2", "videos")
    for place in places:
        (tmp_path / place).mkdir(parents=True)
    preset = with_real_settings(find_preset(ROOT / "workflows" / "config", "paper"), DATA_SETS)
    variants = choose_variants(DATA_SETS, preset, str(tmp_path))
    assert variants["move4mnist"].folder == "move4mnist-sklearn_ucf101", "backgrounds from UCF101 before other videos"
    assert variants["ucf101"].files == ("train.index.json", "test.index.json")
    assert variants["ucf101"].roots == {"train.index.json": "UCF101", "test.index.json": "UCF101"}
    assert variants["something_v2"].read["test.index.json"].split == "validation"
    assert variants["hmdb51"].folder == variants["something_v1"].folder == "move4mnist_short-sklearn_ucf101"
    of = {name: runs(name, preset, str(tmp_path)) for name in ("table3_2", "table3_3", "table3_4")}
    backbones = {
        name: {run.settings["backbone"] for run in found.values() if run.experiment == "action_recognition"}
        for name, found in of.items()
    }
    assert backbones["table3_2"] == {"resnet18"} and backbones["table3_3"] == {"resnet50"}
    real = {run.data["move4mnist"]: run.settings for run in of["table3_4"].values()}
    assert real["ucf101-ucf101"]["frozen_norm"] == "all" and real["ucf101-ucf101"]["weights"] == "IMAGENET1K_V1"
    assert real["move4mnist_short-sklearn_ucf101"]["weights"] == "", "HMDB51 is not there"


TRAINED_ON = [
    name
    for name, data_set in DATA_SETS.items()
    if any(form.read and "action_recognition" in form.settings.get("paper", {}) for form in data_set.reals)
]


@pytest.mark.parametrize("name", TRAINED_ON)
def test_the_settings_of_a_real_set_can_be_trained(name: str) -> None:
    """A stem that is streamed needs fixed statistics in all of its layers; the network refuses otherwise."""
    (real,) = DATA_SETS[name].reals
    settings = Settings(**{**real.settings["paper"]["action_recognition"], "backbone": "resnet18", "milestones": (1,)})
    assert settings.memory == "streamed"
    config = NetworkConfig(classes=2, clusters=settings.clusters, frozen_norm=settings.frozen_norm)
    network = build_network(config).train()
    network.memory = settings.memory
    network(torch.zeros(1, 9, 3, 32, 32, dtype=torch.uint8)).sum().backward()


def test_a_row_whose_network_is_not_the_printed_one_says_so() -> None:
    preset = find_preset(ROOT / "workflows" / "config", "paper")
    assert {run.settings["backbone"] for run in runs("table3_4", preset).values()} == {"resnet18"}
    for name in ("table3_3", "table3_4", "table3_5", "table3_6", "table3_7", "table3_8"):
        for row in TABLES[name].rows:
            if row.measures:
                assert "ResNet-18 that learned motion on move4mnist_start" in row.note, f"{name}: {row.id}"
                assert ("not Kinetics" in row.note) == ("pre_train" in TABLES[name].keys), f"{name}: {row.id}"


def test_the_smallest_preset_trains_few_networks() -> None:
    """Starting a run takes longer than the run there; every row, method and memory of chapter 3 is still run."""
    preset = find_preset(ROOT / "workflows" / "config", "smoke")
    found = {run_id: run for name in TABLES for run_id, run in runs(name, preset).items() if run.kind == "train"}
    assert len(found) == 15
    assert {run.settings["memory"] for run in found.values()} == {"plain", "streamed"}
    assert {run.settings["grouping"] for run in found.values()} == {"cumulative", "slope", "uniform"}
