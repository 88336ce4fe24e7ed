"""``location-anticipation detect``: options, progress, and the summary at the end."""

import importlib.util
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

from efficiency_core.command import OutputFile, Positional, progress
from efficiency_core.errors import UsageError, WorkError
from location_anticipation.commands.keyframe_options import KeyframeOptions

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True, kw_only=True)
class Options(KeyframeOptions):
    """Detect the objects in every frame of a video, with the network on keyframes alone."""

    source: Positional[tuple[str, ...]]
    """Video files or addresses (``https://``, ``rtsp://``, ``rtmp://``), folders of images, or numbers of cameras (0, 1)."""
    checkpoint: Path | None = None
    """``detector.safetensors`` of a training."""
    detector: str | None = None
    """In place of ``--checkpoint``, a detector of images: torchvision's by name (``fasterrcnn_resnet50_fpn_v2``), or
    ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION`` that makes one."""
    weights: Path | None = None
    """``state_dict`` of torchvision's ``--detector``; by default its published COCO weights."""
    class_names: Path | None = None
    """Text file of the names of ``--detector``'s classes, a line for each label from 1."""
    trajectories: Path | None = None
    """``trajectories.safetensors`` of ``adapt`` for ``--detector``."""
    between: Literal["anticipation", "copied", "velocity", "interpolation"] | None = None
    """Boxes between keyframes: ``anticipation`` needs a detector that anticipates and is its default; ``copied`` (the default of
    other detectors) stand still, ``velocity`` go on as they came, ``interpolation`` go to the next keyframe and come late."""
    out: OutputFile[Path | None] = None
    """Video with the boxes drawn in, ``.mp4``."""
    json: OutputFile[Path | None] = None
    """Detections of every frame as CocoVID JSON."""
    csv: OutputFile[Path | None] = None
    """Detections as CSV, a line for each box of each frame."""
    font: Path | None = None
    """Font file for class names; by default the first on this machine that has their letters."""
    score_threshold: float = 0.5
    """Drop detections below this score."""
    frames: int | None = None
    """End after this many frames."""
    fps: str | None = None
    """Frame rate of the source where it states none or a wrong one, for example 25 or 30000/1001."""
    precision: Literal["32", "bf16"] = "32"
    """Arithmetic of the network: ``bf16`` has convolutions and FC layers in bfloat16, decodes boxes and runs NMS in float32."""
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto"
    """Memory layout of the network; ``auto`` is ``channels_last`` on the CPU."""
    runtime: Literal["torch", "openvino"] = "torch"
    """``openvino`` (``pip install openvino``) runs backbone, RPN head and FC layers on the CPU; torch the rest."""
    compile: bool = False
    """Compile the backbone with ``torch.compile``, which takes a minute or more: for long videos."""


