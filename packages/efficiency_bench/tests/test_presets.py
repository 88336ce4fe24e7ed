"""Presets and settings: precedence, types, and what is refused."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import yaml

from efficiency_bench import experiments
from efficiency_bench.errors import UsageError
from efficiency_bench.presets import check_targets, find_preset, load_preset
from efficiency_bench.settings import (
    build_settings,
    changed_settings,
    format_assignments,
    parse_assignments,
    settings_to_json,
)


@dataclass(frozen=True)
class Settings:
    motion: Literal["annotated", "none"] = "annotated"
    horizon: int = 8
    iterations: int = 100
    learning_rate: float = 0.001
    steps: tuple[int, ...] = (4, 8)
    size: tuple[int, int] | None = None
    augment: bool = False

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon must be 1 or more, got {self.horizon}")


@pytest.fixture(autouse=True)
def one_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    detection = SimpleNamespace(name="detection", kind="train", settings_type=Settings, data=("moving_digits",))
    monkeypatch.setattr(experiments, "names", lambda: ("detection",))
    monkeypatch.setattr(experiments, "get", lambda name: {"detection": detection}[name])


def write(folder: Path, **changes: Any) -> Path:
    content = {
        "preset": "quick",
        "seeds": [0, 1, 2],
        "measure_seeds": [0],
        "data": {"moving_digits": {"train": 20, "test": 10}},
        "experiments": {"detection": {"iterations": 50, "horizon": 4}},
    }
    path = folder / "quick.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return path


def test_a_row_goes_over_the_preset_and_the_preset_over_the_defaults(tmp_path: Path) -> None:
    preset = load_preset(write(tmp_path))
    settings = preset.settings("detection", {"horizon": 2, "motion": "none"}, "row")
    assert settings == Settings(motion="none", horizon=2, iterations=50)


def test_trainings_and_measurements_have_their_own_seeds(tmp_path: Path) -> None:
    preset = load_preset(write(tmp_path))
    assert preset.seeds_of("train") == (0, 1, 2)
    assert preset.seeds_of("measure") == (0,)


def test_data_of_another_size_lies_in_another_folder(tmp_path: Path) -> None:
    preset = load_preset(write(tmp_path))
    assert preset.data_variant("moving_digits", "mnist") == "moving_digits-mnist-test10-train20"
    assert load_preset(write(tmp_path, data={})).data_variant("moving_digits", "mnist") == "moving_digits-mnist"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sede": [0]}, ["unknown key 'sede'", "seeds"]),
        ({"seeds": []}, ["seeds", "[0, 1, 2]", "got []"]),
        ({"seeds": [0, 0]}, ["seeds", "different", "got [0, 0]"]),
        ({"seeds": [-1]}, ["seeds[0]", "0 or more", "got -1"]),
        ({"preset": "smoke"}, ["preset", "'quick'", "got 'smoke'"]),
        ({"experiments": {"detektion": {}}}, ["unknown experiment 'detektion'", "there are detection"]),
        ({"experiments": {"detection": {"iters": 1}}}, ["unknown setting 'iters'", "iterations"]),
        ({"experiments": {"detection": {"iterations": 1.5}}}, ["iterations", "a whole number", "got 1.5"]),
        ({"experiments": {"detection": {"horizon": 0}}}, ["horizon must be 1 or more, got 0"]),
        ({"data": {"moving_digits": {"train": "20"}}}, ["data.moving_digits.train", "whole number", "'20'"]),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], expected: list[str]) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(UsageError) as caught:
        load_preset(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), *expected):
        assert part in message


def test_settings_that_clash_only_together_name_row_and_preset(tmp_path: Path) -> None:
    preset = load_preset(write(tmp_path))
    with pytest.raises(UsageError, match=r"row 'ours' with .*quick\.yaml: horizon must be 1 or more"):
        preset.settings("detection", {"horizon": -1}, "row 'ours'")


def test_a_real_data_set_goes_over_the_preset_and_under_the_row(tmp_path: Path) -> None:
    preset = load_preset(write(tmp_path))
    brings = {"vid-ilsvrc": {"detection": {"iterations": 120000, "learning_rate": 0.01, "horizon": 6}}}
    preset = dataclasses.replace(preset, real=brings)
    settings = preset.settings("detection", {"horizon": 2}, "row", ["vid-ilsvrc"])
    assert settings == Settings(horizon=2, iterations=120000, learning_rate=0.01)
    assert preset.settings("detection", {}, "row", ["moving_digits-mnist"]) == Settings(horizon=4, iterations=50)


def test_an_unknown_preset_names_those_there_are(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "paper.yaml").touch()
    with pytest.raises(UsageError, match="unknown preset 'fast'; there are paper, quick"):
        find_preset(tmp_path, "fast")
    assert find_preset(tmp_path, "quick").name == "quick"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"learning_rate": 1}, 1.0),
        ({"steps": [2, 4]}, (2, 4)),
        ({"size": [3, 5]}, (3, 5)),
        ({"size": None}, None),
        ({"augment": True}, True),
    ],
)
def test_a_value_takes_the_type_of_its_field(value: dict[str, Any], expected: Any) -> None:
    name = next(iter(value))
    got = getattr(build_settings(Settings, value, "here"), name)
    assert got == expected and type(got) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", "1e-3", r"learning_rate: expected a number \(write 1\.0e-3"),
        ("learning_rate", True, "got True"),
        ("horizon", True, "expected a whole number, got True"),
        ("augment", 1, "expected true or false, got 1"),
        ("motion", "random", "expected one of annotated, none, got 'random'"),
        ("steps", [1, "2"], r"got \[1, '2'\]"),
        ("size", [1, 2, 3], r"got \[1, 2, 3\]"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=f"here: .*{expected}"):
        build_settings(Settings, {name: value}, "here")


def test_a_field_without_default_must_be_given() -> None:
    @dataclass(frozen=True)
    class Strict:
        depth: int

    with pytest.raises(UsageError, match="'depth' has no default"):
        build_settings(Strict, {}, "here")
    assert changed_settings(Strict(3)) == {"depth": 3}


def test_the_command_line_carries_only_what_differs_and_gives_it_back() -> None:
    settings = Settings(motion="none", learning_rate=0.5, steps=(2,), augment=True)
    assignments = format_assignments(changed_settings(settings))
    assert assignments == ["motion=none", "learning_rate=0.5", "steps=[2]", "augment=true"]
    assert build_settings(Settings, parse_assignments(assignments), "--set") == settings
    assert settings_to_json(settings)["steps"] == [2]


@pytest.mark.parametrize("text", ["plain", "8", "true", "null", '"quoted"', "a=b", "", "[1"])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert parse_assignments(format_assignments({"name": text})) == {"name": text}


@pytest.mark.parametrize(
    ("given", "expected"), [(["horizon"], "key=value"), (["a=1", "a=2"], "twice"), (["=1"], "key=value")]
)
def test_an_assignment_that_is_none_is_refused(given: list[str], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        parse_assignments(given)


def test_a_table_may_have_settings_of_its_own(tmp_path: Path) -> None:
    preset = load_preset(write(tmp_path, targets={"table2_4": {"detection": {"iterations": 7, "horizon": 3}}}))
    whole = dataclasses.replace(preset, real={"vid": {"detection": {"iterations": 9, "learning_rate": 0.5}}})
    settings = whole.settings("detection", {"horizon": 2}, "row", ["vid"], "table2_4")
    assert settings == Settings(horizon=2, iterations=7, learning_rate=0.5), "over the data's, under the row's"
    assert whole.settings("detection", {}, "row", ["vid"], "table2_5").iterations == 9
    check_targets(preset, ["table2_4", "fig2_5"])
    with pytest.raises(UsageError, match=r"quick\.yaml: targets: no table or figure 'table2_4'; there are fig2_5"):
        check_targets(preset, ["fig2_5"])


def test_instead_replaces_even_what_a_row_says(tmp_path: Path) -> None:
    preset = load_preset(write(tmp_path, instead={"detection": {"iterations": 7}}))
    found = preset.settings("detection", {"iterations": 9, "horizon": 3}, "row")
    assert (found.iterations, found.horizon) == (7, 3)
    with pytest.raises(UsageError, match=r"instead\.detection: unknown setting 'iteration'"):
        load_preset(write(tmp_path, instead={"detection": {"iteration": 1}}))


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ({"table2_4": {"detektion": {}}}, "targets.table2_4: unknown experiment 'detektion'"),
        ({"table2_4": {"detection": {"iteration": 1}}}, "targets.table2_4.detection: unknown setting 'iteration'"),
        ({"tables": {}}, "a table or figure such as table5_2"),
    ],
)
def test_mistakes_in_a_tables_settings_are_refused(tmp_path: Path, targets: Any, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_preset(write(tmp_path, targets=targets))
    assert expected in str(caught.value)
