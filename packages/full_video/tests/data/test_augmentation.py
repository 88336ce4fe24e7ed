"""Crops, flips and mirrored classes."""

import numpy as np
import pytest
import torch

from efficiency_core.errors import UsageError
from full_video.data.augmentation import Augmentation, Draw, check_horizontal, direction_labels, mirror_labels


def ramp(count=6, height=40, width=60):
    """Frames whose red is the column and whose green is the row."""
    video = torch.zeros(count, 3, height, width, dtype=torch.uint8)
    video[:, 0] = torch.arange(width, dtype=torch.uint8)
    video[:, 1] = torch.arange(height, dtype=torch.uint8)[:, None]
    video[:, 2] = torch.arange(count, dtype=torch.uint8)[:, None, None] * 10
    return video


def test_tests_crop_the_centre():
    out = Augmentation(size=30, resize=40).apply(ramp(), Augmentation().draw(None))
    assert out.shape == (6, 3, 30, 30) and out.dtype == torch.uint8
    assert torch.equal(out, ramp()[:, :, 5:35, 15:45])


def test_the_short_side_is_resized():
    out = Augmentation(size=80, resize=80).apply(ramp(), Draw())
    assert out.shape == (6, 3, 80, 80)
    assert out[0, 0, 40].float().mean() == pytest.approx(29.5, abs=0.5)  # the middle columns
    tall = Augmentation(size=20, resize=20).apply(ramp().transpose(2, 3), Draw())
    assert tall.shape == (6, 3, 20, 20)
    assert Augmentation(size=8, resize=8).apply(ramp()[:0], Draw()).shape == (0, 3, 8, 8)


def test_places_of_a_crop():
    for place, top, left in (((0.0, 0.0), 0, 0), ((1.0, 1.0), 20, 40), ((0.0, 1.0), 0, 40), ((0.5, 0.5), 10, 20)):
        cropped = Augmentation(size=20, resize=40).apply(ramp(), Draw((0.5, 0.5), place))
        assert torch.equal(cropped, ramp()[:, :, top : top + 20, left : left + 20])


def test_multiscale_draws():
    augmentation = Augmentation(size=16, resize=16, scales=(1.0, 0.8, 0.6), flip="horizontal")
    rng = np.random.default_rng(0)
    draws = [augmentation.draw(rng) for _ in range(3000)]
    neighbours = {(1.0, 1.0), (1.0, 0.8), (0.8, 1.0), (0.8, 0.8), (0.8, 0.6), (0.6, 0.8), (0.6, 0.6)}
    assert {draw.pair for draw in draws} == neighbours
    assert len({draw.place for draw in draws}) == 13
    assert sum(draw.flip for draw in draws) == pytest.approx(1500, abs=110)
    for draw in draws[:50]:
        assert augmentation.apply(ramp(), draw).shape == (6, 3, 16, 16)


@pytest.mark.parametrize("crop", ["multiscale", "random", "centre"])
@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("flip", ["horizontal", "directions"])
def test_a_draw_is_the_same_for_every_chunk(crop, chunk, flip):
    augmentation = Augmentation(size=24, resize=32, crop=crop, flip=flip)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (7, 3, 45, 53), dtype=torch.uint8, generator=generator)
    for seed in range(8):
        draw = augmentation.draw(np.random.default_rng(seed))
        whole = augmentation.apply(frames, draw)
        assert torch.equal(torch.cat([augmentation.apply(part, draw) for part in frames.split(chunk)]), whole)


def test_flips_only_where_asked_for():
    for crop in ("multiscale", "random", "centre"):
        rng = np.random.default_rng(0)
        assert not any(Augmentation(crop=crop).draw(rng).flip for _ in range(100))
        for seed in range(20):  # a flip changes nothing else
            plain, mirrored, turned = (
                Augmentation(crop=crop, flip=flip).draw(np.random.default_rng(seed))
                for flip in ("none", "labels", "directions")
            )
            assert Draw(mirrored.pair, mirrored.place) == Draw(turned.pair, turned.place) == plain
            assert turned.flip == mirrored.flip and mirrored.turns == 0


