"""Pitts-CycleGAN: street views of Pittsburgh and paintings of them, with skies among the paintings that match nothing.

X. Liu, Efficiency in Deep Learning (TU Delft, 2024), section 4.5.1: 204,000 Pittsburgh views as source domain and 157,000
target images, 52,000 of them outliers, made of Pittsburgh views by CycleGAN. Labels and outliers follow the author's code:
views match where place and yaw group are the same, and the upper pitch is an outlier.

Without those photos a generated town (``town``) takes their place, and without a trained network (``--network``) a small
CycleGAN is trained in the folder of the data set before it is built.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from . import town
from .digits import resolve_data_root
from .errors import BuildError, InputError
from .generator import Field, Finisher, Generator, Sample
from .image_set import TARGET, counts_of, factor, image_fields, place, rounded
from .pictures import read_picture, scaled
from .pittsburgh import CREDIT, YAWS, View, find_views, is_outlier, whole_places, yaw_group
from .seeding import SPLITS, shared_rng

VIEWS_FOLDER, PAINTINGS_FOLDER = "pittsburgh", "paintings"
"""Folders of the data root."""

_SPLITTING = 1_000
"""Number of the random stream that divides places between the splits."""
_TRAINING = "cyclegan-"
"""What the name of a training's folder begins with, inside the data set's; what follows tells its recipe."""
Size = tuple[int, int]


@dataclass(frozen=True)
class PittsCycleGANConfig:
    """Options of Pitts-CycleGAN; shares are the thesis's, sizes a small town's.

    Raises:
        InputError: a value is out of its range.
    """

    seed: Annotated[int, "Seed of the whole data set, its town and its CycleGAN."] = 0
    train: Annotated[int, "Images in the train split, source first, then target."] = 1_200
    test: Annotated[int, "Images in the test split."] = 600
    target_share: Annotated[float, "Part of the images of a split that are of the target domain (0 to 1)."] = 157 / 361
    outlier_share: Annotated[float, "Part of the target images that are outliers (0 to 1)."] = 52 / 157
    places: Annotated[int, "Places that the train split shows."] = 60
    places_test: Annotated[int, "Places that the test split shows, others than train's."] = 30
    yaws: Annotated[tuple[int, ...], "Which yaws of a place there are (1 to 12, 30 degrees each)."] = (1, 2, 3, 4)
    size: Annotated[Size, "Height and width of an image in pixels, multiples of 4."] = (64, 64)
    views: Annotated[
        str, "Folder of Pittsburgh's views; without, pittsburgh of the data root, and without that a generated town."
    ] = ""
    network: Annotated[
        str, "File of a CycleGAN that train-cyclegan made; without, a small one is trained first (town only)."
    ] = ""
    network_steps: Annotated[int, "Steps for which that small one is trained."] = 800
    batch: Annotated[int, "Images that the network translates at a time; a value may change by one with it."] = 16

    def __post_init__(self) -> None:
        for name in ("train", "test", "places", "places_test", "network_steps", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise InputError(f"seed: expected 0 or more, got {self.seed}")
        for name in ("target_share", "outlier_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        if not self.yaws or len(set(self.yaws)) < len(self.yaws) or not set(self.yaws) <= set(YAWS):
            raise InputError(f"yaws: expected different numbers from 1 to 12, got {self.yaws}")
        if len(self.size) != 2 or min(self.size) < 16 or any(length % 4 for length in self.size):
            raise InputError(f"size: expected height and width in multiples of 4 from 16 on, got {self.size}")

    def domain_counts(self, split: str) -> tuple[int, int]:
        """Source and target images of a split."""
        count = int(getattr(self, split))
        target = rounded(self.target_share * count)
        return count - target, target

    def places_of(self, split: str) -> range:
        """Places of a split, counted over both; label ``2 p + g`` is yaw group g of place p."""
        return range(self.places) if split == "train" else range(self.places, self.places + self.places_test)


@dataclass(frozen=True)
class Views:
    """The views of a street, photographed or generated; what ``generate`` draws from."""

    source: str
    credit: str
    licence: str
    places: tuple[int, ...]
    """Number of every place of the set, train's first."""
    files: Mapping[View, Path] | None = None
    """Photos; None for the generated town."""
    seed: int = 0
    """Of the town."""
    parts: dict[str, list[str]] = field(default_factory=lambda: {"domain": ["street", "painting"]})

    def look(self, view: View, visit: int, size: Size) -> tuple[Any, float, int]:
        """Pixels (height, width, 3), part of them that shows houses (-1 where nobody knows), digest of the view.

        Raises:
            InputError: the photo cannot be read.
        """
        if self.files is None:
            pixels, houses = town.view(self.seed, view.place, visit, view.pitch, view.yaw, size)
            return pixels, houses, _number(hashlib.sha256(pixels.tobytes()).hexdigest())
        picture, digest = read_picture(self.files[view])
        return scaled(picture, size), -1.0, _number(digest)


