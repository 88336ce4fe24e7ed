"""Objects: counts, classes and outliers by domain, and pictures that look as their domain should."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_datasets import InputError, ObjectsConfig
from synthetic_datasets.cli import main
from synthetic_datasets.generator import check_sample
from synthetic_datasets.objects import CLASS_NAMES, GENERATOR, generate, layout, load_source, notes
from synthetic_datasets.pen import Pen, bend, shade
from synthetic_datasets.scenes import MARGIN, SCENES, cloud, desk, new_view
from synthetic_datasets.things import THINGS, new_look
from synthetic_datasets.workers import make

THREE = ObjectsConfig(train=372, test=31, domains=("dslr", "amazon", "webcam"), outlier_classes=())


def arrays_of(config: ObjectsConfig, split: str) -> dict[str, NDArray[Any]]:
    source = load_source(None, config)
    made = [generate(config, split, index, source).arrays for index in range(getattr(config, split))]
    return {name: np.stack([arrays[name] for arrays in made]) for name in made[0]}


@pytest.fixture(scope="module")
def three() -> dict[str, NDArray[Any]]:
    return arrays_of(THREE, "train")


def plain_pen(side: int = 64) -> Pen:
    half = side / 2
    return Pen(side, np.array([[half, 0, half], [0, half, half], [0, 0, 1.0]]))


def test_the_classes_have_office_31_s_names() -> None:
    assert len(CLASS_NAMES) == 31 and list(CLASS_NAMES) == sorted(CLASS_NAMES)
    assert {"back_pack", "speaker", "scissors", "trash_can", "punchers"} < set(CLASS_NAMES)


def test_outlier_classes_are_only_outliers_and_never_in_the_source() -> None:
    config = ObjectsConfig(train=400, test=10, size=32)
    arrays = arrays_of(config, "train")
    domain, outlier = arrays["domain"], arrays["outlier"]
    assert domain.tolist() == [0] * 200 + [1] * 200 and outlier.sum() == 20 and not outlier[:200].any()
    names = np.array(CLASS_NAMES)[arrays["label"]]
    assert sorted(set(names[outlier])) == ["scissors", "speaker"]
    assert set(names[~outlier]) == set(CLASS_NAMES) - {"scissors", "speaker"}
    for part in (domain == 0, (domain == 1) & ~outlier, outlier):
        counts = np.bincount(arrays["label"][part], minlength=31)
        assert counts[counts > 0].max() - counts[counts > 0].min() <= 1


def test_without_outlier_classes_all_classes_are_in_every_domain(three: dict[str, NDArray[Any]]) -> None:
    assert not three["outlier"].any()
    for domain in range(3):
        assert np.bincount(three["label"][three["domain"] == domain]).tolist() == [4] * 31


def test_domains_of_office_31_s_sizes() -> None:
    """Three domains of 31 classes each, for training on one and testing on the others."""
    config = ObjectsConfig(
        train=349, test=62, domains=("amazon", "dslr", "webcam"), domain_sizes=(2817, 498, 795), outlier_classes=()
    )
    assert config.domain_counts("train") == [239, 42, 68] and sum(config.domain_counts("test")) == 62
    arrays = arrays_of(config, "train")
    assert arrays["domain"].tolist() == [0] * 239 + [1] * 42 + [2] * 68 and not arrays["outlier"].any()
    for number, count in enumerate((239, 42, 68)):
        classes = np.bincount(arrays["label"][arrays["domain"] == number], minlength=31)
        assert classes.sum() == count and classes.max() - classes.min() <= 1 and classes.min() > 0
    assert (arrays["desk"] == -1).tolist() == (arrays["domain"] == 0).tolist()
    text = "\n".join(notes(config))
    assert "that it has" in text and "2,817" not in text and "2,817" in "\n".join(notes(ObjectsConfig()))


def test_equal_sizes_are_the_default() -> None:
    for train in (372, 100, 7):
        plain, equal = (ObjectsConfig(train=train, domain_sizes=sizes) for sizes in ((), (5, 5)))
        assert plain.domain_counts("train") == equal.domain_counts("train") == [-(-train // 2), train // 2]


def test_the_command_line_can_say_none() -> None:
    assert ObjectsConfig(outlier_classes=("none",)) == ObjectsConfig(outlier_classes=())


def test_domains_look_as_they_should(three: dict[str, NDArray[Any]]) -> None:
    images, domain = three["image"].astype(float), three["domain"]
    border = np.ones((64, 64), bool)
    border[1:-1, 1:-1] = False
    assert (images[domain == 1][:, border] == 255).all()  # product pictures stand before white
    assert (images[domain != 1][:, border].mean(axis=(1, 2)) < 245).all()
    assert (three["desk"] == -1).tolist() == (domain == 1).tolist()
    cover = [float(three["cover"][domain == number].mean()) for number in range(3)]
    assert cover[1] > 1.4 * cover[0] > 1.4 * cover[2] * 0.9

    def between_neighbours(number: int) -> float:
        """Noise: what a pixel differs from the mean of the four around it, in a corner, on wood or white."""
        part = images[(domain == number) & (three["desk"] <= 0)][:, :12, :12]
        around = (part[:, :-2, 1:-1] + part[:, 2:, 1:-1] + part[:, 1:-1, :-2] + part[:, 1:-1, 2:]) / 4
        return float(np.abs(part[:, 1:-1, 1:-1] - around).mean())

    assert between_neighbours(2) > 1.3 * between_neighbours(0) > 4 * between_neighbours(1)
    for name, sign in (("contrast", -1), ("blur", 1), ("noise", 1)):
        assert (sign * three[name][domain == 2]).min() > (sign * three[name][domain == 0]).max()


def test_things_of_one_class_differ(three: dict[str, NDArray[Any]]) -> None:
    mugs = three["image"][(three["label"] == CLASS_NAMES.index("mug")) & (three["domain"] == 1)]
    differences = [np.abs(a.astype(int) - b).mean() for a, b in combinations(mugs, 2)]
    assert min(differences) > 3


def test_colour_tells_no_class(three: dict[str, NDArray[Any]]) -> None:
    bodies = {tuple(body.tolist()) for body in three["body"]}
    assert len(bodies) == 16


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_everything_is_drawn_inside_its_square(name: str) -> None:
    side = 96
    for seed in range(12):
        pen = Pen(side, np.array([[32, 0, 48], [0, 32, 48], [0, 0, 1.0]]))  # the square is the middle two thirds
        THINGS[name](pen, new_look(np.random.default_rng(seed)))
        cover = pen.finished(1)[:, :, 3]
        assert 0.02 < cover.mean() < 0.45
        rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
        assert min(rows[0], columns[0]) >= 12 and max(rows[-1], columns[-1]) <= 83  # 16 to 80, with the edge's width
        assert max(np.ptp(rows), np.ptp(columns)) > 1.4 * 32  # and fills it


@pytest.mark.parametrize("name", SCENES)
def test_the_square_of_a_thing_is_inside_the_picture(name: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        view = new_view(SCENES[name], 100, rng)
        corners = np.array([(-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)]) @ view.homography(1).T
        flat = corners[:, :2] / corners[:, 2:]
        assert flat.min() > 100 * MARGIN - 1e-6 and flat.max() < 100 * (1 - MARGIN) + 1e-6
        middle = view.homography(3) @ (0, 0, 1)
        assert middle[:2] / middle[2] == pytest.approx(3 * view.centre)


def test_pen_covers_the_area_it_is_asked_to() -> None:
    pen = plain_pen()
    pen.area([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], (200, 100, 0), edge=False)
    made = pen.finished(2)
    assert made.shape == (32, 32, 4) and made[..., 3].mean() == pytest.approx(0.25, abs=0.02)  # both borders are inked
    assert made[16, 16].tolist() == pytest.approx([200 / 255, 100 / 255, 0, 1], abs=1e-5)
    assert (made[..., :3] <= made[..., 3:] + 1e-6).all()


def test_perspective_makes_the_nearer_side_larger() -> None:
    view = np.array([[20, 0, 32], [0, 20, 32], [0, 0, 1.0]]) @ np.array([[1, 0, 0], [0, 1, 0], [-0.3, 0, 1.0]])
    pen = Pen(64, view)
    pen.area([(-0.8, -0.5), (0.8, -0.5), (0.8, 0.5), (-0.8, 0.5)], (255, 255, 255), edge=False)
    heights = (pen.finished(1)[..., 3] > 0.5).sum(axis=0)
    inked = heights[heights > 0]
    assert inked[-2] > 1.4 * inked[1]


def test_bend_and_shade() -> None:
    assert bend(0, 0, 2, 1, 0, 90)[-1] == pytest.approx((0, 1))
    assert shade((100, 200, 50), 0.5) == (50, 100, 25) and shade((155, 55, 255), 1.5) == (205, 155, 255)


def test_desks_have_their_colour_on_average() -> None:
    rng = np.random.default_rng(0)
    colour = np.array((120, 160, 90), np.uint8)
    for kind in range(3):
        made = np.mean([desk(kind, colour, 64, rng) for _ in range(40)], axis=(0, 1, 2))
        assert made * 255 == pytest.approx(colour, rel=0.05)
    assert cloud(33, (4, 7), rng).shape == (33, 33)


def test_any_subset_by_any_workers_has_the_same_bytes(three: dict[str, NDArray[Any]]) -> None:
    source = load_source(None, THREE)
    for workers in (1, 2):
        for index, sample in enumerate(make(GENERATOR, THREE, "train", source, 120, 130, workers), start=120):
            check_sample(sample, layout(THREE))
            assert all(np.array_equal(sample.arrays[name], three[name][index]) for name in three)
    test = arrays_of(THREE, "test")["image"]
    every = {image.tobytes() for image in np.concatenate([three["image"], test])}
    assert len(every) == 372 + 31


def test_larger_pictures_show_the_same_view(three: dict[str, NDArray[Any]]) -> None:
    """Place, scale and thing are drawn before anything that depends on the number of pixels."""
    large = ObjectsConfig(train=372, test=31, domains=THREE.domains, outlier_classes=(), size=128)
    for index in (0, 130):
        sample = generate(large, "train", index, load_source(None, large)).arrays
        assert sample["centre"] == pytest.approx(2 * three["centre"][index], rel=1e-5)
        assert sample["cover"] == pytest.approx(three["cover"][index], abs=0.01)
        assert sample["body"].tolist() == three["body"][index].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": 0}, "test: expected at least 1, got 0"),
        ({"size": 16}, "size: expected at least 32 px"),
        ({"domains": ("dslr", "phone")}, "domains: 'phone' is unknown; any of dslr, amazon, webcam"),
        ({"domains": ("dslr", "dslr")}, "domains: dslr, dslr names one twice"),
        ({"domains": ()}, "domains: expected at least one of dslr"),
        ({"domain_sizes": (3,)}, "domain_sizes: expected 1 or more for each of dslr, amazon, got 3"),
        ({"domain_sizes": (3, 0)}, "domain_sizes: expected 1 or more for each of dslr, amazon, got 3, 0"),
        ({"outlier_classes": ("scissors", "none")}, "outlier_classes: 'none' is unknown"),
        ({"outlier_classes": CLASS_NAMES}, "all 31 classes, so none is left for the source"),
        ({"outlier_share": -0.1}, "outlier_share: expected 0 to 1, got -0.1"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ObjectsConfig(**options)


def test_build_card_and_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--train", "93", "--test", "62", "--size", "32", "--domains", "dslr", "amazon", "webcam"]
    assert main(["build", "objects", "--out", str(tmp_path / "all"), *words, "--outlier-classes", "none"]) == 0
    made = json.loads((tmp_path / "all" / "card.json").read_text())["facts"]
    assert made["config"]["outlier_classes"] == [] and made["parts"]["domain"] == ["dslr", "amazon", "webcam"]
    assert made["splits"]["train"]["figures"]["further_images"] == 31
    assert made["splits"]["train"]["objects_per_class"]["mug"] == 3
    assert "no figure for Office-31" in "\n".join(made["known_shortcuts_and_conventions"])
    capsys.readouterr()
    assert main(["card", str(tmp_path / "all" / "test.h5"), "--verify"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["format"] == "image-set" and printed["domain_names"] == ["dslr", "amazon", "webcam"]
    assert main(["preview", str(tmp_path / "all" / "test.h5"), "--out", str(tmp_path / "sheet.png")]) == 0
    assert main(["build", "objects", "--out", str(tmp_path / "x"), "--outlier-classes", "spoon"]) == 2
    assert "'spoon' is unknown" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_the_notes_name_the_outliers() -> None:
    assert "scissors, speaker are absent from webcam" in "\n".join(notes(ObjectsConfig(domains=("webcam", "dslr"))))
