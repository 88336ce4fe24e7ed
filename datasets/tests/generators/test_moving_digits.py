"""MovingDigits: the thesis's figures, pixels that fit boxes, and options that make stand-ins for real videos."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from synthetic_datasets import Digits, MovingDigitsConfig, SampleFile, build, get_generator, load_digits, no_motion_iou
from synthetic_datasets.generators.generator import check_sample
from synthetic_datasets.generators.moving_digits import direction, generate, layout
from synthetic_datasets.material.backgrounds import BRIGHTEST, Background
from synthetic_datasets.motion.paths import Border

DEFAULT = MovingDigitsConfig()


def test_defaults_and_pinned_tracks(digits: Digits) -> None:
    assert (DEFAULT.train, DEFAULT.test, DEFAULT.frames, DEFAULT.size, DEFAULT.objects, DEFAULT.speed) == (
        200, 80, 32, (64, 64), 1, 2.0,
    )  # fmt: skip
    # Values of existing samples change only with the major number of the generator's version.
    boxes = np.stack([generate(DEFAULT, "train", index, digits).arrays["boxes"] for index in range(20)])
    assert get_generator("moving-digits").version == "1.1.0"
    assert hashlib.sha256(boxes.astype("<f4").tobytes()).hexdigest()[:16] == "0fa3bb954550a474"


def test_no_motion_iou_is_near_the_thesis_s_with_its_border_alone(
    arrays_of: Callable[..., dict[str, np.ndarray]],
) -> None:
    # The thesis prints 0.79, of 80 videos. Starts are random: between seeds the figure has an expectation of
    # 0.778 and a standard deviation of 0.010 for 80 videos, of 0.005 for the default 280.
    figures: dict[Border, float] = {"hold": 0.79, "stop": 0.846, "bounce": 0.565, "leave": 0.555}
    for border, expected in figures.items():
        splits = [arrays_of(dataclasses.replace(DEFAULT, border=border), split) for split in ("train", "test")]
        boxes, present = (np.concatenate([made[name] for made in splits]) for name in ("boxes", "present"))
        assert no_motion_iou(boxes, present, 8) == pytest.approx(expected, abs=0.015), border


def test_classes_are_equally_frequent_and_set_the_direction(digits: Digits) -> None:
    samples = [generate(DEFAULT, "test", index, digits).arrays for index in range(DEFAULT.test)]
    labels = np.array([s["labels"][0] for s in samples])
    assert np.bincount(labels).tolist() == [8] * 10
    assert np.array([s["direction"][0] for s in samples]) == pytest.approx(np.radians(36 * labels))
    first = {label: samples[label]["boxes"][1, 0] - samples[label]["boxes"][0, 0] for label in range(10)}
    assert first[0][0] == 2 and first[0][1] == 0  # zeros to the right
    assert first[2][1] > 0 and first[7][1] < 0  # 72 degrees is down, 252 degrees is up


def test_a_digit_free_of_borders_moves_2_px_a_frame(digits: Digits) -> None:
    config = dataclasses.replace(DEFAULT, size=(400, 400), frames=50)
    for label in range(10):
        arrays = generate(config, "train", label, digits).arrays
        moved = arrays["boxes"][:, 0, :2] - arrays["start"][0]
        steps = np.arange(50)[:, None] * 2 * [np.cos(direction(label)), np.sin(direction(label))]
        inside = (arrays["start"][0] + steps > 0).all(1) & (arrays["start"][0] + steps < 400 - 28).all(1)
        assert np.abs(moved - steps)[inside].max() <= 0.5 + 1e-4


@pytest.mark.parametrize("border", ["hold", "stop", "bounce", "leave"])
@pytest.mark.parametrize("side", [28, 20])
def test_pixels_fit_the_boxes_exactly(digits: Digits, border: Border, side: int) -> None:
    config = dataclasses.replace(DEFAULT, border=border, boxes="tight", digit_size=side, size=(50, 70), ink_threshold=0)
    for index in range(20):
        arrays = generate(config, "train", index, digits).arrays
        for frame, box, present in zip(arrays["video"], arrays["boxes"][:, 0], arrays["present"][:, 0], strict=True):
            left, top, right, bottom = box.astype(int)
            assert (box == [left, top, right, bottom]).all()
            if present:
                outside = frame.copy()
                outside[top:bottom, left:right] = 0
                assert not outside.any()
            if border != "leave":
                rows, columns = np.nonzero(frame)
                assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (left, top, right, bottom)


def test_patch_boxes_hold_the_source_picture(digits: Digits) -> None:
    for index in range(10):
        arrays = generate(DEFAULT, "test", index, digits).arrays
        pool = digits.splits["test"]
        picture = pool.images[pool.indices == arrays["source_index"][0]][0]
        for frame, (left, top, right, bottom) in zip(arrays["video"], arrays["boxes"][:, 0].astype(int), strict=True):
            assert np.array_equal(frame[top:bottom, left:right], picture)
        assert pool.labels[pool.indices == arrays["source_index"][0]] == index % 10


def test_leaving_digits_become_absent(digits: Digits) -> None:
    config = dataclasses.replace(DEFAULT, border="leave", frames=60)
    arrays = generate(config, "train", 0, digits).arrays
    present = arrays["present"][:, 0]
    gone = int(np.argmin(present))
    assert present[:gone].all() and not present[gone:].any()
    widths = arrays["boxes"][:gone, 0, 2] - arrays["boxes"][:gone, 0, 0]
    assert widths[0] == 28 and 2.8 <= widths[-1] < 5
    assert not arrays["boxes"][gone:].any()
    assert not arrays["video"][-1].any()


def test_several_digits_are_combined_by_maximum(digits: Digits) -> None:
    config = dataclasses.replace(DEFAULT, objects=3, size=(40, 40))
    arrays = generate(config, "train", 4, digits).arrays
    pool = digits.splits["train"]
    expected = np.zeros_like(arrays["video"])
    for number in range(3):
        picture = pool.images[pool.indices == arrays["source_index"][number]][0]
        for frame, (x, y) in zip(expected, arrays["boxes"][:, number, :2].astype(int), strict=True):
            frame[y : y + 28, x : x + 28] = np.maximum(frame[y : y + 28, x : x + 28], picture)
    assert np.array_equal(arrays["video"], expected)
    assert arrays["labels"][0] == 4 and arrays["tracks"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", get_args(Background))
def test_backgrounds_stand_still_below_the_ink_and_leave_tracks_alone(digits: Digits, kind: Background) -> None:
    config = dataclasses.replace(DEFAULT, background=kind, border="leave", frames=70, size=(48, 90))
    arrays = generate(config, "train", 3, digits).arrays
    plain = generate(dataclasses.replace(config, background="black"), "train", 3, digits).arrays
    for name in set(arrays) - {"video"}:
        assert np.array_equal(arrays[name], plain[name])
    behind = arrays["video"][-1]
    assert np.array_equal(arrays["video"], np.maximum(plain["video"], behind))
    assert behind.max() <= (255 if kind == "strokes" else BRIGHTEST)
    assert (behind.max() > behind.min()) == (kind != "black")


@pytest.mark.parametrize(
    "options",
    [{}, {"objects": 4, "size": (30, 50), "frames": 3, "background": "noise"}, {"frames": 1, "digit_size": 64}],
)
def test_samples_fit_the_layout(digits: Digits, options: dict[str, object]) -> None:
    config = MovingDigitsConfig(**options)  # type: ignore[arg-type]
    check_sample(generate(config, "train", 7, digits), layout(config))


def test_a_sample_that_does_not_fit_is_refused(digits: Digits) -> None:
    with pytest.raises(ValueError, match="does not fit its layout"):
        check_sample(generate(DEFAULT, "train", 0, digits), layout(dataclasses.replace(DEFAULT, frames=31)))


def test_tracks_do_not_depend_on_the_source_of_digits(digits: Digits, real_data: Path | None) -> None:
    if real_data is None:
        pytest.skip("EFFICIENCY_DATA names no folder of real data")
    real = load_digits(real_data)
    for index in range(20):
        ours, theirs = generate(DEFAULT, "train", index, digits), generate(DEFAULT, "train", index, real)
        assert np.array_equal(ours.arrays["boxes"], theirs.arrays["boxes"])


def test_each_digit_has_one_of_the_speeds_and_everything_else_is_as_with_one_speed(digits: Digits) -> None:
    mixed = dataclasses.replace(DEFAULT, speeds=(0.25, 1.0, 4.0), objects=3)
    seen = []
    for index in range(60):
        arrays = generate(mixed, "train", index, digits).arrays
        plain = generate(dataclasses.replace(mixed, speeds=()), "train", index, digits).arrays
        for name in ("labels", "source_index", "start", "direction"):
            assert np.array_equal(arrays[name], plain[name]), name
        seen += arrays["speed"].tolist()
        free = dataclasses.replace(mixed, size=(600, 600), border="leave")
        wide = generate(free, "train", index, digits).arrays
        for number, speed in enumerate(wide["speed"].tolist()):
            travelled = wide["boxes"][8, number, :2] - wide["boxes"][0, number, :2]
            if wide["present"][8, number]:
                assert np.hypot(*travelled) == pytest.approx(8 * speed, abs=1.5)
    counts = np.array([seen.count(speed) for speed in mixed.speeds])
    assert counts.sum() == 180 and counts.min() > 40, "each as likely"


@pytest.mark.parametrize("kind", ["texture", "strokes"])
def test_scenes_are_few_pictures_seen_or_not_seen_in_training(digits: Digits, kind: Background) -> None:
    seen = dataclasses.replace(DEFAULT, background=kind, scenes=4, border="leave", frames=90)
    unseen = dataclasses.replace(seen, scenes_test="unseen")
    pictures: dict[str, dict[int, bytes]] = {}
    for name, config, split in (("train", seen, "train"), ("seen", seen, "test"), ("unseen", unseen, "test")):
        found = pictures.setdefault(name, {})
        for index in range(40):
            arrays = generate(config, split, index, digits).arrays
            picture = arrays["video"][-1].tobytes()  # the digit has left
            assert found.setdefault(int(arrays["scene"]), picture) == picture, "one number, one picture"
    assert pictures["train"] == pictures["seen"] and sorted(pictures["train"]) == [0, 1, 2, 3]
    assert sorted(pictures["unseen"]) == [4, 5, 6, 7]
    assert len({*pictures["train"].values(), *pictures["unseen"].values()}) == 8
    for index in range(5):
        same = [generate(config, "train", index, digits).arrays for config in (seen, unseen)]
        assert all(np.array_equal(same[0][name], same[1][name]) for name in same[0]), "training is the same for both"


def test_sparse_annotation_leaves_the_pixels_and_every_nth_frames_boxes(digits: Digits) -> None:
    full = dataclasses.replace(DEFAULT, frames=121, border="bounce", speed=0.5, objects=2)
    every, arrays = (
        generate(dataclasses.replace(full, annotate_every=step), "test", 7, digits).arrays for step in (1, 30)
    )
    assert "annotated" not in every, "a fully annotated file says nothing new"
    assert np.flatnonzero(arrays["annotated"]).tolist() == [0, 30, 60, 90, 120]
    assert np.array_equal(arrays["video"], every["video"])
    for frame in range(121):
        assert arrays["annotated"][frame] == (frame % 30 == 0)
        if frame % 30 == 0:
            assert np.array_equal(arrays["boxes"][frame], every["boxes"][frame]) and arrays["present"][frame].all()
        else:
            assert not arrays["boxes"][frame].any() and not arrays["present"][frame].any()


def test_stand_in_options_are_written_in_the_card(tmp_path: Path) -> None:
    config = MovingDigitsConfig(
        train=3, test=2, frames=31, speeds=(0.5, 2.0), background="strokes", scenes=2, scenes_test="unseen",
        annotate_every=30,
    )  # fmt: skip
    facts = build(get_generator("moving-digits"), config, tmp_path)["facts"]
    assert facts["config"]["speeds"] == [0.5, 2.0] and facts["config"]["scenes_test"] == "unseen"
    assert {"annotated", "scene"} <= set(facts["factors"])
    words = " ".join(facts["known_shortcuts_and_conventions"])
    for part in ("not how fast", "2 background pictures; those of test are others than", "Only every 30th frame"):
        assert part in words
    assert facts["splits"]["train"]["figures"] == {}, "the check figure needs every frame annotated"
    file = SampleFile(tmp_path / "test.h5")
    file.verify()
    assert file[0]["scene"].shape == () and file[0]["annotated"].tolist() == [True, *[False] * 29, True]
