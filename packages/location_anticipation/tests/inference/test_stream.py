"""VideoDetector: which frames the network sees, which boxes the others get, and the numbers that objects keep."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator

from location_anticipation.inference.stream import VideoDetector

WIDTH, HEIGHT, SIDE = 64, 48, 8


def square(x: int, y: int) -> Tensor:
    """A dark image with a bright square whose top-left corner is (x, y)."""
    image = torch.zeros(3, HEIGHT, WIDTH)
    image[:, max(y, 0) : y + SIDE, max(x, 0) : x + SIDE] = 1
    return image


Square = Any  # the class of conftest.py


def record(model: nn.Module) -> list[Tensor]:
    """The list in which the images that a model sees will be."""
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    return seen


@pytest.fixture
def square_model(square_detector: Square) -> Any:
    """Expects the square to go on as :func:`moving` moves it."""
    return square_detector(8, (2.0, 1.0))


class FixedDetector(nn.Module):
    """Finds the same objects in every frame, whatever it shows."""

    def __init__(self, boxes: Tensor, scores: Tensor, trajectories: Tensor) -> None:
        super().__init__()
        self.horizon = trajectories.shape[1]
        labels = torch.arange(1, len(boxes) + 1)
        self.output = {"boxes": boxes, "labels": labels, "scores": scores, "trajectories": trajectories}

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return [dict(self.output) for _ in images]


def moving(count: int, velocity: tuple[int, int] = (2, 1)) -> list[Tensor]:
    return [square(2 + velocity[0] * t, 3 + velocity[1] * t) for t in range(count)]


@pytest.mark.parametrize("keyframe_step", [1, 3, 4, 9])
@pytest.mark.parametrize("count", [0, 1, 4, 10])
def test_every_frame_gets_the_box_of_its_own_time(square_model: Any, keyframe_step: int, count: int) -> None:
    seen = record(square_model)
    results = list(VideoDetector(square_model, keyframe_step)(moving(count)))
    assert [result.index for result in results] == list(range(count))
    assert [result.step for result in results] == [t % keyframe_step for t in range(count)]
    assert [result.keyframe for result in results] == [t % keyframe_step == 0 for t in range(count)]
    assert len(seen) == len(range(0, count, keyframe_step))
    for t, result in enumerate(results):
        x, y = 2 + 2 * t, 3 + t
        assert result.boxes.tolist() == [[x, y, x + SIDE, y + SIDE]]
        assert result.labels.tolist() == [2]
        assert result.scores.tolist() == [0.75]


def test_step_one_is_the_first_anticipated_box_and_not_the_keyframes_own() -> None:
    key, later = torch.tensor([[1.0, 1, 5, 5]]), torch.tensor([[[10.0, 10, 15, 15], [20, 20, 25, 25]]])
    model = FixedDetector(key, torch.ones(1), later)
    results = list(VideoDetector(model, 3)([square(0, 0)] * 4))
    expected = [[1, 1, 5, 5], [10, 10, 15, 15], [20, 20, 25, 25], [1, 1, 5, 5]]
    assert torch.cat([result.boxes for result in results]).tolist() == expected


@pytest.mark.parametrize(("step", "horizon"), [(0, 8), (-2, 8), (10, 8), (2, 0)])
def test_refuses_a_step_that_the_model_cannot_anticipate(square_detector: Square, step: int, horizon: int) -> None:
    with pytest.raises(ValueError, match=rf"keyframe_step.*(got {step}|at most {horizon + 1}$)"):
        VideoDetector(square_detector(horizon), step)


def test_boxes_are_clipped_and_those_outside_are_dropped_for_that_step_only() -> None:
    key = torch.tensor([[-4.0, 10, 6, 20], [10, 10, 20, 20]])
    later = torch.tensor(
        [
            [[-14.0, 10, -4, 20], [60, 40, 70, 50], [WIDTH, 0, WIDTH + 9, 9]],
            [[11, 10, 21, 20], [12, 10, 22, 20], [float("nan")] * 4],
        ]
    )
    model = FixedDetector(key, torch.tensor([0.9, 0.8]), later)
    key_frame, first, second, third = VideoDetector(model, 4)([square(0, 0)] * 4)
    assert key_frame.boxes.tolist() == [[0, 10, 6, 20], [10, 10, 20, 20]]
    assert (first.boxes.tolist(), first.labels.tolist()) == ([[11, 10, 21, 20]], [2])
    assert second.boxes.tolist() == [[60, 40, WIDTH, HEIGHT], [12, 10, 22, 20]]
    assert second.scores.tolist() == pytest.approx([0.9, 0.8])
    assert third.boxes.shape == (0, 4) and third.labels.shape == third.scores.shape == (0,)


def test_score_threshold_keeps_scores_at_and_above_it() -> None:
    boxes = torch.tensor([[0.0, 0, 5, 5]]).repeat(4, 1)
    model = FixedDetector(boxes, torch.tensor([0.25, 0.5, 0.75, float("nan")]), boxes[:, None])
    key, later = VideoDetector(model, 2, score_threshold=0.5)([square(0, 0)] * 2)
    assert key.labels.tolist() == later.labels.tolist() == [2, 3]


@pytest.mark.parametrize("threshold", [-0.1, 50, float("nan")])
def test_a_score_threshold_that_is_no_score_is_refused(square_model: Any, threshold: float) -> None:
    with pytest.raises(ValueError, match="score_threshold must be 0 to 1"):
        VideoDetector(square_model, 1, score_threshold=threshold)


def test_no_objects(square_model: Any) -> None:
    results = list(VideoDetector(square_model, 3)([torch.zeros(3, HEIGHT, WIDTH)] * 4))
    assert [result.boxes.shape for result in results] == [(0, 4)] * 4


def test_each_result_comes_with_its_frame_and_only_keyframes_are_converted(square_model: Any) -> None:
    taken, converted = [], []

    def stream() -> Iterator[int]:
        for t in range(10_000):
            taken.append(t)
            yield t

    def to_tensor(frame: int) -> Tensor:
        converted.append(frame)
        return square(frame, 0)

    results = VideoDetector(square_model, 4, to_tensor=to_tensor)(stream())
    for t in range(10):
        assert next(results).index == t
        assert taken == list(range(t + 1))
        assert converted == list(range(0, t + 1, 4))


def test_frames_and_results_are_not_kept(square_model: Any) -> None:
    class Frame:
        pass

    alive: weakref.WeakSet[Frame] = weakref.WeakSet()

    def stream() -> Iterator[Frame]:
        for _ in range(200):
            frame = Frame()
            alive.add(frame)
            yield frame
            del frame

    def live_tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    def to_tensor(frame: Frame) -> Tensor:
        return square(0, 0)

    most, tensors = 0, []
    for result in VideoDetector(square_model, 5, to_tensor=to_tensor)(stream()):
        most = max(most, len(alive))
        if result.index in (99, 199):
            tensors.append(live_tensors())
    assert most <= 2
    assert len(set(tensors)) == 1, tensors


def test_streams_do_not_mix(square_model: Any) -> None:
    detector = VideoDetector(square_model, 3)
    together = zip(detector(moving(7)), detector(moving(7, (3, 2))), strict=True)
    alone = zip(detector(moving(7)), detector(moving(7, (3, 2))), strict=True)
    for pair, expected in zip(together, list(alone), strict=True):
        for got, want in zip(pair, expected, strict=True):
            assert got.index == want.index and torch.equal(got.boxes, want.boxes)


def test_bytes_and_floats_give_the_network_the_same_image(square_model: Any) -> None:
    seen = record(square_model)
    list(VideoDetector(square_model, 2)(moving(3)))
    list(VideoDetector(square_model, 2)([(255 * frame).to(torch.uint8) for frame in moving(3)]))
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3])
    assert seen[2].dtype == torch.float32


def test_model_is_as_it_was_whenever_the_caller_has_control(square_model: Any) -> None:
    model, modes = square_model.train(), []
    model.register_forward_pre_hook(lambda module, _: modes.append(module.training or module.part.training))
    model.part.eval()
    for _ in VideoDetector(model, 2)(moving(4)):
        assert model.training and not model.part.training
    assert modes == [False, False]
    model.train().register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(VideoDetector(model, 2)(moving(4)))
    assert model.training and model.part.training


def test_results_are_ordinary_tensors_without_gradient(square_model: Any) -> None:
    for result in VideoDetector(square_model, 2)(moving(2)):
        assert not result.boxes.requires_grad and not result.boxes.is_inference()
        result.boxes.add_(1)


def test_refuses_frames_that_are_no_images(square_model: Any) -> None:
    detector = VideoDetector(square_model, 2)
    with pytest.raises(TypeError, match=r"list.*to_tensor"):
        list(detector([[0.0]]))
    with pytest.raises(ValueError, match=r"\(3, H, W\).*\(48, 64, 3\)"):
        list(detector([square(0, 0).permute(1, 2, 0)]))


def test_any_torchvision_detector_works_on_every_frame() -> None:
    torch.manual_seed(0)
    backbone = nn.Conv2d(3, 4, 16, stride=16)
    backbone.out_channels = 4
    anchors = AnchorGenerator(((16,),), ((1.0,),))
    model = FasterRCNN(backbone, 3, min_size=HEIGHT, max_size=WIDTH, rpn_anchor_generator=anchors)
    frame = torch.rand(3, HEIGHT, WIDTH)
    with torch.no_grad():
        (expected,) = model.eval()([frame])
    assert len(expected["boxes"]) > 0
    (result,) = VideoDetector(model, 1)([frame])
    torch.testing.assert_close(result.boxes, expected["boxes"])
    with pytest.raises(ValueError, match="at most 1"):
        VideoDetector(model, 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_results_come_back_from_the_device() -> None:
    model = FixedDetector(torch.tensor([[0.0, 0, 5, 5]]), torch.ones(1), torch.ones(1, 1, 4))
    model.output = {name: tensor.cuda() for name, tensor in model.output.items()}
    (result,) = VideoDetector(model, 1, device="cuda")([square(0, 0)])
    assert result.boxes.device.type == "cpu"


@pytest.mark.parametrize("step", [1, 4, 9])
def test_objects_keep_their_number_while_they_are_followed(world: Any, step: int) -> None:
    """One moves for good, one is there until frame 39, one comes at frame 60."""
    model = world([lambda t: 100 + 15.0 * t, lambda t: 300.0 if t < 40 else None, lambda t: 500.0 if t >= 60 else None])
    results = list(VideoDetector(model, step, to_tensor=world.frame, follow=True)(range(100)))
    for result in results:
        assert result.instances is not None
        rows = (result.boxes[:, 1] / 50).round().int().tolist()
        assert dict(zip(rows, result.instances.tolist(), strict=True)) == {row: row + 1 for row in rows}
    numbers = {int(n) for result in results if result.instances is not None for n in result.instances}
    assert numbers == {1, 2, 3}


def test_numbers_are_given_on_request_only(world: Any) -> None:
    model = world([lambda t: 100.0])
    assert [result.instances for result in VideoDetector(model, 3, to_tensor=world.frame)(range(4))] == [None] * 4
