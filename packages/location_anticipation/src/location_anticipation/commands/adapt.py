"""``location-anticipation adapt``: a trajectory head for any detector, from videos without annotation."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficiency_core.command import OutputFolder, Positional
from efficiency_core.errors import UsageError
from efficiency_core.files import atomic_path, locked
from location_anticipation.adaptation.config import AdaptConfig, MotionConfig
from location_anticipation.commands.detect import reporting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from location_anticipation.adaptation import AnticipatingDetector, Observation
    from location_anticipation.detectors import NamedDetector

logger = logging.getLogger(__name__)

_STEPS = (2, 4, 8, 16)
_TIMED_FRAMES = 32


@dataclass(frozen=True, kw_only=True)
class Options:
    """Learn how the boxes of a detector move, from what it finds in videos; or continue in the folder ``--out``."""

    videos: Positional[tuple[Path, ...]]
    """Video files, or folders of images; no annotation is needed."""
    detector: str
    """The detector, as of ``detect --detector``."""
    out: OutputFolder[Path]
    """Folder of ``trajectories.safetensors``, ``report.json``, and of what the detector found (``observations``)."""
    weights: Path | None = None
    """``state_dict`` of torchvision's ``--detector``; by default its published COCO weights."""
    backbone_weights: Path | None = None
    """``state_dict`` of the backbone of the head; by default torchvision's of ImageNet."""
    every: int = 1
    """The detector runs on every so many frames of the videos. Agreement is reported with 1 only."""
    held_out: float = 0.2
    """Share of the frames at the end of each video that the head does not learn from, and that agreement is reported on."""
    motion: MotionConfig = field(default_factory=MotionConfig)
    training: AdaptConfig = field(default_factory=AdaptConfig)


def run(options: Options, device: str) -> None:
    """Observe, train, report."""
    import torch

    from location_anticipation.adaptation import AnticipatingDetector, adapt, save_trajectories
    from location_anticipation.adaptation.pooled_features import PooledFeatures, load_backbone
    from location_anticipation.detectors import open_detector

    if not options.videos:
        raise UsageError("expected one video or more")
    if options.every < 1 or not 0 <= options.held_out < 1:
        raise UsageError("--every must be 1 or more, and --held-out at least 0 and below 1")
    detector = open_detector(options.detector, options.weights)
    pool = PooledFeatures(options.motion)
    load_backbone(pool, options.backbone_weights)
    with locked(options.out):
        seen = [_observed(options, detector, pool, video, device) for video in options.videos]
        cuts = [len(video.boxes) - int(options.held_out * len(video.boxes)) for video in seen]
        learned = [video.part(0, cut) for video, cut in zip(seen, cuts, strict=True)]
        head = adapt(learned, options.motion, options.training, options.out / "training", device)
        model = AnticipatingDetector(detector.model, pool, head).to(device).eval()
        save_trajectories(options.out / "trajectories.safetensors", model, detector.name)
        with torch.inference_mode():
            rest = [video.part(cut, len(video.boxes)) for video, cut in zip(seen, cuts, strict=True)]
            report = {
                "detector": detector.name,
                "videos": [str(video) for video in options.videos],
                **_report(options, model, rest),
            }
        with atomic_path(options.out / "report.json") as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(_table(report))
    print(options.out / "trajectories.safetensors")


def _observed(options: Options, detector: NamedDetector, pool: nn.Module, video: Path, device: str) -> Observation:
    from location_anticipation.adaptation import observe

    known = video.resolve()
    stamp = known.stat() if known.exists() else None
    key: dict[str, Any] = {
        "detector": detector.name,
        "weights": str(options.weights),
        "video": str(known),
        "changed": stamp and stamp.st_mtime_ns,
        "backbone": [options.motion.backbone, options.motion.backbone_size, options.motion.pool],
    }
    name = f"{video.stem}-{hashlib.sha256(str(known).encode()).hexdigest()[:8]}.pt"
    logger.info(
        "%s: the detector runs on every %s frame", video, "single" if options.every == 1 else f"{options.every}th"
    )
    with reporting() as report:
        return observe(
            detector.model, pool, video, every=options.every, score=options.training.score, device=device,
            kept=options.out / "observations" / name, key=key, progress=report,
        )  # fmt: skip


def _report(options: Options, model: AnticipatingDetector, rest: Sequence[Observation]) -> dict[str, Any]:
    """Agreement with the detector on frames that were held out, and frames per second, for every step and method."""
    from location_anticipation.adaptation import agreement

    rows: list[dict[str, Any]] = []
    steps = [step for step in _STEPS if step <= model.horizon + 1]
    speed = _speed(options, model, steps)
    enough = options.every == 1 and any(box.numel() for video in rest for box in video.boxes)
    for step in steps:
        for method in ("copied", "velocity", "interpolation", "anticipation"):
            row: dict[str, Any] = {"method": method, "keyframe_step": step, "frames": 0, "map_50": None, "map": None}
            if enough and any(len(video.boxes) > step for video in rest):
                try:
                    row |= asdict(agreement(rest, method, step, model.head.cpu()))
                except ValueError as error:
                    logger.warning("no agreement with keyframes every %d frames: %s", step, error)
            rows.append(row | {"fps": speed[step, "anticipation" if method == "anticipation" else "copied"]})
    return {"per_frame_fps": speed[1, "copied"], "agreement": rows}


def _speed(options: Options, model: AnticipatingDetector, steps: Sequence[int]) -> dict[tuple[int, str], float]:
    """Frames per second of detection in the first frames of the first video, decoding not counted."""
    from itertools import islice

    import torch

    from location_anticipation.data.frame_sources import open_source
    from location_anticipation.inference import KeyBoxes, VideoDetector

    with open_source(options.videos[0]) as video:
        frames: list[Tensor] = [
            torch.from_numpy(video.rgb(frame)).permute(2, 0, 1).contiguous() for frame in islice(video, _TIMED_FRAMES)
        ]
    score = options.training.score
    runs: dict[tuple[int, str], Any] = {(1, "copied"): KeyBoxes(model.detector, "copied", 1, score_threshold=score)}
    for step in steps:
        runs[step, "copied"] = KeyBoxes(model.detector, "copied", step, score_threshold=score)
        runs[step, "anticipation"] = VideoDetector(model, step, score_threshold=score)
    found = {}
    for key, method in runs.items():
        started = time.perf_counter()
        for _ in method(frames):
            pass
        found[key] = len(frames) / (time.perf_counter() - started)
    return found


def _table(report: dict[str, Any]) -> str:
    lines = [
        "agreement with the detector on held-out frames between keyframes (COCO AP, %)",
        f"{'method':14s} {'every':>5s} {'frames':>6s} {'AP .50':>7s} {'AP':>7s} {'frames/s':>9s}",
        f"{'per frame':14s} {1:5d} {'':6s} {'':7s} {'':7s} {report['per_frame_fps']:9.1f}",
    ]
    for row in report["agreement"]:
        values = ("" if row[name] is None else f"{100 * row[name]:.1f}" for name in ("map_50", "map"))
        first, second = values
        lines.append(
            f"{row['method']:14s} {row['keyframe_step']:5d} {row['frames']:6d} {first:>7s} {second:>7s} {row['fps']:9.1f}"
        )
    return "\n".join(lines)