def run(options: Options, device: str) -> int:
    """Detect; the exit status is 1 where frames of a source are missing, or one of several could not be read."""
    from location_anticipation.checkpoint import load_category_ids
    from location_anticipation.data.frame_sources import is_address, outputs_of, parse_source, source_label
    from location_anticipation.inference.runtime import Inference
    from location_anticipation.inference.video_detection import detect_video

    step, rate = options.rule(), _rate(options.fps)
    if options.out is None and options.json is None and options.csv is None:
        raise UsageError("nothing to write: give --out OUT.mp4, --json OUT.json, --csv OUT.csv, or several")
    if options.runtime == "openvino" and device != "cpu":
        raise UsageError(f"--runtime openvino runs on the CPU; set --device cpu, not {device}")
    if options.runtime == "openvino" and importlib.util.find_spec("openvino") is None:
        raise UsageError("--runtime openvino needs OpenVINO: pip install openvino")
    if options.runtime == "openvino" and options.compile:
        raise UsageError("--compile goes with --runtime torch")
    sources = [parse_source(text) for text in options.source]
    outputs = [outputs_of(path, sources) for path in (options.json, options.csv, options.out)]
    model, class_names = _model(options)
    horizon = int(getattr(model, "horizon", 0))
    between = options.between or ("anticipation" if horizon else "copied")
    channels_last = options.memory_format == "channels_last"
    if options.memory_format == "auto":  # other people's detectors stay as they are
        channels_last = device == "cpu" and options.detector is None
    status = 0
    for source, out_json, out_csv, out_video in zip(sources, *outputs, strict=True):
        endless = (isinstance(source, int) or is_address(source)) and options.frames is None
        try:
            with reporting() as report, _stopping(endless) as stop:
                summary = detect_video(
                    model,
                    source,
                    keyframe_step=max(horizon, 1) if step is None else step,
                    between=between,
                    out_json=out_json,
                    out_csv=out_csv,
                    out_video=out_video,
                    score_threshold=options.score_threshold,
                    class_names=class_names or None,
                    category_ids=None if options.checkpoint is None else load_category_ids(options.checkpoint),
                    font=options.font,
                    device=device,
                    inference=Inference(options.precision, channels_last, options.compile, options.runtime),
                    rate=rate,
                    max_frames=options.frames,
                    progress=report,
                    stop=stop,
                )
        except (UsageError, WorkError) as error:
            if len(sources) == 1:
                raise
            logger.error("left out: %s", error)
            status = 1
            continue
        named = f"{source_label(source)}: " if len(sources) > 1 else ""
        print(
            f"{named}{summary.frames} frames, {summary.keyframes} keyframes, {summary.boxes} boxes, "
            f"{summary.fps:.1f} frames/s on {device} (detecting {summary.detecting:.1f} s, "
            f"waiting for frames {summary.waiting:.1f} s, writing {summary.writing:.1f} s)"
        )
        if summary.damaged is not None:
            word, every = ("warning", " that could be decoded") if summary.broken else ("note", ", and none is missing")
            held = f"the outputs hold every frame{every}"
            print(f"{word}: {source_label(source)}: {summary.damaged}; {held}", file=sys.stderr)
            status = 1 if summary.broken else status
    return status


def _model(options: Options) -> "tuple[nn.Module, Sequence[str]]":
    """The detector and the names of its classes; empty if they are not known."""
    from location_anticipation.checkpoint import load_detector
    from location_anticipation.detectors import open_detector, read_class_names

    if (options.checkpoint is None) == (options.detector is None):
        raise UsageError("give --checkpoint FILE of a training, or --detector of any other kind")
    if options.checkpoint is not None:
        for name in ("weights", "class_names", "trajectories"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} goes with --detector, not with --checkpoint")
        return load_detector(options.checkpoint)
    names = None if options.class_names is None else read_class_names(options.class_names)
    opened = open_detector(str(options.detector), options.weights, names)
    if options.trajectories is None:
        return opened.model, opened.class_names
    from location_anticipation.adaptation import load_anticipating

    return load_anticipating(options.trajectories, opened), opened.class_names


def _rate(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise UsageError(f"--fps: expected a number above 0 such as 25 or 30000/1001, got {text!r}")
    return rate


@contextmanager
def reporting() -> Iterator[Callable[[int, int | None], None]]:
    """Frames done and frames per second: a bar on a terminal, elsewhere a line in the log every ten seconds."""
    started = said = time.perf_counter()
    with progress(None, unit="frame") as bar:

        def report(done: int, total: int | None) -> None:
            nonlocal said
            if not bar.disable:
                bar.total = total
                bar.update(1)
                if done == 1:
                    bar.refresh()  # shows the total at once, not after tqdm's first interval
            elif (now := time.perf_counter()) - said >= _SECONDS_BETWEEN_LINES:
                said = now
                of = "" if total is None else f" of {total}"
                logger.info("%d%s frames, %.1f frames/s", done, of, done / (now - started))

        yield report


@contextmanager
def _stopping(endless: bool) -> Iterator[Callable[[], bool]]:
    """While an endless source is read, Ctrl-C ends it as its last frame would, so that the outputs are kept.

    The function says whether this has happened. A second Ctrl-C interrupts as usual.
    """
    asked = threading.Event()
    if not endless:
        yield asked.is_set
        return

    def stop(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    logger.info("Ctrl-C ends the recording")
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
