"""Objects: counts, classes and outliers by domain, and pictures that look as their domain should."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_datasets import ObjectsConfig
from synthetic_datasets.drawing.pen import Pen, bend, shade
from synthetic_datasets.drawing.things import THINGS, new_look
from synthetic_datasets.generators.generator import Source
from synthetic_datasets.generators.objects import CLASS_NAMES, generate, notes
from synthetic_datasets.material.scenes import MARGIN, SCENES, cloud, desk, new_view

Arrays = dict[str, NDArray[Any]]
THREE = ObjectsConfig(train=372, test=31, domains=("dslr", "amazon", "webcam"), outlier_classes=())


@pytest.fixture(scope="module")
def three(arrays_of: Callable[..., Arrays]) -> Arrays:
    return arrays_of(THREE)


def test_the_classes_have_office_31_s_names() -> None:
    assert len(CLASS_NAMES) == 31 and list(CLASS_NAMES) == sorted(CLASS_NAMES)
    assert {"back_pack", "speaker", "scissors", "trash_can", "punchers"} < set(CLASS_NAMES)


def test_outlier_classes_are_only_outliers_and_never_in_the_source(arrays_of: Callable[..., Arrays]) -> None:
    config = ObjectsConfig(train=200, test=10, size=32)
    arrays = arrays_of(config)
    domain, outlier = arrays["domain"], arrays["outlier"]
    assert domain.tolist() == [0] * 100 + [1] * 100 and outlier.sum() == 10 and not outlier[:100].any()
    names = np.array(CLASS_NAMES)[arrays["label"]]
    assert sorted(set(names[outlier])) == ["scissors", "speaker"]
    assert set(names[~outlier]) == set(CLASS_NAMES) - {"scissors", "speaker"}
    for part in (domain == 0, (domain == 1) & ~outlier, outlier):
        counts = np.bincount(arrays["label"][part], minlength=31)
        assert counts[counts > 0].max() - counts[counts > 0].min() <= 1


def test_without_outlier_classes_all_classes_are_in_every_domain(three: Arrays) -> None:
    assert not three["outlier"].any()
    for domain in range(3):
        assert np.bincount(three["label"][three["domain"] == domain]).tolist() == [4] * 31


def test_domains_of_office_31_s_sizes(arrays_of: Callable[..., Arrays]) -> None:
    """Three domains of 31 classes each, for training on one and testing on the others."""
    config = ObjectsConfig(
        train=349, test=62, domains=("amazon", "dslr", "webcam"), domain_sizes=(2817, 498, 795), outlier_classes=()
    )
    assert config.domain_counts("train") == [239, 42, 68] and sum(config.domain_counts("test")) == 62
    arrays = arrays_of(config)
    assert arrays["domain"].tolist() == [0] * 239 + [1] * 42 + [2] * 68 and not arrays["outlier"].any()
    for number, count in enumerate((239, 42, 68)):
        classes = np.bincount(arrays["label"][arrays["domain"] == number], minlength=31)
        assert classes.sum() == count and classes.max() - classes.min() <= 1 and classes.min() > 0
    assert (arrays["desk"] == -1).tolist() == (arrays["domain"] == 0).tolist()
    text = "\n".join(notes(config))
    assert "that it has" in text and "2,817" not in text and "2,817" in "\n".join(notes(ObjectsConfig()))


def test_options_and_notes() -> None:
    for train in (372, 100, 7):
        plain, equal = (ObjectsConfig(train=train, domain_sizes=sizes) for sizes in ((), (5, 5)))
        assert plain.domain_counts("train") == equal.domain_counts("train") == [-(-train // 2), train // 2]
    assert ObjectsConfig(outlier_classes=("none",)) == ObjectsConfig(outlier_classes=())
    assert "scissors, speaker are absent from webcam" in "\n".join(notes(ObjectsConfig(domains=("webcam", "dslr"))))


def test_domains_look_as_they_should(three: Arrays) -> None:
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


def test_things_differ_and_colour_tells_no_class(three: Arrays) -> None:
    mugs = three["image"][(three["label"] == CLASS_NAMES.index("mug")) & (three["domain"] == 1)]
    differences = [np.abs(a.astype(int) - b).mean() for a, b in combinations(mugs, 2)]
    assert min(differences) > 3
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


def test_pen() -> None:
    pen = Pen(64, np.array([[32, 0, 32], [0, 32, 32], [0, 0, 1.0]]))
    pen.area([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], (200, 100, 0), edge=False)
    made = pen.finished(2)
    assert made.shape == (32, 32, 4) and made[..., 3].mean() == pytest.approx(0.25, abs=0.02)  # both borders are inked
    assert made[16, 16].tolist() == pytest.approx([200 / 255, 100 / 255, 0, 1], abs=1e-5)
    assert (made[..., :3] <= made[..., 3:] + 1e-6).all()
    view = np.array([[20, 0, 32], [0, 20, 32], [0, 0, 1.0]]) @ np.array([[1, 0, 0], [0, 1, 0], [-0.3, 0, 1.0]])
    pen = Pen(64, view)
    pen.area([(-0.8, -0.5), (0.8, -0.5), (0.8, 0.5), (-0.8, 0.5)], (255, 255, 255), edge=False)
    heights = (pen.finished(1)[..., 3] > 0.5).sum(axis=0)
    inked = heights[heights > 0]
    assert inked[-2] > 1.4 * inked[1]
    assert bend(0, 0, 2, 1, 0, 90)[-1] == pytest.approx((0, 1))
    assert shade((100, 200, 50), 0.5) == (50, 100, 25) and shade((155, 55, 255), 1.5) == (205, 155, 255)


def test_desks_have_their_colour_on_average() -> None:
    rng = np.random.default_rng(0)
    colour = np.array((120, 160, 90), np.uint8)
    for kind in range(3):
        made = np.mean([desk(kind, colour, 64, rng) for _ in range(40)], axis=(0, 1, 2))
        assert made * 255 == pytest.approx(colour, rel=0.05)
    assert cloud(33, (4, 7), rng).shape == (33, 33)


def test_larger_pictures_show_the_same_view(three: Arrays) -> None:
    """Place, scale and thing are drawn before anything that depends on the number of pixels."""
    large = ObjectsConfig(train=372, test=31, domains=THREE.domains, outlier_classes=(), size=128)
    for index in (0, 130):
        sample = generate(large, "train", index, Source()).arrays
        assert sample["centre"] == pytest.approx(2 * three["centre"][index], rel=1e-5)
        assert sample["cover"] == pytest.approx(three["cover"][index], abs=0.01)
        assert sample["body"].tolist() == three["body"][index].tolist()
