"""``full-video train``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from efficiency_core.command import Output, Positional
from full_video.commands.data_options import DataOptions, open_data
from full_video.networks.config import NetworkConfig
from full_video.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TrainOptions(DataOptions):
    """Train a network on labelled videos, or continue the training that ``--out`` holds."""

    data: Positional[Path]
    """Folder of a data set, list of videos, or HDF5 file."""
    out: Annotated[Path, Output(folder=True, writes=("network.safetensors", "best.safetensors"))]
    """Folder of the checkpoint and the trained network."""
    split: str = "train"
    """Split of the data, as the data set names it."""
    weights: str | None = None
    """Start of the network: torchvision's name of ImageNet weights, such as ``IMAGENET1K_V1``, or a file; otherwise random."""
    validation: Path | None = None
    """Data of the same format whose top-1 decides the best network, kept in ``best.safetensors``."""
    validation_split: str = "validation"
    """Split of the validation data."""
    balanced: bool = False
    """Whether every class counts the same in the loss, whatever its number of videos; otherwise every video does."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainConfig = field(default_factory=TrainConfig)


def run(options: TrainOptions, device: str) -> int:
    """Train; prints the losses and the file of the network."""
    from full_video.checkpoint import NETWORK
    from full_video.training import train

    videos = open_data(options.data, options.split, options)
    place = options.validation
    validation = None if place is None else open_data(place, options.validation_split, options)
    settings = options.network, options.training
    result = train(
        videos, *settings, options.out, device, options.weights, validation=validation, balanced=options.balanced
    )
    print(f"loss               {result.loss:.4f}")
    if result.best is not None:
        print(f"best top1          {result.best[1]:.4f} after {result.best[0]} steps")
    print(f"seconds per epoch  {result.seconds_per_epoch:.1f}")
    print(f"videos             {len(videos) - len(result.skipped)}")
    print(f"skipped            {len(result.skipped)}")
    for video in result.skipped:
        print(f"  {video.name}: {video.why}")
    print(options.out / NETWORK)
    return 0
