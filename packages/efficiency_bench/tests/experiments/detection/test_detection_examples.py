"""Which frames are chosen for a picture and what is drawn in them, with a detector that knows the answers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from efficiency_bench.experiments.detection.detection_examples import _shrink, detection_examples
from efficiency_bench.records.artifacts import Example
from location_anticipation.data import Videos, open_videos

STEP = 8
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def videos(data_set: Callable[..., Path]) -> Videos:
    return open_videos(data_set("moving-digits", "moving_digits-sklearn", train=10, test=10) / "test.h5")


class Oracle:
    """Finds the true boxes of a frame by its pixels, and their true way on; the videos of ``lost`` stand still to it."""

    def __init__(self, videos: Videos, horizon: int = STEP, lost: frozenset[int] = frozenset()) -> None:
        self.videos, self.horizon, self.lost = videos, horizon, lost
        self.places: dict[bytes, tuple[int, int]] = {}
        for video in range(len(videos)):
            for time in range(len(videos.tracks(video).annotated)):
                self.places.setdefault(videos.frame(video, time).numpy().tobytes(), (video, time))

    def __call__(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        video, time = self.places[images[0].numpy().tobytes()]
        tracks = self.videos.tracks(video)
        objects = np.flatnonzero(tracks.present[time])
        true = torch.from_numpy(tracks.boxes)[:, objects]
        boxes, labels = true[time], torch.from_numpy(tracks.labels[objects]) + 1
        count = len(objects)
        # A worse box on top of each, of another class, and a weak one in the corner: neither is to be drawn.
        weak = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
        found = {
            "boxes": torch.cat((boxes + 0.5, boxes, weak)),
            "labels": torch.cat((labels % 10 + 1, labels, labels[:1])),
            "scores": torch.cat((torch.full((count,), 0.6), torch.full((count,), 0.9), torch.tensor([0.4]))),
        }
        if self.horizon:
            later = [true[min(time + step, len(true) - 1)] for step in range(1, self.horizon + 1)]
            way = torch.stack([boxes if video in self.lost else box for box in later], dim=1)
            found["trajectories"] = torch.cat((way + 0.5, way, weak[:, None].expand(-1, self.horizon, -1)))
        return [found]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    common = sides[0] * sides[1]
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def still(videos: Videos, video: int, time: int) -> float:
    boxes = videos.tracks(video).boxes[:, 0]
    return float(np.mean([iou(boxes[time], boxes[time + step]) for step in range(1, STEP)]))


def chosen_place(videos: Videos, arrays: dict[str, np.ndarray], name: str) -> tuple[int, int]:
    example = Example.read(arrays, name, "test")
    first = int(example.index[0])
    same = [
        video
        for video in range(len(videos))
        if ((videos.frame(video, first) * 255).round().byte().permute(1, 2, 0).numpy() == example.frames[0]).all()
    ]
    assert len(same) == 1
    return same[0], first


def test_an_example_has_the_true_boxes_and_what_was_anticipated(videos: Videos) -> None:
    arrays = detection_examples(Oracle(videos), videos, STEP, CPU)  # type: ignore[arg-type]
    names = {videos.info.class_names[int(videos.tracks(v).labels[0])] for v in range(len(videos))}
    shown = {key.partition("/")[0] for key in arrays}
    assert shown == {f"class_{name}" for name in names & set(videos.info.class_names[:10])} | {"success", "failure"}
    for name in shown:
        example = Example.read(arrays, name, "test")
        video, first = chosen_place(videos, arrays, name)
        assert first % STEP == 0 and example.index.tolist() == list(range(first, first + STEP + 1))
        assert example.keyframe.tolist() == [True] + [False] * (STEP - 1) + [True]
        true = videos.tracks(video).boxes[first : first + STEP + 1]
        np.testing.assert_allclose(example.true, true, atol=1e-5)
        np.testing.assert_allclose(example.found, true, atol=1e-5)  # the better box alone, and the way it goes
        assert (example.true_labels == example.found_labels).all() and np.allclose(example.scores, 0.9)
        if name.startswith("class_"):
            assert example.true_labels[0, 0] == name.removeprefix("class_")
    # Of a class, the keyframe whose object moves most.
    name = videos.info.class_names[int(videos.tracks(0).labels[0])]
    places = [
        (still(videos, v, t), v, t)
        for v in range(len(videos))
        for t in range(0, 32 - STEP, STEP)
        if videos.info.class_names[int(videos.tracks(v).labels[0])] == name
    ]
    video, first = chosen_place(videos, arrays, f"class_{name}")
    assert still(videos, video, first) == pytest.approx(min(places)[0], abs=1e-5)


def test_the_failure_is_where_the_fastest_went_wrong(videos: Videos) -> None:
    places = sorted((still(videos, v, t), v, t) for v in range(len(videos)) for t in range(0, 32 - STEP, STEP))
    fast = {v for _, v, _ in places[: len(places) // 4]}
    assert len(fast) > 1
    lost = places[0][1]
    arrays = detection_examples(Oracle(videos, lost=frozenset({lost})), videos, STEP, CPU)  # type: ignore[arg-type]
    assert chosen_place(videos, arrays, "failure")[0] == lost != chosen_place(videos, arrays, "success")[0]
    failure = Example.read(arrays, "failure", "test")
    # The lost boxes stand still up to the next keyframe, which is looked at again.
    assert (failure.found[:STEP] == failure.found[:1]).all()
    np.testing.assert_allclose(failure.found[STEP], failure.true[STEP], atol=1e-5)


def test_without_frames_in_between_there_is_nothing_to_show(videos: Videos) -> None:
    assert detection_examples(Oracle(videos), videos, 1, CPU) == {}  # type: ignore[arg-type]
    assert detection_examples(Oracle(videos), videos, 32, CPU) == {}, "no next keyframe"  # type: ignore[arg-type]


def test_a_detector_without_trajectories_holds_its_boxes_still(videos: Videos) -> None:
    arrays = detection_examples(Oracle(videos, horizon=0), videos, STEP, CPU)  # type: ignore[arg-type]
    example = Example.read(arrays, "success", "test")
    assert (example.found[:STEP] == example.found[:1]).all() and (example.true[1] != example.true[0]).any()


def test_wide_frames_are_shrunk_with_their_boxes() -> None:
    frames = torch.zeros(2, 3, 360, 640)
    frames[..., 320:] = 1
    small, scale = _shrink(frames)
    assert small.shape == (2, 180, 320, 3) and scale == 0.5
    assert small[:, :, :160].max() == 0 and small[:, :, 160:].min() == 255
    assert _shrink(torch.rand(1, 3, 64, 64))[1] == 1
