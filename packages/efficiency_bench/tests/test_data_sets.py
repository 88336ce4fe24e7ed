"""Data sets as data: what is generated, what a data root brings, and that every mistake is refused in one line."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from efficiency_bench import experiments
from efficiency_bench.data_sets import choose_variants, load_data_sets, with_real_settings
from efficiency_bench.errors import UsageError
from efficiency_bench.plan import experiment_runs
from efficiency_bench.presets import Preset

READ = {split: {"format": "ucf101", "root": "UCF101", "split": split} for split in ("train", "test")}
MATERIAL = {"needs": ["MNIST/raw"], "source": "mnist", "otherwise": "sklearn"}


@dataclass(frozen=True)
class Settings:
    backbone: str = "resnet18"
    iterations: int = 1250


@pytest.fixture(autouse=True)
def one_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    detection = SimpleNamespace(
        name="detection", kind="train", settings_type=Settings, data=("digits",), start=lambda _: None
    )
    monkeypatch.setattr(experiments, "names", lambda: ("detection",))
    monkeypatch.setattr(experiments, "get", lambda name: {"detection": detection}[name])


def document() -> dict[str, Any]:
    convert = {"format": "ilsvrc-vid", "root": "ILSVRC2015", "images": "ILSVRC2015/Data/VID"}
    return {
        "digits": {"summary": "Digits", "generator": "moving-digits", "material": MATERIAL},
        "fast": {
            "summary": "Fast digits",
            "generator": "moving-digits",
            "options": {"speeds": [0.5, 2.0], "border": "bounce", "train": 40},
            "material": MATERIAL,
        },
        "vid": {
            "summary": "ImageNet VID",
            "stand_in": "fast",
            "real": {
                "source": "ilsvrc2015",
                "needs": ["ILSVRC2015/Data/VID", "ILSVRC2015/Annotations/VID"],
                "convert": {
                    "train": {**convert, "options": ["--split", "train"]},
                    "train_det": {**convert, "format": "ilsvrc-det"},
                    "test": {**convert, "options": ["--split", "val"]},
                },
                "settings": {"quick": {"detection": {"backbone": "resnet101", "iterations": 120000}}},
            },
        },
    }


def write(folder: Path, content: Any) -> Path:
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def preset(**sizes: dict[str, int]) -> Preset:
    return Preset("quick", (0, 1), (0,), sizes, {"detection": {"iterations": 400}}, Path("quick.yaml"))


def with_vid(folder: Path) -> str:
    for part in ("Data", "Annotations"):
        (folder / "ILSVRC2015" / part / "VID").mkdir(parents=True)
    return str(folder)


def test_without_a_data_root_everything_is_generated_and_a_stand_in_is_shared(tmp_path: Path) -> None:
    variants = choose_variants(
        load_data_sets(write(tmp_path, document())), preset(digits={"train": 20, "test": 10}), ""
    )
    assert variants["digits"].folder == "digits-sklearn-test10-train20"
    assert variants["digits"].build == ("--test", "10", "--train", "20")
    assert variants["fast"].folder == "fast-sklearn" and variants["fast"].files == ("train.h5", "test.h5")
    assert variants["fast"].build == ("--border", "bounce", "--speeds", "0.5", "2.0", "--train", "40")
    assert variants["vid"] == variants["fast"], "the stand-in itself, so that its runs are made once"


def test_a_data_root_brings_real_material_and_real_sets(tmp_path: Path) -> None:
    sets = load_data_sets(write(tmp_path, document()))
    root = with_vid(tmp_path)
    variants = choose_variants(sets, preset(), root)
    assert variants["digits"].folder == "digits-sklearn", "MNIST is not there"
    vid = variants["vid"]
    assert vid.folder == "vid-ilsvrc2015" and vid.files == ("train.json", "train_det.json", "test.json")
    assert vid.convert["test.json"].options == ("--split", "val") and not vid.generator
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    assert choose_variants(sets, preset(), root)["digits"].folder == "digits-mnist"
    (tmp_path / "ILSVRC2015" / "Annotations" / "VID").rmdir()
    assert choose_variants(sets, preset(), root)["vid"].folder == "fast-mnist", "half a data set is none"


def test_a_presets_sizes_go_over_the_data_sets_options(tmp_path: Path) -> None:
    variants = choose_variants(load_data_sets(write(tmp_path, document())), preset(fast={"train": 5}), "")
    assert variants["fast"].build[-2:] == ("--train", "5") and variants["fast"].folder == "fast-sklearn-train5"


def test_real_settings_go_with_the_real_folder_only(tmp_path: Path) -> None:
    sets = load_data_sets(write(tmp_path, document()))
    full = with_real_settings(preset(), sets)
    instead = {"digits": "vid"}
    real = experiment_runs("detection", {}, instead, full, {"vid": "vid-ilsvrc2015"}, "row")
    assert real[0].settings == {"backbone": "resnet101", "iterations": 120000}
    assert real[0].data == {"digits": "vid-ilsvrc2015"} and [run.seed for run in real] == [0, 1]
    stand_in = experiment_runs("detection", {}, instead, full, {"vid": "fast-sklearn"}, "row")
    assert stand_in[0].settings == {"backbone": "resnet18", "iterations": 400}
    row = experiment_runs("detection", {"iterations": 7}, instead, full, {"vid": "vid-ilsvrc2015"}, "row")
    assert row[0].settings == {"backbone": "resnet101", "iterations": 7}
    other = Preset("paper", (0,), (0,), {}, {}, Path("paper.yaml"))
    assert with_real_settings(other, sets).real == {}


def test_the_data_a_run_reads_is_part_of_its_id_and_no_other_is(tmp_path: Path) -> None:
    folders = {"digits": "digits-mnist", "fast": "fast-mnist"}
    own, same, fast = (
        experiment_runs("detection", {}, instead, preset(), folders, "row")[0].run_id
        for instead in ({}, {"digits": "digits"}, {"digits": "fast"})
    )
    alone = experiment_runs("detection", {}, {}, preset(), {"digits": "digits-mnist"}, "row")[0].run_id
    assert own == same == alone != fast
    with pytest.raises(UsageError, match=r"row: detection reads slow: expected its folder .*there are digits, fast"):
        experiment_runs("detection", {}, {"digits": "slow"}, preset(), folders, "row")


def test_a_set_that_is_read_in_its_own_layout(tmp_path: Path) -> None:
    folds = [{"fold": 1}, {"fold": 2}]
    read = {split: {**words, "folds": folds, "options": {"lists": "x"}} for split, words in READ.items()}
    real = {"source": "ucf101", "needs": ["UCF101"], "read": read}
    content = document() | {"ucf": {"summary": "UCF101", "stand_in": "fast", "real": real}}
    sets = load_data_sets(write(tmp_path, content))
    assert choose_variants(sets, preset(), str(tmp_path))["ucf"].folder == "fast-sklearn"
    (tmp_path / "UCF101").mkdir()
    ucf = choose_variants(sets, preset(), str(tmp_path))["ucf"]
    assert ucf.folder == "ucf-ucf101" and ucf.files == ("train.index.json", "test.index.json")
    assert ucf.roots == dict.fromkeys(ucf.files, "UCF101") and not ucf.convert and not ucf.generator
    how = ucf.read["test.index.json"]
    assert how.package == "full_video", "where nothing is said"
    assert (how.format, how.split, how.options, how.folds) == ("ucf101", "test", {"lists": "x"}, tuple(folds))


def test_material_of_several_kinds_with_a_second_choice(tmp_path: Path) -> None:
    videos = {"needs": ["videos"], "source": "videos", "otherwise": "texture"}
    both = [MATERIAL, {"needs": ["UCF101"], "source": "ucf101", "otherwise": videos}]
    content = document()
    content["digits"]["material"] = both
    sets = load_data_sets(write(tmp_path, content))

    def folder() -> str:
        return choose_variants(sets, preset(), str(tmp_path))["digits"].folder

    assert folder() == "digits-sklearn_texture"
    for place, expected in (("videos", "sklearn_videos"), ("UCF101", "sklearn_ucf101"), ("MNIST/raw", "mnist_ucf101")):
        (tmp_path / place).mkdir(parents=True)
        assert folder() == f"digits-{expected}"


def test_material_that_the_data_root_has_no_say_in_is_a_name(tmp_path: Path) -> None:
    content = document()
    content["digits"]["material"] = "drawn"
    sets = load_data_sets(write(tmp_path, content))
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    assert choose_variants(sets, preset(), str(tmp_path))["digits"].folder == "digits-drawn"


def changed(*path: str, to: Any = None) -> dict[str, Any]:
    """The document with one value set, or removed where `to` is None."""
    content = document()
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return content


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (changed("digits", "generator"), ["digits", "either 'generator'", "or 'stand_in'"]),
        (changed("vid", "generator", to="moving-digits"), ["vid", "either 'generator'"]),
        (changed("digits", "material"), ["digits", "'material' is missing"]),
        (changed("digits", "generator", to="letters"), ["unknown generator 'letters'", "moving-digits"]),
        (changed("fast", "options", to={"spead": 1}), ["fast: options", "unknown setting 'spead'", "speeds"]),
        (changed("fast", "options", to={"border": "wrap"}), ["border", "one of hold, stop, bounce, leave", "'wrap'"]),
        (changed("fast", "options", to={"scenes": 3}), ["scenes: 3 pictures, but background black has none"]),
        (changed("vid", "options", to={"train": 3}), ["vid", "'options' goes with 'generator'"]),
        (changed("vid", "stand_in", to="slow"), ["vid: stand_in", "'slow'", "there are digits, fast, vid"]),
        (changed("vid", "stand_in", to="vid"), ["vid: stand_in", "vid -> vid", "no generated data set"]),
        (changed("digits", "real", to=document()["vid"]["real"]), ["digits", "'real' goes with 'stand_in'"]),
        (changed("vid", "real", "convert", "test"), ["vid.real.convert", "'test' is missing"]),
        (changed("vid", "real", "settings", to={"quick": {"detektion": {}}}), ["unknown experiment 'detektion'"]),
        (
            changed("vid", "real", "settings", to={"quick": {"detection": {"iteration": 1}}}),
            ["vid: real.settings.quick.detection", "unknown setting 'iteration'"],
        ),
        (changed("vid", "sauce", to=1), ["vid", "unknown key 'sauce'"]),
        (changed("vid", "real", "convert"), ["vid: real", "either 'convert' or 'read'"]),
        (changed("vid", "real", "read", to=READ), ["vid: real", "either 'convert' or 'read'"]),
        (changed("digits", "material", to="Drawn!"), ["digits.material", "a snake_case name of where it comes from"]),
        (
            changed(
                "vid",
                "real",
                to={"source": "x", "needs": ["x"], "read": {s: {**r, "package": "torch"} for s, r in READ.items()}},
            ),
            ["vid.real.read", "package", "full_video"],
        ),
        (changed("digits", "material", to=[]), ["digits.material", "a list of materials"]),
        (changed("digits", "material", to=[MATERIAL, {"needs": ["x"]}]), ["digits.material[1]", "'source' is missing"]),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path: Path, content: dict[str, Any], expected: list[str]) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        load_data_sets(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), *expected):
        assert part in message


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"digit": {"train": 1}}, ["quick.yaml: data: unknown data set 'digit'", "there are digits, fast, vid"]),
        ({"vid": {"train": 1}}, ["data.vid", "is not generated", "sizes of fast"]),
        ({"fast": {"trains": 1}}, ["data.fast", "unknown setting 'trains'"]),
        ({"fast": {"train": 0}}, ["data.fast", "train: expected at least 1, got 0"]),
    ],
)
def test_a_presets_sizes_are_checked(tmp_path: Path, sizes: dict[str, dict[str, int]], expected: list[str]) -> None:
    sets = load_data_sets(write(tmp_path, document()))
    with pytest.raises(UsageError) as caught:
        choose_variants(sets, preset(**sizes), "")
    for part in expected:
        assert part in str(caught.value)


def test_a_preset_may_name_another_stand_in(tmp_path: Path) -> None:
    sets = load_data_sets(write(tmp_path, document()))
    chosen = choose_variants(sets, replace(preset(), stand_ins={"vid": "digits"}), "")
    assert chosen["vid"].folder == chosen["digits"].folder != choose_variants(sets, preset(), "")["vid"].folder
    for wrong, expected in (
        ({"digits": "fast"}, "quick.yaml: stand_ins.digits: no real data set of that name; there are vid"),
        ({"vid": "vid"}, "quick.yaml: stand_ins.vid: no generated data set 'vid'; there are digits, fast"),
    ):
        with pytest.raises(UsageError) as caught:
            choose_variants(sets, replace(preset(), stand_ins=wrong), "")
        assert str(caught.value) == expected


def in_two_forms() -> dict[str, Any]:
    """A set that may lie in two forms, and one for which that stands in."""
    read = {split: {"package": "weight_align", "format": "cifar10", "root": "b", "split": split} for split in READ}
    named = {split: {**how, "root": "jpeg", "name": "CIFAR-10", "source": "JPEG"} for split, how in read.items()}
    return document() | {
        "small": {
            "summary": "CIFAR-10",
            "stand_in": "digits",
            "real": [
                {"source": "batches", "needs": ["b"], "read": read},
                {
                    "source": "jpeg",
                    "needs": ["jpeg"],
                    "read": named,
                    "settings": {"quick": {"detection": {"iterations": 7}}},
                },
            ],
        },
        "large": {
            "summary": "CIFAR-100",
            "stand_in": "small",
            "real": {"source": "python", "needs": ["c"], "read": read},
        },
    }


def test_a_real_set_may_lie_there_in_several_forms_and_stand_in_for_another(tmp_path: Path) -> None:
    sets, root = load_data_sets(write(tmp_path, in_two_forms())), str(tmp_path)
    folders = {name: made.folder for name, made in choose_variants(sets, preset(), root).items()}
    assert folders["small"] == folders["large"] == "digits-sklearn", "the stand-in's stand-in"
    (tmp_path / "jpeg").mkdir()
    variants = choose_variants(sets, preset(), root)
    assert variants["large"] == variants["small"] and variants["small"].folder == "small-jpeg"
    how = variants["large"].read["train.index.json"]
    assert (how.package, how.root, how.name, how.source) == ("weight_align", "jpeg", "CIFAR-10", "JPEG")
    full = with_real_settings(preset(), sets)
    (run, _) = experiment_runs("detection", {}, {"digits": "large"}, full, {"large": "small-jpeg"}, "row")
    assert run.settings["iterations"] == 7, "its form's settings go with it"
    (tmp_path / "b").mkdir()
    assert choose_variants(sets, preset(), root)["large"].folder == "small-batches", "the first form that is there"
    (tmp_path / "c").mkdir()
    assert choose_variants(sets, preset(), root)["large"].folder == "large-python"


def test_stand_ins_must_end_and_forms_must_differ(tmp_path: Path) -> None:
    content = in_two_forms()
    content["small"]["stand_in"] = "large"
    with pytest.raises(UsageError, match="small: stand_in: small -> large -> small ends in no generated data set"):
        load_data_sets(write(tmp_path, content))
    content = in_two_forms()
    content["small"]["real"][1]["source"] = "batches"
    with pytest.raises(UsageError, match="two forms have the same source"):
        load_data_sets(write(tmp_path, content))
    content["small"]["real"][1] = {"source": "jpeg", "needs": ["x"]}
    with pytest.raises(UsageError, match=r"small: real\[1\]: expected either 'convert' or 'read'"):
        load_data_sets(write(tmp_path, content))
