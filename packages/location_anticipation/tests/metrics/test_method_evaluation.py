"""Evaluation of video methods that know the truth, and the frames that a keyframe answers for."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from location_anticipation.data import TrackVideos
from location_anticipation.data.videos import Concatenated, Videos
from location_anticipation.inference.stream import FrameDetections
from location_anticipation.metrics.evaluation import evaluate_method, spread
from location_anticipation.metrics.video_scores import score_videos

Write = Callable[..., Path]


def test_spread_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    # The second leaves.
    moved = torch.tensor([[[1.0, 0, 11, 10], [2, 0, 12, 10]], [[24, 20, 30, 30], [30, 20, 30, 30]]])
    labels, scores = torch.tensor([1, 2]), torch.tensor([0.9, 0.8])
    keyframe = {"boxes": boxes, "labels": labels, "scores": scores, "trajectories": moved}
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
            boxes, labels = torch.from_numpy(tracks.boxes[t, objects]), torch.from_numpy(tracks.labels[objects] + 1)
            yield FrameDetections(t, step == 0, step, boxes, labels, torch.full((len(objects),), 0.5))


def test_evaluate_a_video_method(mixed: Concatenated) -> None:
    result = evaluate_method(Truth(mixed, 3), mixed, flavours=("voc", "ilsvrc", "coco"), steps=True, speed=("ilsvrc",))
    assert (result.keyframes, result.frames) == (3 * 3 + 2 * 2, 3 * 7 + 2 * 5)
    assert result.keyframe_share == pytest.approx(13 / 31)
    assert [ap.map for ap in result.scores.overall.values()] == pytest.approx([1, 1, 1])
    assert list(result.scores.overall) == ["voc", "ilsvrc", "coco"]
    assert result.scores.frames_by_step == (13, 10, 8)
    assert result.scores.by_step is not None and result.scores.by_step["voc"] == pytest.approx((1, 1, 1))
    assert result.scores.by_speed is not None and result.scores.by_speed["ilsvrc"].map["fast"] == pytest.approx(1)


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
