"""Methods that know key boxes only: hand-computed velocities, objects that come and go, order and lateness."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from location_anticipation.inference.stream import FrameDetections
from location_anticipation.peers import PeerConfig, video_method

WIDTH, HEIGHT = 100, 80
Scenes = dict[int, list[tuple[float, ...]]]


class Scripted(nn.Module):
    """Finds in every frame the objects its first pixel names: ``scenes[k]`` is a list of (label, x1, y1, x2, y2)."""

    def __init__(self, scenes: list[list[tuple[float, ...]]]) -> None:
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(1))
        self.scenes, self.seen = scenes, list[int]()

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        assert not self.training
        number = round(float(images[0][0, 0, 0]) * 100)
        self.seen.append(number)
        rows = torch.tensor(self.scenes[number]).reshape(-1, 5)
        scores = torch.linspace(0.9, 0.5, len(rows))
        return [{"boxes": rows[:, 1:], "labels": rows[:, 0].long(), "scores": scores}]


def clip(frames: int) -> list[Tensor]:
    return [torch.full((3, HEIGHT, WIDTH), t / 100) for t in range(frames)]


def config(method: str, **changes: Any) -> PeerConfig:
    return PeerConfig(method, **{"keyframe_step": 4} | changes)


def run(method: str, scenes: Scenes, frames: int, **changes: Any) -> list[FrameDetections]:
    model: Any = Scripted([scenes.get(t, []) for t in range(frames)])
    results = list(video_method(config(method, **changes), model)(clip(frames)))
    assert [result.index for result in results] == list(range(frames))
    step = 1 if method == "per_frame" else changes.get("keyframe_step", 4)
    assert model.seen == list(range(0, frames, step))
    assert [result.step for result in results] == [t % step for t in range(frames)]
    assert [result.keyframe for result in results] == [t % step == 0 for t in range(frames)]
    return results


MOVING: Scenes = {0: [(1, 10, 10, 30, 30)], 4: [(1, 18, 10, 38, 38)], 8: [(1, 26, 10, 46, 46)]}


def test_per_frame_is_the_detector() -> None:
    scenes = {t: [(1.0, 5.0 + t, 5.0, 15.0 + t, 15.0)] for t in range(5)}
    results = run("per_frame", scenes, 5)
    assert [result.boxes.tolist() for result in results] == [[[5.0 + t, 5, 15 + t, 15]] for t in range(5)]


def test_key_boxes_are_copied_until_the_next_keyframe() -> None:
    results = run("key_boxes_copied", MOVING, 7)
    assert [result.boxes.tolist() for result in results] == [[[10, 10, 30, 30]]] * 4 + [[[18, 10, 38, 38]]] * 3


def test_constant_velocity_goes_on_from_the_keyframe_before() -> None:
    results = run("constant_velocity", MOVING, 7)
    # Nothing is known at first; then (8, 4, 0, 8) pixels of centre x, centre y, width and height in 4 frames.
    assert [result.boxes.tolist() for result in results[:4]] == [[[10, 10, 30, 30]]] * 4
    assert results[4].boxes.tolist() == [[18, 10, 38, 38]]
    assert results[5].boxes.tolist() == [[20, 10, 40, 40]]
    assert results[6].boxes.tolist() == [[22, 10, 42, 42]]


def test_interpolation_goes_to_the_next_keyframe() -> None:
    results = run("interpolation", MOVING, 7)
    moving = [[[10.0 + 2 * t, 10, 30 + 2 * t, 30 + 2 * t]] for t in range(5)]
    assert [result.boxes.tolist() for result in results[:5]] == moving
    assert [result.boxes.tolist() for result in results[5:]] == [[[18, 10, 38, 38]]] * 2  # nothing to go to


@pytest.mark.parametrize("method", ["constant_velocity", "interpolation"])
def test_new_lost_and_other_objects_stand_still(method: str) -> None:
    scenes: Scenes = {
        # an object that moves, one that will be lost, one whose class changes
        0: [(1, 10, 10, 30, 30), (2, 60, 40, 70, 50), (1, 80, 10, 90, 20)],
        # the moving one (not first any more), a new one far away, the one of another class
        4: [(2, 40, 60, 50, 70), (1, 14, 10, 34, 30), (2, 80, 10, 90, 20)],
    }
    results = run(method, scenes, 8)
    if method == "interpolation":
        assert results[2].boxes.tolist() == [[12, 10, 32, 30], [60, 40, 70, 50], [80, 10, 90, 20]]
        assert results[2].labels.tolist() == [1, 2, 1]
    else:
        assert results[6].boxes.tolist() == [[40, 60, 50, 70], [16, 10, 36, 30], [80, 10, 90, 20]]
        assert results[6].labels.tolist() == [2, 1, 2]
    assert torch.allclose(results[2].scores, torch.tensor([0.9, 0.7, 0.5]))


def test_objects_that_moved_too_far_are_not_matched() -> None:
    scenes: Scenes = {0: [(1, 10, 10, 20, 20)], 4: [(1, 16, 10, 26, 20)]}  # IoU 0.25
    assert run("interpolation", scenes, 5, match_iou=0.3)[2].boxes.tolist() == [[10, 10, 20, 20]]
    assert run("interpolation", scenes, 5, match_iou=0.2)[2].boxes.tolist() == [[13, 10, 23, 20]]


def test_extrapolated_boxes_are_clipped_and_leave() -> None:
    scenes: Scenes = {0: [(1, 60, 10, 90, 40)], 4: [(1, 76, 10, 106, 40)], 8: []}
    results = run("constant_velocity", scenes, 9)
    assert results[4].boxes.tolist() == [[76, 10, WIDTH, 40]]
    # The key box was clipped: its centre moved by 13 in 4 frames and its width shrank by 6.
    assert results[6].boxes.tolist() == [[pytest.approx(84.0), 10, WIDTH, 40]]
    assert results[8].boxes.shape == (0, 4)


def test_a_box_that_shrinks_away_is_gone() -> None:
    scenes: Scenes = {0: [(1, 10, 10, 40, 40)], 4: [(1, 19, 19, 31, 31)]}
    results = run("constant_velocity", scenes, 8)
    assert results[5].boxes.tolist() == [[21.25, 21.25, 28.75, 28.75]]
    assert results[7].boxes.shape == (0, 4)


@pytest.mark.parametrize("method", ["per_frame", "key_boxes_copied", "constant_velocity", "interpolation"])
def test_order_lateness_and_streams_of_any_length(method: str) -> None:
    scenes = {t: [(1.0, 5.0, 5.0, 15.0 + t, 15.0)] for t in range(12)}
    for frames in (0, 1, 3, 4, 5, 12):
        run(method, scenes, frames)
    taken: list[int] = []

    def stream() -> Iterator[Tensor]:
        for t, frame in enumerate(clip(12)):
            taken.append(t)
            yield frame

    model: Any = Scripted([scenes[t] for t in range(12)])
    for result in video_method(config(method), model)(stream()):
        newest = min(result.index // 4 * 4 + 4, 11) if method == "interpolation" else result.index
        assert taken[-1] == newest


def test_only_keyframes_are_converted_and_scores_decide() -> None:
    model: Any = Scripted([MOVING[0] + [(2.0, 1.0, 1.0, 9.0, 9.0)]] * 9)
    converted: list[int] = []

    def to_tensor(frame: int) -> Tensor:
        converted.append(frame)
        return clip(9)[frame]

    method = video_method(config("key_boxes_copied"), model, to_tensor=to_tensor, score_threshold=0.6)
    assert [result.labels.tolist() for result in method(range(9))] == [[1]] * 9
    assert converted == [0, 4, 8]
