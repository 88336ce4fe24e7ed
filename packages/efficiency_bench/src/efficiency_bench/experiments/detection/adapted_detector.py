"""A detector that somebody else trained, made faster between keyframes: learned trajectories against copied boxes.

Beyond the thesis: chapter 2's trajectories for a detector that stays as it is. The head learns from what the detector finds in
videos without annotation; annotated boxes only judge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.detection.annotated_videos import check_seed
from efficiency_bench.records.run_record import Metric
from efficiency_core.errors import UsageError
from efficiency_core.loop import check_least
from location_anticipation.adaptation import AdaptConfig, MotionConfig

if TYPE_CHECKING:
    from torch import Tensor

    from location_anticipation.adaptation import Observation
    from location_anticipation.inference import FrameDetections

DATA = "davis2016"
"""Videos `NAME.mp4` in the folder of images, and `test.json` with one true box a frame (CocoVID)."""
METHODS = ("copied", "velocity", "interpolation", "anticipation", "history")
"""`anticipation` sees one keyframe, as the thesis has it; `history` also sees how boxes moved since the last keyframe."""


@dataclass(frozen=True)
class Settings:
    """NanoDet, the trajectory head, and how it is judged."""

    motion: MotionConfig = field(default_factory=MotionConfig)
    """The head of `history`; that of `anticipation` is the same without history and with `plain_backbone`."""
    training: AdaptConfig = field(default_factory=AdaptConfig)
    """The training. The run sets `seed`."""
    plain_backbone: str = "mobilenet_v2"
    """Backbone of the head that sees one keyframe, where boxes alone tell nothing of motion."""
    backbone_weights: str = "weights/mobilenet_v2-imagenet-features.pt"
    """Its weights, under the EFFICIENCY_DATA directory."""
    steps: tuple[int, ...] = (2, 4, 8)
    """T: frames from one keyframe to the next."""
    folds: int = 5
    """The videos are divided into so many parts; each is judged by heads that have learned from the others."""
    timed_video: str = "blackswan"
    """Video on which whole detection is timed, from file to CSV."""
    rounds: int = 5
    """Rounds of the interleaved timing."""

    def __post_init__(self) -> None:
        check_seed(self.training.seed)
        check_least(self, 2, "folds")
        check_least(self, 1, "rounds")
        if max(self.steps) > self.motion.horizon + 1 or min(self.steps) < 2:
            raise ValueError(f"steps must be 2 to {self.motion.horizon + 1}, got {list(self.steps)}")


def run(settings: Settings, context: Context) -> Outcome:
    """Observe every video once; train and judge by folds; time whole detection."""
    import os

    import numpy as np
    import torch

    from efficiency_bench.experiments.detection.nanodet import build
    from efficiency_bench.measure.speed import interleave, protocol, ratio
    from location_anticipation.adaptation import (
        AnticipatingDetector,
        PooledFeatures,
        adapt,
        agreement,
        frame_results,
        load_backbone,
        observe,
    )
    from location_anticipation.detectors import ImageDetector

    (annotation,) = context.files(DATA, "test")
    root = context.image_folder(DATA, annotation) or annotation.parent
    truth = true_boxes(annotation)
    recipe = replace(settings.training, seed=context.seed)
    heads = {"history": settings.motion}
    heads["anticipation"] = replace(settings.motion, history=False, backbone=settings.plain_backbone)  # type: ignore[arg-type]
    detector = ImageDetector(build(), "nanodet").to(context.device).eval()
    pool = PooledFeatures(heads["anticipation"])
    if settings.plain_backbone != "none":
        load_backbone(pool, Path(os.environ.get("EFFICIENCY_DATA", "")) / settings.backbone_weights)
    device = context.device.type
    videos = {}
    for name in truth:
        kept = context.folder / "observations" / f"{name}.pt"
        key = {"plain_backbone": settings.plain_backbone, "pool": settings.motion.pool}
        videos[name] = observe(
            detector, pool, root / f"{name}.mp4", score=recipe.score, device=device, kept=kept, key=key
        )

    parts = folds(list(truth), settings.folds)
    table: dict[tuple[str, int], list[list[float]]] = {}
    trained: dict[str, Any] = {}
    for number, judged in enumerate(parts):
        others = [video for name, video in videos.items() if name not in judged]
        for kind, motion in heads.items():
            seen = [_without_features(video) if motion.backbone == "none" else video for video in others]
            trained[kind] = adapt(seen, motion, recipe, context.folder / f"fold{number}" / kind, device)
        for step in settings.steps:
            for method in ("per_frame", *METHODS):
                kind = "anticipation" if method in heads else "copied" if method == "per_frame" else method
                head = trained.get(method)
                hidden = head is None or head.config.backbone == "none"
                shown = {name: _without_features(videos[name]) if hidden else videos[name] for name in judged}
                overlaps: list[float] = []
                for name, video in shown.items():
                    found = frame_results(video, kind, 1 if method == "per_frame" else step, head)
                    between = [frame for frame in found if frame.index % step]
                    overlaps += best_overlaps(between, truth[name])
                agreed = None if method == "per_frame" else agreement(list(shown.values()), kind, step, head)
                row = [float(np.mean(np.asarray(overlaps) > 0.5)), float(np.mean(overlaps)), float(len(overlaps))]
                row += [1.0, 1.0] if agreed is None else [agreed.map_50, agreed.map]
                table.setdefault((method, step), []).append(row)

    metrics: dict[str, Metric] = {}
    for (method, step), rows in table.items():
        values = np.asarray(rows)
        weights = values[:, 2] / values[:, 2].sum()
        for column, name in ((0, "iou50"), (1, "mean_iou"), (3, "agreement_50"), (4, "agreement")):
            if method == "per_frame" and column > 2:
                continue
            metrics[f"{name}_{method}_t{step}"] = Metric(100 * float(values[:, column] @ weights), "%")
        for other in ("copied", "velocity") if method in heads else ():
            gain = 100 * (values[:, 0] - np.asarray(table[other, step])[:, 0])
            metrics[f"gain_{method}_over_{other}_t{step}"] = Metric(float(gain.mean()), "%")
            metrics[f"gain_se_{method}_over_{other}_t{step}"] = Metric(float(gain.std(ddof=1) / len(gain) ** 0.5), "%")

    pools = {"history": PooledFeatures(heads["history"]), "anticipation": pool}
    models = {kind: AnticipatingDetector(detector, pools[kind], trained[kind]).to(context.device) for kind in heads}
    source = root / f"{settings.timed_video}.mp4"
    candidates: dict[str, Callable[[], object]] = {"per_frame": partial(_whole, detector, source, 1, "copied", context)}
    for step in settings.steps:
        candidates[f"copied_t{step}"] = partial(_whole, detector, source, step, "copied", context)
        for kind, model in models.items():
            candidates[f"{kind}_t{step}"] = partial(_whole, model, source, step, "anticipation", context)
    count = videos[settings.timed_video].frames
    timed = interleave(
        candidates, units=dict.fromkeys(candidates, count), rounds=settings.rounds, warmup=1, device=context.device
    )
    for name, result in timed.items():
        metrics |= {key: Metric(value, "frames/s") for key, value in result.units_per_second.named("fps", name).items()}
        metrics[f"speedup_{name}"] = Metric(ratio(timed, "per_frame", name).median, "x")
    details = protocol(timed, "whole detection of a video file: decoding, network, CSV; batch 1") | {
        "heads": {kind: asdict(motion) for kind, motion in heads.items()},
        "training": asdict(recipe),
        "folds": parts,
        "judged": "frames between keyframes; of all boxes of a frame the one that overlaps the true box most",
        "agreement": "COCO AP of the boxes between keyframes, with the detector's own boxes of these frames as true ones",
        "gain": "share of frames with an IoU above 0.5, paired by fold; se is the standard error over the folds",
        "threads": torch.get_num_threads(),
    }
    return Outcome(metrics, details)


def true_boxes(annotation: Path) -> dict[str, dict[int, Tensor]]:
    """The true box (1, 4) of each annotated frame, by video and frame number; a `UsageError` for files of another form."""
    import torch

    try:
        content = json.loads(annotation.read_text(encoding="utf-8"))
        names = {video["id"]: Path(video["name"]).stem for video in content["videos"]}
        frames = {image["id"]: (names[image["video_id"]], image["frame_id"]) for image in content["images"]}
        boxes: dict[str, dict[int, Tensor]] = {name: {} for name in names.values()}
        for entry in content["annotations"]:
            (name, number), (x, y, w, h) = frames[entry["image_id"]], entry["bbox"]
            boxes[name][number] = torch.tensor([[x, y, x + w, y + h]], dtype=torch.float32)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{annotation}: not the boxes of DAVIS 2016 as CocoVID ({error!r})") from error
    return boxes


def folds(names: Sequence[str], count: int) -> list[list[str]]:
    """The names in `count` parts, dealt out in the order of the names."""
    ordered = sorted(names)
    return [ordered[number::count] for number in range(count)]


def best_overlaps(frames: Sequence[FrameDetections], truth: Mapping[int, Tensor]) -> list[float]:
    """IoU of the true box with the box that overlaps it most, for each frame that has a true box; 0 where there is no box."""
    from torchvision.ops import box_iou

    judged = [frame for frame in frames if frame.index in truth]
    return [float(box_iou(truth[f.index], f.boxes).max()) if len(f.boxes) else 0.0 for f in judged]


def _without_features(video: Observation) -> Observation:
    return replace(video, features=[values[:, :0] for values in video.features])


def _whole(model: Any, source: Path, step: int, between: Any, context: Context) -> int:
    from location_anticipation.inference import detect_video

    out = context.folder / "timed.csv"
    return detect_video(
        model, source, keyframe_step=step, between=between, out_csv=out, score_threshold=0.3, device=context.device
    ).frames


EXPERIMENT = Experiment(
    "adapted_detector", "measure",
    "learn trajectories for NanoDet from videos, judge them on others, time whole detection", Settings, (DATA,), run,
)  # fmt: skip
