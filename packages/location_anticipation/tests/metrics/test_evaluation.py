"""Evaluation on videos with detectors whose answers are known."""

import json
import logging
import math
from itertools import count

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from efficiency_core.command import reports
from location_anticipation.data import TrackVideos
from location_anticipation.data.videos import Sparse
from location_anticipation.inference.stream import VideoDetector
from location_anticipation.metrics.evaluation import evaluate, evaluate_method
from location_anticipation.metrics.score_table import as_json, table

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
    assert result.still_iou == pytest.approx(2 / 3 * (still_iou(1) + still_iou(2)) / 2)
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
    assert result.still_iou == result.trajectory_iou
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
    assert result.still_iou == pytest.approx(result.no_motion_iou)
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


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_evaluated_in_eval_mode_and_left_as_it_was(videos: TrackVideos, training: bool) -> None:
    model = Oracle(videos, horizon=3).train(training)
    evaluate(model, videos, keyframe_step=3)
    assert model.modes == {False} and model.training is training

    model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(model, videos, keyframe_step=3)
    assert model.training is training


def test_steps_the_model_does_not_reach_and_videos_without_objects_are_refused(videos: TrackVideos) -> None:
    with pytest.raises(ValueError, match="keyframe_step must be at least 1, got 0"):
        evaluate(Oracle(videos, 3), videos, keyframe_step=0)
    with pytest.raises(ValueError, match=r"keyframe_step 5 needs boxes at l = 1..4, but the model anticipates 3 steps"):
        evaluate(Oracle(videos, 3), videos, keyframe_step=5)
    assert evaluate(Oracle(videos, 3), videos, keyframe_step=4).trajectory_iou == pytest.approx(1)
    videos.present[:] = False
    with pytest.raises(ValueError, match="average precision needs at least one target box"):
        evaluate(Oracle(videos, 3), videos, keyframe_step=3)


# By step, by speed, and by other names


def test_average_precision_by_step(videos: TrackVideos) -> None:
    """Boxes that stand still have IoU 1, .818, .667 at l = 0, 1, 2, which is enough at 10, 7 and 4 of 10 thresholds."""
    result = evaluate(Oracle(videos, horizon=0), videos, keyframe_step=3, flavours=("voc",), steps=True)
    assert result.scores.by_step is not None
    assert result.scores.by_step["coco"] == pytest.approx([1, 0.7, 0.4])
    assert result.scores.by_step["voc"] == pytest.approx([1, 1, 1])
    assert result.scores.frames_by_step == (9, 6, 6)  # of 7 frames, 0 3 6 are keyframes, 1 4 and 2 5 follow them
    assert result.scores.overall["coco"].map == result.video_map
    assert result.keyframe_map == pytest.approx(result.scores.by_step["coco"][0])
    videos.present[:, [2, 5]] = False
    result = evaluate(Oracle(videos, horizon=3), videos, keyframe_step=3, steps=True)
    assert result.scores.by_step is not None
    assert result.scores.by_step["coco"][:2] == pytest.approx((1, 1)) and math.isnan(result.scores.by_step["coco"][2])


def test_average_precision_by_speed_and_by_flavour(videos: TrackVideos) -> None:
    """The object of video 1 stands still, those of 0 and 2 are fast: 21 px wide, 2 px a frame, IoU .69 at the most."""
    videos.boxes[1] = videos.boxes[1, :1]
    model = Oracle(videos, horizon=3, missing=(1,))
    result = evaluate(model, videos, keyframe_step=3, flavours=("voc", "ilsvrc"), speed=("voc", "ilsvrc"))
    assert list(result.scores.overall) == ["coco", "voc", "ilsvrc"]
    assert result.scores.overall["voc"].per_class == {1: pytest.approx(1), 2: 0}
    assert result.scores.by_speed is not None
    for split in result.scores.by_speed.values():
        assert split.map["slow"] == 0 and split.map["fast"] == pytest.approx(1) and math.isnan(split.map["medium"])
        assert split.boxes == {"slow": L, "medium": 0, "fast": 2 * L, "unknown": 0}
    plain = evaluate(model, videos, keyframe_step=3)
    assert plain.scores.by_speed is None and plain.scores.by_step is None and list(plain.scores.overall) == ["coco"]
    with pytest.raises(ValueError, match="flavour must be one of coco, voc, ilsvrc, got 'vanilla'"):
        evaluate(model, videos, keyframe_step=3, flavours=("vanilla",))


# Videos that are not annotated throughout, and of different lengths


def test_only_annotated_frames_count(videos: TrackVideos) -> None:
    # Annotated: 1 and 5. Keyframes 0 and 4 lead there with l = 1; keyframe 2 and 6 lead nowhere and are not needed.
    sparse = Sparse(videos, 4, offset=1)
    model = Oracle(videos, horizon=0)
    result = evaluate(model, sparse, keyframe_step=2, steps=True)
    assert model.seen == [(v, t) for v in range(V) for t in (0, 4)]
    assert (result.keyframes, result.frames) == (V * 4, V * L)
    assert math.isnan(result.keyframe_map) and math.isnan(result.keyframe_map_50)  # no keyframe is annotated
    assert math.isnan(result.no_motion_iou)
    assert result.video_map == pytest.approx(0.7)  # IoU .818
    assert result.scores.by_step is not None and math.isnan(result.scores.by_step["coco"][0])
    assert result.scores.frames_by_step == (0, 6)
    # Annotated: 0, 3, 6. Every frame is a keyframe; three of seven are looked at.
    assert evaluate(Oracle(videos, 0), Sparse(videos, 3), keyframe_step=1).video_map == pytest.approx(1)


