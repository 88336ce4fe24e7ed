"""The data sets of the workflow as data: which are generated and how, and which real ones take their place.

`workflows/data.yaml` names every data set a run can read. Of a real one the first form that lies under the data root is
taken, else its stand-in, which may have a stand-in itself: CIFAR-10 for CIFAR-100, and shapes for CIFAR-10.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

import synthetic_datasets
from efficiency_bench.documents import Added, Entry, Expected, Name, Settings, Source, Text, load_document
from efficiency_bench.records.set_index import SUFFIX
from efficiency_bench.workflow.presets import Preset, check_experiments
from efficiency_bench.workflow.real_data import Conversion, MaterialOrName, Reading, Real, is_there
from efficiency_core.errors import UsageError
from efficiency_core.settings import Where, build


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


@dataclass(frozen=True)
class DataSet(Entry):
    """One name that tables and experiments may ask for: generated itself, or a real set with a stand-in."""

    summary: Text
    """What it is, in a sentence."""
    generator: Annotated[str, Expected("a generator's name on the command line of synthdata")] = ""
    """Generator, "moving-digits"; empty for a real set."""
    options: Settings = field(default_factory=dict)
    """Options of the generator that differ from its defaults; a preset's sizes go over them."""
    material: Annotated[
        tuple[MaterialOrName, ...],
        Field(min_length=1),
        BeforeValidator(_listed, json_schema_input_type=MaterialOrName | list[MaterialOrName]),
        Expected("one material or a list of materials"),
    ] = ()
    """What it is made of: one material or several; a name alone where the data root has no influence."""
    stand_in: Annotated[str, Expected("the name of the data set that stands in for it")] = ""
    """Data set to read where the real one is absent; empty for a generated one."""
    real: Annotated[
        tuple[Real, ...],
        Field(min_length=1),
        BeforeValidator(_listed, json_schema_input_type=Real | list[Real]),
        Expected("one form of the real data set or a list of forms"),
    ] = ()
    """Forms in which the real set may lie under the data root, the preferred first; none for a generated one."""
    name: Annotated[str, Added] = ""
    """Name of the data set, its key in the file."""


@dataclass(frozen=True)
class Variant:
    """A data set with one preset and data root: the folder that a run reads, and how its files are made."""

    folder: str
    """Name of the folder: data set, source, and the preset's sizes ("moving_digits-mnist-test10-train20")."""
    files: tuple[str, ...]
    """Names of the files with videos or images, of both splits."""
    generator: str
    """Generator of a generated one; empty for a real one."""
    build: tuple[str, ...]
    """Options of `synthdata build` after the generator and the folder."""
    convert: Mapping[str, Conversion] = field(default_factory=dict)
    """File name -> how it is converted; empty for any other."""
    read: Mapping[str, Reading] = field(default_factory=dict)
    """Name of each index -> how its split is read; empty for any other."""

    @property
    def roots(self) -> dict[str, str]:
        """File name -> folder of its images or videos under the data root."""
        images = {name: how.images for name, how in self.convert.items()}
        return images | {name: how.root for name, how in self.read.items()}


DataFile = Annotated[dict[Name, DataSet], Field(min_length=1), Expected("DATA SET: how it is made")]
"""The file `workflows/data.yaml`."""


def load_data_sets(path: Path) -> dict[str, DataSet]:
    """Read and check the data sets of `path`, by name.

    Raises:
        UsageError: file, line and data set, what was expected and what came.
    """
    found, source = load_document(path, DataFile)
    sets = {name: dataclasses.replace(data_set, name=name) for name, data_set in found.items()}
    for data_set in sets.values():
        _check(data_set, source)
        _check_stand_ins(data_set, sets, source)
    return sets


def choose_variants(data_sets: Mapping[str, DataSet], preset: Preset, data_root: str) -> dict[str, Variant]:
    """Data set -> its variant with this preset where `data_root` holds real data (empty: it holds none).

    Raises:
        UsageError: the preset gives sizes that a data set does not take, or a stand-in that is unknown or not wanted.
    """
    for name, sizes in preset.data.items():
        where = f"{preset.path}: data.{name}"
        if name not in data_sets:
            raise UsageError(f"{preset.path}: data: unknown data set {name!r}; there are {', '.join(data_sets)}")
        if not data_sets[name].generator:
            raise UsageError(f"{where}: is not generated; give the sizes of {data_sets[name].stand_in}")
        _check_generator(data_sets[name].generator, {**data_sets[name].options, **sizes}, where)
    for name, stand_in in preset.stand_ins.items():
        where = f"{preset.path}: stand_ins.{name}"
        if name not in data_sets or not data_sets[name].real:
            known = ", ".join(other for other, data_set in data_sets.items() if data_set.real)
            raise UsageError(f"{where}: no real data set of that name; there are {known}")
        if stand_in not in data_sets:
            raise UsageError(f"{where}: no data set {stand_in!r}; there are {', '.join(data_sets)}")
        stand_in_chain(name, data_sets, preset)
    return {name: _variant(data_set, data_sets, preset, data_root) for name, data_set in data_sets.items()}


