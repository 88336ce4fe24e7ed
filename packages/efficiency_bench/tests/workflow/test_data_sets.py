"""Data sets as data: what is generated, what a data root brings, and that every mistake is refused in one line."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from efficiency_bench.workflow.data_sets import DataSet, choose_variants, load_data_sets, with_real_settings
from efficiency_bench.workflow.plan import RunSpec, experiment_runs
from efficiency_bench.workflow.presets import Preset
from efficiency_bench.workflow.tables import RunChoice
from efficiency_core.errors import UsageError

pytestmark = pytest.mark.usefixtures("detection_and_speed")
READ = {split: {"format": "ucf101", "root": "UCF101", "split": split} for split in ("train", "test")}
MATERIAL = {"needs": ["MNIST/raw"], "source": "mnist", "otherwise": "sklearn"}


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
                "settings": {"quick": {"detection": {"motion": "none"}}},
            },
        },
    }


def write(folder: Path, content: Any) -> Path:
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, DataSet]:
    return load_data_sets(write(tmp_path, document()))


def preset(**sizes: dict[str, int]) -> Preset:
    return Preset("quick", (0, 1), (0,), sizes, {"detection": {"iterations": 400}}, Path("quick.yaml"))


def folders(sets: Mapping[str, DataSet], root: Path | str = "") -> dict[str, str]:
    return {name: made.folder for name, made in choose_variants(sets, preset(), str(root)).items()}


def detection(preset: Preset, folders: dict[str, str], data: dict[str, str], **settings: Any) -> list[RunSpec]:
    return experiment_runs(RunChoice(experiment="detection", settings=settings, data=data), preset, folders, "row")


def test_without_a_data_root_everything_is_generated_and_a_stand_in_is_shared(sets: dict[str, DataSet]) -> None:
    variants = choose_variants(sets, preset(digits={"train": 20, "test": 10}), "")
    assert variants["digits"].folder == "digits-sklearn-test10-train20"
    assert variants["digits"].build == ("--test", "10", "--train", "20")
    assert variants["fast"].folder == "fast-sklearn" and variants["fast"].files == ("train.h5", "test.h5")
    assert variants["fast"].build == ("--border", "bounce", "--speeds", "0.5", "2.0", "--train", "40")
    assert variants["vid"] == variants["fast"], "the stand-in itself, so that its runs are made once"
    smaller = choose_variants(sets, preset(fast={"train": 5}), "")["fast"]
    assert smaller.build[-2:] == ("--train", "5") and smaller.folder == "fast-sklearn-train5"


def test_a_data_root_brings_real_material_and_real_sets(tmp_path: Path, sets: dict[str, DataSet]) -> None:
    for part in ("Data", "Annotations"):
        (tmp_path / "ILSVRC2015" / part / "VID").mkdir(parents=True)
    variants = choose_variants(sets, preset(), str(tmp_path))
    assert variants["digits"].folder == "digits-sklearn", "MNIST is not there"
    vid = variants["vid"]
    assert vid.folder == "vid-ilsvrc2015" and vid.files == ("train.json", "train_det.json", "test.json")
    assert vid.convert["test.json"].options == ("--split", "val") and not vid.generator
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    assert folders(sets, tmp_path)["digits"] == "digits-mnist"
    (tmp_path / "ILSVRC2015" / "Annotations" / "VID").rmdir()
    assert folders(sets, tmp_path)["vid"] == "fast-mnist", "half a data set is none"


def test_the_recipe_of_a_real_set_goes_with_its_folder_only(sets: dict[str, DataSet]) -> None:
    full = with_real_settings(preset(), sets)

    def settings(folder: str, **row: int) -> tuple[str, int]:
        first, second = detection(full, {"vid": folder}, {"digits": "vid"}, **row)
        assert first.data == {"digits": folder} and (first.seed, second.seed) == (0, 1)
        return first.settings["motion"], first.settings["iterations"]

    assert settings("vid-ilsvrc2015") == ("none", 1000), "in place of the preset's recipe"
    assert settings("fast-sklearn") == ("annotated", 400)
    assert settings("vid-ilsvrc2015", iterations=7) == ("none", 7)
    assert with_real_settings(replace(preset(), name="paper"), sets).real == {}


def test_the_data_a_run_reads_is_part_of_its_id_and_no_other_is() -> None:
    folders = {"digits": "digits-mnist", "fast": "fast-mnist"}
    own, same, fast = (
        detection(preset(), folders, instead)[0].run_id for instead in ({}, {"digits": "digits"}, {"digits": "fast"})
    )
    alone = detection(preset(), {"digits": "digits-mnist"}, {})[0].run_id
    assert own == same == alone != fast
    with pytest.raises(UsageError, match=r"row: detection reads slow: expected its folder .*there are digits, fast"):
        detection(preset(), folders, {"digits": "slow"})


def test_a_set_that_is_read_in_its_own_layout(tmp_path: Path) -> None:
    folds = [{"fold": 1}, {"fold": 2}]
    read = {split: {**words, "folds": folds, "options": {"lists": "x"}} for split, words in READ.items()}
    real = {"source": "ucf101", "needs": ["UCF101"], "read": read}
    sets = load_data_sets(
        write(tmp_path, document() | {"ucf": {"summary": "UCF101", "stand_in": "fast", "real": real}})
    )
    assert folders(sets, tmp_path)["ucf"] == "fast-sklearn"
    (tmp_path / "UCF101").mkdir()
    ucf = choose_variants(sets, preset(), str(tmp_path))["ucf"]
    assert ucf.folder == "ucf-ucf101" and ucf.files == ("train.index.json", "test.index.json")
    assert ucf.roots == dict.fromkeys(ucf.files, "UCF101") and not ucf.convert and not ucf.generator
    how = ucf.read["test.index.json"]
    assert how.package == "full_video", "where nothing is said"
    assert (how.format, how.split, how.options, how.folds) == ("ucf101", "test", {"lists": "x"}, tuple(folds))


def test_material_of_several_kinds_with_a_second_choice(tmp_path: Path) -> None:
    videos = {"needs": ["videos"], "source": "videos", "otherwise": "texture"}
    content = document()
    content["digits"]["material"] = [MATERIAL, {"needs": ["UCF101"], "source": "ucf101", "otherwise": videos}]
    content["fast"]["material"] = "drawn"
    sets = load_data_sets(write(tmp_path, content))
    assert folders(sets, tmp_path)["digits"] == "digits-sklearn_texture"
    assert folders(sets, tmp_path)["fast"] == "fast-drawn"
    for place, expected in (("videos", "sklearn_videos"), ("UCF101", "sklearn_ucf101"), ("MNIST/raw", "mnist_ucf101")):
        (tmp_path / place).mkdir(parents=True)
        assert folders(sets, tmp_path)["digits"] == f"digits-{expected}"


def in_two_forms() -> dict[str, Any]:
    """A set that may lie in two forms, and one for which that stands in."""
    read = {split: {"package": "weight_align", "format": "cifar10", "root": "b", "split": split} for split in READ}
    named = {split: {**how, "root": "jpeg", "name": "CIFAR-10", "source": "JPEG"} for split, how in read.items()}
    recipe = {"quick": {"detection": {"iterations": 7}}}
    return document() | {
        "small": {
            "summary": "CIFAR-10",
            "stand_in": "digits",
            "real": [
                {"source": "batches", "needs": ["b"], "read": read},
                {"source": "jpeg", "needs": ["jpeg"], "read": named, "settings": recipe},
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
    assert folders(sets, root)["small"] == folders(sets, root)["large"] == "digits-sklearn", "the stand-in's stand-in"
    (tmp_path / "jpeg").mkdir()
    variants = choose_variants(sets, preset(), root)
    assert variants["large"] == variants["small"] and variants["small"].folder == "small-jpeg"
    how = variants["large"].read["train.index.json"]
    assert (how.package, how.root, how.name, how.source) == ("weight_align", "jpeg", "CIFAR-10", "JPEG")
    full = with_real_settings(preset(), sets)
    (run, _) = detection(full, {"large": "small-jpeg"}, {"digits": "large"})
    assert run.settings["iterations"] == 7, "its form's settings go with it"
    (tmp_path / "b").mkdir()
    assert folders(sets, root)["large"] == "small-batches", "the first form that is there"
    (tmp_path / "c").mkdir()
    assert folders(sets, root)["large"] == "large-python"


def changed(*path: Any, to: Any = None, of: Callable[[], dict[str, Any]] = document) -> dict[str, Any]:
    """The document with one value set, or removed where `to` is None."""
    content = of()
    inner: Any = content
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
        (changed("digits", "generator"), "digits: expected either 'generator' (how it is made) or 'stand_in'"),
        (changed("digits", "material"), "digits: the key 'material' is missing"),
        (changed("digits", "generator", to="letters"), "digits: unknown generator 'letters'; there are "),
        (changed("fast", "options", to={"spead": 1}), "fast.options: unknown setting 'spead'; did you mean 'speed"),
        (changed("vid", "options", to={"train": 3}), "vid: 'options' goes with 'generator'"),
        (changed("vid", "stand_in", to="slow"), "vid.stand_in: no data set 'slow'; there are digits, fast, vid"),
        (changed("vid", "stand_in", to="vid"), "vid.stand_in: vid -> vid ends in no generated data set"),
        (changed("digits", "real", to=document()["vid"]["real"]), "digits: 'real' goes with 'stand_in'"),
        (changed("vid", "real", "convert", "test"), "vid.real.convert: the key 'test' is missing"),
        (changed("vid", "real", "settings", to={"quick": {"detektion": {}}}), "unknown experiment 'detektion'"),
        (changed("vid", "real", "convert"), "vid.real: expected either 'convert' or 'read'"),
        (changed("vid", "real", "read", to=READ), "vid.real: expected either 'convert' or 'read'"),
        (changed("digits", "material", to=[]), "digits.material: expected one material or a list of materials, got []"),
        (changed("digits", "material", to=[MATERIAL, {"needs": ["x"]}]), "digits.material[1]: the key 'source' is"),
        (
            changed("small", "stand_in", to="large", of=in_two_forms),
            "small.stand_in: small -> large -> small ends in no",
        ),
        (changed("small", "real", 1, "source", to="batches", of=in_two_forms), "two forms have the same source"),
        (changed("small", "real", 1, "read", of=in_two_forms), "small.real[1]: expected either 'convert' or 'read'"),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path: Path, content: dict[str, Any], expected: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        load_data_sets(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line ") and expected in message and "\n" not in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("data", {"digit": {"train": 1}}, "quick.yaml: data: unknown data set 'digit'; there are digits, fast, vid"),
        ("data", {"vid": {"train": 1}}, "quick.yaml: data.vid: is not generated; give the sizes of fast"),
        ("data", {"fast": {"trains": 1}}, "quick.yaml: data.fast: unknown setting 'trains'"),
        ("data", {"fast": {"train": 0}}, "data.fast: .*train: expected at least 1, got 0"),
        ("stand_ins", {"digits": "fast"}, "stand_ins.digits: no real data set of that name; there are vid"),
        ("stand_ins", {"vid": "vod"}, "stand_ins.vid: no data set 'vod'; there are digits, fast, vid"),
        ("stand_ins", {"vid": "vid"}, "quick.yaml: stand_ins: vid -> vid ends in no generated data set"),
    ],
)
def test_a_presets_data_are_checked(sets: dict[str, DataSet], key: str, value: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        choose_variants(sets, replace(preset(), **{key: value}), "")


def test_a_preset_may_name_another_stand_in(sets: dict[str, DataSet]) -> None:
    chosen = choose_variants(sets, replace(preset(), stand_ins={"vid": "digits"}), "")
    assert chosen["vid"].folder == chosen["digits"].folder != folders(sets)["vid"]
