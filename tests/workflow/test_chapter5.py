"""Tables and figures of chapter 5 share their runs and know the real data sets."""

from collections import Counter
from pathlib import Path
from typing import Any

from efficiency_bench.workflow.plan import with_starts
from efficiency_core.settings import flatten

TABLES = ["table5_1", "table5_2", "table5_3", "table5_4", "table5_5", "table5_6", "text5_4"]
FIGURES = [f"fig5_{number}" for number in range(2, 13)]


def trained(workflow: Any, name: str, root: Path | None = None) -> dict[str, Any]:
    found = workflow.runs([name], "paper", root, seeds=(0,))
    return {run_id: run for run_id, run in found.items() if run.experiment == "image_classification"}


def test_tables_and_figures_share_their_runs(workflow: Any) -> None:
    of = {name: trained(workflow, name) for name in (*TABLES, *FIGURES)}
    counts = {name: len(found) for name, found in of.items()}
    assert {counts[f"fig5_{number}"] for number in (2, 7, 8)} == {0}, "these need no training"
    assert [counts[f"table5_{number}"] for number in range(1, 6)] == [10, 20, 10, 8, 8] and counts["text5_4"] == 11
    # CIFAR-100 and ImageNet have CIFAR-10's stand-in, so tables that differ in the data alone have the same runs.
    assert of["table5_1"].keys() < of["table5_2"].keys()
    for number in (4, 5, 9, 10, 11, 12):
        assert of[f"fig5_{number}"].keys() <= of["table5_1"].keys(), f"figure 5.{number} draws runs of table 5.1"
    whole = set().union(*(of[f"table5_{number}"] for number in range(1, 6)))
    assert len(of["fig5_6"].keys() - whole) == 3, "its own are the factors other than the thesis's"
    assert len(of["fig5_3"].keys() - whole) == 16


def test_table_5_6_starts_from_the_networks_of_table_5_1(workflow: Any, preset: str) -> None:
    adapted, first = workflow.runs(["table5_6"], preset), workflow.runs(["table5_1"], preset)
    starts = {run.start.run_id for run in adapted.values() if run.start is not None}
    assert len(starts) == len(adapted) == 9 * len(workflow.preset(preset).seeds)
    assert starts < first.keys(), "all but the baseline"


def test_rows_differ_in_the_method_alone(workflow: Any, preset: str) -> None:
    method = {"backbone", "norm", "align", "centre", "variance", "batch_size", "scale_factor", "fixup", "start", "stem"}
    for target in (*TABLES, *FIGURES):
        # Where rows have lengths of their own, it is those of another batch size.
        own = any(name.startswith(f"{target}/") for name in workflow.preset(preset).targets)
        recipes: dict[tuple[str, int], list[Any]] = {}
        for run in workflow.runs([target], preset, seeds=(0,)).values():
            settings = flatten(run.settings)
            recipe = {key: value for key, value in settings.items() if key.split(".")[-1] not in method}
            recipes.setdefault((run.experiment, settings["training.batch_size"] if own else 0), []).append(recipe)
        for (name, size), found in recipes.items():
            if name in ("image_classification", "domain_adaptation", "semantic_segmentation"):
                assert all(recipe == found[0] for recipe in found), (target, name, size)


def test_the_thesis_s_protocol_is_the_largest_preset(workflow: Any) -> None:
    found = workflow.runs(TABLES, "paper", seeds=(0,)).values()
    wanted = {"backbone": "resnet50", "norm": "gn", "align": False}.items()
    (full,) = (
        run.settings
        for run in found
        if run.experiment == "image_classification" and wanted <= run.settings["network"].items()
        and run.settings["training"]["batch_size"] == 64
    )  # fmt: skip
    expected = {"epochs": 300, "images": 0, "learning_rate": 0.01, "weight_decay": 0.0005, "schedule": "step"}
    expected |= {"milestones": [0.5, 0.75], "clip_norm": 0.0}
    assert {name: full["training"][name] for name in expected} == expected
    assert (full["network"]["width"], full["single_learning_rate"]) == (64, 0.001)
    (segmented, *_) = (run.settings["training"] for run in found if run.experiment == "semantic_segmentation")
    assert (segmented["epochs"], segmented["batch_size"], segmented["learning_rate"]) == (50, 4, 0.007)


def test_cifar_10_stands_in_where_it_alone_is_there(workflow: Any, tmp_path: Path) -> None:
    for place in ("cifar10/train", "cifar10/test"):
        (tmp_path / place).mkdir(parents=True)
    variants = workflow.variants("paper", tmp_path)
    assert {variants[name].folder for name in ("cifar10", "cifar100", "imagenet")} == {"cifar10-jpeg"}
    how = variants["cifar100"].read["test.index.json"]
    assert (how.package, how.format, how.name, how.source) == ("weight_align", "image-folder", "CIFAR-10", "JPEG")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-100-python").mkdir()
    variants = workflow.variants("paper", tmp_path)
    assert variants["cifar10"].folder == "cifar10-batches" and variants["cifar100"].folder == "cifar100-python"
    assert not trained(workflow, "table5_1", tmp_path).keys() & trained(workflow, "table5_2", tmp_path).keys()


def test_real_sets_bring_their_own_settings(workflow: Any, tmp_path: Path) -> None:
    places = ("ILSVRC2012/train", "ILSVRC2012/val", "VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClass",
              "office31/amazon", "office31/dslr", "office31/webcam")  # fmt: skip
    for place in places:
        (tmp_path / place).mkdir(parents=True)
    variants = workflow.variants("paper", tmp_path)
    assert variants["imagenet"].folder == "imagenet-ilsvrc2012" and variants["voc2012"].folder == "voc2012-own"
    assert [dict(fold) for fold in variants["office31_domains"].read["train.index.json"].folds] == [
        {"domain": "amazon"}, {"domain": "dslr"}, {"domain": "webcam"}
    ]  # fmt: skip
    found = next(iter(trained(workflow, "table5_5", tmp_path).values())).settings
    training = found["training"]
    assert (training["epochs"], training["learning_rate"], training["milestones"]) == (100, 0.1, [0.3, 0.6, 0.9])
    assert found["network"]["stem"] == "imagenet"
    text = workflow.runs(["text5_4"], "paper", tmp_path, seeds=(0,)).values()
    segmented = [run.settings for run in text if run.experiment == "semantic_segmentation"]
    assert {
        (one["weights"], one["training"]["crop"], one["network"]["width"], one["network"]["norm"]) for one in segmented
    } == {("IMAGENET1K_V1", 513, 64, "bn")}
    (tmp_path / "VOCdevkit/VOC2012/SegmentationClassAug").mkdir()
    augmented = workflow.variants("paper", tmp_path)["voc2012"]
    assert augmented.folder == "voc2012-augmented" and augmented.read["train.index.json"].split == "train_aug"


def test_the_smallest_preset_has_few_runs(workflow: Any) -> None:
    found = workflow.runs([*TABLES, *FIGURES], "smoke")
    assert all(run.start.run_id in found for run in found.values() if run.start is not None)
    assert Counter(run.experiment for run in with_starts(found.values())) == {
        "image_classification": 33,
        "domain_adaptation": 9,
        "semantic_segmentation": 2,
        "activation_distributions": 1,
        "weight_align_cost": 5,
    }
