"""Pitts-CycleGAN: street views and CycleGAN's paintings of them, with skies that match nothing (X. Liu, Efficiency in
Deep Learning, TU Delft, 2024, section 4.5.1); labels and outliers follow the author's code. Without Pittsburgh's photos
a generated town takes their place; without a trained network (``--network``) a small CycleGAN is trained first."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efficiency_core.errors import UsageError, WorkError
from synthetic_datasets.data_root import data_folder
from synthetic_datasets.generators.generator import Field, Finisher, Generator, GeneratorConfig, Sample
from synthetic_datasets.material import pittsburgh, town
from synthetic_datasets.seeding import SPLITS, shared_rng
from synthetic_datasets.storage.image_set import TARGET, counts_of, factor, image_fields, place, rounded

_SPLITTING = 1_000
"""Number of the random stream that divides places between the splits."""


@dataclass(frozen=True)
class PittsCycleGANConfig(GeneratorConfig):
    """Options of Pitts-CycleGAN; shares are the thesis's, sizes a small town's."""

    seed: int = 0
    """Seed of the whole data set, its town and its CycleGAN."""
    train: int = 1_200
    """Images in the train split, source first, then target."""
    test: int = 600
    """Images in the test split."""
    target_share: float = 157 / 361
    """Part of the images of a split that are of the target domain (0 to 1)."""
    outlier_share: float = 52 / 157
    """Part of the target images that are outliers (0 to 1)."""
    places: int = 60
    """Places that the train split shows."""
    places_test: int = 30
    """Places that the test split shows, others than train's."""
    yaws: tuple[int, ...] = (1, 2, 3, 4)
    """Which yaws of a place there are (1 to 12, 30 degrees each)."""
    size: tuple[int, int] = (64, 64)
    """Height and width of an image in pixels, multiples of 4."""
    views: str = ""
    """Folder of Pittsburgh's views; without, pittsburgh of the data root, and without that a generated town."""
    network: str = ""
    """File of a CycleGAN that train-cyclegan made; without, a small one is trained first (town only)."""
    network_steps: int = 800
    """Steps for which that small one is trained."""
    batch: int = 16
    """Images that the network translates at a time; a value may change by one with it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges(places=(1, None), places_test=(1, None), network_steps=(1, None), batch=(1, None))
        self.check_ranges(target_share=(0, 1), outlier_share=(0, 1))
        if not self.yaws or len(set(self.yaws)) < len(self.yaws) or not set(self.yaws) <= set(pittsburgh.YAWS):
            raise ValueError(f"yaws: expected different numbers from 1 to 12, got {self.yaws}")
        if len(self.size) != 2 or min(self.size) < 16 or any(length % 4 for length in self.size):
            raise ValueError(f"size: expected height and width in multiples of 4 from 16 on, got {self.size}")

    def domain_counts(self, split: str) -> tuple[int, int]:
        count = int(getattr(self, split))
        target = rounded(self.target_share * count)
        return count - target, target

    def places_of(self, split: str) -> range:
        """Places of a split, counted over both; label ``2 p + g`` is yaw group g of place p."""
        return range(self.places) if split == "train" else range(self.places, self.places + self.places_test)


def layout(config: PittsCycleGANConfig) -> dict[str, Field]:
    return image_fields(*config.size, "place and yaw group (2 p + g), -1 for outliers") | {
        "place": factor("<i8", "number of the place, Pittsburgh's where the views are"),
        "pitch": factor("<i8", "1 level, 2 up: sky, no landmark"), "yaw": factor("<i8", "1 to 12, 30 degrees each"),
        "visit": factor("<i8", "which visit to the place, even in the source, odd in the target domain; 0 for photos"),
        "houses": factor("<f4", "part of the view that shows houses; -1 where it is a photo"),
        "original": factor("<i8", "first 8 bytes of the SHA-256 of the view before it was scaled or painted"),
    }  # fmt: skip


def generate(config: PittsCycleGANConfig, split: str, index: int, source: pittsburgh.Views) -> Sample:
    """The view, still unpainted. Every place has as many images of every yaw, but for one that the counts do not divide
    by. Source, inliers and outliers go round the places each for itself."""
    here = place(config.seed, split, index, config.domain_counts(split), config.outlier_share)
    places = config.places_of(split)
    turn, rest = divmod(here.number, len(places) * len(config.yaws))
    yaw, chosen = config.yaws[rest // len(places)], places[rest % len(places)]
    view = pittsburgh.View(source.places[chosen], 2 if here.outlier else 1, yaw)
    visit = 2 * turn + here.domain if source.files is None else 0
    pixels, houses, original = source.look(view, visit, config.size)
    values: dict[str, Any] = {
        "image": pixels, "label": -1 if here.outlier else 2 * chosen + pittsburgh.yaw_group(yaw),
        "domain": here.domain, "outlier": here.outlier, "place": view.place, "pitch": view.pitch, "yaw": yaw,
        "visit": visit, "houses": houses, "original": original,
    }  # fmt: skip
    return Sample({name: np.asarray(values[name], spec.dtype) for name, spec in layout(config).items()})


def load_source(data_root: str | Path | None, config: PittsCycleGANConfig) -> pittsburgh.Views:
    """Pittsburgh's views from ``--views`` or the data root, else a generated town. Raises UsageError if a folder cannot
    be used, or has fewer places or views than the options ask for."""
    found = data_folder(data_root, "pittsburgh")
    folder = Path(config.views) if config.views else found
    visits = 1 if folder is not None else town.VISITS // 2
    for split in SPLITS:
        source, target = config.domain_counts(split)
        outliers = rounded(config.outlier_share * target)
        views = len(config.places_of(split)) * len(config.yaws) * visits
        for kind, count in (("source images", source), ("target inliers", target - outliers), ("outliers", outliers)):
            if count > views:
                raise UsageError(
                    f"{split}: {count} {kind} are asked for, but its places have {views} views of that kind; "
                    "ask for fewer images or more --places (--places-test)"
                )
    wanted = config.places + config.places_test
    if folder is None:
        credit = "street views of a generated town, by synthetic_datasets"
        return pittsburgh.Views(source="town", credit=credit, places=tuple(range(wanted)), seed=config.seed)
    files = pittsburgh.find_views(folder)
    whole = pittsburgh.whole_places(files, config.yaws)
    if len(whole) < wanted:
        raise UsageError(f"{folder}: has {len(whole)} places with all of yaws {config.yaws}, {wanted} are asked for")
    chosen = shared_rng(config.seed, _SPLITTING).permutation(len(whole))[:wanted]
    return pittsburgh.Views(
        source="pittsburgh", credit=pittsburgh.CREDIT, licence="https://www.di.ens.fr/willow/research/netvlad/",
        places=tuple(whole[number] for number in chosen.tolist()), files=files,
    )  # fmt: skip


def finisher(
    config: PittsCycleGANConfig, out: Path, data_root: str | Path | None, source: pittsburgh.Views
) -> tuple[Finisher, dict[str, Any]]:
    """What paints the target images, with the network of ``--network`` or one that is trained in a folder of ``out``
    first. That training is a small one on the generated town and on the paintings of the data root's ``paintings``,
    else on generated ones; killed, it goes on when the same command is given again. Raises UsageError if the network
    cannot be used, or there is none for Pittsburgh's photos; WorkError if the training fails."""
    if not config.network and source.files is not None:
        raise UsageError(
            "network: a CycleGAN for photos trains for hours or days; make one with synthdata train-cyclegan --photos "
            "DIR --paintings DIR, then name its cyclegan.safetensors with --network"
        )
    from synthetic_datasets.cyclegan.checkpoint import load_cyclegan
    from synthetic_datasets.cyclegan.networks import Translator

    saved = load_cyclegan(Path(config.network) if config.network else _trained(config, out, data_root))
    painter = Painter(Translator(saved.paint, batch=config.batch), config.batch)
    return painter, {"painted_by": {"network": saved.digest, **saved.facts}}


