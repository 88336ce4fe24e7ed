"""The data sets of the workflow as data: which are generated and how, and which real ones take their place.

`workflows/data.yaml` names every data set a run can read. A generated one has a generator and its options. One that
stands for a real set names its stand-in and, under `real`, what must lie under the data root, how it is converted (into
`train.json` and `test.json`) or read in its own layout (`train.index.json` and `test.index.json`, see `index`), and which
settings of the experiments go with it. `real` may be a list of forms in which the set may lie there: the first that does is
taken. A stand-in may have a stand-in itself: where CIFAR-100 is not at hand CIFAR-10 is read, and shapes where neither is.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import synthetic_datasets

from . import experiments
from .documents import load_document
from .errors import UsageError
from .index import SUFFIX, Package
from .presets import Preset
from .settings import build_settings


@dataclass(frozen=True)
class Material:
    """What a generator takes from the data root where it is there."""

    needs: tuple[str, ...]
    """What must lie under the data root for the real material, "MNIST/raw"."""
    source: str
    """What the material is called then, "mnist"."""
    otherwise: "str | Material"
    """What it is called without, "sklearn", or what is taken next."""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Material":
        """From what the file says."""
        otherwise = entry["otherwise"]
        return cls(
            tuple(entry["needs"]), entry["source"], otherwise if isinstance(otherwise, str) else cls.of(otherwise)
        )

    def name(self, data_root: str) -> str:
        """What it is called under this data root."""
        if _there(self.needs, data_root):
            return self.source
        return self.otherwise if isinstance(self.otherwise, str) else self.otherwise.name(data_root)


@dataclass(frozen=True)
class Generated:
    """How `synthdata build` makes a data set."""

    generator: str
    """The generator's name on the command line, "moving-digits"."""
    options: Mapping[str, Any]
    """Its options that differ from their defaults; a preset's sizes go over them."""
    materials: tuple[Material | str, ...]
    """What it is made of: digits, and where it has them backgrounds; a name alone where the data root has no say."""

    def source(self, data_root: str) -> str:
        """What it is made of under this data root, "mnist" or "mnist_textures"."""
        return "_".join(part if isinstance(part, str) else part.name(data_root) for part in self.materials)


@dataclass(frozen=True)
class Conversion:
    """How `location-anticipation convert` makes one CocoVID file."""

    format: str
    root: str
    """The data set's folder under the data root."""
    images: str
    """The folder of its images under the data root."""
    options: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """How `effbench index` looks through one split of a data set that is read in its own layout."""

    package: Package
    """Whose format it is: videos of `full_video`, images of `outlier_matching` or `weight_align`."""
    format: str
    root: str
    """The data set's folder under the data root."""
    split: str
    """The split's name in that format."""
    options: Mapping[str, Any]
    """Further options of the format."""
    folds: tuple[Mapping[str, Any], ...]
    """Options of each fold over those; empty for a set with one split."""
    name: str = ""
    """What records call the set; empty: what the package calls it."""
    source: str = ""
    """What records call its form; empty: the format."""


@dataclass(frozen=True)
class Real:
    """A real data set where the data root has it in this form."""

    source: str
    """Part of the folder's name, "ilsvrc2015"."""
    needs: tuple[str, ...]
    """What must lie under the data root."""
    convert: Mapping[str, Conversion]
    """Name of each file without `.json` -> how it is made, `train` and `test` among them; empty for one that is read."""
    read: Mapping[str, Reading]
    """`train` and `test` of a set that is read in its own layout; empty for a converted one."""
    settings: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Preset -> experiment -> settings, over those of the preset and under those of a table's row."""


@dataclass(frozen=True)
class DataSet:
    """One name that tables and experiments may ask for: generated itself, or a real set with a stand-in."""

    name: str
    summary: str
    generated: Generated | None
    stand_in: str
    """The data set in its place where there is no real one; empty where it is generated itself."""
    reals: tuple[Real, ...]
    """The forms in which the real set may lie under the data root, the preferred first; empty for a generated one."""


