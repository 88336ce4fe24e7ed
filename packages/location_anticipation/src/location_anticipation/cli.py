"""``location-anticipation``: train, evaluate, and detect objects in a video."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import torch

from location_anticipation.errors import UsageError, WorkError
from location_anticipation.files import atomic_path

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command; exits with 0 (done), 1 (the work failed) or 2 (wrong usage or unusable input).

    An interrupt from the keyboard exits with 130, as shells have it.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # Notices of libraries about themselves, which nobody who runs a command can act on.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        status: int = options.function(options)
    except (UsageError, WorkError, ModuleNotFoundError, KeyboardInterrupt) as error:
        if options.debug:
            traceback.print_exc()
        print(f"error: {_message(error, options.extra)}", file=sys.stderr)
        status = 130 if isinstance(error, KeyboardInterrupt) else 1 if isinstance(error, WorkError) else 2
    sys.exit(status)


def _message(error: BaseException, extra: str) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; the same command continues a training from its last checkpoint"
    if isinstance(error, ModuleNotFoundError):
        return f'this command needs {error.name}: pip install "location_anticipation[{extra}]"'
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="location-anticipation", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser("train", help="train a detector on a track-video file")
    command.add_argument(
        "data", type=Path, help="track-video HDF5 file, for example from `synthdata build moving-digits`"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of checkpoints; continues the run in it"
    )
    command.add_argument("--motion", default="annotated", help="annotated, simulated, linear, random or none")
    command.add_argument("--devices", type=int, default=1, help="number of devices to train on")
    command.add_argument("--backbone-weights", metavar="NAME", help="torchvision weights, for example IMAGENET1K_V1")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a field of DetectorConfig or TrainConfig, for example iterations=500; may be repeated",
    )
    _device(command)
    command.set_defaults(function=_train, extra="train")

    command = commands.add_parser("evaluate", help="average precision and trajectory IoU on a track-video file")
    command.add_argument("checkpoint", type=Path, help="detector.pt of a training")
    command.add_argument("data", type=Path, help="track-video HDF5 file")
    command.add_argument(
        "--keyframe-step", type=int, default=1, metavar="N", help="run the network on every N-th frame"
    )
    command.add_argument("--out", type=Path, metavar="FILE.json", help="also write the figures here")
    _device(command)
    command.set_defaults(function=_evaluate, extra="train")

    command = commands.add_parser("detect", help="detect objects in a video file")
    command.add_argument("video", type=Path)
    command.add_argument("--checkpoint", type=Path, required=True, help="detector.pt of a training")
    command.add_argument("--out", type=Path, metavar="OUT.mp4", help="video with the boxes drawn in")
    command.add_argument("--json", type=Path, metavar="OUT.json", help="detections of every frame")
    command.add_argument(
        "--keyframe-step",
        type=int,
        metavar="N",
        help="run the network on every N-th frame (default: the trained T, at least 1)",
    )
    command.add_argument(
        "--score-threshold", type=float, default=0.5, metavar="S", help="drop detections below this score (default 0.5)"
    )
    _device(command)
    command.set_defaults(function=_detect, extra="video")
    return parser


def _device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")


def resolve_device(name: str) -> str:
    """``cpu`` or ``cuda`` from ``auto``, ``cpu`` or ``cuda``; ``cuda`` without CUDA is a :class:`UsageError`."""
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device must be auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but torch finds no CUDA device; use --device cpu or auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def parse_settings(assignments: Iterable[str], *types: type[Any]) -> list[dict[str, Any]]:
    """Sort ``key=value`` texts into one dict per dataclass of ``types``, values read as JSON or, failing that, as text.

    Raises:
        UsageError: for a text without ``=``, a key that is a field of none of them, or a value of another type.
    """
    sorted_into: list[dict[str, Any]] = [{} for _ in types]
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        owners = [i for i, kind in enumerate(types) if key in {f.name for f in fields(kind)}]
        if not equals or not owners:
            known = ", ".join(f.name for t in types for f in fields(t))
            raise UsageError(f"--set {assignment}: expected KEY=VALUE with one of {known}")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        expected = get_type_hints(types[owners[0]])[key]
        try:
            sorted_into[owners[0]][key] = _convert(value, expected)
        except TypeError:
            names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
            wanted = names.get(expected, "whole numbers such as [32,64]")
            raise UsageError(f"--set {key}: expected {wanted}, got {text}") from None
    return sorted_into


def _convert(value: Any, expected: Any) -> Any:
    if get_origin(expected) is tuple and isinstance(value, list):
        return tuple(_convert(item, get_args(expected)[0]) for item in value)
    if type(value) is expected:
        return value
    if expected is float and type(value) is int:
        return float(value)
    raise TypeError


def _build(kind: type[T], values: dict[str, Any]) -> T:
    try:
        return kind(**values)
    except ValueError as error:
        raise UsageError(f"--set: {error}") from error


def _train(options: argparse.Namespace) -> int:
    from location_anticipation.data import Keyframes, TrackVideos
    from location_anticipation.detector import DetectorConfig
    from location_anticipation.motion import MOTIONS
    from location_anticipation.training import TrainConfig, train

    device = resolve_device(options.device)
    if options.devices < 1 or (device == "cuda" and options.devices > torch.cuda.device_count()):
        there = f"1 to {torch.cuda.device_count()}" if device == "cuda" else "1 or more"
        raise UsageError(f"--devices must be {there}, got {options.devices}")
    if options.motion not in MOTIONS:
        raise UsageError(f"--motion must be one of {', '.join(MOTIONS)}, got {options.motion!r}")
    shape, recipe = parse_settings(options.set, DetectorConfig, TrainConfig)
    videos = TrackVideos(options.data)
    detector = _build(DetectorConfig, {"num_classes": len(videos.facts.class_names)} | shape)
    data = Keyframes(videos, horizon=detector.horizon, motion=options.motion)
    result = train(
        data,
        detector,
        _build(TrainConfig, recipe),
        options.out,
        device=device,
        devices=options.devices,
        backbone_weights=options.backbone_weights,
    )
    for name, value in result.losses.items():
        print(f"{name:24s} {value:.4f}")
    print(options.out / "detector.pt")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from location_anticipation.checkpoint import load_detector
    from location_anticipation.data import TrackVideos
    from location_anticipation.evaluation import evaluate

    device = resolve_device(options.device)
    model, class_names = load_detector(options.checkpoint)
    videos = TrackVideos(options.data)
    if len(videos.facts.class_names) != len(class_names):
        raise UsageError(
            f"{options.checkpoint} knows {len(class_names)} classes, {options.data} has {len(videos.facts.class_names)}"
        )
    try:
        result = asdict(evaluate(model, videos, keyframe_step=options.keyframe_step, device=device))
    except ValueError as error:
        raise UsageError(str(error)) from error
    for name, value in result.items():
        print(f"{name:18s} {value:.4f}" if isinstance(value, float) else f"{name:18s} {value}")
    if options.out:
        known = {name: None if value != value else value for name, value in result.items()}
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return 0


def _detect(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from location_anticipation.checkpoint import load_detector
    from location_anticipation.detect import detect_video

    if options.out is None and options.json is None:
        raise UsageError("nothing to write: give --out OUT.mp4, --json OUT.json, or both")
    device = resolve_device(options.device)
    model, class_names = load_detector(options.checkpoint)
    step = options.keyframe_step if options.keyframe_step is not None else max(model.horizon, 1)
    with tqdm(unit="frame", disable=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(1)

        summary = detect_video(
            model,
            options.video,
            keyframe_step=step,
            out_json=options.json,
            out_video=options.out,
            score_threshold=options.score_threshold,
            class_names=class_names,
            device=device,
            progress=progress,
        )
    print(f"{summary.frames} frames, {summary.keyframes} keyframes, {summary.fps:.1f} frames/s on {device}")
    if summary.damaged is not None:
        print(f"warning: {options.video}: {summary.damaged}; the outputs hold the frames before that", file=sys.stderr)
        return 1
    return 0
