"""Train a network on labelled images, or DeepLabv3 on pictures with masks, or go on with the training that --out holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weight_align.data_options import add_data_arguments, open_data
from weight_align.errors import UsageError
from weight_align.settings import build, parse_settings

if TYPE_CHECKING:
    from weight_align.image_sets import ImageSet
    from weight_align.masks import MaskSet
    from weight_align.training_loop import Trained

__all__ = ["INTERRUPTED", "add_arguments", "run"]

INTERRUPTED = "the same command continues a training from its last checkpoint"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command, without ``--device`` and ``--debug``."""
    add_data_arguments(command, "train")
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of checkpoints; continues the run in it"
    )
    command.add_argument(
        "--weights",
        metavar="NAME",
        help="where the network starts: a network.pt, another file of weights, or torchvision's name of them, for example "
        "IMAGENET1K_V1",
    )
    command.add_argument(
        "--seeds", metavar="N,N,...", help="train one network for each of these seeds, all at once, into --out/seed-N"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a field of NetworkConfig or TrainConfig (for masks SegmentationConfig or HeadConfig), for example "
        "norm=gn, align=true or epochs=20; may be repeated",
    )


def run(options: argparse.Namespace, device: str) -> int:
    """Train; prints the losses and where the networks lie."""
    seeds = _seeds(options.seeds)
    images, masks = open_data(options)
    if masks is not None:
        if seeds is not None:
            raise UsageError("--seeds: a segmentation is trained one seed at a time (--set seed=N)")
        results = {"": _train_masks(masks, options, device)}
    else:
        assert images is not None
        results = _train_images(images, seeds, options, device)
    for name, result in results.items():
        print(f"{f'loss {name}':17}  {result.losses[-1]:.4f}")
    first = next(iter(results.values()))
    print(f"seconds per epoch  {first.seconds_per_epoch:.1f}")
    print(f"steps per second   {first.steps_per_second:.2f}")
    for name in results:
        print(options.out / name / "network.pt")
    return 0


def _train_images(
    images: ImageSet, seeds: tuple[int, ...] | None, options: argparse.Namespace, device: str
) -> dict[str, Trained[Any]]:
    from weight_align.network_config import NetworkConfig
    from weight_align.train_config import TrainConfig
    from weight_align.training import train, train_seeds

    layers, recipe = parse_settings(options.set, NetworkConfig, TrainConfig)
    network = build(NetworkConfig, {"classes": len(images.facts.class_names)} | layers)
    config = build(TrainConfig, recipe)
    if seeds is None:
        return {"": train(images, network, config, options.out, device, options.weights)}
    if "seed" in recipe:
        raise UsageError("--seeds and --set seed say the same; give one of them")
    trained = train_seeds(images, network, config, options.out, seeds, device, options.weights)
    return {f"seed-{seed}": result for seed, result in zip(seeds, trained, strict=True)}


def _train_masks(masks: MaskSet, options: argparse.Namespace, device: str) -> Trained[Any]:
    from weight_align.deeplab import HeadConfig
    from weight_align.network_config import NetworkConfig
    from weight_align.segmentation import SegmentationConfig, train_segmentation

    layers, recipe, head = parse_settings(options.set, NetworkConfig, SegmentationConfig, HeadConfig)
    defaults = {"classes": len(masks.facts.class_names), "backbone": "resnet50", "stem": "imagenet", "norm": "bn"}
    network, config = build(NetworkConfig, defaults | layers), build(SegmentationConfig, recipe)
    return train_segmentation(
        masks, network, config, options.out, device, options.weights, head=build(HeadConfig, head)
    )


def _seeds(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise UsageError(f"--seeds: expected whole numbers with commas, such as 0,1,2, got {text!r}")
    return tuple(int(word) for word in words)
