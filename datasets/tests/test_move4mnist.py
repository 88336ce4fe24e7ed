"""Move4MNIST: the thesis's figures, pixels that fit boxes and kinds, no shortcut to the class, the same bytes everywhere."""

import dataclasses
import hashlib
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic_datasets import (
    InputError,
    LabelVideoFile,
    Move4MNISTConfig,
    Sample,
    TrackVideoFile,
    build,
    get_generator,
    move4mnist,
)
from synthetic_datasets.cli import main
from synthetic_datasets.digits import load_sklearn_digits
from synthetic_datasets.generator import check_sample
from synthetic_datasets.insertions import BACKGROUND, BLACK, DISTRACTOR, MOTION, runs_of
from synthetic_datasets.move4mnist import CLEARANCE, Material, figures, generate, layout, load_material, notes
from synthetic_datasets.moving_textures import TILE, moving_texture
from synthetic_datasets.sheet import COLOURS
from synthetic_datasets.shortcuts import motion_frames, nearest_centroid_accuracy
from synthetic_datasets.video_clips import Clips, Stretch
from synthetic_datasets.workers import make

DEFAULT = Move4MNISTConfig()
WAYS = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])  # left, right, up, down; x right and y down
SMALL = ("--train", "10", "--test", "9", "--background", "texture")


@pytest.fixture(autouse=True)
def no_real_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFFICIENCY_DATA", raising=False)


@pytest.fixture(scope="module")
def material() -> Material:
    return Material(load_sklearn_digits(), None)


@pytest.fixture(scope="module")
def samples(material: Material) -> list[dict[str, np.ndarray]]:
    return [generate(DEFAULT, "train", index, material).arrays for index in range(400)]


def together(samples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def fingerprint(samples: Iterable[Sample]) -> list[str]:
    return [
        hashlib.sha256(b"".join(s.arrays[name].tobytes() for name in sorted(s.arrays))).hexdigest() for s in samples
    ]


def test_defaults_are_the_thesis_s() -> None:
    assert (DEFAULT.train, DEFAULT.test, DEFAULT.frames, DEFAULT.size) == (1800, 600, 32, (64, 64))
    assert get_generator("move4mnist").class_names == ("left", "right", "up", "down")


def test_classes_are_equally_frequent(samples: list[dict[str, np.ndarray]]) -> None:
    assert np.bincount([int(sample["label"]) for sample in samples]).tolist() == [100] * 4


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
    assert near > 40, "some are as near as in the author's videos"


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
    plain = Material(material.digits, clips_of_levels())
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
        assert nearest_centroid_accuracy(pixels, arrays["label"]) < 0.36  # 400 videos: chance deviates by 0.022


def test_the_class_does_not_touch_what_is_drawn(samples: list[dict[str, np.ndarray]]) -> None:
    """The same stream with another class has the same kinds, digits, middle of the way and background."""
    material = Material(load_sklearn_digits(), None)
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
    filmed = Material(material.digits, clips_of_levels())
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


def test_textures_move_and_repeat() -> None:
    video = moving_texture(40, (64, 200), np.random.default_rng(3))
    assert video.shape == (40, 64, 200) and video.dtype == np.uint8
    assert np.array_equal(video[:, :, :72], video[:, :, TILE : TILE + 72])
    assert np.abs(np.diff(video.astype(int), axis=0)).mean() > 0.2 and video.std() > 5
    assert np.array_equal(video, moving_texture(40, (64, 200), np.random.default_rng(3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "frames: expected at least 1"),
        ({"frames": 8}, "frames: of 8, a video may have 2 motion frames"),
        ({"speeds": (0.2,)}, "in which 0.2 px a frame do not add up to the 1 px"),
        ({"speeds": ()}, "speeds: expected px per motion frame above 0, got none"),
        ({"speeds": (0.5, float("inf"))}, "speeds: expected px per motion frame above 0, got inf"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"size": (64, 36)}, r"size: \(64, 36\) .* does not let a digit of 28 px travel 9 px"),
        ({"max_travel": 0.5}, "max_travel: expected at least 1 px"),
        ({"black_share": -0.1}, "black_share: expected 0 to 1"),
        ({"spread": 1.5}, "spread: expected 0 to 1"),
        ({"distractor_share": 0.9}, "smaller shares or spread"),
        ({"runs": (0, 2)}, "runs: expected the least"),
        ({"runs": (3, 2)}, "runs: expected the least"),
        ({"distractor": "none"}, "distractor: 'none' is unknown; one of video, run, frame"),
        ({"background": "sky"}, "background: 'sky' is unknown"),
        ({"background": "texture", "videos": "x"}, "videos: 'x' has no part in background texture"),
        ({"clips": 1}, "clips: expected at least 2"),
    ],
)
def test_impossible_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(DEFAULT, **options)  # type: ignore[arg-type]


