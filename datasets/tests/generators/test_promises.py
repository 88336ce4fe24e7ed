"""What every generator promises: samples that depend on seed, split and index alone, and options that are checked."""

import dataclasses
import random
from typing import Any

import numpy as np
import pytest

from synthetic_datasets import Sample, get_generator
from synthetic_datasets.generators.generator import check_sample
from synthetic_datasets.generators.objects import CLASS_NAMES as THINGS
from synthetic_datasets.storage.building import make

OPTIONS: dict[str, dict[str, Any]] = {
    "coloured-shapes": {"train": 40, "test": 20}, "move4mnist": {"background": "texture"},
    "moving-digits": {"background": "texture", "objects": 2},
    "objects": {"train": 40, "test": 20, "domains": ("dslr", "amazon", "webcam"), "outlier_classes": ()},
    "shape": {"train": 40, "test": 20}, "shape-scenes": {"train": 40, "test": 20},
}  # fmt: skip
"""All but pitts-cyclegan, which has tests of its own."""


def content(sample: Sample) -> bytes:
    return b"".join(sample.arrays[name].tobytes() for name in sorted(sample.arrays))


@pytest.mark.parametrize("name", OPTIONS)
def test_any_order_range_and_workers_give_the_same_bytes(name: str) -> None:
    generator = get_generator(name)
    config = generator.config_type(**OPTIONS[name])
    source = generator.load_source(None, config)

    def sample(index: int, split: str = "train", seed: int = 0) -> Sample:
        return generator.generate(dataclasses.replace(config, seed=seed), split, index, source)

    expected = [content(sample(index)) for index in range(40)]
    order = list(range(40))
    random.Random(0).shuffle(order)
    np.random.seed(1)  # the global state must not matter
    shuffled = {index: content(sample(index)) for index in order}
    assert [shuffled[index] for index in range(40)] == expected
    for workers in (1, 2):
        made = list(make(generator, config, "train", source, 15, 29, workers))
        assert [content(each) for each in made] == expected[15:29]
        for each in made:
            check_sample(each, generator.layout(config))
    every = [sample(index, split, seed) for seed in (0, 1) for split in ("train", "test") for index in range(20)]
    for pixels in {"image", "video", "frames"} & every[0].arrays.keys():
        assert len({each.arrays[pixels].tobytes() for each in every}) == 80
    with pytest.raises(KeyError):
        sample(0, "validation")
    if generator.file_format in ("image-set", "mask-set"):
        with pytest.raises(IndexError, match="sample 20, but the test split has 20"):
            sample(20, "test")


