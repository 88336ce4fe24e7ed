"""How well boxes between keyframes agree with the detector on every frame, for every way to find them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from location_anticipation.adaptation.anticipating import AnticipatingDetector
from location_anticipation.adaptation.motion_head import MotionHead
from location_anticipation.adaptation.observation import Observation
from location_anticipation.inference.key_boxes import KeyBoxes
from location_anticipation.inference.stream import FrameDetections, VideoDetector, VideoMethod
from location_anticipation.metrics.average_precision import average_precision


@dataclass(frozen=True)
class Agreement:
    """COCO's mean average precision of the frames between keyframes, with the detector's own boxes in the place of true ones."""

    method: str
    """``copied``, ``velocity``, ``interpolation`` or ``anticipation``."""
    keyframe_step: int
    """T: frames from one keyframe to the next."""
    frames: int
    """Frames between keyframes."""
    map_50: float
    """At IoU .50, in [0, 1]."""
    map: float
    """The mean over IoU .50 to .95, in [0, 1]."""


class _Replay(nn.Module):
    """Detector and features of an observation. A frame is its number in every pixel."""

    def __init__(self, video: Observation) -> None:
        super().__init__()
        self.video = video

    def frames(self) -> Iterator[Tensor]:
        return (torch.tensor(number).expand(3, *self.video.size) for number in range(len(self.video.boxes)))

    def forward(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        rows = (int(image[0, 0, 0]) for image in images)
        video = self.video
        return [{"boxes": video.boxes[k], "labels": video.labels[k], "scores": video.scores[k]} for k in rows]


class _ReplayedFeatures(nn.Module):
    def __init__(self, video: Observation) -> None:
        super().__init__()
        self.video = video

    def forward(self, image: Tensor, boxes: Tensor) -> Tensor:
        return self.video.features[int(image[0, 0, 0])].float()


def frame_results(
    video: Observation, method: str, keyframe_step: int, head: MotionHead | None
) -> list[FrameDetections]:
    """Detections of every frame of a video that was observed frame by frame, with keyframes ``keyframe_step`` apart.

    Args:
        video: what the detector found in every frame.
        method: ``copied``, ``velocity``, ``interpolation``, or ``anticipation`` by ``head``.
        keyframe_step: frames from one keyframe to the next.
        head: the trajectory head for ``anticipation``.

    Raises:
        ValueError: if not every frame was observed, or the head does not reach so far.
    """
    if video.every != 1:
        raise ValueError(f"every frame must have been observed, got every {video.every}")
    replay = _Replay(video)
    run: VideoMethod
    if method == "anticipation" and head is not None:
        run = VideoDetector(AnticipatingDetector(replay, _ReplayedFeatures(video), head), keyframe_step)
    else:
        run = KeyBoxes(replay, method, keyframe_step)  # type: ignore[arg-type]
    return list(run(replay.frames()))


def agreement(
    videos: Sequence[Observation], method: str, keyframe_step: int, head: MotionHead | None = None
) -> Agreement:
    """Agreement with the detector on the frames between keyframes; arguments as of :func:`frame_results`.

    Raises:
        ValueError: if there is no such frame, or the detector finds nothing in them.
    """
    detections, targets = [], []
    for video in videos:
        for frame in frame_results(video, method, keyframe_step, head):
            if frame.step:
                detections.append({"boxes": frame.boxes, "labels": frame.labels, "scores": frame.scores})
                targets.append({"boxes": video.boxes[frame.index], "labels": video.labels[frame.index]})
    found = average_precision(detections, targets, per_class=False)
    return Agreement(method, keyframe_step, len(detections), found.map_50, found.map)
