"""Score a trained network on labelled videos: one clip each, shown to it as it was trained unless --set says otherwise."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from full_video.data_options import add_data_arguments, open_data
from full_video.errors import UsageError
from full_video.files import atomic_path
from full_video.settings import build, parse_settings

if TYPE_CHECKING:
    from full_video.evaluation import Scores

__all__ = ["INTERRUPTED", "add_arguments", "run"]

INTERRUPTED = "nothing was written"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command, without ``--device`` and ``--debug``."""
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="network.pt of a training")
    add_data_arguments(command, "test")
    command.add_argument(
        "--out", type=Path, metavar="FILE.json", help="also write the figures, of every class and video, here"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a field of InputConfig, Sampling or Augmentation, for example batch_size=1 or frames=16; may be repeated",
    )


def run(options: argparse.Namespace, device: str) -> int:
    """Evaluate; prints the figures and writes them where asked."""
    from full_video.augmentation import Augmentation
    from full_video.checkpoint import load_network
    from full_video.evaluation import evaluate
    from full_video.inputs import InputConfig
    from full_video.sampling import Sampling

    inputs, sampling, augmentation = parse_settings(options.set, InputConfig, Sampling, Augmentation)
    saved = load_network(options.checkpoint)
    videos = open_data(options)
    _check_classes(options, saved.class_names, videos.facts.class_names)
    try:
        sizes = {
            "sampling": replace(saved.sampling, **sampling),
            "augmentation": replace(saved.augmentation, **augmentation),
        }
    except ValueError as error:
        raise UsageError(f"--set: {error}") from error
    config = build(InputConfig, {"max_frames": saved.max_frames} | inputs | sizes)
    scores = evaluate(saved.network, videos, config, device)
    print(f"top1     {scores.top1:.4f}")
    print(f"top5     {scores.top5:.4f}")
    print(f"videos   {scores.videos}")
    print(f"skipped  {len(scores.skipped)}")
    for video in scores.skipped:
        print(f"  {video.name}: {video.why}")
    if options.out:
        with atomic_path(options.out) as temporary:
            document = json.dumps(_as_json(scores, saved.class_names), indent=2)
            temporary.write_text(document + "\n", encoding="utf-8")
    return 0


def _check_classes(options: argparse.Namespace, known: tuple[str, ...], there: tuple[str, ...]) -> None:
    if len(known) != len(there):
        raise UsageError(f"{options.checkpoint} knows {len(known)} classes, {options.data} has {len(there)}")
    for label, (mine, theirs) in enumerate(zip(known, there, strict=True)):
        if mine != theirs:
            raise UsageError(f"class {label} of {options.checkpoint} is {mine!r}, of {options.data} {theirs!r}")


def _as_json(scores: Scores, names: tuple[str, ...]) -> dict[str, Any]:
    per_class = [None if math.isnan(value) else value for value in scores.per_class]
    return {
        "top1": scores.top1,
        "top5": scores.top5,
        "videos": scores.videos,
        "per_class": dict(zip(names, per_class, strict=True)),
        "confusion": scores.confusion.tolist(),
        "answers": [asdict(answer) for answer in scores.answers],
        "skipped": [asdict(video) for video in scores.skipped],
    }