def layout(config: PittsCycleGANConfig) -> dict[str, Field]:
    """The arrays of every image."""
    return image_fields(*config.size, "place and yaw group (2 p + g), -1 for outliers") | {
        "place": factor("<i8", "number of the place, Pittsburgh's where the views are"),
        "pitch": factor("<i8", "1 level, 2 up: sky, no landmark"),
        "yaw": factor("<i8", "1 to 12, 30 degrees each"),
        "visit": factor("<i8", "which visit to the place, even in the source, odd in the target domain; 0 for photos"),
        "houses": factor("<f4", "part of the view that shows houses; -1 where it is a photo"),
        "original": factor("<i8", "first 8 bytes of the SHA-256 of the view before it was scaled or painted"),
    }


def generate(config: PittsCycleGANConfig, split: str, index: int, source: Views) -> Sample:
    """View ``index`` of a split, still unpainted; the same bytes in any process, whatever else is made.

    Every place has as many images of every yaw, but for one that the counts do not divide by. Source, inliers and outliers
    go round the places each for itself.

    Raises:
        KeyError: unknown split.
        IndexError: the split has no such image.
    """
    here = place(config.seed, split, index, config.domain_counts(split), config.outlier_share)
    places = config.places_of(split)
    turn, rest = divmod(here.number, len(places) * len(config.yaws))
    yaw, chosen = config.yaws[rest // len(places)], places[rest % len(places)]
    view = View(source.places[chosen], 2 if here.outlier else 1, yaw)
    visit = 2 * turn + here.domain if source.files is None else 0
    pixels, houses, original = source.look(view, visit, config.size)
    out = {name: np.zeros(spec.shape, spec.dtype) for name, spec in layout(config).items()}
    out["image"][:] = pixels
    for name, value in {
        "label": -1 if is_outlier(view.pitch) else 2 * chosen + yaw_group(yaw), "domain": here.domain,
        "outlier": is_outlier(view.pitch), "place": view.place, "pitch": view.pitch, "yaw": yaw, "visit": visit,
        "houses": houses, "original": original,
    }.items():  # fmt: skip
        out[name][...] = value
    return Sample(out)


def load_source(data_root: str | Path | None, config: PittsCycleGANConfig) -> Views:
    """Pittsburgh's views from ``--views`` or the data root, else a generated town.

    Raises:
        InputError: a folder cannot be used, or has fewer places or views than the options ask for.
    """
    root = resolve_data_root(data_root)
    folder = Path(config.views) if config.views else None
    if folder is None and root is not None and (root / VIEWS_FOLDER).is_dir():
        folder = root / VIEWS_FOLDER
    wanted = config.places + config.places_test
    most = 1 if folder is not None else town.VISITS // 2
    for split in SPLITS:
        _check_counts(config, split, most)
    if folder is None:
        words = "street views of a generated town, by synthetic_datasets", "https://opensource.org/license/mit"
        return Views("town", *words, tuple(range(wanted)), seed=config.seed)
    files = find_views(folder)
    whole = whole_places(files, config.yaws)
    if len(whole) < wanted:
        raise InputError(
            f"{folder}: has {len(whole)} places with all of yaws {config.yaws}, but {wanted} are asked for"
        )
    chosen = shared_rng(config.seed, _SPLITTING).permutation(len(whole))[:wanted]
    places = tuple(whole[number] for number in chosen.tolist())
    licence = "https://www.di.ens.fr/willow/research/netvlad/"
    return Views("pittsburgh", CREDIT, licence, places, files)


def _check_counts(config: PittsCycleGANConfig, split: str, visits: int) -> None:
    """No view may be needed more often than there are visits to it."""
    source, target = config.domain_counts(split)
    outliers = rounded(config.outlier_share * target)
    views = len(config.places_of(split)) * len(config.yaws) * visits
    for kind, count in (("source images", source), ("target inliers", target - outliers), ("outliers", outliers)):
        if count > views:
            raise InputError(
                f"{split}: {count} {kind} are asked for, but its places have {views} views of that kind; "
                "ask for fewer images or more --places (--places-test)"
            )


def _number(digest: str) -> int:
    return int.from_bytes(bytes.fromhex(digest)[:8], "little", signed=True)


class _Painter:
    """Paints the target images of a set; and sees to it that no picture is in it twice."""

    def __init__(self, translator: Any, batch: int, facts: dict[str, Any]) -> None:
        self.facts = facts
        self._translator, self._batch = translator, batch
        self._seen: dict[tuple[int, int], View] = {}
        self._digest: dict[tuple[View, int], int] = {}

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The samples in their order, those of the target domain painted, a batch at a time.

        Raises:
            InputError: two views of the same domain are the same picture.
            BuildError: a view was another picture when it was read again.
        """
        held: list[Sample] = []
        for sample in samples:
            self._check(sample)
            if int(sample.arrays["domain"]) != TARGET:
                yield from self._painted(held)
                held = []
                yield sample
                continue
            held.append(sample)
            if len(held) == self._batch:
                yield from self._painted(held)
                held = []
        yield from self._painted(held)

    def _painted(self, samples: list[Sample]) -> Iterator[Sample]:
        if samples:
            images = self._translator(np.stack([sample.arrays["image"] for sample in samples]))
            for sample, image in zip(samples, images, strict=True):
                yield Sample({**sample.arrays, "image": image})

    def _check(self, sample: Sample) -> None:
        place, pitch, yaw, visit, domain, original = (
            int(sample.arrays[name]) for name in ("place", "pitch", "yaw", "visit", "domain", "original")
        )
        view = View(place, pitch, yaw)
        if self._digest.setdefault((view, visit), original) != original:
            raise BuildError(f"{view.name}: its file changed while the set was built; build it again")
        other = self._seen.setdefault((domain, original), view)
        if other != view:
            raise InputError(f"{view.name}: the same picture as {other.name}; remove one of their places")


def finisher(config: PittsCycleGANConfig, out: Path, data_root: str | Path | None, source: Views) -> Finisher:
    """What paints the target images, with the network of ``--network`` or one that is trained in a folder of ``out`` first.

    That training is a small one on the generated town and on the paintings of the data root's ``paintings``, else on
    generated ones; killed, it goes on when the same command is given again.

    Raises:
        InputError: torch is missing, the network cannot be used, or there is none for Pittsburgh's photos.
        BuildError: the training fails.
    """
    if not config.network and source.files is not None:
        raise InputError(
            "network: a CycleGAN for photos trains for hours or days; make one with synthdata train-cyclegan --photos "
            "DIR --paintings DIR, then name its cyclegan.pt with --network"
        )
    from .cyclegan.command import need_torch

    need_torch()
    from .cyclegan.checkpoint import load_cyclegan
    from .cyclegan.translation import Translator

    file = Path(config.network) if config.network else _trained(config, out, data_root)
    saved = load_cyclegan(file)
    facts = {"network": saved.digest, **saved.facts}
    return _Painter(Translator(saved.paint, batch=config.batch), config.batch, {"painted_by": facts})


def _trained(config: PittsCycleGANConfig, out: Path, data_root: str | Path | None) -> Path:
    from .cyclegan.material import GENERATED, load_material
    from .cyclegan.settings import small_for
    from .cyclegan.training import train

    root = resolve_data_root(data_root)
    paintings = root / PAINTINGS_FOLDER if root is not None and (root / PAINTINGS_FOLDER).is_dir() else None
    recipe = small_for(min(config.size), config.network_steps, config.seed)
    generated = min(GENERATED, max(40, config.network_steps))  # no more than are looked at
    material = load_material(None, paintings, recipe.load, config.seed, generated)
    which = hashlib.sha256(f"{recipe} {material.digest}".encode()).hexdigest()[:8]
    return train(material, recipe, out / f"{_TRAINING}{which}").network


def figures(arrays: Mapping[str, Any]) -> dict[str, float]:
    """Counts, and in the town how much of inliers and outliers is houses: what an outlier lacks."""
    made = counts_of(arrays)
    houses, outlier = arrays["houses"][:], arrays["outlier"][:]
    if (houses >= 0).all():
        made["houses_inliers"] = round(float(houses[~outlier].mean()), 4)
        if outlier.any():
            made["houses_outliers"] = round(float(houses[outlier].mean()), 4)
    return made


def class_names(config: PittsCycleGANConfig) -> tuple[str, ...]:
    """Place, counted over both splits, and yaw group."""
    return tuple(f"place {p} yaws {g}" for p in range(config.places + config.places_test) for g in ("12", "34"))


def notes(config: PittsCycleGANConfig) -> list[str]:
    """What a user should know before trusting a number measured on this data."""
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
    name="pitts-cyclegan",
    title="Pitts-CycleGAN",
    version="1.0.0",
    summary="Street views, and paintings of street views and skies that CycleGAN made; skies match nothing.",
    reference="X. Liu, Efficiency in Deep Learning, dissertation, TU Delft, 2024, section 4.5.1",
    file_format="image-set",
    config_type=PittsCycleGANConfig,
    class_names=class_names,
    load_source=load_source,
    generate=generate,
    layout=layout,
    figures=figures,
    notes=notes,
    finisher=finisher,
)
