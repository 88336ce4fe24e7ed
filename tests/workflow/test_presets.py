"""Every preset gives every table and figure its runs; without real data these read generated data."""

from typing import Any

from efficiency_bench.workflow.presets import check_targets


def test_every_preset_gives_every_table_and_figure_its_runs(workflow: Any, preset: str) -> None:
    targets = [*workflow.tables, *workflow.figures]
    check_targets(workflow.preset(preset), targets)
    runs = {target: workflow.runs([target], preset) for target in targets}
    assert all(runs.values())
    seeds = {run.seed for found in runs.values() for run in found.values() if run.kind == "train"}
    assert seeds == set(workflow.preset(preset).seeds)


def test_stand_ins_where_there_is_no_real_data(workflow: Any) -> None:
    variants = workflow.variants("paper")
    assert all(made.generator and not made.roots for made in variants.values()), "no run reads a real set"
    folders = {name: made.folder.partition("-")[0] for name, made in variants.items()}
    assert (folders["office31"], folders["pitts_cyclegan"], folders["shape"]) == ("objects", "pitts_town", "shape")
    assert {folders[name] for name in ("cifar10", "cifar100", "imagenet")} == {"coloured_shapes"}
    assert (folders["office31_domains"], folders["voc2012"]) == ("objects_domains", "shape_scenes")
