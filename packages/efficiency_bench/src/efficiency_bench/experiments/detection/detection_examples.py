"""Which frames of a detection run are worth a picture: one video per class, the best and the worst anticipation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efficiency_bench.records.artifacts import Example

if TYPE_CHECKING:
    from location_anticipation import AnticipationRCNN
    from location_anticipation.data import Tracks, Videos

    Detect = Callable[[Tensor], dict[str, Tensor]]

LOOKED_AT = 256
"""Keyframes the examples are chosen from, spread evenly over the videos."""
CLASSES = 10
"""Classes that get an example, the first ones."""
WIDEST = 320
"""Pixels; wider frames are shrunk, for the file's sake."""
CONFIDENT = 0.5
"""Detections with a lower score are not drawn, nor those that overlap a better one, of whatever class."""


def detection_examples(
    model: AnticipationRCNN, videos: Videos, keyframe_step: int, device: torch.device
) -> dict[str, NDArray[Any]]:
    """Artifacts `class_NAME/*` (a keyframe with an object of that class and the frames up to the next keyframe),
    `success/*` and `failure/*`: of the quarter of keyframes whose objects move most, those whose boxes were anticipated
    best and worst (mean IoU; a missed object counts 0). Empty where keyframes are next to each other.
    """

    @torch.inference_mode()
    def detect(frame: Tensor) -> dict[str, Tensor]:
        (detection,) = model([frame.to(device)])
        return {name: values.cpu() for name, values in detection.items()}

    places = list(_places(videos, keyframe_step)) if keyframe_step > 1 else []
    if not places:
        return {}
    places = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, min(LOOKED_AT, len(places)), dtype=int))]
    judged = [(*_judge(detect, videos, video, time, keyframe_step), video, time) for video, time in places]
    chosen: dict[str, tuple[int, int]] = {}
    for label, name in enumerate(videos.info.class_names[:CLASSES]):
        of_class = [(still, v, t) for _, still, v, t in judged if _shows(videos.tracks(v), t, label)]
        if of_class:
            chosen[f"class_{name}"] = min(of_class)[1:]
    moving = sorted(judged, key=lambda entry: entry[1])[: max(1, len(judged) // 4)]
    chosen |= {"success": max(moving)[2:], "failure": min(moving)[2:]}
    arrays: dict[str, NDArray[Any]] = {}
    for name, (video, time) in chosen.items():
        arrays |= _example(detect, videos, video, time, keyframe_step).arrays(name)
    return arrays


def _places(videos: Videos, keyframe_step: int) -> Iterator[tuple[int, int]]:
    """Keyframes with an object that are followed by annotated frames up to the next keyframe."""
    for video in range(len(videos)):
        tracks = videos.tracks(video)
        for time in range(0, len(tracks.annotated) - keyframe_step, keyframe_step):
            if tracks.annotated[time : time + keyframe_step + 1].all() and tracks.present[time].any():
                yield video, time


def _shows(tracks: Tracks, time: int, label: int) -> bool:
    return bool((tracks.present[time] & (tracks.labels == label)).any())


def _judge(detect: Detect, videos: Videos, video: int, time: int, keyframe_step: int) -> tuple[float, float]:
    """Mean IoU of the anticipated boxes, and of the keyframe's true boxes held still, with the true ones at l >= 1."""
    from location_anticipation.model import best_match, paired_iou

    tracks = videos.tracks(video)
    objects = np.flatnonzero(tracks.present[time : time + keyframe_step].all(axis=0))
    if not len(objects):
        return 0.0, 1.0
    true = torch.from_numpy(tracks.boxes[time : time + keyframe_step][:, objects]).transpose(0, 1)
    detection = detect(videos.frame(video, time))
    match = best_match(detection, true[:, 0])
    boxes = torch.zeros_like(true[:, 1:])
    boxes[match >= 0] = _along(detection, keyframe_step)[match[match >= 0], 1:]
    still = paired_iou(true[:, :1].expand_as(true[:, 1:]), true[:, 1:])
    return float(paired_iou(boxes, true[:, 1:]).mean()), float(still.mean())


def _shown(detection: dict[str, Tensor]) -> dict[str, Tensor]:
    from torchvision.ops import nms

    best = nms(detection["boxes"], detection["scores"], 0.5)
    best = best[detection["scores"][best] >= CONFIDENT]
    return {name: values[best] for name, values in detection.items()}


def _along(detection: dict[str, Tensor], steps: int) -> Tensor:
    """Boxes (N, steps, 4) at l = 0..steps-1; a detector without trajectories holds them still."""
    key = detection["boxes"][:, None]
    if "trajectories" not in detection:
        return key.expand(-1, steps, -1)
    return torch.cat((key, detection["trajectories"][:, : steps - 1]), dim=1)


def _example(detect: Detect, videos: Videos, video: int, time: int, keyframe_step: int) -> Example:
    """The keyframe, the frames after it and the next keyframe, with true and found boxes."""
    tracks, names = videos.tracks(video), videos.info.class_names
    index = range(time, time + keyframe_step + 1)
    frames = [videos.frame(video, t) for t in index]
    first, last = (_shown(detect(frames[i])) for i in (0, -1))
    found = [*_along(first, keyframe_step).unbind(1), last["boxes"]]
    labels, scores = ([first[part]] * keyframe_step + [last[part]] for part in ("labels", "scores"))
    shrunk, scale = _shrink(torch.stack(frames))
    return Example.of(
        shrunk,
        list(index),
        [tracks.boxes[t, tracks.present[t]] * scale for t in index],
        [boxes.numpy() * scale for boxes in found],
        keyframe=[t in (index[0], index[-1]) for t in index],
        true_labels=[[names[k] for k in tracks.labels[tracks.present[t]]] for t in index],
        found_labels=[[names[int(k) - 1] for k in part] for part in labels],
        scores=[part.numpy() for part in scores],
    )


def _shrink(frames: Tensor) -> tuple[NDArray[np.uint8], float]:
    """Frames (F, 3, H, W) in [0, 1] as bytes (F, H, W, 3), at most `WIDEST` wide, and the factor of their size."""
    scale = min(1.0, WIDEST / frames.shape[-1])
    if scale < 1:
        frames = torch.nn.functional.interpolate(frames, scale_factor=scale, mode="area")
    return (frames * 255).round().byte().permute(0, 2, 3, 1).numpy(), scale
