"""Evaluation of a trained network."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from efficiency_core.errors import UsageError
from efficiency_core.files import atomic_path
from weight_align.checkpoint import load_deeplab, load_network
from weight_align.commands.data import format_of, open_data
from weight_align.commands.options import EvaluateOptions
from weight_align.data import MASK_FORMATS
from weight_align.training import ErrorRates, Normalisation, SegmentationScores, evaluate, evaluate_segmentation


def run(options: EvaluateOptions, device: str) -> None:
    """Evaluate; print the results and write them to ``--out``."""
    if options.batch_size < 0:
        raise UsageError(f"--batch-size must be 0 or more, got {options.batch_size}")
    masks = format_of(options.data, options) in MASK_FORMATS
    data = open_data(options.data, options, options.split, masks)
    saved: Any = load_deeplab(options.checkpoint) if masks else load_network(options.checkpoint)
    names, normalisation = _metadata(options.checkpoint, saved.metadata)
    _check_classes(options, names, data.info.class_names)
    shared: dict[str, Any] = {"normalisation": normalisation, "device": device}
    found: ErrorRates | SegmentationScores
    if masks:
        found = evaluate_segmentation(saved.network, data, batch_size=options.batch_size or 4, **shared)
    else:
        found = evaluate(saved.network, data, batch_size=options.batch_size or 256, **shared)
    figures = {name: value for name, value in asdict(found).items() if name not in ("per_class", "images")}
    for name, value in figures.items():
        shown = f"{value:.4f}" if name == "loss" else f"{value:.2f} %"
        print(f"{name.replace('_', ' ').replace('iou', 'IoU'):14}  {shown}")
    print(f"{'images':14}  {found.images}")
    if options.out:
        shares = [None if math.isnan(value) else value for value in found.per_class]  # JSON has no NaN
        by_class = dict(zip(names, shares, strict=True))
        document = {"data": data.info.name, **figures, "images": found.images, "per_class": by_class}
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _metadata(path: Path, metadata: Mapping[str, Any]) -> tuple[tuple[str, ...], Normalisation]:
    missing = {"class_names", "mean", "std"} - set(metadata)
    if missing:
        raise UsageError(
            f"{path}: does not state classes and colour normalisation (without {', '.join(sorted(missing))}); "
            "it was not trained here"
        )
    return tuple(metadata["class_names"]), Normalisation(tuple(metadata["mean"]), tuple(metadata["std"]))


def _check_classes(options: EvaluateOptions, known: tuple[str, ...], there: tuple[str, ...]) -> None:
    if len(known) != len(there):
        raise UsageError(f"{options.checkpoint} has {len(known)} classes, {options.data} has {len(there)}")
    for label, (mine, theirs) in enumerate(zip(known, there, strict=True)):
        if mine != theirs:
            raise UsageError(f"class {label} is {mine!r} in {options.checkpoint}, {theirs!r} in {options.data}")