@dataclass(frozen=True)
class Variant:
    """What a data set is on this machine with this preset: the folder a run reads, and how its files come about."""

    folder: str
    """Its name: data set, source, and the preset's sizes ("moving_digits-mnist-test10-train20")."""
    files: tuple[str, ...]
    """Names of the files with videos or images, of both splits."""
    generator: str
    """Of a generated one; empty for a converted one."""
    build: tuple[str, ...]
    """Options of `synthdata build` after the generator and its folder."""
    convert: Mapping[str, Conversion]
    """File name -> how it is converted; empty for any other."""
    read: Mapping[str, Reading] = field(default_factory=dict)
    """File name of each index -> what it is made of; empty for any other."""

    @property
    def roots(self) -> dict[str, str]:
        """File name -> the folder under the data root with what the file names: images, or videos."""
        return {name: how.images for name, how in self.convert.items()} | {
            name: how.root for name, how in self.read.items()
        }


def load_data_sets(path: Path) -> dict[str, DataSet]:
    """Read and check the data sets of `path`, by name.

    Raises:
        UsageError: which data set, what was expected and what came: an unknown key, generator, option, stand-in,
            experiment or setting, or a data set that is neither generated nor has a stand-in.
    """
    document = load_document(path, "data")
    sets = {name: _data_set(name, entry, f"{path}: {name}") for name, entry in document.items()}
    for data_set in sets.values():
        _check_stand_ins(data_set, sets, f"{path}: {data_set.name}: stand_in")
    return sets


def choose_variants(data_sets: Mapping[str, DataSet], preset: Preset, data_root: str) -> dict[str, Variant]:
    """Data set -> what it is with this preset where `data_root` holds real data (empty: it holds none).

    Raises:
        UsageError: the preset gives sizes of an unknown data set, of one that is not generated, or none it takes; or it names
            a stand-in that is not generated, or for a data set that has none.
    """
    for name, sizes in preset.data.items():
        if name not in data_sets:
            raise UsageError(f"{preset.path}: data: unknown data set {name!r}; there are {', '.join(data_sets)}")
        generated = data_sets[name].generated
        if generated is None:
            raise UsageError(
                f"{preset.path}: data.{name}: is not generated; give the sizes of {data_sets[name].stand_in}"
            )
        _check_options(generated.generator, {**generated.options, **sizes}, f"{preset.path}: data.{name}")
    for name, stand_in in preset.stand_ins.items():
        where = f"{preset.path}: stand_ins.{name}"
        if name not in data_sets or not data_sets[name].reals:
            known = ", ".join(other for other, data_set in data_sets.items() if data_set.reals)
            raise UsageError(f"{where}: no real data set of that name; there are {known}")
        if stand_in not in data_sets or data_sets[stand_in].generated is None:
            known = ", ".join(other for other, data_set in data_sets.items() if data_set.generated)
            raise UsageError(f"{where}: no generated data set {stand_in!r}; there are {known}")
    return {name: _variant(data_set, data_sets, preset, data_root) for name, data_set in data_sets.items()}


def with_real_settings(preset: Preset, data_sets: Mapping[str, DataSet]) -> Preset:
    """The preset that also knows the settings real data sets bring, by the folder they lie in."""
    real = {_real_folder(data_set, form): form.settings for data_set in data_sets.values() for form in data_set.reals}
    return dataclasses.replace(
        preset, real={name: all_[preset.name] for name, all_ in real.items() if preset.name in all_}
    )


def _data_set(name: str, entry: Mapping[str, Any], where: str) -> DataSet:
    if ("generator" in entry) == ("stand_in" in entry):
        raise UsageError(f"{where}: expected either 'generator' (how it is made) or 'stand_in' (a generated data set)")
    if "generator" in entry and "real" in entry:
        raise UsageError(f"{where}: 'real' goes with 'stand_in'; give the real data set a name of its own")
    if "stand_in" in entry and (extra := [key for key in ("options", "material") if key in entry]):
        raise UsageError(f"{where}: {extra[0]!r} goes with 'generator'; the stand-in has its own")
    generated = None
    if "generator" in entry:
        options, material = entry.get("options", {}), entry.get("material")
        if material is None:
            raise UsageError(f"{where}: the key 'material' is missing")
        _check_options(entry["generator"], options, f"{where}: options")
        parts = material if isinstance(material, list) else [material]
        materials = tuple(part if isinstance(part, str) else Material.of(part) for part in parts)
        generated = Generated(entry["generator"], options, materials)
    forms = entry.get("real", ())
    listed = isinstance(forms, list)
    reals = tuple(
        _real(form, f"{where}: real[{number}]" if listed else f"{where}: real")
        for number, form in enumerate(forms if listed else [forms] if forms else [])
    )
    if len({form.source for form in reals}) < len(reals):
        raise UsageError(f"{where}: real: two forms have the same source; give each its own")
    return DataSet(name, entry["summary"].strip(), generated, entry.get("stand_in", ""), reals)


