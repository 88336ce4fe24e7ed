"""Settings as dataclass, nested mapping, assignments and YAML file."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from efficiency_core.errors import UsageError
from efficiency_core.settings import (
    build,
    changed,
    flatten,
    format_assignments,
    leaves,
    parse_assignments,
    parse_pairs,
    to_json,
)
from efficiency_core.yaml_file import read_yaml


@dataclass(frozen=True)
class Sampling:
    frames: int = 8
    window: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Training:
    gamma: float = 0.5
    steps: tuple[int, ...] = (20, 40)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    share: float | None = None
    flip: bool = True
    out: Path = Path("runs")
    sampling: Sampling = field(default_factory=lambda: Sampling(frames=4))

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(f"gamma must be positive, got {self.gamma}")


@dataclass(frozen=True)
class Network:
    classes: int
    width: int = 64


@dataclass(frozen=True)
class Settings:
    method: str = "tsm"
    network: Network = Network(classes=10)
    training: Training = field(default_factory=Training)


def test_a_nested_mapping_goes_over_the_defaults_of_every_level() -> None:
    values = {
        "network": {"width": 8},
        "training": {"gamma": 1, "steps": [3], "out": "x", "sampling": {"window": [0, 0.5]}},
    }
    built = build(Settings, values, "row")
    sampling = Sampling(4, (0.0, 0.5))
    assert built == Settings("tsm", Network(10, 8), Training(1.0, (3,), out=Path("x"), sampling=sampling))
    assert type(built.training.gamma) is float and type(built.training.sampling.window[0]) is float
    again = build(Settings, {"training": {"share": 0.1}}, "row", base=built)
    assert again == replace(built, training=replace(built.training, share=0.1))
    assert build(Settings, {"network": Network(3)}, "row").network == Network(3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gamma": 1}, "row: unknown setting 'gamma'; did you mean 'training.gamma'?"),
        ({"training": {"gama": 1}}, "row: unknown setting 'training.gama'; did you mean 'training.gamma'?"),
        ({"training": {"xyz": 1}}, "row: unknown setting 'training.xyz'; there are gamma, steps, optimizer, share"),
        ({"training": {"gamma": "a"}}, "row: training.gamma: expected a number, got 'a'"),
        ({"training": {"gamma": True}}, "row: training.gamma: expected a number, got True"),
        ({"training": {"flip": 1}}, "row: training.flip: expected true or false, got 1"),
        ({"training": {"steps": 3}}, "row: training.steps: expected a list of any length (a whole number each), got 3"),
        ({"training": {"sampling": {"window": [1]}}}, "row: training.sampling.window: expected a list of 2 (a number each)"),
        ({"training": {"optimizer": "adam"}}, "row: training.optimizer: expected one of sgd, adamw, got 'adam'"),
        ({"training": {"share": "a"}}, "row: training.share: expected a number or null, got 'a'"),
        ({"training": {"gamma": 0}}, "row: training: gamma must be positive, got 0.0"),
        ({"training": 3}, "row: training: expected a mapping of settings, got 3"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        build(Settings, values, "row")
    assert str(refused.value).startswith(message)


def test_a_field_without_default_must_be_given() -> None:
    with pytest.raises(UsageError, match=r"^row: the setting 'classes' has no default and must be given$"):
        build(Network, {"width": 8}, "row")


def test_changed_settings_build_the_same_again() -> None:
    settings = Settings(network=Network(10, 8), training=Training(sampling=Sampling(4, (0.5, 1.0))))
    assert changed(settings) == {"network": {"width": 8}, "training": {"sampling": {"window": [0.5, 1.0]}}}
    assert build(Settings, changed(settings), "row") == settings
    assert changed(Settings()) == {} and changed(Network(3)) == {"classes": 3}
    assert to_json(Sampling()) == {"frames": 8, "window": [0.0, 1.0]}
    assert list(leaves(Settings)) == [
        "method", "network.classes", "network.width", "training.gamma", "training.steps", "training.optimizer",
        "training.share", "training.flip", "training.out", "training.sampling.frames", "training.sampling.window",
    ]  # fmt: skip


def test_assignments_are_read_as_they_are_written() -> None:
    training = {"steps": [4, 8], "sampling": {"frames": 2}}
    values = {"method": "tsm", "name": "3", "none": None, "training": training, "empty": {}}
    texts = ["method=tsm", 'name="3"', "none=null", "training.steps=[4,8]", "training.sampling.frames=2", "empty={}"]
    assert format_assignments(values) == texts
    assert parse_assignments(texts) == values
    assert flatten({"a": {"b": 1}, "c": 2}) == {"a.b": 1, "c": 2}
    assert parse_assignments(["a.b=1e-3", "a.c=x=y"]) == {"a": {"b": 0.001, "c": "x=y"}}


@pytest.mark.parametrize("texts", [["a"], ["=1"], ["a.=1"], ["a=1", "a=2"], ["a=1", "a.b=2"], ["a.b=2", "a=1"]])
def test_assignments_that_make_no_sense_are_refused(texts: list[str]) -> None:
    with pytest.raises(UsageError, match=r"expected a setting as key=value|is given twice"):
        parse_assignments(texts)


def test_pairs() -> None:
    assert parse_pairs(["root=a=b", "c=d"], "--option") == {"root": "a=b", "c": "d"}
    cases = {"x": "--data: expected NAME=DIR, got 'x'", "x=": "got 'x='", "x=1 x=2": "twice"}
    for words, message in cases.items():
        with pytest.raises(UsageError, match=message):
            parse_pairs(words.split(), "--data", "NAME=DIR")


def test_a_yaml_file_says_the_lines_of_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("method: tsn\ntraining:\n  gamma: 1e-3\n  sampling:\n    framez: 3\n")
    values, where = read_yaml(path)
    assert values["training"]["gamma"] == 0.001
    with pytest.raises(UsageError, match=r"s.yaml, line 5: unknown setting 'training.sampling.framez'; did you mean"):
        build(Settings, values, where)
    path.write_text("")
    assert read_yaml(path)[0] == {}


def test_entries_of_lists_and_merged_entries_have_lines(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("small: &small\n  width: 4\n  depth: 2\nrows:\n  - id: a\n  - <<: *small\n    width: 8\n")
    values, where = read_yaml(path)
    assert values["rows"] == [{"id": "a"}, {"width": 8, "depth": 2}]
    lines = {"rows.0.id": 5, "rows.1.width": 7, "rows.1.depth": 3, "rows.1.missing": 6, "rows": 4}
    assert {name: where(name) for name in lines} == {name: f"{path}, line {line}" for name, line in lines.items()}
    assert where("unknown") == str(path), "no entry around it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "line 2: key 'a' is given twice"),
        ("- 1\n", "NAME: VALUE"),
        ("a: [1\n", "line 2: "),
        (None, "read"),
    ],
)
def test_yaml_files_that_cannot_be_used(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_yaml(tmp_path / "s.yaml")
