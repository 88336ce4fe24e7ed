"""Fields of dataclasses as KEY=VALUE texts."""

import pytest

from weight_align.errors import UsageError
from weight_align.network_config import NetworkConfig
from weight_align.settings import build, parse_settings
from weight_align.train_config import TrainConfig


def test_values_go_to_the_class_that_has_the_field() -> None:
    network, recipe = parse_settings(
        ["classes=3", "norm=gn", "fixup=null", "scale_factor=2", "epochs=4"], NetworkConfig, TrainConfig
    )
    assert network == {"classes": 3, "norm": "gn", "fixup": None, "scale_factor": 2.0}
    assert recipe == {"epochs": 4}
    assert parse_settings([], NetworkConfig, TrainConfig) == [{}, {}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour=red", "--set colour=red: expected KEY=VALUE with one of classes, backbone"),
        ("width", "--set width: expected KEY=VALUE"),
        ("width=2.5", "--set width: expected a whole number, got 2.5"),
        ("align=1", "--set align: expected true or false, got 1"),
        ("fixup=1", "--set fixup: expected true or false or null, got 1"),
        ("gain=big", "--set gain: expected one of thesis, nf, got big"),
    ],
)
def test_texts_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_settings([text], NetworkConfig)


def test_values_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="--set: width must be 1 or more, got 0"):
        build(NetworkConfig, {"classes": 3, "width": 0})


def test_no_field_of_the_train_command_has_two_owners() -> None:
    names = [*NetworkConfig.__dataclass_fields__, *TrainConfig.__dataclass_fields__]
    assert len(names) == len(set(names))