def stand_in_chain(name: str, data_sets: Mapping[str, DataSet], preset: Preset) -> list[str]:
    """The data set, and what stands in for it one after the other with this preset, down to one that is generated.

    Raises:
        UsageError: a stand-in of the preset leads back to a data set before it.
    """
    chain = [name]
    while not data_sets[chain[-1]].generator:
        chain.append(preset.stand_ins.get(chain[-1], data_sets[chain[-1]].stand_in))
        if chain[-1] in chain[:-1]:
            raise UsageError(f"{preset.path}: stand_ins: {' -> '.join(chain)} ends in no generated data set")
    return chain


def with_real_settings(preset: Preset, data_sets: Mapping[str, DataSet]) -> Preset:
    """The preset that also knows the recipes that real data sets bring for it, by the folders of these sets."""
    forms = {_real_folder(data_set, form): form for data_set in data_sets.values() for form in data_set.real}
    real = {folder: form.settings[preset.name] for folder, form in forms.items() if preset.name in form.settings}
    return dataclasses.replace(preset, real=real)


def _check(data_set: DataSet, source: Source) -> None:
    name = data_set.name
    if bool(data_set.generator) == bool(data_set.stand_in):
        text = "expected either 'generator' (how it is made) or 'stand_in' (the data set in its place)"
        raise source.error((name,), text)
    if data_set.generator:
        if data_set.real:
            text = "'real' goes with 'stand_in'; give the real data set a name of its own"
            raise source.error((name,), text, "real")
        if not data_set.material:
            raise source.error((name,), "the key 'material' is missing")
        known = synthetic_datasets.generator_names()
        if data_set.generator not in known:
            text = f"unknown generator {data_set.generator!r}; there are {', '.join(known)}"
            raise source.error((name,), text, "generator")
        _check_generator(data_set.generator, data_set.options, source.settings(name, "options"))
    elif extra := [key for key in ("options", "material") if getattr(data_set, key)]:
        raise source.error((name,), f"{extra[0]!r} goes with 'generator'; the stand-in has its own", extra[0])
    for number, form in enumerate(data_set.real):
        steps = (name, "real", number)
        if bool(form.convert) == bool(form.read):
            raise source.error(steps, "expected either 'convert' or 'read' (in its own layout)")
        if form.source in {other.source for other in data_set.real[:number]}:
            raise source.error(steps, "two forms have the same source; give each its own", "source")
        kind, files = ("read", form.read) if form.read else ("convert", form.convert)
        if absent := {"train", "test"} - files.keys():
            raise source.error((*steps, kind), f"the key {min(absent)!r} is missing")
        if form.read and len(form.read) > 2:
            raise source.error((*steps, kind), "expected train and test alone")
        for preset, by_experiment in form.settings.items():
            check_experiments(by_experiment, source, (*steps, "settings", preset))


def _check_stand_ins(data_set: DataSet, sets: Mapping[str, DataSet], source: Source) -> None:
    """Follow the stand-ins down to one that is generated; a `UsageError` where there is none."""
    steps = (data_set.name, "stand_in")
    seen = [data_set.name]
    while not sets[seen[-1]].generator:
        stand_in = sets[seen[-1]].stand_in
        if stand_in not in sets:
            raise source.error(steps, f"no data set {stand_in!r}; there are {', '.join(sets)}")
        if stand_in in seen:
            raise source.error(steps, f"{' -> '.join([*seen, stand_in])} ends in no generated data set")
        seen.append(stand_in)


def _check_generator(generator: str, options: Mapping[str, Any], where: Where) -> None:
    build(synthetic_datasets.get_generator(generator).config_type, options, where)


def _variant(data_set: DataSet, data_sets: Mapping[str, DataSet], preset: Preset, data_root: str) -> Variant:
    for form in data_set.real:
        if is_there(form.needs, data_root):
            convert = {f"{file}.json": how for file, how in form.convert.items()}
            read = {f"{file}{SUFFIX}": how for file, how in form.read.items()}
            return Variant(_real_folder(data_set, form), (*convert, *read), "", (), convert, read)
    if not data_set.generator:
        stand_in = preset.stand_ins.get(data_set.name, data_set.stand_in)
        return _variant(data_sets[stand_in], data_sets, preset, data_root)
    sizes = preset.data.get(data_set.name, {})
    options = sorted({**data_set.options, **sizes}.items())
    words = tuple(str(word) for key, value in options for word in (f"--{key.replace('_', '-')}", *_listed(value)))
    material = "_".join(part if isinstance(part, str) else part.name(data_root) for part in data_set.material)
    folder = "-".join([data_set.name, material, *(f"{key}{value}" for key, value in sorted(sizes.items()))])
    return Variant(folder, ("train.h5", "test.h5"), data_set.generator, words)


def _real_folder(data_set: DataSet, form: Real) -> str:
    return f"{data_set.name}-{form.source}"
