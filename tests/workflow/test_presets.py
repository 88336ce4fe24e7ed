"""Every preset gives every table and figure its runs; without real data these read generated data."""

from itertools import chain
from pathlib import Path
from typing import Any

from efficiency_bench.claims import load_claims
from efficiency_bench.claims.intervals import SEEDS
from efficiency_bench.workflow.presets import check_claims, check_targets
from efficiency_core.settings import flatten

ROOT = Path(__file__).parents[2]


def test_every_preset_gives_every_table_and_figure_its_runs(workflow: Any, preset: str) -> None:
    targets = [*workflow.tables, *workflow.figures]
    rows = {name: [row.id for row in table.rows] for name, table in workflow.tables.items()}
    check_targets(workflow.preset(preset), {**rows, **dict.fromkeys(workflow.figures, ())})
    runs = {target: workflow.runs([target], preset) for target in targets}
    assert all(runs.values())
    chosen = workflow.preset(preset)
    seeds = {run.seed for found in runs.values() for run in found.values() if run.kind == "train"}
    assert set(chosen.seeds) <= seeds <= {*chosen.seeds, *chain(*chosen.own_seeds.values())}
    for table in filter(workflow.tables.get, chosen.own_seeds):
        trained = {run.seed for run in runs[table].values() if run.kind == "train"}
        assert trained == set(chosen.own_seeds[table]), table


def test_every_claim_that_has_its_own_seeds_is_there(workflow: Any, preset: str) -> None:
    claims = load_claims(ROOT / "workflows" / "claims.yaml", {**workflow.tables, **workflow.figures})
    check_claims(workflow.preset(preset), claims.seeds_names)
    more = {name: seeds for name, seeds in workflow.preset(preset).claim_seeds.items() if len(seeds) <= SEEDS}
    assert not more, "they are for claims that fewer seeds leave undecided"


def test_stand_ins_where_there_is_no_real_data(workflow: Any) -> None:
    variants = workflow.variants("paper")
    assert all(made.generator and not made.roots for made in variants.values()), "no run reads a real set"
    folders = {name: made.folder.partition("-")[0] for name, made in variants.items()}
    assert (folders["office31"], folders["pitts_cyclegan"], folders["shape"]) == ("objects", "pitts_town", "shape")
    assert {folders[name] for name in ("cifar10", "cifar100", "imagenet")} == {"coloured_shapes"}
    assert (folders["office31_domains"], folders["voc2012"]) == ("objects_domains", "shape_scenes")


def test_presets_may_give_an_experiment_its_own_seeds(workflow: Any) -> None:
    preset = workflow.preset("pretrained")
    assert preset.own_seeds["video_speed_accuracy"] == (0, 1, 2)
    curve = [run for run in workflow.runs(["fig2_5"], "pretrained").values() if run.kind == "measure"]
    assert {run.seed for run in curve} == {0, 1, 2}
    costs = [run for run in workflow.runs(["table3_1"], "pretrained").values() if run.kind == "measure"]
    assert {run.seed for run in costs} == {0}


def test_pretrained_starts_from_weights_and_reads_a_hundred_classes(workflow: Any, tmp_path: Path) -> None:
    for place in ("tinyimagenet32/train", "tinyimagenet32/test", "imagenette224/train", "imagenette224/val"):
        (tmp_path / place).mkdir(parents=True)
    variants = workflow.variants("pretrained", tmp_path)
    assert variants["cifar100"].folder == "tiny_imagenet32-jpeg" and variants["cifar10"].folder.startswith("coloured_")
    assert workflow.variants("paper", tmp_path)["cifar100"].folder.startswith("coloured_")
    weights = {
        "table2_2": "training.backbone_weights", "table3_1": "weights", "table4_3": "training.weights",
    }  # fmt: skip
    for table, name in weights.items():
        runs = [run for run in workflow.runs([table], "pretrained", tmp_path).values() if run.kind == "train"]
        said = [
            flatten(run.settings).get(name, "") for run in runs if flatten(run.settings).get("features") != "sift_fv"
        ]
        assert said and all("data_root/weights/" in one for one in said), table
    tuned = [
        run for run in workflow.runs(["text5_4"], "pretrained", tmp_path).values() if "imagenette" in str(run.data)
    ]
    assert len(tuned) == 6 and all("data_root/weights/mobilenet" in run.settings["weights"] for run in tuned)
