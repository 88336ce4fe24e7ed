"""``synthdata train-cyclegan``: its arguments and what it says; torch is imported when it runs, not before."""

import argparse
import importlib.util
from pathlib import Path

from ..digits import resolve_data_root
from ..errors import InputError
from ..options import add_options, config_from
from .settings import CycleGANConfig

HELP = "train a CycleGAN that paints photos, or go on with the training in --out"
PHOTOS_FOLDER, PAINTINGS_FOLDERS = "pittsburgh", ("paintings", "monet2photo/trainA")
"""Folders of the data root."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments but ``--debug``."""
    files = command.add_argument_group("files")
    files.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the training and of its sheets"
    )
    files.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help=f"folder of photos (default: {PHOTOS_FOLDER} of the data root, else a generated town)",
    )
    files.add_argument(
        "--paintings",
        type=Path,
        metavar="DIR",
        help=f"folder of paintings (default: {' or '.join(PAINTINGS_FOLDERS)} of the data root, else generated ones)",
    )
    files.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of real data sets (default: EFFICIENCY_DATA, else none)"
    )
    files.add_argument(
        "--generated", type=int, default=400, metavar="N", help="pictures of a domain that is generated (default: 400)"
    )
    files.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="cuda without CUDA is an error (default: auto)",
    )
    add_options(command.add_argument_group("recipe"), CycleGANConfig)


def run(options: argparse.Namespace) -> None:
    """Train; prints where the networks lie and what a classifier of domains says."""
    config: CycleGANConfig = config_from(options, CycleGANConfig)
    root = resolve_data_root(options.data_root)
    photos = options.photos or _folder(root, PHOTOS_FOLDER)
    paintings = options.paintings or _folder(root, *PAINTINGS_FOLDERS)
    need_torch()
    import torch

    from .material import load_material
    from .training import train

    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    material = load_material(photos, paintings, config.load, config.seed, options.generated)
    trained = train(material, config, options.out, device)
    print(f"photos     {material.photos.name}: {len(material.photos)}, held out {len(material.unseen_photos)}")
    print(f"paintings  {material.paintings.name}: {len(material.paintings)}, held out {len(material.unseen_paintings)}")
    print(f"steps      {trained.steps}, {trained.seconds / trained.steps:.3f} s each on {device}")
    if trained.verdict is not None:
        said = trained.verdict
        print(
            f"taken for paintings: photos {said.photos:.2f}, painted photos {said.painted:.2f}, paintings {said.paintings:.2f}"
        )
    print(trained.network)


def need_torch() -> None:
    """Make sure that torch is there, without importing it.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError("torch is not installed; pip install 'synthetic_datasets[cyclegan]' brings it")


def _folder(root: Path | None, *names: str) -> Path | None:
    """The first of these folders that the data root has."""
    found = (root / name for name in names if root is not None and (root / name).is_dir())
    return next(found, None)
