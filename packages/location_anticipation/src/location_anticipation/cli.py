"""``location-anticipation``: convert data, train, evaluate, and detect objects in a video."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

import torch

from location_anticipation import convert_command, detect_command
from location_anticipation.errors import UsageError, WorkError
from location_anticipation.files import atomic_path
from location_anticipation.keyframe_options import add_keyframe_options, keyframe_step

if TYPE_CHECKING:
    from location_anticipation.auto_step import AutoStep
    from location_anticipation.detector import AnticipationRCNN
    from location_anticipation.peers import PeerConfig

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
        print(f"error: {_message(error, options)}", file=sys.stderr)
        status = 130 if isinstance(error, KeyboardInterrupt) else 1 if isinstance(error, WorkError) else 2
    sys.exit(status)


def _message(error: BaseException, options: argparse.Namespace) -> str:
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; {options.interrupted}"
    if isinstance(error, ModuleNotFoundError):
        return f'this command needs {error.name}: pip install "location_anticipation[{options.extra}]"'
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="location-anticipation", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser("train", help="train a detector on annotated videos")
    command.add_argument(
        "data",
        type=Path,
        nargs="+",
        help="CocoVID JSON file (`convert` makes them), or track-video HDF5 file, for example from `synthdata build "
        "moving-digits`; several of the same classes are trained on together",
    )
    command.add_argument(
        "--images",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of the images of a CocoVID file (default: the file's own); once for all files or once for each",
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of checkpoints; continues the run in it"
    )
    command.add_argument("--motion", default="annotated", help="annotated, simulated, linear, random or none")
    command.add_argument(
        "--method",
        metavar="NAME",
        help="train a method to compare with instead: dff, fgfa or selsa; its settings go into --set as well",
    )
    command.add_argument(
        "--keyframe-step", type=int, default=1, metavar="N", help="only every N-th frame is a keyframe (default 1)"
    )
    command.add_argument(
        "--label-step",
        type=int,
        default=1,
        metavar="N",
        help="use the annotation of every N-th frame only (default 1); the motions lead over the frames in between",
    )
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
    command.set_defaults(
        function=_train,
        extra="train",
        interrupted="the same command continues a training from its last checkpoint",
    )

    command = commands.add_parser("convert", help="make a CocoVID JSON file of a data set")
    convert_command.add_arguments(command)
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command.set_defaults(function=convert_command.run, extra="train", interrupted="nothing was written")

    command = commands.add_parser("evaluate", help="average precision and trajectory IoU on annotated videos")
    command.add_argument("checkpoint", type=Path, help="detector.pt of a training")
    command.add_argument("data", type=Path, help="track-video HDF5 file, or CocoVID JSON file")
    command.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of a CocoVID file's images (default: the file's folder)"
    )
    add_keyframe_options(command, default="1; of a --method, its own")
    command.add_argument(
        "--method",
        metavar="NAME",
        help="what a detector's boxes do between keyframes instead of being anticipated: per_frame, key_boxes_copied, "
        "constant_velocity or interpolation",
    )
    command.add_argument(
        "--metric",
        action="append",
        choices=("coco", "voc", "ilsvrc", "all"),
        help="mAP of every annotated frame: COCO's, VOC's at IoU .50, ILSVRC's with its tolerance for small boxes; "
        "may be repeated (default: coco)",
    )
    command.add_argument(
        "--motion-split",
        action="store_true",
        help="mAP of slow, medium and fast objects by motion IoU, for voc and ilsvrc among the metrics (else ilsvrc)",
    )
    command.add_argument("--by-step", action="store_true", help="mAP by number of frames after the keyframe")
    command.add_argument("--out", type=Path, metavar="FILE.json", help="also write the figures here")
    _device(command)
    command.set_defaults(function=_evaluate, extra="train", interrupted="nothing was written")

    command = commands.add_parser("detect", help="detect objects in a video file, a folder of images or a camera")
    detect_command.add_arguments(command)
    _device(command)
    command.set_defaults(function=_detect, extra="video", interrupted="nothing was written")
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
    from location_anticipation.data import Keyframes
    from location_anticipation.detector import DetectorConfig
    from location_anticipation.motion import MOTIONS
    from location_anticipation.peers import PeerConfig, training_data
    from location_anticipation.training import TrainConfig, train
    from location_anticipation.videos import Concatenated, Sparse, Videos, open_videos

    device = resolve_device(options.device)
    if options.devices < 1 or (device == "cuda" and options.devices > torch.cuda.device_count()):
        there = f"1 to {torch.cuda.device_count()}" if device == "cuda" else "1 or more"
        raise UsageError(f"--devices must be {there}, got {options.devices}")
    if options.motion not in MOTIONS:
        raise UsageError(f"--motion must be one of {', '.join(MOTIONS)}, got {options.motion!r}")
    kinds = (DetectorConfig, TrainConfig) if options.method is None else (DetectorConfig, TrainConfig, PeerConfig)
    shape, recipe, *rules = parse_settings(options.set, *kinds)
    if rules and (
        options.motion != "annotated" or options.keyframe_step != 1 or {"method", "detector"} & set(rules[0])
    ):
        raise UsageError("--method goes without --motion, --keyframe-step and --set of method or detector")
    for name, step in (("--keyframe-step", options.keyframe_step), ("--label-step", options.label_step)):
        if step < 1:
            raise UsageError(f"{name} must be at least 1, got {step}")
    if len(options.images) not in (0, 1, len(options.data)):
        raise UsageError(f"--images: give one folder, or one for each of the {len(options.data)} files")
    folders = options.images if len(options.images) > 1 else (options.images or [None]) * len(options.data)
    parts = [open_videos(path, images) for path, images in zip(options.data, folders, strict=True)]
    videos: Videos = parts[0] if len(parts) == 1 else Concatenated(*parts)
    if options.label_step > 1:
        videos = Sparse(videos, options.label_step)
    shape = {"num_classes": len(videos.facts.class_names)} | ({"horizon": 0} if rules else {}) | shape
    model: DetectorConfig | PeerConfig = _build(DetectorConfig, shape)
    if isinstance(model, DetectorConfig) and not rules:
        data = Keyframes(videos, horizon=model.horizon, motion=options.motion, keyframe_step=options.keyframe_step)
    else:
        model = _build(PeerConfig, {"method": options.method, "detector": model} | rules[0])
        data = training_data(videos, model)
    result = train(
        data,
        model,
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


def _peer(model: AnticipationRCNN, method: str | None, step: int | AutoStep | None) -> PeerConfig | None:
    """The method to evaluate, or None for a detector that anticipates."""
    from location_anticipation.peers import ClipDetector, PeerConfig

    if isinstance(model, ClipDetector):
        if method not in (None, model.peer.method):
            raise ValueError(f"the checkpoint is a network of {model.peer.method}, not of {method}")
        peer = model.peer
    elif method is None:
        return None
    else:
        peer = PeerConfig(method, replace(model.config, horizon=0))
    if step is None:
        return peer
    if not isinstance(step, int):
        raise ValueError(f"--keyframe-step auto: needs a detector that anticipates, not {peer.method}")
    return replace(peer, keyframe_step=step)


def _evaluate(options: argparse.Namespace) -> int:
    from location_anticipation.checkpoint import load_any
    from location_anticipation.evaluation import Evaluation, MethodEvaluation, evaluate, evaluate_method
    from location_anticipation.peers import video_method
    from location_anticipation.score_table import as_json, table
    from location_anticipation.video import VideoDetector
    from location_anticipation.videos import open_videos

    step = keyframe_step(options)
    device = resolve_device(options.device)
    model, class_names = load_any(options.checkpoint)
    videos = open_videos(options.data, options.images)
    if len(videos.facts.class_names) != len(class_names):
        raise UsageError(
            f"{options.checkpoint} knows {len(class_names)} classes, {options.data} has {len(videos.facts.class_names)}"
        )
    for label, (known, there) in enumerate(zip(class_names, videos.facts.class_names, strict=True), start=1):
        if known != there:
            raise UsageError(f"class {label} of {options.checkpoint} is {known!r}, of {options.data} {there!r}")
    metrics = options.metric or ["coco"]
    flavours = [m for m in ("coco", "voc", "ilsvrc") if m in metrics or "all" in metrics]
    speed = ([f for f in flavours if f != "coco"] or ["ilsvrc"]) if options.motion_split else []
    result: Evaluation | MethodEvaluation
    try:
        peer = _peer(model, options.method, step)
        if peer is not None:
            method = video_method(peer, model, device=device)
            result = evaluate_method(method, videos, flavours=flavours, steps=options.by_step, speed=speed)
        elif step is not None and not isinstance(step, int):
            detector = VideoDetector(model, step, device=device)
            result = evaluate_method(detector, videos, flavours=flavours, steps=options.by_step, speed=speed)
        else:
            result = evaluate(
                model,
                videos,
                keyframe_step=1 if step is None else step,
                device=device,
                flavours=flavours,
                steps=options.by_step,
                speed=speed,
            )
    except ValueError as error:
        raise UsageError(str(error)) from error
    print(table(result))
    if options.out:
        with atomic_path(options.out) as temporary:
            document = as_json(result, class_names)
            temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


def _detect(options: argparse.Namespace) -> int:
    return detect_command.run(options, resolve_device(options.device))
