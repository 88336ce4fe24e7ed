"""Fields of dataclasses as KEY=VALUE texts."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from outlier_matching.errors import UsageError
from outlier_matching.network_config import NetworkConfig
from outlier_matching.settings import build, parse_settings
from outlier_matching.train_config import TrainConfig


@dataclass(frozen=True)
class Inner:
    depth: int = 1


@dataclass(frozen=True)
class Outer:
    name: str = ""
    rate: float = 0.0
    kind: Literal["a", "b"] = "a"
    perhaps: bool | None = None
    parts: tuple[float, ...] = ()


def test_values_go_to_the_class_that_has_the_field() -> None:
    outer, inner = parse_settings(
        ["depth=3", "name=12x", "rate=2", "kind=b", "perhaps=null", "parts=[1,0.5]"], Outer, Inner
    )
    assert inner == {"depth": 3}
    assert outer == {"name": "12x", "rate": 2.0, "kind": "b", "perhaps": None, "parts": (1.0, 0.5)}
    assert parse_settings([], Outer, Inner) == [{}, {}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour=red", "--set colour=red: expected KEY=VALUE with one of name, rate, kind, perhaps, parts, depth"),
        ("name", "--set name: expected KEY=VALUE"),
        ("depth=2.5", "--set depth: expected a whole number, got 2.5"),
        ("depth=true", "--set depth: expected a whole number, got true"),
        ("rate=fast", "--set rate: expected a number, got fast"),
        ("kind=c", "--set kind: expected one of a, b, got c"),
        ("perhaps=1", "--set perhaps: expected true or false or null, got 1"),
        ("parts=1", r"--set parts: expected numbers such as \[1,2\], got 1"),
    ],
)
def test_texts_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_settings([text], Outer, Inner)


def test_values_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="--set: size must be 16 pixels or more"):
        build(NetworkConfig, {"size": 3})


def test_the_fields_of_the_train_command() -> None:
    kinds: tuple[Any, ...] = (NetworkConfig, TrainConfig)
    names = [name for kind in kinds for name in kind.__dataclass_fields__]
    assert len(names) == len(set(names))
    network, recipe = parse_settings(["backbone=resnet18", "trained=fc", "outlier_share=null", "gamma=2"], *kinds)
    assert network == {"backbone": "resnet18", "trained": "fc"} and recipe == {"outlier_share": None, "gamma": 2.0}
    assert parse_settings(["outlier_share=0.1"], *kinds)[1] == {"outlier_share": 0.1}
