"""Score a trained network: errors on labelled images, or mean intersection over union on pictures with masks."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weight_align.data_options import add_data_arguments, open_data
from weight_align.errors import UsageError
from weight_align.files import atomic_path

if TYPE_CHECKING:
    from weight_align.image_sets import ImageSet
    from weight_align.masks import MaskSet
    from weight_align.normalisation import Normalisation

__all__ = ["INTERRUPTED", "add_arguments", "run"]

INTERRUPTED = "nothing was written"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command, without ``--device`` and ``--debug``."""
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="network.pt of a training")
    add_data_arguments(command, "test")
    command.add_argument(
        "--out", type=Path, metavar="FILE.json", help="also write the figures, of every class too, here"
    )
    command.add_argument(
        "--batch-size", type=int, metavar="N", help="images at a time (default: 256, or 4 pictures with masks)"
    )


def run(options: argparse.Namespace, device: str) -> int:
    """Evaluate; prints the figures and writes them where asked."""
    if options.batch_size is not None and options.batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1, got {options.batch_size}")
    images, masks = open_data(options)
    if masks is not None:
        document = _score_masks(masks, options, device)
    else:
        assert images is not None
        document = _score_images(images, options, device)
    if options.out:
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


def _score_images(images: ImageSet, options: argparse.Namespace, device: str) -> dict[str, Any]:
    from weight_align.checkpoint import load_network
    from weight_align.evaluation import evaluate

    saved = load_network(options.checkpoint)
    names, normalisation = _facts(options.checkpoint, saved.facts)
    _check_classes(options, names, images.facts.class_names)
    scores = evaluate(
        saved.network, images, normalisation=normalisation, batch_size=options.batch_size or 256, device=device
    )
    print(f"top1 error  {scores.top1_error:.2f} %")
    print(f"top5 error  {scores.top5_error:.2f} %")
    print(f"images      {scores.images}")
    return {
        "data": images.facts.name,
        "top1_error": scores.top1_error,
        "top5_error": scores.top5_error,
        "images": scores.images,
        "per_class": _by_class(names, scores.per_class),
    }


def _score_masks(masks: MaskSet, options: argparse.Namespace, device: str) -> dict[str, Any]:
    from weight_align.deeplab import load_deeplab
    from weight_align.segmentation import evaluate_segmentation

    network, facts = load_deeplab(options.checkpoint)
    names, normalisation = _facts(options.checkpoint, facts)
    _check_classes(options, names, masks.facts.class_names)
    scores = evaluate_segmentation(
        network, masks, normalisation=normalisation, batch_size=options.batch_size or 4, device=device
    )
    print(f"mean IoU        {scores.mean_iou:.2f} %")
    print(f"pixel accuracy  {scores.pixel_accuracy:.2f} %")
    print(f"images          {scores.images}")
    return {
        "data": masks.facts.name,
        "mean_iou": scores.mean_iou,
        "pixel_accuracy": scores.pixel_accuracy,
        "images": scores.images,
        "per_class": _by_class(names, scores.per_class),
    }


def _facts(path: Path, facts: Mapping[str, Any]) -> tuple[tuple[str, ...], Normalisation]:
    from weight_align.normalisation import Normalisation

    missing = {"class_names", "mean", "std"} - set(facts)
    if missing:
        said = ", ".join(sorted(missing))
        raise UsageError(
            f"{path}: does not say how images are to be shown to it (without {said}); it was not trained here"
        )
    return tuple(facts["class_names"]), Normalisation(tuple(facts["mean"]), tuple(facts["std"]))


def _check_classes(options: argparse.Namespace, known: tuple[str, ...], there: tuple[str, ...]) -> None:
    if len(known) != len(there):
        raise UsageError(f"{options.checkpoint} knows {len(known)} classes, {options.data} has {len(there)}")
    for label, (mine, theirs) in enumerate(zip(known, there, strict=True)):
        if mine != theirs:
            raise UsageError(f"class {label} of {options.checkpoint} is {mine!r}, of {options.data} {theirs!r}")


def _by_class(names: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: None if math.isnan(value) else value for name, value in zip(names, values, strict=True)}
