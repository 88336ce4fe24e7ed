"""The configuration of a detector: what it refuses, and its defaults."""

from collections.abc import Callable
from typing import Any

import pytest

from location_anticipation import DetectorConfig, build_detector

Config = Callable[..., DetectorConfig]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": -1}, "num_classes must be 0 or more, got -1"),
        ({"horizon": -1}, r"horizon T must be 0 \(plain detector\) or more, got -1"),
        ({"backbone": "vgg16"}, "backbone must be one of .*, got 'vgg16'"),
        ({"anchor_sizes": (32, 64)}, r"FPN has five levels and needs five anchor sizes, got \(32, 64\)"),
        ({"fpn": False, "anchor_sizes": ()}, r"anchor_sizes must be sides of at least 1 pixel, got \(\)"),
        ({"channels": 0}, "channels must be 1 or more, got 0"),
        ({"box_beta": -1.0}, "box_beta must be 0 or more, got -1.0"),
        ({"trajectory_beta": float("nan")}, "trajectory_beta must be 0 or more, got nan"),
        ({"trajectory_features": "image"}, "trajectory_features must be one of pooled, box_head, got 'image'"),
        ({"keyframe": "next"}, "keyframe must be one of predicted, detached, true, got 'next'"),
        ({"loss": "l2"}, "loss must be one of .*, got 'l2'"),
        ({"space": "polar"}, "space must be one of image, coder, got 'polar'"),
        ({"norm": "layer"}, "norm must be one of batch, frozen, got 'layer'"),
        ({"trainable_stages": 6}, "trainable_stages must be 0 to 5, got 6"),
        ({"loss": "bag", "cumulative_end": "random"}, "needs a loss with the cumulative term, got loss 'bag'"),
        ({"cumulative_end": "last"}, "cumulative_end must be one of every, random, got 'last'"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(tiny: Config, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**changes)


def test_a_detector_needs_the_number_of_its_classes() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 1 to build a detector, got 0"):
        build_detector(DetectorConfig())


def test_defaults_are_the_setting_of_video_detection() -> None:
    config = DetectorConfig(num_classes=30)
    assert (config.backbone, config.min_size, config.max_size) == ("resnet101", 600, 1000)
    assert (config.trajectory_hidden, config.loss, config.space, config.class_agnostic) == (1024, "traj", "image", True)
