"""Boxes drawn on frames: solid and dashed, colours, labels, frames of any size."""

from pathlib import Path

import numpy as np
import pytest
import torch

from efficiency_core.draw import distinct_color, font
from efficiency_core.errors import UsageError
from location_anticipation.inference.drawing import draw_detections, label_font
from location_anticipation.inference.stream import FrameDetections


def detections(keyframe: bool, *boxes: tuple[float, ...]) -> FrameDetections:
    labels, scores = torch.ones(len(boxes), dtype=torch.int64), torch.linspace(1, 0.5, len(boxes))
    return FrameDetections(0, keyframe, 0 if keyframe else 3, torch.tensor(boxes).float(), labels, scores)


def test_keyframe_boxes_are_solid_and_anticipated_ones_dashed() -> None:
    image = np.full((120, 160, 3), 128, np.uint8)
    drawn = (draw_detections(image, detections(keyframe, (40, 40, 120, 100))) for keyframe in (True, False))
    solid, dashed = ({tuple(color) for color in picture[99, 40:120].tolist()} for picture in drawn)
    assert solid == {distinct_color(1)}
    assert dashed == {distinct_color(1), (0, 0, 0)}
    assert image.min() == image.max() == 128  # the frame itself is left alone


@pytest.mark.parametrize("size", [(1, 1), (8, 6), (64, 48), (65, 47), (320, 240), (1280, 720)])
@pytest.mark.parametrize("keyframe", [True, False])
def test_draws_on_frames_of_any_size(size: tuple[int, int], keyframe: bool) -> None:
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    boxes = ((0, 0, width, height), (width / 4, height / 4, width / 2, height / 2), (0, 0, 0.25, 0.25))
    drawn = draw_detections(image, detections(keyframe, *boxes), ["a class with a rather long name"])
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert drawn.max() > 0
    if height >= 240:
        larger = draw_detections(image, detections(keyframe, *boxes), ["ab"])
        assert not np.array_equal(drawn, larger)  # names are written where they fit


def drawn_name(name: str, font_file: Path | None = None) -> np.ndarray:
    return draw_detections(np.zeros((400, 600, 3), np.uint8), detections(True, (20, 50, 590, 390)), [name], font_file)


@pytest.mark.parametrize("names", ["кот", "γάτα", "Łąż", "→✓∞", "gatocão"])
def test_letters_of_a_font_are_drawn_and_not_boxes(names: str) -> None:
    """Every letter looks different, which boxes do not."""
    file = Path(pytest.importorskip("matplotlib").get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    drawn = {letter: drawn_name(letter, file).tobytes() for letter in names}
    assert len(set(drawn.values())) == len(set(names))
    if label_font((names,)) is not None:  # this machine has a font for them, or they are in Pillow's own
        assert len({drawn_name(letter).tobytes() for letter in names}) == len(set(names))


def test_a_font_without_the_letters_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = tmp_path / "plain.ttf"
    plain.write_bytes(font(10).font_bytes)
    assert label_font(("dog", "cat"), plain) == str(plain) and label_font(("dog", "cat")) is None
    assert not caplog.messages
    assert label_font(("\U0001f9ff 犬", "犬"), plain) == str(plain)
    assert f"{plain} lacks these letters of the class names" in caplog.text and "犬" in caplog.text
    (tmp_path / "text.ttf").write_text("no font")
    for name in ("text.ttf", "none.ttf"):
        with pytest.raises(UsageError, match=rf"{name}: is no font \(.*\); expected"):
            label_font(("a",), tmp_path / name)


@pytest.mark.parametrize("name", ["two\nlines", "tab\there", "\udcff", "", " ", "e\u0301", "\u200b"])
def test_odd_names_are_drawn(name: str) -> None:
    assert drawn_name(name).any()
