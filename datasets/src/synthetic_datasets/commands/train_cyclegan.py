"""``synthdata train-cyclegan``."""

from dataclasses import dataclass, fields
from pathlib import Path

from efficiency_core.command import OutputFolder
from synthetic_datasets.cyclegan.settings import CycleGANConfig
from synthetic_datasets.data_root import data_folder, resolve_data_root


@dataclass(frozen=True)
class TrainFiles:
    """Options of ``train-cyclegan``, beside those of the training."""

    out: OutputFolder[Path]
    """Folder of the training and of its sheets."""
    photos: Path | None = None
    """Folder of photos; None takes pittsburgh of the data root, else a generated town."""
    paintings: Path | None = None
    """Folder of paintings; None takes paintings or monet2photo/trainA of the data root, else generated ones."""
    data_root: Path | None = None
    """Folder of real data sets; None takes that of EFFICIENCY_DATA, if it is set."""
    generated: int = 400
    """Pictures of a domain that is generated."""


@dataclass(frozen=True)
class TrainOptions(CycleGANConfig, TrainFiles):
    """Train a CycleGAN that paints photos, or continue the training that ``--out`` holds."""


def run(options: TrainOptions, device: str) -> None:
    """Train; prints where the networks lie and what a classifier of domains says."""
    from synthetic_datasets.cyclegan.material import load_material
    from synthetic_datasets.cyclegan.training import train

    config = CycleGANConfig(**{field.name: getattr(options, field.name) for field in fields(CycleGANConfig)})
    root = resolve_data_root(options.data_root)
    photos = options.photos or data_folder(root, "pittsburgh")
    paintings = options.paintings or data_folder(root, "paintings", "monet2photo/trainA")
    material = load_material(photos, paintings, config.load, config.seed, options.generated)
    trained = train(material, config, options.out, device)
    print(f"photos     {material.photos.name}: {len(material.photos)}, held out {len(material.unseen_photos)}")
    print(f"paintings  {material.paintings.name}: {len(material.paintings)}, held out {len(material.unseen_paintings)}")
    print(f"steps      {trained.steps}, {trained.seconds / trained.steps:.3f} s each on {device}")
    if (taken := trained.taken_for_paintings) is not None:
        photo, painted, painting = (f"{taken[name]:.2f}" for name in ("photos", "painted", "paintings"))
        print(f"taken for paintings: photos {photo}, painted photos {painted}, paintings {painting}")
    print(trained.network)