def test_which_backgrounds_are_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_material(None, DEFAULT).source == "sklearn-digits on texture" and not caplog.records
    assert load_material(tmp_path, DEFAULT).clips is None
    assert "holds neither UCF101 nor videos; using generated textures" in caplog.text
    for config in (
        dataclasses.replace(DEFAULT, background="videos"),
        dataclasses.replace(DEFAULT, videos="mine"),
    ):
        for root in (None, tmp_path):
            with pytest.raises(InputError, match="no such folder; name one with --videos"):
                load_material(root, config)
    (tmp_path / "videos").mkdir()
    pytest.importorskip("av")
    with pytest.raises(InputError, match="holds no video"):
        load_material(tmp_path, DEFAULT)
    assert load_material(tmp_path, dataclasses.replace(DEFAULT, background="texture")).clips is None


def test_videos_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "UCF101").mkdir()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"PyAV: pip install \"synthetic_datasets\[video\]\", or --background texture"):
        load_material(tmp_path, DEFAULT)


def test_any_order_and_any_workers_give_the_same_bytes(material: Material) -> None:
    expected = fingerprint(generate(DEFAULT, "test", index, material) for index in range(11))
    order = list(range(11))
    random.Random(0).shuffle(order)
    np.random.seed(1)  # the global state must not matter
    shuffled = dict(zip(order, fingerprint(generate(DEFAULT, "test", i, material) for i in order), strict=True))
    assert [shuffled[index] for index in range(11)] == expected and len(set(expected)) == 11
    filmed = Material(material.digits, clips_of_levels())
    generator = get_generator("move4mnist")
    for source in (material, filmed):
        one, two = (fingerprint(make(generator, DEFAULT, "train", source, 3, 9, workers)) for workers in (1, 2))
        assert one == two


def test_splits_and_seeds_differ(material: Material) -> None:
    starts = {
        tuple(generate(dataclasses.replace(DEFAULT, seed=seed), split, index, material).arrays["start"].tolist())
        for seed in (0, 1)
        for split in ("train", "test")
        for index in range(10)
    }
    assert len(starts) == 40


def test_kinds_and_digits_are_pinned(samples: list[dict[str, np.ndarray]]) -> None:
    # Values of existing samples change only with the major number of the generator's version.
    arrays = together(samples[:20])
    assert get_generator("move4mnist").version == "1.0.0"
    made = hashlib.sha256(arrays["kind"].tobytes() + arrays["digit"].tobytes()).hexdigest()[:16]
    assert made == "985696a39310d72f"


def test_files_card_and_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "move4mnist", "--out", str(tmp_path), *SMALL]) == 0
    assert "Move4MNIST 1.0.0 from sklearn-digits on texture, seed 0" in capsys.readouterr().out
    with LabelVideoFile(tmp_path / "train.h5") as file:
        file.verify()
        assert len(file) == 10 and file.facts["format"] == "label-video" and "parts" not in file.facts
        assert file.facts["class_names"] == ["left", "right", "up", "down"]
        frames = file.arrays["frames"]
        assert (frames.shape, frames.dtype.str, frames.chunks) == ((10, 32, 64, 64), "|u1", (1, 32, 64, 64))
        assert (frames.compression, frames.compression_opts) == ("gzip", 1)
        assert (file.read("label").dtype.str, file.read("label").tolist()) == ("<i8", [0, 1, 2, 3, 0, 1, 2, 3, 0, 1])
        assert (file.read("kind").dtype.str, file.read("kind").shape) == ("|u1", (10, 32))
        expected = generate(DEFAULT, "train", 6, Material(load_sklearn_digits(), None)).arrays
        assert all(np.array_equal(file[6][name], expected[name]) for name in expected)
    with pytest.raises(InputError, match="its format is 'label-video', expected track-video"):
        len(TrackVideoFile(tmp_path / "train.h5"))
    facts = json.loads((tmp_path / "card.json").read_text())["facts"]
    assert facts["source"] == "sklearn-digits on texture"
    assert facts["splits"]["train"]["objects_per_class"] == {"left": 3, "right": 3, "up": 2, "down": 2}
    assert facts["splits"]["train"]["figures"]["share_motion"] == pytest.approx(0.44, abs=0.1)
    assert {"kind", "target_box", "distractor_box", "background_clip", "speed"} <= set(facts["factors"])
    with Image.open(tmp_path / "preview.png") as image:
        colours = {tuple(colour) for colour in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
        assert set(COLOURS) <= colours and 8 * 2 * 70 < image.height < 1600 and image.width < 1500


def test_the_clips_are_in_file_and_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthetic_datasets.move4mnist.load_clips", lambda *_: clips_of_levels())
    (tmp_path / "videos").mkdir()
    config = dataclasses.replace(DEFAULT, train=1, test=1)
    facts = build(get_generator("move4mnist"), config, tmp_path / "out", tmp_path)["facts"]
    assert facts["source"] == "sklearn-digits on videos" and facts["parts"] == {"background_clip": ["a.avi", "b.avi"]}
    with LabelVideoFile(tmp_path / "out" / "test.h5") as file:
        assert file.facts["parts"]["background_clip"][int(file[0]["background_clip"])] == "b.avi"
        assert "backgrounds: nobody" in file.facts["source_credit"]


def test_notes_follow_the_options() -> None:
    assert not any("drawn anew" in line for line in notes(DEFAULT))
    assert any("drawn anew for every frame" in line for line in notes(dataclasses.replace(DEFAULT, distractor="frame")))
    assert any("dimmed to 0.5 of" in line for line in notes(dataclasses.replace(DEFAULT, brightness=0.5)))
