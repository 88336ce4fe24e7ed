"""``location-anticipation evaluate``."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import UseAppendAction

from efficiency_core.command import OutputFile, Positional
from efficiency_core.errors import UsageError, checking
from efficiency_core.files import atomic_path
from location_anticipation.commands.keyframe_options import KeyframeOptions
from location_anticipation.peers.config import ClipMethod, KeyBoxMethod, PeerConfig

if TYPE_CHECKING:
    from location_anticipation.data.cocovid import CocoVideos
    from location_anticipation.data.videos import Videos
    from location_anticipation.inference.auto_step import AutoStep
    from location_anticipation.inference.stream import FrameDetections
    from location_anticipation.metrics.evaluation import Evaluation, MethodEvaluation
    from location_anticipation.model.detector import AnticipationRCNN

    Found = dict[tuple[int, int], FrameDetections]


@dataclass(frozen=True, kw_only=True)
class Options(KeyframeOptions):
    """Average precision and trajectory IoU of a detector on annotated videos."""

    checkpoint: Positional[Path]
    """``detector.safetensors`` of a training."""
    data: Positional[Path]
    """CocoVID JSON file, or track-video HDF5 file."""
    images: Path | None = None
    """Folder of the images of a CocoVID file, or of its videos, or the only video; by default the folder of the file."""
    method: KeyBoxMethod | ClipMethod | None = None
    """Peer to evaluate instead of the anticipation: ``per_frame`` and the three after it run on any detector; a checkpoint of
    ``dff``, ``fgfa`` or ``selsa`` knows its method."""
    metric: Annotated[tuple[Literal["coco", "voc", "ilsvrc", "all"], ...], UseAppendAction] = ()
    """mAP of every annotated frame: COCO's, VOC's at IoU .50, ILSVRC's with its tolerance for small boxes. May be repeated; by
    default coco."""
    motion_split: bool = False
    """Also the mAP of slow, medium and fast objects by motion IoU, for voc and ilsvrc among the metrics, else ilsvrc."""
    by_step: bool = False
    """Also the mAP by number of frames after the keyframe."""
    out: OutputFile[Path | None] = None
    """JSON file for the figures."""
    detections: OutputFile[Path | None] = None
    """JSON file for the detections of every annotated frame as COCO results, with the ids of images and categories of a CocoVID
    or COCO file, for other tools."""


def run(options: Options, device: str) -> None:
    """Evaluate; print the figures and write them to ``out``."""
    from location_anticipation.checkpoint import load_any
    from location_anticipation.data.cocovid import CocoVideos
    from location_anticipation.data.formats import open_videos
    from location_anticipation.metrics.score_table import as_json, table

    step = options.rule()
    model, class_names = load_any(options.checkpoint)
    videos = open_videos(options.data, options.images)
    _check_classes(options, class_names, videos.info.class_names)
    if options.detections and not isinstance(videos, CocoVideos):
        raise UsageError(f"{options.data}: has no ids of images; --detections goes with CocoVID and COCO files")
    found: Found = {}
    with checking():
        result = _evaluated(options, model, videos, step, device, found)
    if options.detections and isinstance(videos, CocoVideos):
        _write_json(options.detections, _coco_results(videos, found))
    print(table(result))
    if options.out:
        _write_json(options.out, as_json(result, class_names), indent=2)


def _write_json(path: Path, content: Any, indent: int | None = None) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")


def _coco_results(videos: CocoVideos, found: Found) -> list[dict[str, Any]]:
    """Entries of a COCO results file, without rounding."""
    ids = videos.info.category_ids
    return [
        {
            "image_id": videos.image_id(*place),
            "category_id": ids[label - 1],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for place, frame in found.items()
        for (x1, y1, x2, y2), label, score in zip(
            frame.boxes.tolist(), frame.labels.tolist(), frame.scores.tolist(), strict=True
        )
    ]


def _check_classes(options: Options, known: list[str], there: tuple[str, ...]) -> None:
    if len(there) != len(known):
        raise UsageError(f"{options.checkpoint} knows {len(known)} classes, {options.data} has {len(there)}")
    for label, (own, other) in enumerate(zip(known, there, strict=True), start=1):
        if own != other:
            raise UsageError(f"class {label} of {options.checkpoint} is {own!r}, of {options.data} {other!r}")


def _evaluated(
    options: Options, model: AnticipationRCNN, videos: Videos, step: int | AutoStep | None, device: str, found: Found
) -> Evaluation | MethodEvaluation:
    from location_anticipation.inference.stream import VideoDetector
    from location_anticipation.metrics.evaluation import evaluate, evaluate_method
    from location_anticipation.peers.build import video_method

    metrics = options.metric or ("coco",)
    flavours = [m for m in ("coco", "voc", "ilsvrc") if m in metrics or "all" in metrics]
    speed = ([f for f in flavours if f != "coco"] or ["ilsvrc"]) if options.motion_split else []
    scored: dict[str, Any] = {"flavours": flavours, "steps": options.by_step, "speed": speed, "found": found}
    peer = _peer(options, model, step)
    if peer is not None:
        return evaluate_method(video_method(peer, model, device=device), videos, **scored)
    if step is None or isinstance(step, int):
        return evaluate(model, videos, keyframe_step=1 if step is None else step, device=device, **scored)
    return evaluate_method(VideoDetector(model, step, device=device), videos, **scored)


def _peer(options: Options, model: AnticipationRCNN, step: int | AutoStep | None) -> PeerConfig | None:
    """The method to evaluate, or None for a detector that anticipates."""
    from location_anticipation.peers.base import ClipDetector

    if isinstance(model, ClipDetector):
        peer = model.peer
        if options.method not in (None, peer.method):
            raise ValueError(f"the checkpoint is a network of {peer.method}, not of {options.method}")
    elif options.method is None:
        return None
    else:
        peer = PeerConfig(options.method)
    if step is None:
        return peer
    if not isinstance(step, int):
        raise ValueError(f"--keyframe-step auto: needs a detector that anticipates, not {peer.method}")
    return replace(peer, keyframe_step=step)
