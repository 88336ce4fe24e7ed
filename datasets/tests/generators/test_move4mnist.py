"""Move4MNIST: the thesis's figures, pixels that fit boxes and kinds, no shortcut to the class."""

import dataclasses
import hashlib

import numpy as np
import pytest

from synthetic_datasets import Digits, Move4MNISTConfig, Sample, get_generator
from synthetic_datasets.generators import move4mnist
from synthetic_datasets.generators.generator import check_sample
from synthetic_datasets.generators.move4mnist import CLEARANCE, figures, generate, layout
from synthetic_datasets.generators.shortcuts import motion_frames, nearest_centroid_accuracy
from synthetic_datasets.material.digits_on_videos import Clips, Material, Stretch, joined
from synthetic_datasets.motion.insertions import BACKGROUND, BLACK, DISTRACTOR, MOTION, runs_of

DEFAULT = Move4MNISTConfig()
WAYS = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])  # left, right, up, down; x right and y down


@pytest.fixture(scope="module")
def material(digits: Digits) -> Material:
    return joined(digits, None)


@pytest.fixture(scope="module")
def samples(material: Material) -> list[dict[str, np.ndarray]]:
    return [generate(DEFAULT, "train", index, material).arrays for index in range(200)]


def together(samples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def test_defaults_classes_and_pinned_draws(samples: list[dict[str, np.ndarray]]) -> None:
    assert (DEFAULT.train, DEFAULT.test, DEFAULT.frames, DEFAULT.size) == (1800, 600, 32, (64, 64))
    assert get_generator("move4mnist").class_names == ("left", "right", "up", "down")
    assert np.bincount([int(sample["label"]) for sample in samples]).tolist() == [50] * 4
    # Values of existing samples change only with the major number of the generator's version.
    arrays = together(samples[:20])
    assert get_generator("move4mnist").version == "1.0.0"
    made = hashlib.sha256(arrays["kind"].tobytes() + arrays["digit"].tobytes()).hexdigest()[:16]
    assert made == "985696a39310d72f"


def test_the_digit_moves_the_way_of_its_class(samples: list[dict[str, np.ndarray]]) -> None:
    for sample in samples:
        boxes = sample["target_box"][sample["kind"] == MOTION]
        corners = boxes[:, :2]
        free = sample["start"] + np.arange(len(corners))[:, None] * sample["speed"] * WAYS[sample["label"]]
        assert np.abs(corners - free).max() <= 0.5 + 1e-4
        travel = corners[-1] - corners[0]
        assert (np.sign(travel) == WAYS[sample["label"]]).all(), "and every video shows at least one pixel of it"
        assert sample["speed"] == pytest.approx(min(0.5, 9 / (len(corners) - 1)))
        assert np.ptp(boxes[:, 2:] - corners, axis=0).max() == 0
        assert boxes.min() >= 0 and boxes.max() <= 64, "inside, always"


def test_pixels_are_what_kinds_and_boxes_say(samples: list[dict[str, np.ndarray]], material: Material) -> None:
    pool = material.digits.splits["train"]
    for sample in samples[:40]:
        for frame, kind, target, other, digit, index in zip(
            sample["frames"], sample["kind"], sample["target_box"], sample["distractor_box"],
            sample["distractor_digit"], sample["distractor_index"], strict=True,
        ):  # fmt: skip
            assert target.any() == (kind == MOTION) and other.any() == (kind == DISTRACTOR)
            assert (digit >= 0) == (index >= 0) == (kind == DISTRACTOR)
            if kind == BLACK:
                assert not frame.any()
            elif kind == BACKGROUND:
                assert frame.max() <= round(255 * DEFAULT.brightness)
            else:
                source = int(sample["source_index"]) if kind == MOTION else int(index)
                picture = pool.images[pool.indices == source][0]
                rows, columns = np.nonzero(picture)
                ink = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                x1, y1, x2, y2 = (target if kind == MOTION else other).astype(int).tolist()
                shown = frame[y1:y2, x1:x2]
                assert shown.shape == ink.shape and (shown >= ink).all()
                assert np.array_equal(shown[ink > 204], ink[ink > 204]), "above the brightest background, ink as it is"
                outside = frame.copy()
                outside[y1:y2, x1:x2] = 0
                assert outside.max() <= 204


def test_another_digit_at_a_place_off_the_motion(samples: list[dict[str, np.ndarray]]) -> None:
    near = 0
    for sample in samples:
        here = sample["kind"] == DISTRACTOR
        assert len(np.unique(sample["distractor_box"][here], axis=0)) == 1, "one place a video, as in the author's"
        assert (sample["distractor_digit"][here] != sample["digit"]).all()
        boxes = sample["target_box"][sample["kind"] == MOTION]
        middle = (boxes[[0, -1], :2] + boxes[[0, -1], 2:]).mean(axis=0) / 2
        box = sample["distractor_box"][here][0]
        distance = np.linalg.norm((box[:2] + box[2:]) / 2 - middle)
        reach = (np.count_nonzero(sample["kind"] == MOTION) - 1) * sample["speed"] / 2
        assert distance >= reach + CLEARANCE - 1, "rounding moves both a little"
        near += distance < 20
    assert near > 20, "some are as near as in the author's videos"


@pytest.mark.parametrize("how", ["run", "frame"])
def test_distractors_drawn_more_often(how: str, material: Material) -> None:
    config = dataclasses.replace(DEFAULT, distractor=how, frames=64)
    places = runs = frames = 0
    for index in range(30):
        sample = generate(config, "train", index, material).arrays
        places += len(np.unique(sample["distractor_box"][sample["kind"] == DISTRACTOR], axis=0))
        runs += sum(kind == DISTRACTOR for kind, _, _ in runs_of(sample["kind"]))
        frames += np.count_nonzero(sample["kind"] == DISTRACTOR)
        same = generate(dataclasses.replace(config, distractor="video"), "train", index, material).arrays
        for name in ("kind", "target_box", "start", "source_index", "background_clip"):
            assert np.array_equal(sample[name], same[name]), name
    assert places == (runs if how == "run" else frames)


def test_nothing_but_the_motion_tells_the_class(material: Material) -> None:
    """Without pixels, of 1,200 videos; chance is 0.25 with a deviation of 0.013, the ends' bound 1/4 + travel / 2 range."""
    plain = joined(material.digits, clips_of_levels())
    arrays = together([
        {key: value for key, value in generate(DEFAULT, "train", index, plain).arrays.items() if key != "frames"}
        for index in range(1200)
    ])  # fmt: skip
    made = figures(arrays)
    assert made["accuracy_from_kinds"] < 0.3
    assert made["accuracy_from_place_in_middle_motion_frame"] < 0.3
    for name in ("first", "last"):
        assert made[f"accuracy_from_place_in_{name}_motion_frame"] < 0.37
    labels = arrays["label"]
    for name in ("digit", "source_index", "speed"):
        assert nearest_centroid_accuracy(arrays[name][:, None], labels) < 0.3, name
    here = arrays["kind"] == DISTRACTOR
    place = np.stack([boxes[where][0] for boxes, where in zip(arrays["distractor_box"], here, strict=True)])
    _, middle, _ = motion_frames(arrays["kind"])
    target = arrays["target_box"][np.arange(1200), middle]
    assert nearest_centroid_accuracy(place, labels) < 0.3
    assert nearest_centroid_accuracy(place - target, labels) < 0.3, "nor does the distractor's place beside the target"
    assert made["seen_32_no_travel"] == 0 and 0.02 < made["seen_8_no_travel"] < 0.08
    assert made["seen_8_at_most_2_motion_frames"] > 0.15 > made["seen_16_at_most_2_motion_frames"]


def test_pixels_of_one_frame_tell_nothing(samples: list[dict[str, np.ndarray]]) -> None:
    arrays = together(samples)
    rows = np.arange(len(samples))
    for frame in motion_frames(arrays["kind"]):
        pixels = arrays["frames"][rows, frame].reshape(-1, 8, 8, 8, 8).mean(axis=(2, 4)).reshape(-1, 64)
        assert nearest_centroid_accuracy(pixels, arrays["label"]) < 0.36  # 200 videos: chance deviates by 0.031


def test_the_class_does_not_touch_what_is_drawn(samples: list[dict[str, np.ndarray]], material: Material) -> None:
    """The same stream with another class has the same kinds, digits, middle of the way and background."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(move4mnist, "_DIRECTIONS", move4mnist._DIRECTIONS[::-1])
        for index in range(8):
            ours, turned = samples[index], generate(DEFAULT, "train", index, material).arrays
            for name in ("kind", "digit", "source_index", "distractor_box", "distractor_digit", "speed"):
                assert np.array_equal(ours[name], turned[name]), name
            plain = ours["kind"] == BACKGROUND
            assert np.array_equal(ours["frames"][plain], turned["frames"][plain])
            assert not np.array_equal(ours["target_box"], turned["target_box"])


def test_long_videos_go_slower_and_stay_inside(material: Material) -> None:
    config = dataclasses.replace(DEFAULT, frames=3000, background_share=0.3, black_share=0.2, distractor_share=0.3,
                                 spread=0.2)  # fmt: skip
    for index in range(4):
        sample = generate(config, "test", index, material).arrays
        check_sample(Sample(sample), layout(config))
        moving = sample["kind"] == MOTION
        boxes = sample["target_box"][moving]
        travel = (boxes[-1] - boxes[0])[:2]
        assert np.abs(travel).max() == pytest.approx(9, abs=1) and (np.sign(travel) == WAYS[index]).all()
        assert sample["speed"] == pytest.approx(9 / (moving.sum() - 1))
        assert boxes.min() >= 0 and boxes.max() <= 64


def test_several_speeds_and_sizes(material: Material) -> None:
    config = dataclasses.replace(DEFAULT, speeds=(0.25, 1.0), size=(50, 90), digit_size=20)
    seen = []
    for index in range(60):
        sample = generate(config, "train", index, material).arrays
        assert sample["frames"].shape == (32, 50, 90)
        boxes = sample["target_box"][sample["kind"] == MOTION]
        assert boxes.min() >= 0 and (boxes <= [90, 50, 90, 50]).all()
        seen.append(0.25 if sample["speed"] == 0.25 else 1.0)
        assert sample["speed"] == 0.25 or sample["speed"] == pytest.approx(min(1, 9 / (len(boxes) - 1)))
    assert 15 < seen.count(0.25) < 45


def clips_of_levels() -> Clips:
    """Train: clip 0, frame n grey n; test: clip 1, frames 20 to 29 of it grey 100 + n."""
    levels = np.arange(50, dtype=np.uint8)[:, None, None] * np.ones((1, 64, 64), np.uint8)
    splits = {"train": (Stretch(0, 0, levels),), "test": (Stretch(1, 20, 100 + levels[20:30]),)}
    return Clips("videos", "nobody", ("a.avi", "b.avi"), splits)


def test_backgrounds_from_clips(material: Material) -> None:
    config = dataclasses.replace(DEFAULT, brightness=1.0)
    filmed = joined(material.digits, clips_of_levels())
    assert filmed.source == "sklearn-digits on videos" and filmed.parts == {"background_clip": ["a.avi", "b.avi"]}
    offsets = set()
    for index in range(40):
        sample = generate(config, "train", index, filmed).arrays
        offset = int(sample["background_offset"])
        offsets.add(offset)
        shown = np.flatnonzero(sample["kind"] == BACKGROUND)
        assert sample["background_clip"] == 0 and 0 <= offset <= 18
        assert sample["frames"][shown].reshape(len(shown), -1).std() > 0 or len(shown) == 1
        assert (sample["frames"][shown] == (offset + shown)[:, None, None]).all(), "it plays on behind other frames"
        short = generate(config, "test", index, filmed).arrays
        first = short["frames"][short["kind"] == BACKGROUND][0]
        assert short["background_clip"] == 1 and 20 <= short["background_offset"] < 30
        assert 120 <= first.min() == first.max() < 130, "played to and fro in its ten frames"
    assert len(offsets) > 10
    still = generate(config, "train", 3, material).arrays
    moved = generate(config, "train", 3, filmed).arrays
    for name in ("kind", "target_box", "distractor_box", "start"):
        assert np.array_equal(still[name], moved[name]), "backgrounds leave the rest as it is"
    assert still["background_clip"] == still["background_offset"] == -1
