"""``full-video evaluate``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficiency_core.command import OutputFile, Positional
from efficiency_core.errors import checking
from efficiency_core.files import atomic_path
from efficiency_core.loop import Precision, check_least
from full_video.commands.data_options import DataOptions, open_data
from full_video.data.clip_config import ClipConfig
from full_video.data.sampling import Rule

if TYPE_CHECKING:
    from full_video.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(DataOptions):
    """Evaluate a trained network on labelled videos: one clip per video, by default shown as in its training."""

    checkpoint: Positional[Path]
    """``network.safetensors`` of a training."""
    data: Positional[Path]
    """Folder of a data set, list of videos, or HDF5 file."""
    split: str = "test"
    """Split of the data, as the data set names it."""
    out: OutputFile[Path | None] = None
    """JSON file for the results of every class and video."""
    frames: int | None = None
    """Number of frames of a video, 0 for all; by default as in training."""
    rule: Rule | None = None
    """How frames are chosen; by default as in training."""
    stride: int | None = None
    """Distance between frames of the rule ``dense``; by default as in training."""
    max_frames: int | None = None
    """Largest number of frames, 0 for no limit; by default as in training."""
    size: int | None = None
    """Side of the square that the network sees, in pixels; by default as in training."""
    resize: int | None = None
    """Length of the short side before the crop, in pixels; by default as in training."""
    batch_size: int = 16
    """Videos at once."""
    chunk: int = 4
    """Frames that pass a streamed stem at once."""
    precision: Precision = "32-true"
    """Arithmetic, as in training."""
    workers: int = 4
    """Processes that read videos ahead; 0 reads between the batches."""

    def __post_init__(self) -> None:
        check_least(self, 1, "batch_size", "chunk")
        check_least(self, 0, "workers")


def run(options: EvaluateOptions, device: str) -> int:
    """Evaluate; prints the results and writes them where asked."""
    from full_video.checkpoint import load_network
    from full_video.data.video_set import with_classes
    from full_video.evaluation import evaluate

    saved = load_network(options.checkpoint)
    clips = _shown(saved.clips, options)
    videos = open_data(options.data, options.split, options)
    videos = with_classes(videos, saved.class_names, str(options.checkpoint), str(options.data))
    found = evaluate(
        saved.network, videos, clips, device, batch_size=options.batch_size, chunk=options.chunk,
        precision=options.precision, workers=options.workers,
    )  # fmt: skip
    print(f"top1     {found.top1:.4f}\ntop5     {found.top5:.4f}")
    print(f"videos   {found.videos}\nskipped  {len(found.skipped)}")
    for video in found.skipped:
        print(f"  {video.name}: {video.why}")
    if options.out:
        with atomic_path(options.out) as temporary:
            document = json.dumps(_as_json(found, saved.class_names), indent=2)
            temporary.write_text(document + "\n", encoding="utf-8")
    return 0


def _shown(trained: ClipConfig, options: EvaluateOptions) -> ClipConfig:
    """What the network is shown: as in its training, but for the options that are given."""

    def given(*names: str) -> dict[str, Any]:
        return {name: getattr(options, name) for name in names if getattr(options, name) is not None}

    with checking():
        sampling = replace(trained.sampling, **given("frames", "rule", "stride"))
        augmentation = replace(trained.augmentation, **given("size", "resize"))
        return replace(trained, sampling=sampling, augmentation=augmentation, **given("max_frames"))


def _as_json(found: Evaluation, names: tuple[str, ...]) -> dict[str, Any]:
    per_class = [None if math.isnan(value) else value for value in found.per_class]
    return {
        "top1": found.top1,
        "top5": found.top5,
        "videos": found.videos,
        "per_class": dict(zip(names, per_class, strict=True)),
        "confusion": found.confusion.tolist(),
        "answers": [asdict(answer) for answer in found.answers],
        "skipped": [asdict(video) for video in found.skipped],
    }
