"""Train a network on labelled images of one domain and unlabelled ones of another, or go on with what --out holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from outlier_matching.data_options import add_data_arguments, open_domains
from outlier_matching.settings import build, parse_settings

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
        help="a field of NetworkConfig or TrainConfig, for example backbone=small or method=siamese_da; may be repeated",
    )


def run(options: argparse.Namespace, device: str) -> int:
    """Train; prints the losses, the pseudo sets and where the network lies."""
    from outlier_matching.network_config import NetworkConfig
    from outlier_matching.training import TrainConfig, train

    layers, recipe = parse_settings(options.set, NetworkConfig, TrainConfig)
    network, config = build(NetworkConfig, layers), build(TrainConfig, recipe)
    source, target = open_domains(options)
    result = train(source, target, network, config, options.out, device, options.weights)
    last = result.losses[-1]
    print(f"loss               {last.total:.4f}")
    print(f"contrastive        {last.contrastive:.4f}")
    if config.method != "siamese":
        print(f"mmd                {last.mmd:.4f}")
    if result.sets is not None:
        print(f"entropy            {last.entropy:.4f}")
        print(f"pseudo inliers     {last.inliers}")
        print(f"pseudo outliers    {last.outliers}")
    print(f"seconds per epoch  {result.seconds_per_epoch:.1f}")
    print(f"source images      {len(source)}")
    print(f"target images      {len(result.targets)}")
    print(options.out / "network.pt")
    return 0
