"""Train a network on labelled videos, or go on with the training that --out holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from full_video.data_options import add_data_arguments, open_data
from full_video.settings import build, parse_settings

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
        help="where the network starts: torchvision's ImageNet weights, for example IMAGENET1K_V1, or a file",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a field of NetworkConfig, TrainConfig, Sampling or Augmentation, for example clusters=8 or "
        "memory=streamed; may be repeated",
    )


def run(options: argparse.Namespace, device: str) -> int:
    """Train; prints the losses and where the network lies."""
    from full_video.augmentation import Augmentation
    from full_video.networks import NetworkConfig
    from full_video.sampling import Sampling
    from full_video.training import TrainConfig, train

    model, recipe, sampling, augmentation = parse_settings(
        options.set, NetworkConfig, TrainConfig, Sampling, Augmentation
    )
    videos = open_data(options)
    config = build(
        TrainConfig,
        recipe | {"sampling": build(Sampling, sampling), "augmentation": build(Augmentation, augmentation)},
    )
    network = build(NetworkConfig, {"classes": len(videos.facts.class_names)} | model)
    result = train(videos, network, config, options.out, device, options.weights)
    print(f"loss               {result.loss:.4f}")
    print(f"seconds per epoch  {result.seconds_per_epoch:.1f}")
    print(f"videos             {len(videos) - len(result.skipped)}")
    print(f"skipped            {len(result.skipped)}")
    for video in result.skipped:
        print(f"  {video.name}: {video.why}")
    print(options.out / "network.pt")
    return 0
