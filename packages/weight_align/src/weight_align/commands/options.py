"""Options of the subcommands. Needs no torch, so that ``--help`` is fast."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from efficiency_core.command import Output, OutputFile, Pairs, Positional
from weight_align.networks.config import DEEPLAB_BACKBONE, Conversion, HeadConfig, NetworkConfig
from weight_align.training.config import SegmentationConfig, TrainConfig

Format = Literal[
    "auto", "cifar10", "cifar100", "image-folder", "image-set", "imagenet", "office31", "mask-set", "voc2012"
]
_TrainingFolder = Annotated[Path, Output(folder=True, writes=("network.safetensors", "best.safetensors"))]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Layout and split of a data set."""

    format: Format = "auto"
    """Layout of the data set. ``auto`` is for HDF5 files, which state their format. voc2012 and mask-set are pictures with
    masks."""
    split: str = "train"
    """Split, by its name in the data set."""
    option: Pairs = ()
    """Option of the format, for example domain=amazon for office31 or size=64 for image-folder. May be repeated."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(DataOptions):
    """Train a classifier on labelled images, or continue the training in ``--out``."""

    data: Positional[Path]
    """Folder of a data set, or HDF5 file."""
    out: _TrainingFolder
    """Folder for checkpoints and the trained network."""
    weights: str | None = None
    """Weights to start from: a file (.safetensors, .pt), or torchvision's name of weights, for example IMAGENET1K_V1."""
    validation: str | None = None
    """Split for validation, for example test; the network with the lowest error is kept as best.safetensors."""
    seeds: tuple[int, ...] = ()
    """Train one network for each of these seeds, all at once, in ``--out``/seed-N."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class TrainSegmentationOptions(DataOptions):
    """Train DeepLabv3 on pictures with masks, or continue the training in ``--out``."""

    data: Positional[Path]
    """Folder of a data set, or HDF5 file."""
    out: _TrainingFolder
    """Folder for checkpoints and the trained network."""
    weights: str | None = None
    """Weights of the ResNet to start from: a file (.safetensors, .pt), or torchvision's name, for example IMAGENET1K_V1."""
    validation: str | None = None
    """Split for validation, for example val; the network with the highest mean IoU is kept as best.safetensors."""
    network: NetworkConfig = DEEPLAB_BACKBONE
    head: HeadConfig = field(default_factory=HeadConfig)
    training: SegmentationConfig = field(default_factory=SegmentationConfig)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(DataOptions):
    """Measure a trained network: error rates on labelled images, or mean intersection over union on pictures with masks."""

    checkpoint: Positional[Path]
    """Trained network, network.safetensors."""
    data: Positional[Path]
    """Folder of a data set, or HDF5 file."""
    split: str = "test"
    """Split, by its name in the data set."""
    out: OutputFile[Path | None] = None
    """JSON file for the results, with those of every class."""
    batch_size: int = 0
    """Images at a time; 0 is 256, or 4 pictures with masks."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Align the weights of a trained network, as a start for fine-tuning it (thesis 5.4.3). Nothing is trained."""

    weights: Positional[str]
    """network.safetensors of a training without WeightAlign; with ``--network`` a state_dict of that network (.pt,
    .safetensors) or torchvision's name of its weights, for example IMAGENET1K_V1."""
    out: OutputFile[Path]
    """File for the aligned network, NAME.safetensors."""
    keep: Literal["function", "weights"] = "function"
    """``function``: scales start at the standard deviations of the filters; ``weights``: at one."""
    conversion: Conversion = field(default_factory=Conversion)


@dataclass(frozen=True, kw_only=True)
class FoldOptions:
    """Turn an aligned network into one of plain layers with the same outputs, and show how far they differ."""

    checkpoint: Positional[Path]
    """Network of a training or of ``convert``, NAME.safetensors."""
    out: OutputFile[Path]
    """File for the folded network: NAME.safetensors, or with ``--state`` also NAME.pt."""
    state: bool = False
    """Write the bare state_dict, for code without this package. Networks of torchvision are always written so."""