def test_a_flip_exchanges_columns_and_a_quarter_turn_is_against_the_clock():
    augmentation = Augmentation(size=40, resize=40)
    plain, flipped, turned = (augmentation.apply(ramp(), draw) for draw in (Draw(), Draw(flip=True), Draw(turns=1)))
    assert torch.equal(flipped, plain.flip(-1)) and turned.is_contiguous()
    for row, column in ((0, 0), (3, 17), (39, 5)):
        assert torch.equal(turned[:, :, 39 - column, row], plain[:, :, row, column])
    both = augmentation.apply(ramp(), Draw(flip=True, turns=3))
    assert torch.equal(both, plain.flip(-1).rot90(-1, (2, 3)))


def test_the_eight_symmetries_are_equally_likely():
    rng = np.random.default_rng(0)
    draws = [Augmentation(flip="directions").draw(rng) for _ in range(4000)]
    counts = [sum((draw.flip, draw.turns) == (f, t) for draw in draws) for f in (False, True) for t in range(4)]
    assert counts == pytest.approx([500] * 8, abs=90)


@pytest.mark.parametrize(
    "options",
    [{"size": 0}, {"size": 300}, {"crop": "corner"}, {"flip": "vertical"}, {"scales": ()}, {"scales": (1.2,)}],
)
def test_unusable_options(options):
    with pytest.raises(ValueError, match=r"expected|must be"):
        Augmentation(**options)


def test_directions_by_hand():
    names = ["left", "right", "up", "down"]
    assert direction_labels(names, Draw()) == (0, 1, 2, 3)
    assert direction_labels(names, Draw(flip=True)) == (1, 0, 2, 3)
    assert direction_labels(names, Draw(turns=1)) == (3, 2, 0, 1)  # left goes down, right up, up left, down right
    assert direction_labels(names, Draw(turns=2)) == (1, 0, 3, 2)
    assert direction_labels(names, Draw(flip=True, turns=1)) == (2, 3, 0, 1)  # left is first right, then up
    assert direction_labels(["Down", "Left", "Up", "Right"], Draw(turns=3)) == (1, 2, 3, 0)


@pytest.mark.parametrize(
    "names",
    [["left", "right"], ["left", "right", "up", "down", "still"], ["left", "left", "up", "down"],
     ["move left", "move right", "move up", "move down"]],
)  # fmt: skip
def test_other_classes_are_no_directions(names):
    with pytest.raises(UsageError, match=f"the classes left, right, up and down, got {len(names)}: {names[0]}, "):
        direction_labels(names, Draw())


@pytest.mark.parametrize(("names", "pair"), [
    (["left", "right", "up", "down"], ("left", "right")),
    (["wave", "SwipeRight", "SwipeLeft"], ("SwipeRight", "SwipeLeft")),
    (["turn_left", "run", "turn_right"], ("turn_left", "turn_right")),
    (["Going from left to right", "Going from right to left"], ("from left to right", "from right to left")),
    (["walk", "bright"], None),
    (["Moving left alone", "walk"], None),
    (["0", "1"], None),
])  # fmt: skip
def test_a_horizontal_flip_of_left_and_right_classes_is_refused(names, pair):
    if pair is None:
        check_horizontal(names)
        return
    with pytest.raises(UsageError, match=f"show videos of .*{pair[0]}' as .*{pair[1]}' and keep their label"):
        check_horizontal(names)


def test_mirrored_classes():
    assert mirror_labels(["left", "right", "up", "down"]) == (1, 0, 2, 3)
    names = [
        "Pulling something from left to right",
        "Pulling something from right to left",
        "Holding something",
        "Turning the camera left while filming something",
        "Turning the camera Right while filming something",
        "Pushing something so it slightly moves",
        "Leaving a bright room",
        "Moving left alone",
        "Putting something upright on the table",
        "Plugging something into something but pulling it right out as you remove your hand",
    ]
    assert mirror_labels(names) == (1, 0, 2, 4, 3, 5, 6, None, 8, 9)
    names = ["turn_left", "turn_right", "SwipeLeft", "SwipeRight", "leftTurn", "RightTurn", "BrightRoom", "leftover",
             "left_alone", "pull_right_out"]  # fmt: skip
    assert mirror_labels(names) == (1, 0, 3, 2, 5, 4, 6, 7, None, 9)