def _real(part: Mapping[str, Any], where: str) -> Real:
    if ("convert" in part) == ("read" in part):
        raise UsageError(f"{where}: expected either 'convert' or 'read' (in its own layout)")
    convert = {
        file: Conversion(words["format"], words["root"], words["images"], tuple(words.get("options", ())))
        for file, words in part.get("convert", {}).items()
    }
    read = {
        file: Reading(
            words.get("package", "full_video"),
            words["format"],
            words["root"],
            words["split"],
            words.get("options", {}),
            tuple(words.get("folds", ())),
            words.get("name", ""),
            words.get("source", ""),
        )
        for file, words in part.get("read", {}).items()
    }
    for preset, by_experiment in part.get("settings", {}).items():
        for experiment, values in by_experiment.items():
            place = f"{where}.settings.{preset}"
            if experiment not in experiments.names():
                known = ", ".join(experiments.names())
                raise UsageError(f"{place}: unknown experiment {experiment!r}; there are {known}")
            build_settings(experiments.get(experiment).settings_type, values, f"{place}.{experiment}")
    return Real(part["source"], tuple(part["needs"]), convert, read, part.get("settings", {}))


def _check_stand_ins(data_set: DataSet, sets: Mapping[str, DataSet], where: str) -> None:
    """Follow the stand-ins down to one that is generated; a `UsageError` where there is none."""
    seen = [data_set.name]
    while sets[seen[-1]].generated is None:
        stand_in = sets[seen[-1]].stand_in
        if stand_in not in sets:
            raise UsageError(f"{where}: no data set {stand_in!r}; there are {', '.join(sets)}")
        if stand_in in seen:
            raise UsageError(f"{where}: {' -> '.join([*seen, stand_in])} ends in no generated data set")
        seen.append(stand_in)


def _check_options(generator: str, options: Mapping[str, Any], where: str) -> None:
    if generator not in synthetic_datasets.generator_names():
        known = ", ".join(synthetic_datasets.generator_names())
        raise UsageError(f"{where}: unknown generator {generator!r}; there are {known}")
    build_settings(synthetic_datasets.get_generator(generator).config_type, options, where)


def _variant(data_set: DataSet, data_sets: Mapping[str, DataSet], preset: Preset, data_root: str) -> Variant:
    for form in data_set.reals:
        if _there(form.needs, data_root):
            convert = {f"{file}.json": how for file, how in form.convert.items()}
            read = {f"{file}{SUFFIX}": how for file, how in form.read.items()}
            return Variant(_real_folder(data_set, form), (*convert, *read), "", (), convert, read)
    if data_set.generated is None:
        stand_in = preset.stand_ins.get(data_set.name, data_set.stand_in)
        return _variant(data_sets[stand_in], data_sets, preset, data_root)
    generated, sizes = data_set.generated, preset.data.get(data_set.name, {})
    options = sorted({**generated.options, **sizes}.items())
    words = tuple(text for key, value in options for text in (f"--{key.replace('_', '-')}", *_words(value)))
    folder = preset.data_variant(data_set.name, generated.source(data_root))
    return Variant(folder, ("train.h5", "test.h5"), generated.generator, words, {})


def _real_folder(data_set: DataSet, form: Real) -> str:
    return f"{data_set.name}-{form.source}"


def _there(needs: tuple[str, ...], data_root: str) -> bool:
    return bool(data_root) and all(Path(data_root, place).exists() for place in needs)


def _words(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