def _trained(config: PittsCycleGANConfig, out: Path, data_root: str | Path | None) -> Path:
    from synthetic_datasets.cyclegan.material import GENERATED, load_material
    from synthetic_datasets.cyclegan.settings import small_for
    from synthetic_datasets.cyclegan.training import train

    recipe = small_for(min(config.size), config.network_steps, config.seed)
    generated = min(GENERATED, max(40, config.network_steps))  # no more than are looked at
    material = load_material(None, data_folder(data_root, "paintings"), recipe.load, config.seed, generated)
    which = hashlib.sha256(f"{recipe} {material.digest}".encode()).hexdigest()[:8]
    return train(material, recipe, out / f"cyclegan-{which}").network


class Painter:
    """Paints the target images of a set, and sees to it that no picture is in it twice. ``paint``: (n, H, W, 3) views
    to their paintings, at most ``batch`` at a time."""

    def __init__(self, paint: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], batch: int) -> None:
        self._paint, self._batch = paint, batch
        self._seen: dict[tuple[int, int], pittsburgh.View] = {}
        self._digest: dict[tuple[pittsburgh.View, int], int] = {}

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The samples in their order, those of the target domain painted. Raises UsageError if two views of a domain
        are the same picture; WorkError if a view was another picture when it was read again."""
        checked = map(self._checked, samples)
        for domain, group in groupby(checked, lambda sample: int(sample.arrays["domain"])):
            if domain != TARGET:
                yield from group
                continue
            while batch := list(islice(group, self._batch)):
                yield from self._painted(batch)

    def _painted(self, samples: list[Sample]) -> Iterator[Sample]:
        images = self._paint(np.stack([sample.arrays["image"] for sample in samples]))
        for sample, image in zip(samples, images, strict=True):
            yield Sample({**sample.arrays, "image": image})

    def _checked(self, sample: Sample) -> Sample:
        place, pitch, yaw, visit, domain, original = (
            int(sample.arrays[name]) for name in ("place", "pitch", "yaw", "visit", "domain", "original")
        )
        view = pittsburgh.View(place, pitch, yaw)
        if self._digest.setdefault((view, visit), original) != original:
            raise WorkError(f"{view.name}: its file changed while the set was built; build it again")
        other = self._seen.setdefault((domain, original), view)
        if other != view:
            raise UsageError(f"{view.name}: the same picture as {other.name}; remove one of their places")
        return sample


def figures(arrays: Mapping[str, Any]) -> dict[str, float]:
    made = counts_of(arrays)
    houses, outlier = arrays["houses"][:], arrays["outlier"][:]
    if (houses >= 0).all():
        made["houses_inliers"] = round(float(houses[~outlier].mean()), 4)
        if outlier.any():
            made["houses_outliers"] = round(float(houses[outlier].mean()), 4)
    return made


def class_names(config: PittsCycleGANConfig) -> tuple[str, ...]:
    return tuple(f"place {p} yaws {g}" for p in range(config.places + config.places_test) for g in ("12", "34"))


def notes(config: PittsCycleGANConfig) -> list[str]:
    lines = [
        "Two views match where place and yaw group are the same: yaws that end in 1 or 2, and all others (author's rule).",
        "Outliers are the target's views of the upper pitch (author's rule); the source domain has none of them. The "
        "thesis does not say which 157,000 views it painted, nor whether its source has upward views.",
        "Train and test show different places; no class is in both.",
        "A photo is used once in each domain: its painting is a painting of the very photo. In the generated town source and "
        "target are different visits: other light, weather and a slightly other standpoint.",
        "In the generated town the upper pitch is 62 degrees, in Pittsburgh 26.5: there upward views still show facades.",
    ]
    if max(config.yaws) > 4:
        lines.append("With yaws above 4, views of the second group may show nothing in common although they match.")
    return lines


GENERATOR = Generator(
    name="pitts-cyclegan", title="Pitts-CycleGAN", version="1.0.0", section="4.5.1", file_format="image-set",
    config_type=PittsCycleGANConfig, class_names=class_names, load_source=load_source, generate=generate, layout=layout,
    figures=figures, notes=notes, finisher=finisher,
)  # fmt: skip