WRONG: dict[str, list[tuple[dict[str, Any], str]]] = {
    "coloured-shapes": [
        ({"train": 0}, "train: expected at least 1, got 0"), ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"size": 15}, "size: expected at least 16, got 15"), ({"rotation": 181}, "rotation: expected 0 to 180"),
        ({"stretch": 0.9}, "stretch: expected 1 to 1.4, got 0.9"), ({"occluders": 5}, "occluders: expected 0 to 4"),
        ({"texture": float("nan")}, "texture: expected 0 to 1, got nan"), ({"clutter": -1}, "clutter: expected 0 to"),
        ({"contrast": 0.6}, "contrast: expected 0 to 0.5, got 0.6"), ({"noise": 65}, "noise: expected 0 to 64, got 65"),
    ],
    "move4mnist": [
        ({"frames": 0}, "frames: expected at least 1"), ({"frames": 8}, "of 8, a video may have 2 motion frames"),
        ({"speeds": (0.2,)}, "in which 0.2 px a frame do not add up to the 1 px"),
        ({"speeds": ()}, "speeds: expected px per motion frame above 0, got none"),
        ({"speeds": (0.5, float("inf"))}, "speeds: expected px per motion frame above 0, got .*inf"),
        ({"size": (64, 36)}, r"size: \(64, 36\) .* does not let a digit of 28 px travel 9 px"),
        ({"max_travel": 0.5}, "max_travel: expected at least 1"), ({"spread": 1.5}, "spread: expected 0 to 1"),
        ({"black_share": -0.1}, "black_share: expected 0 to 1"), ({"distractor_share": 0.9}, "smaller shares"),
        ({"runs": (0, 2)}, "runs: expected the least"), ({"runs": (3, 2)}, "runs: expected the least"),
        ({"distractor": "none"}, "distractor: 'none' is unknown; one of video, run, frame"),
        ({"background": "sky"}, "background: 'sky' is unknown"), ({"clips": 1}, "clips: expected at least 2"),
        ({"background": "texture", "videos": "x"}, "videos: 'x' has no part in background texture"),
    ],
    "moving-digits": [
        ({"frames": 0}, "frames: expected at least 1, got 0"), ({"objects": -1}, "objects: expected at least 1"),
        ({"digit_size": 65}, r"size: \(64, 64\) .* does not hold a digit of 65 px"),
        ({"size": (64, 20)}, r"size: \(64, 20\) .* does not hold a digit of 28 px"),
        ({"speed": float("nan")}, "speed: expected at least 0, got nan"),
        ({"border": "jump"}, "border: 'jump' is unknown; one of hold, stop, bounce, leave"),
        ({"boxes": "loose"}, "boxes: 'loose' is unknown; one of patch, tight"),
        ({"background": "sky"}, "background: 'sky' is unknown"), ({"ink_threshold": 255}, "threshold: expected 0 to"),
        ({"min_visible": 0.0}, "min_visible: expected a part above 0"), ({"scenes": -1}, "scenes: expected at least 0"),
        ({"speeds": (1.0, -1.0)}, "speeds: expected at least 0, got -1.0"),
        ({"scenes": 3}, "scenes: 3 pictures, but background black has none"),
        ({"scenes_test": "unseen", "background": "noise"}, "scenes_test: unseen needs scenes of 1 or more"),
        ({"scenes_test": "new"}, "scenes_test: 'new' is unknown; one of seen, unseen"),
        ({"annotate_every": 0}, "annotate_every: expected at least 1, got 0"),
    ],
    "objects": [
        ({"test": 0}, "test: expected at least 1, got 0"), ({"size": 16}, "size: expected at least 32"),
        ({"domains": ("dslr", "phone")}, "domains: 'phone' is unknown; any of dslr, amazon, webcam"),
        ({"domains": ("dslr", "dslr")}, "domains: dslr, dslr names one twice"),
        ({"domains": ()}, "domains: expected at least one of dslr"),
        ({"domain_sizes": (3,)}, "domain_sizes: expected 1 or more for each of dslr, amazon, got 3"),
        ({"domain_sizes": (3, 0)}, "domain_sizes: expected 1 or more for each of dslr, amazon, got 3, 0"),
        ({"outlier_classes": ("scissors", "none")}, "outlier_classes: 'none' is unknown"),
        ({"outlier_classes": THINGS}, "all 31 classes, so none is left for the source"),
        ({"outlier_share": -0.1}, "outlier_share: expected 0 to 1, got -0.1"),
    ],
    "pitts-cyclegan": [
        ({"outlier_share": 1.1}, "0 to 1"), ({"yaws": (1, 13)}, "1 to 12"), ({"yaws": (1, 1)}, "different"),
        ({"yaws": ()}, "different"), ({"size": (64, 63)}, "multiples of 4"),
    ],
    "shape": [
        ({"size": 31}, "size: expected at least 32"), ({"outlier_share": 1.1}, "outlier_share: expected 0 to 1, got"),
        ({"target_share": float("nan")}, "target_share: expected 0 to 1, got nan"),
        ({"rotation": 181}, "rotation: expected 0 to 180"),
    ],
    "shape-scenes": [
        ({"size": 31}, "size: expected at least 32, got 31"), ({"rotation": -1}, "rotation: expected 0 to 180, got -1"),
        ({"shapes": (0, 3)}, "shapes: expected least and most of 1 to 16, got 0, 3"),
        ({"shapes": (4, 3)}, "shapes: expected least and most of 1 to 16, got 4, 3"),
        ({"shapes": (4, 17)}, "shapes: expected least and most of 1 to 16, got 4, 17"),
        ({"shapes": (4,)}, "shapes: expected least and most of 1 to 16, got 4"),
        ({"stretch": float("inf")}, "stretch: expected 1 to 1.4, got inf"),
        ({"contrast": 0.51}, "contrast: expected 0 to 0.5, got 0.51"), ({"clutter": 11}, "clutter: expected 0 to 10"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "message"), [(name, *case) for name, cases in WRONG.items() for case in cases]
)
def test_impossible_options_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_generator(name).config_type(**options)
