"""Fields of dataclasses as KEY=VALUE texts."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from full_video.augmentation import Augmentation
from full_video.errors import UsageError
from full_video.networks import NetworkConfig
from full_video.sampling import Sampling
from full_video.settings import build, parse_settings
from full_video.training import TrainConfig


@dataclass(frozen=True)
class Inner:
    depth: int = 1


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
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
    assert all(isinstance(part, float) for part in outer["parts"])
    assert parse_settings(["perhaps=true"], Outer)[0] == {"perhaps": True}
    assert parse_settings([], Outer, Inner) == [{}, {}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour=red", "--set colour=red: expected KEY=VALUE with one of name, rate, kind, perhaps, parts, depth"),
        ("name", "--set name: expected KEY=VALUE"),
        ("inner=1", "--set inner=1: expected KEY=VALUE with one of"),
        ("depth=2.5", "--set depth: expected a whole number, got 2.5"),
        ("depth=true", "--set depth: expected a whole number, got true"),
        ("rate=fast", "--set rate: expected a number, got fast"),
        ("kind=c", "--set kind: expected one of a, b, got c"),
        ("perhaps=1", "--set perhaps: expected true or false or null, got 1"),
        ("parts=1", r"--set parts: expected numbers such as \[1,2\], got 1"),
        ('parts=["x"]', r"--set parts: expected numbers such as"),
    ],
)
def test_texts_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_settings([text], Outer, Inner)


def test_values_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="--set: frames must be 0"):
        build(Sampling, {"frames": -1})


def test_no_two_classes_of_a_command_share_a_name() -> None:
    names: list[str] = []
    for kind in (NetworkConfig, TrainConfig, Sampling, Augmentation):
        names += [name for name in kind.__dataclass_fields__ if name not in ("sampling", "augmentation")]
    assert len(names) == len(set(names))


def test_every_field_of_the_commands_has_a_text() -> None:
    kinds: tuple[Any, ...] = (NetworkConfig, TrainConfig, Sampling, Augmentation)
    texts = ["classes=3", "stem_shift=false", "backbone=resnet50", "milestones=[3]", "crop=random", "rule=motion"]
    network, train, sampling, augmentation = parse_settings(texts, *kinds)
    assert network == {"classes": 3, "stem_shift": False, "backbone": "resnet50"}
    assert (train, sampling, augmentation) == ({"milestones": (3,)}, {"rule": "motion"}, {"crop": "random"})
