"""Evaluation on videos with detectors whose answers are known."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from location_anticipation.data import TrackVideos
from location_anticipation.evaluation import detect_keyframes, evaluate, spread
from location_anticipation.metrics import average_precision

Write = Callable[..., Path]
V, L = 3, 7


class Oracle(nn.Module):
    """Knows the videos: the top left pixel of every frame says which one it is."""

    def __init__(self, videos: TrackVideos, horizon: int, missing: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.videos, self.horizon, self.missing = videos, horizon, missing
        self.seen: list[tuple[int, int]] = []
        self.modes: set[bool] = set()

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        self.modes.add(self.training)
        return [self.detect(*divmod(round(255 * float(image[0, 0, 0])), L)) for image in images]

    def detect(self, video: int, time: int) -> dict[str, Tensor]:
        self.seen.append((video, time))
        objects = np.flatnonzero(self.videos.present[video, time])
        objects = objects[: 0 if video in self.missing else None]
        steps = np.minimum(np.arange(time + 1, time + 1 + self.horizon), L - 1)
        found = {
            "boxes": torch.from_numpy(self.videos.boxes[video, time, objects]),
            "labels": torch.from_numpy(self.videos.labels[video, objects] + 1),
            "scores": torch.full((len(objects),), 0.9),
        }
        if self.horizon:
            found["trajectories"] = torch.from_numpy(self.videos.boxes[video][steps][:, objects].swapaxes(0, 1).copy())
        return found


@pytest.fixture
def videos(write_tracks: Write) -> TrackVideos:
    """One object a video, 20 px wide, that moves right by 2 px a frame; its frames carry their number."""
    left = 3.0 * np.arange(V)[:, None] + 2 * np.arange(L)
    boxes = np.stack((left, np.full_like(left, 5), left + 20, np.full_like(left, 15)), axis=-1)[:, :, None]
    numbers = np.zeros((V, L, 48, 48), np.uint8)
    numbers[:, :, 0, 0] = np.arange(V * L).reshape(V, L)
    arrays = {
        "video": numbers,
        "boxes": boxes.astype(np.float32),
        "present": np.ones((V, L, 1), bool),
        "labels": np.array([[0], [1], [0]]),
    }
    return TrackVideos(write_tracks(arrays=arrays))


def still_iou(step: int) -> float:
    """IoU of the 20 px wide box with itself 2 px a frame further right."""
    return (20 - 2 * step) / (20 + 2 * step)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_a_perfect_detector_is_perfect(videos: TrackVideos, batch_size: int) -> None:
    model = Oracle(videos, horizon=3)
    result = evaluate(model, videos, keyframe_step=3, batch_size=batch_size)
    assert model.seen == [(v, t) for v in range(V) for t in (0, 3, 6)]
    assert (result.keyframes, result.frames) == (9, 21)
    for name in ("keyframe_map", "keyframe_map_50", "video_map", "video_map_50", "trajectory_iou"):
        assert getattr(result, name) == pytest.approx(1), name
    # Keyframes 0 and 3 have steps 1 and 2 before the next; keyframe 6 is the last frame and has none.
    assert result.no_motion_iou == pytest.approx((still_iou(1) + still_iou(2)) / 2)


def test_missed_objects_count_as_0(videos: TrackVideos) -> None:
    result = evaluate(Oracle(videos, horizon=3, missing=(1,)), videos, keyframe_step=3)
    assert result.trajectory_iou == pytest.approx(2 / 3)
    assert result.no_motion_iou == pytest.approx((still_iou(1) + still_iou(2)) / 2)
    assert result.keyframe_map == pytest.approx(1 / 2)  # of the two classes, one is never found


def test_a_detector_that_anticipates_no_motion_scores_the_no_motion_iou(videos: TrackVideos) -> None:
    class Still(Oracle):
        def detect(self, video: int, time: int) -> dict[str, Tensor]:
            found = super().detect(video, time)
            return found | {"trajectories": found["boxes"][:, None].repeat(1, self.horizon, 1)}

    result = evaluate(Still(videos, horizon=4), videos, keyframe_step=4)
    # Keyframe 0 has steps 1, 2, 3, keyframe 4 has 1, 2 before the video ends.
    expected = (2 * still_iou(1) + 2 * still_iou(2) + still_iou(3)) / 5
    assert result.trajectory_iou == pytest.approx(expected)
    assert result.no_motion_iou == pytest.approx(expected)
    assert result.keyframe_map == pytest.approx(1)
    assert result.video_map < 1


def test_absent_steps_and_absent_objects_do_not_count(videos: TrackVideos) -> None:
    videos.present[0, 1] = False  # hidden at step 1 of keyframe 0
    videos.present[1, 3:6] = False  # not there at keyframe 3
    videos.present[2, 4:] = False  # leaves after keyframe 3
    result = evaluate(Oracle(videos, horizon=3), videos, keyframe_step=3)
    # Left: video 0: 2, 1 2; video 1: 1 2; video 2: 1 2. (Its third keyframe is empty, and has no steps anyway.)
    expected = (3 * still_iou(1) + 4 * still_iou(2)) / 7
    assert result.no_motion_iou == pytest.approx(expected)
    assert result.trajectory_iou == pytest.approx(1)


def test_a_plain_detector_stands_still_between_keyframes(videos: TrackVideos) -> None:
    result = evaluate(Oracle(videos, horizon=0), videos, keyframe_step=3)
    assert math.isnan(result.trajectory_iou)
    assert result.no_motion_iou == pytest.approx((still_iou(1) + still_iou(2)) / 2)
    assert result.keyframe_map == pytest.approx(1)
    # IoU 1, .818, .667 at steps 0, 1, 2: at .50 all are found.
    assert result.video_map_50 == pytest.approx(1)
    assert 0.5 < result.video_map < 0.9


def test_every_frame_a_keyframe(videos: TrackVideos) -> None:
    for horizon in (0, 3):
        model = Oracle(videos, horizon)
        result = evaluate(model, videos, keyframe_step=1)
        assert len(model.seen) == result.keyframes == result.frames == V * L
        assert result.video_map == result.keyframe_map == pytest.approx(1)
        assert math.isnan(result.trajectory_iou) and math.isnan(result.no_motion_iou)


def test_average_precision_of_a_box_that_stands_still(videos: TrackVideos) -> None:
    """One keyframe, its box found in frames 0 to 3 with IoU 1, .818, .667, .538 because it stands still."""
    found = spread({(0, 0): Oracle(videos, 0).detect(0, 0)}, keyframe_step=4, frames=L)
    targets = [
        {"boxes": torch.from_numpy(videos.boxes[0, t]), "labels": torch.from_numpy(videos.labels[0] + 1)}
        for t in range(4)
    ]
    # A higher score for the earlier frame, so that what is found at a threshold comes first in the ranking.
    for t, detection in enumerate(found.values()):
        detection["scores"] = torch.tensor([0.9 - 0.1 * t])
    result = average_precision(list(found.values()), targets)
    found_at = {0.5: 4, 0.55: 3, 0.6: 3, 0.65: 3, 0.7: 2, 0.75: 2, 0.8: 2, 0.85: 1, 0.9: 1, 0.95: 1}
    ap = {threshold: (25 * n + 1) / 101 for threshold, n in found_at.items()}  # precision 1 up to recall n/4
    assert result["map_50"] == pytest.approx(ap[0.5])
    assert result["map_75"] == pytest.approx(ap[0.75])
    assert result["map"] == pytest.approx(sum(ap.values()) / 10)


def test_spread_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    moved = torch.tensor(
        [[[1.0, 0, 11, 10], [2, 0, 12, 10]], [[24, 20, 30, 30], [30, 20, 30, 30]]]
    )  # the second leaves
    keyframe = {
        "boxes": boxes,
        "labels": torch.tensor([1, 2]),
        "scores": torch.tensor([0.9, 0.8]),
        "trajectories": moved,
    }
    everywhere = spread({(0, 0): keyframe, (0, 3): keyframe, (1, 3): keyframe}, keyframe_step=3, frames=5)
    assert list(everywhere) == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 3), (1, 4)]
    assert torch.equal(everywhere[0, 0]["boxes"], boxes)
    assert torch.equal(everywhere[0, 1]["boxes"], moved[:, 0])  # step 1 is not the key box
    assert torch.equal(everywhere[0, 2]["boxes"], moved[:1, 1])  # nothing of the second box is left in the image
    assert everywhere[0, 2]["labels"].tolist() == [1]
    assert everywhere[0, 2]["scores"].tolist() == pytest.approx([0.9])
    assert torch.equal(everywhere[1, 4]["boxes"], moved[:, 0])
    assert all(set(frame) == {"boxes", "labels", "scores"} for frame in everywhere.values())


def test_spread_of_a_plain_detector_repeats_its_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10]])
    keyframe = {"boxes": boxes, "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}
    everywhere = spread({(0, 0): keyframe}, keyframe_step=3, frames=8)
    assert list(everywhere) == [(0, 0), (0, 1), (0, 2)]
    assert all(torch.equal(frame["boxes"], boxes) for frame in everywhere.values())


def test_detections_are_by_video_and_frame(videos: TrackVideos) -> None:
    found = detect_keyframes(Oracle(videos, 3).eval(), videos, 2, batch_size=5, device=torch.device("cpu"))
    assert list(found) == [(v, t) for v in range(V) for t in (0, 2, 4, 6)]
    for (v, t), detection in found.items():
        assert torch.equal(detection["boxes"], torch.from_numpy(videos.boxes[v, t]))


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_evaluated_in_eval_mode_and_left_as_it_was(videos: TrackVideos, training: bool) -> None:
    model = Oracle(videos, horizon=3).train(training)
    evaluate(model, videos, keyframe_step=3)
    assert model.modes == {False} and model.training is training

    class Broken(Oracle):
        def detect(self, video: int, time: int) -> dict[str, Tensor]:
            raise RuntimeError("broken")

    broken = Broken(videos, horizon=3).train(training)
    with pytest.raises(RuntimeError, match="broken"):
        evaluate(broken, videos, keyframe_step=3)
    assert broken.training is training


def test_steps_the_model_does_not_reach_are_refused(videos: TrackVideos) -> None:
    with pytest.raises(ValueError, match="keyframe_step must be at least 1, got 0"):
        evaluate(Oracle(videos, 3), videos, keyframe_step=0)
    with pytest.raises(ValueError, match=r"keyframe_step 5 needs boxes at l = 1..4, but the model anticipates 3 steps"):
        evaluate(Oracle(videos, 3), videos, keyframe_step=5)
    assert evaluate(Oracle(videos, 3), videos, keyframe_step=4).trajectory_iou == pytest.approx(1)


def test_videos_without_objects_are_refused(videos: TrackVideos) -> None:
    videos.present[:] = False
    with pytest.raises(ValueError, match="average precision needs at least one target box"):
        evaluate(Oracle(videos, 3), videos, keyframe_step=3)