def test_a_box_in_a_frame_that_is_not_annotated_is_not_wrong(videos: TrackVideos) -> None:
    everywhere = evaluate(Oracle(videos, horizon=3), videos, keyframe_step=2)
    videos.present[:, 1::2] = False
    assert evaluate(Oracle(videos, horizon=3), videos, keyframe_step=2).video_map < 0.9  # annotated, and empty
    videos.annotated[:, 1::2] = False
    result = evaluate(Oracle(videos, horizon=3), videos, keyframe_step=2)
    assert result.video_map == pytest.approx(everywhere.video_map) == pytest.approx(1)


@pytest.mark.parametrize("horizon", [0, 3])
def test_a_video_detector_is_evaluated_as_its_model_is(videos: TrackVideos, horizon: int) -> None:
    step = horizon or 1
    at_once = evaluate(Oracle(videos, horizon), videos, keyframe_step=step, flavours=("voc",), steps=True)
    method = VideoDetector(Oracle(videos, horizon), step)
    streamed = evaluate_method(method, videos, flavours=("coco", "voc"), steps=True)
    assert str(streamed.scores) == str(at_once.scores)  # as text, for NaN does not equal itself
    assert (streamed.keyframes, streamed.frames) == (at_once.keyframes, at_once.frames)


# Text and JSON


def test_the_table_says_which_map_it_prints(videos: TrackVideos) -> None:
    model = Oracle(videos, horizon=0, missing=(1,))
    result = evaluate(model, videos, keyframe_step=3, flavours=("voc", "ilsvrc"), steps=True, speed=("ilsvrc",))
    lines = table(result).splitlines()
    for line in (
        "keyframe_map       0.5000  COCO AP, IoU .50:.05:.95, annotated keyframes",
        "trajectory_iou     nan  IoU of anticipated boxes, 0 for missed objects",
        "keyframes          9",
        "voc                0.5000  VOC AP at IoU 0.5, area under the precision envelope",
        "mAP by speed: ILSVRC AP at IoU 0.5 or less for small boxes (10 px), area under the precision envelope, "
        "by motion IoU",
        "ilsvrc slow        nan  0.00 % of the true boxes",
        "ilsvrc fast        0.5000  100.00 % of the true boxes",
        "  l   frames     coco      voc   ilsvrc",
        "  1        6   0.3500   0.5000   0.5000",
    ):
        assert line in lines, line
    document = json.loads(json.dumps(as_json(result, ["filled", "hollow"]), allow_nan=False))
    assert document["keyframes"] == 9 and document["trajectory_iou"] is None
    assert document["scores"]["overall"]["voc"]["per_class"] == {"filled": pytest.approx(1), "hollow": 0}
    assert document["scores"]["overall"]["voc"]["map_50"] is None
    assert document["scores"]["by_step"]["coco"] == pytest.approx([0.5, 0.35, 0.2])
    assert document["scores"]["by_speed"]["ilsvrc"]["shares"]["fast"] == 1
    assert document["scores"]["by_speed"]["ilsvrc"]["map"]["slow"] is None
    method = table(evaluate_method(VideoDetector(model, 1), Sparse(videos, 20), speed=("voc",))).splitlines()
    assert "keyframe_share     1.0000" in method
    assert any(line.startswith("coco               0.5000  COCO AP, mean over") for line in method)
    assert "3 true boxes have no known speed and are left out" in method


def test_detections_of_keyframes_that_are_off_are_compared_with_themselves(videos: TrackVideos) -> None:
    """A detector that is 2 px off: its boxes, moved as the object moves, gain on themselves, not on the true box at rest."""

    class Off(Oracle):
        def detect(self, video: int, time: int) -> dict[str, Tensor]:
            found = super().detect(video, time)
            for name in ("boxes", "trajectories"):
                found[name] = found[name] + torch.tensor([0.0, 2, 0, 2])
            return found

    result = evaluate(Off(videos, horizon=3), videos, keyframe_step=3)
    overlap = [(20 - 2 * step) * 8 for step in (0, 1, 2)]  # of 10 rows 8 are common
    iou = [shared / (400 - shared) for shared in overlap]
    assert result.trajectory_iou == pytest.approx(iou[0])
    assert result.still_iou == pytest.approx((iou[1] + iou[2]) / 2)
    assert result.still_iou < result.trajectory_iou < result.no_motion_iou


@pytest.mark.parametrize("method", [False, True])
def test_a_long_evaluation_says_how_far_it_is(
    videos: TrackVideos, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: bool
) -> None:
    caplog.set_level(logging.INFO)
    clock = count(0, 4)
    monkeypatch.setattr(reports, "perf_counter", lambda: float(next(clock)))  # each look is 4 s later
    if method:
        evaluate_method(VideoDetector(Oracle(videos, horizon=3), 3), videos)
    else:
        evaluate(Oracle(videos, horizon=3), videos, keyframe_step=1, batch_size=1)
    told = [message for message in caplog.messages if "frames" in message]
    unit = "frames" if method else "keyframes"
    assert told[0] == f"evaluating 21 {unit}"
    assert told[1] == f"3 of 21 {unit}, 0.25 a second, 72 s left"
    assert [int(message.split()[0]) for message in told[1:]] == [3, 6, 9, 12, 15, 18, 21]
