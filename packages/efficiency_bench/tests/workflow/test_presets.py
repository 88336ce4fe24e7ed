"""Presets: the layers of settings, and mistakes that are refused."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from efficiency_bench.workflow.presets import check_targets, find_preset, load_preset, overlaid
from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class Training:
    iterations: int = 100
    rate: float = 0.001


@dataclass(frozen=True)
class Settings:
    horizon: int = 8
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon must be 1 or more, got {self.horizon}")


@pytest.fixture(autouse=True)
def one_experiment(register: Callable[..., None]) -> None:
    register(detection=("train", Settings, ("moving_digits",)))


def write(folder: Path, **changes: Any) -> Path:
    content = {
        "preset": "quick",
        "seeds": [0, 1, 2],
        "measure_seeds": [0],
        "data": {"moving_digits": {"train": 20, "test": 10}},
        "experiments": {"detection": {"horizon": 4, "training": {"iterations": 50}}},
    }
    path = folder / "quick.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return path


def test_an_experiment_may_have_its_own_seeds(tmp_path: Path) -> None:
    assert load_preset(write(tmp_path)).seeds_of("detection") == (0, 1, 2)
    own = load_preset(write(tmp_path, own_seeds={"detection": [5], "table2_4": [1, 2]}))
    assert own.seeds_of("detection") == own.seeds_of("detection", "table2_1") == (5,)
    assert own.seeds_of("detection", "table2_4") == (1, 2)
    check_targets(own, {"table2_4": ()})
    with pytest.raises(UsageError, match="own_seeds: no table or figure 'table2_4'; there are table2_5"):
        check_targets(own, {"table2_5": ()})
    for seeds in ([], [1, 1], [-1], {}):
        with pytest.raises(UsageError, match="own_seeds"):
            load_preset(write(tmp_path, own_seeds={"detection": seeds}))
    with pytest.raises(UsageError, match="unknown experiment 'detect'"):
        load_preset(write(tmp_path, own_seeds={"detect": [1]}))


def test_nested_settings_are_laid_over_each_other() -> None:
    first, second = {"a": {"x": 1, "y": 1}, "b": [1, 2]}, {"a": {"y": 2}, "b": [3]}
    layers = [first, second, {"a": {"z": {"w": 0}}}, {"a": {"z": {"v": 1}}}]
    assert overlaid(*layers) == {"a": {"x": 1, "y": 2, "z": {"w": 0, "v": 1}}, "b": [3]}
    assert layers[0] == {"a": {"x": 1, "y": 1}, "b": [1, 2]}, "what it is given stays as it was"


def test_defaults_then_recipe_then_row_then_target(tmp_path: Path) -> None:
    preset = load_preset(write(tmp_path, targets={"table2_4": {"detection": {"training": {"rate": 0.5}}}}))
    row = {"horizon": 2, "training": {"rate": 0.25}}
    assert preset.settings("detection", {}, "row") == Settings(4, Training(50))
    assert preset.settings("detection", row, "row") == Settings(2, Training(50, 0.25))
    assert preset.settings("detection", row, "row", target="table2_4") == Settings(2, Training(50, 0.5))
    assert preset.settings("detection", row, "row", target="table2_5") == Settings(2, Training(50, 0.25))


def test_a_row_has_settings_over_those_of_its_table(tmp_path: Path) -> None:
    whole, own = {"detection": {"training": {"rate": 0.5}}}, {"detection": {"training": {"iterations": 10}}}
    preset = load_preset(
        write(tmp_path, targets={"table2_4/ours": own, "table2_4": whole}, own_seeds={"table2_4": [7]})
    )
    assert preset.settings("detection", {}, "row", target="table2_4/ours") == Settings(4, Training(10, 0.5))
    assert preset.settings("detection", {}, "row", target="table2_4/other") == Settings(4, Training(50, 0.5))
    assert preset.seeds_of("detection", "table2_4/ours") == (7,)
    check_targets(preset, {"table2_4": ["ours", "other"]})
    with pytest.raises(UsageError, match=r"targets: no row 'ours' in table2_4; there are other$"):
        check_targets(preset, {"table2_4": ["other"]})


def test_a_real_data_set_brings_a_recipe_in_place_of_the_presets(tmp_path: Path) -> None:
    brings = {"vid-ilsvrc": {"detection": {"training": {"rate": 0.01}}}, "other": {}, "digits-real": {"detection": {}}}
    preset = dataclasses.replace(load_preset(write(tmp_path)), real=brings)
    assert preset.settings("detection", {}, "row", ["other", "vid-ilsvrc"]) == Settings(8, Training(100, 0.01))
    assert preset.settings("detection", {"horizon": 2}, "row", ["vid-ilsvrc"]).horizon == 2
    assert preset.settings("detection", {}, "row", ["other"]) == Settings(4, Training(50))
    with pytest.raises(UsageError, match="row: vid-ilsvrc and digits-real both bring settings for quick"):
        preset.settings("detection", {}, "row", ["vid-ilsvrc", "digits-real"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seeds": []}, "seeds: expected a list of different seeds such as [0, 1, 2], got []"),
        ({"seeds": [0, 0]}, "seeds: expected a list of different seeds such as [0, 1, 2], got [0, 0]"),
        ({"seeds": [-1]}, "seeds[0]: expected a whole number, 0 or more, got -1"),
        ({"preset": "smoke"}, "preset: expected the file's name 'quick', got 'smoke'"),
        ({"experiments": {"detektion": {}}}, "detektion: unknown experiment 'detektion'; there are detection"),
        ({"experiments": {"detection": {"training": {"iters": 1}}}}, "unknown setting 'training.iters'"),
        ({"experiments": {"detection": {"horizon": 1.5}}}, "detection: horizon: expected a whole number, got 1.5"),
        ({"data": {"moving_digits": {"train": "20"}}}, "data.moving_digits.train: expected a whole number, got '20'"),
        ({"targets": {"table2_4": {"detection": {"horzon": 1}}}}, "table2_4.detection: unknown setting 'horzon'"),
        (
            {"targets": {"tables": {}}},
            "expected a table, figure or row such as table5_2 or table5_2/wa_1, got 'tables'",
        ),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(UsageError) as caught:
        load_preset(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line ") and expected in message and "\n" not in message


def test_settings_that_clash_only_together_name_row_and_preset(tmp_path: Path) -> None:
    preset = load_preset(write(tmp_path))
    with pytest.raises(UsageError, match=r"row 'ours' with .*quick\.yaml: horizon must be 1 or more"):
        preset.settings("detection", {"horizon": -1}, "row 'ours'")


def test_an_unknown_preset_or_target_names_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, targets={"table2_4": {}})
    (tmp_path / "paper.yaml").touch()
    with pytest.raises(UsageError, match="unknown preset 'fast'; there are paper, quick"):
        find_preset(tmp_path, "fast")
    preset = find_preset(tmp_path, "quick")
    check_targets(preset, {"table2_4": (), "fig2_5": ()})
    with pytest.raises(UsageError, match=r"quick\.yaml: targets: no table or figure 'table2_4'; there are fig2_5"):
        check_targets(preset, {"fig2_5": ()})
