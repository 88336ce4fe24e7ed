"""Evaluation on videos with detectors whose answers are known."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from location_anticipation.average_precision import average_precision
from location_anticipation.data import TrackVideos
from location_anticipation.evaluation import detect_keyframes, evaluate, evaluate_method, spread
from location_anticipation.score_table import as_json, table
from location_anticipation.video import FrameDetections, VideoDetector
from location_anticipation.video_scores import score_videos
from location_anticipation.videos import Concatenated, Sparse, Videos

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
    found = spread({(0, 0): Oracle(videos, 0).detect(0, 0)}, keyframe_step=4, lengths=[L])
    targets = [
        {"boxes": torch.from_numpy(videos.boxes[0, t]), "labels": torch.from_numpy(videos.labels[0] + 1)}
        for t in range(4)
    ]
    # A higher score for the earlier frame, so that what is found at a threshold comes first in the ranking.
    detections = [
        {"boxes": frame.boxes, "labels": frame.labels, "scores": torch.tensor([0.9 - 0.1 * t])}
        for t, frame in enumerate(found.values())
    ]
    result = average_precision(detections, targets)
    found_at = {0.5: 4, 0.55: 3, 0.6: 3, 0.65: 3, 0.7: 2, 0.75: 2, 0.8: 2, 0.85: 1, 0.9: 1, 0.95: 1}
    ap = {threshold: (25 * n + 1) / 101 for threshold, n in found_at.items()}  # precision 1 up to recall n/4
    assert result.map_50 == pytest.approx(ap[0.5])
    assert result.map_75 == pytest.approx(ap[0.75])
    assert result.map == pytest.approx(sum(ap.values()) / 10)


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
    keyframes = {(0, 0): keyframe, (0, 3): keyframe, (1, 3): keyframe}
    everywhere = spread(keyframes, keyframe_step=3, lengths=[5, 4])
    assert list(everywhere) == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 3)]
    assert [(f.index, f.keyframe, f.step) for f in everywhere.values()] == [
        (0, True, 0), (1, False, 1), (2, False, 2), (3, True, 0), (4, False, 1), (3, True, 0),
    ]  # fmt: skip
    assert torch.equal(everywhere[0, 0].boxes, boxes)
    assert torch.equal(everywhere[0, 1].boxes, moved[:, 0])  # step 1 is not the key box
    assert torch.equal(everywhere[0, 2].boxes, moved[:1, 1])  # nothing of the second box is left in the image
    assert everywhere[0, 2].labels.tolist() == [1]
    assert everywhere[0, 2].scores.tolist() == pytest.approx([0.9])
    assert torch.equal(everywhere[0, 4].boxes, moved[:, 0])


def test_spread_of_a_plain_detector_repeats_its_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10]])
    keyframe = {"boxes": boxes, "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}
    everywhere = spread({(0, 0): keyframe}, keyframe_step=3, lengths=[8])
    assert list(everywhere) == [(0, 0), (0, 1), (0, 2)]
    assert all(torch.equal(frame.boxes, boxes) for frame in everywhere.values())


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


@pytest.fixture
def mixed(videos: TrackVideos, write_tracks: Write) -> Concatenated:
    """Two videos of 5 frames after the three of 7."""
    return Concatenated(videos, TrackVideos(write_tracks("short.h5", videos=2, frames=5)))


class Truth:
    """A video method that knows the truth, in keyframes and in between; every video starts at keyframe 0."""

    def __init__(self, videos: Videos, keyframe_step: int, stops: int = 0) -> None:
        self.videos, self.keyframe_step, self.stops, self.video = videos, keyframe_step, stops, -1

    def __call__(self, frames: Iterable[Tensor]) -> Iterator[FrameDetections]:
        self.video += 1
        tracks = self.videos.tracks(self.video)
        for t, image in enumerate(frames):
            assert image.shape == (3, *self.videos.image_size(self.video))
            if self.stops and t == self.stops:
                return
            objects = np.flatnonzero(tracks.present[t])
            step = t % self.keyframe_step
            yield FrameDetections(
                index=t,
                keyframe=step == 0,
                step=step,
                boxes=torch.from_numpy(tracks.boxes[t, objects]),
                labels=torch.from_numpy(tracks.labels[objects] + 1),
                scores=torch.full((len(objects),), 0.5),
            )


def test_evaluate_a_video_method(mixed: Concatenated) -> None:
    result = evaluate_method(Truth(mixed, 3), mixed, flavours=("voc", "ilsvrc", "coco"), steps=True, speed=("ilsvrc",))
    assert (result.keyframes, result.frames) == (3 * 3 + 2 * 2, 3 * 7 + 2 * 5)
    assert result.keyframe_share == pytest.approx(13 / 31)
    assert [ap.map for ap in result.scores.overall.values()] == pytest.approx([1, 1, 1])
    assert list(result.scores.overall) == ["voc", "ilsvrc", "coco"]
    assert result.scores.frames_by_step == (13, 10, 8)
    assert result.scores.by_step is not None and result.scores.by_step["voc"] == pytest.approx((1, 1, 1))
    assert result.scores.by_speed is not None and result.scores.by_speed["ilsvrc"].map["fast"] == pytest.approx(1)


@pytest.mark.parametrize("horizon", [0, 3])
def test_a_video_detector_is_evaluated_as_its_model_is(videos: TrackVideos, horizon: int) -> None:
    step = horizon or 1
    at_once = evaluate(Oracle(videos, horizon), videos, keyframe_step=step, flavours=("voc",), steps=True)
    method = VideoDetector(Oracle(videos, horizon), step)
    streamed = evaluate_method(method, videos, flavours=("coco", "voc"), steps=True)
    assert str(streamed.scores) == str(at_once.scores)  # as text, for NaN does not equal itself
    assert (streamed.keyframes, streamed.frames) == (at_once.keyframes, at_once.frames)


def test_a_method_must_give_every_frame_in_order(videos: TrackVideos) -> None:
    with pytest.raises(ValueError, match="000000: the method gave detections of 4 frames of 7"):
        evaluate_method(Truth(videos, 3, stops=4), videos)

    def backwards(frames: Iterable[Tensor]) -> Iterator[FrameDetections]:
        yield from reversed(list(Truth(videos, 3)(frames)))

    with pytest.raises(ValueError, match=r"000000: expected detections of the frames 0\.\.6 in order, got frame 6"):
        evaluate_method(backwards, videos)
    videos.present[:] = False
    with pytest.raises(ValueError, match="no annotated frame shows an object"):
        evaluate_method(Truth(videos, 3), videos)
    with pytest.raises(ValueError, match="expected detections of all 7 annotated frames, got those of 0"):
        score_videos({}, [videos.tracks(0)])


# Text and JSON


def test_the_table_says_which_map_it_prints(videos: TrackVideos) -> None:
    model = Oracle(videos, horizon=0, missing=(1,))
    result = evaluate(model, videos, keyframe_step=3, flavours=("voc", "ilsvrc"), steps=True, speed=("ilsvrc",))
    lines = table(result).splitlines()
    for line in (
        "keyframe_map       0.5000  COCO AP, IoU .50:.05:.95, annotated keyframes",
        "trajectory_iou     nan  IoU of anticipated boxes",
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
    assert "keyframe_share     1.0000" in method and "coco               0.5000  COCO AP, mean over" in "\n".join(
        method
    )
    assert "3 true boxes have no known speed and are left out" in method
