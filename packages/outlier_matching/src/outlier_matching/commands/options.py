"""Options of the subcommands. Nothing here imports torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from efficiency_core.command import Output, OutputFile, Pairs, Positional, arg
from outlier_matching.networks.config import NetworkConfig, WeightsInput
from outlier_matching.retrieval.evaluate_config import EvaluateConfig
from outlier_matching.training.config import TrainConfig


@dataclass(frozen=True)
class DataOptions:
    """A data set of two domains."""

    data: Positional[Path]
    """Folder of a data set, or HDF5 file."""
    format: Literal["auto", "image-set", "office31", "pittsburgh", "folder"] = "auto"
    """Layout of the data set; ``auto`` takes ``image-set`` for an HDF5 file or a folder of HDF5 files."""
    split: str = "train"
    """Split of the data set."""
    option: Pairs = ()
    """Option of the format, for example ``domains=photo,painting`` for folders; may be repeated."""
    source: str = "0"
    """Name or number of the labelled domain."""
    target: str = ""
    """Name or number of the domain to adapt to; by default domain 1, if there is one."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(DataOptions):
    """Train a network on labelled images of one domain and unlabelled images of another, or continue the training in --out."""

    out: Annotated[Path, Output(folder=True, writes=("network.safetensors", "best.safetensors"))]
    """Folder of checkpoints and of the trained network."""
    validation_split: str = ""
    """Split on which mean average precision T->S is computed during the training; the best network is kept as
    ``best.safetensors``. Empty: no validation."""
    weights_input: WeightsInput = "rgb"
    """Input of the network in a file of --weights: ``rgb`` in [0, 1], normalised by ImageNet's mean and deviation (torchvision),
    or ``bgr`` from 0 to 255, minus 104, 117 and 123 (Caffe)."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class _NetworkOption:
    checkpoint: Positional[Path]
    """Trained network, ``network.safetensors``."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(DataOptions, _NetworkOption):
    """Score a trained network: mean average precision within and across two domains, and detection of outliers."""

    split: str = "test"
    """Split of the data set."""
    out: Annotated[OutputFile[Path | None], arg(metavar="FILE.json")] = None
    """File for all scores, curve and counts included."""
    evaluation: EvaluateConfig = field(default_factory=EvaluateConfig)


@dataclass(frozen=True, kw_only=True)
class MatchOptions:
    """Look up the images of a folder in another folder: ranked matches as CSV, and which queries are outliers."""

    queries: Positional[Path]
    """Folder of the images to look up."""
    gallery: Path
    """Folder to search, or an index FILE.npz of one."""
    checkpoint: Path
    """Trained network, ``network.safetensors``."""
    index: Annotated[OutputFile[Path | None], arg(metavar="FILE.npz")] = None
    """File that keeps the features of the gallery. The next call reads only new and changed images."""
    out: OutputFile[str] = "-"
    """CSV file for the matches; ``-`` prints them."""
    top: int = 10
    """Matches per query."""
    sheet: Annotated[OutputFile[Path | None], arg(metavar="FILE.html|png")] = None
    """Page or picture that shows the queries with their five nearest matches."""
    rows: int = 50
    """Largest number of queries on the sheet."""
    engine: Literal["auto", "faiss", "torch"] = "auto"
    """Library that searches; ``auto`` takes faiss if it is installed."""
    batch: int = 64
    """Images per call of the network."""

    def __post_init__(self) -> None:
        for name in ("top", "rows", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
