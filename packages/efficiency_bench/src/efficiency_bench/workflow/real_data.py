"""What may lie under the data root: real material of generators, and real data sets in one or several forms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, StringConstraints, Tag

from efficiency_bench.documents import Entry, Expected, Name, Settings, Text
from efficiency_bench.records.set_index import FormatName, PackageName
from efficiency_bench.workflow.presets import Experiments

Place = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$"),
    Expected("a folder under data_root, such as ILSVRC2015/Data/VID"),
]
Places = Annotated[tuple[Place, ...], Field(min_length=1), Expected("a list of folders or files under data_root")]
SplitFile = Annotated[
    str,
    StringConstraints(pattern="^(train|test)(_[a-z0-9_]+)?$"),
    Expected("train, test, or train_ and test_ with a further part"),
]


@dataclass(frozen=True)
class Material(Entry):
    """Real pictures or videos that a generator uses where the data root has them."""

    needs: Places
    """What must lie under the data root, "MNIST/raw"."""
    source: Name
    """Name of the real material, "mnist"."""
    otherwise: "MaterialOrName"
    """Name of what is used without it, "sklearn", or the material to try next."""

    def name(self, data_root: str) -> str:
        """The name of what is used under this data root."""
        if is_there(self.needs, data_root):
            return self.source
        return self.otherwise if isinstance(self.otherwise, str) else self.otherwise.name(data_root)


def _kind_of_material(value: Any) -> str:
    return "material" if isinstance(value, Mapping | Material) else "name"


MaterialOrName = Annotated[
    Annotated[Name, Tag("name")] | Annotated[Material, Tag("material")], Discriminator(_kind_of_material)
]


@dataclass(frozen=True)
class Conversion(Entry):
    """How `location-anticipation convert` makes one CocoVID file."""

    format: FormatName
    """Format that the command reads, "ilsvrc-vid"."""
    root: Place
    """Folder of the data set under the data root."""
    images: Place
    """Folder of its images under the data root."""
    options: Annotated[tuple[Annotated[str, Expected("text")], ...], Expected("a list of words")] = ()
    """Further words of the command."""


@dataclass(frozen=True)
class Reading(Entry):
    """How `effbench index` reads one split of a data set in its own layout."""

    format: FormatName
    """Format that the package reads, "ucf101"."""
    root: Place
    """Folder of the data set under the data root."""
    split: Text
    """Name of the split in that format."""
    package: PackageName = "full_video"
    """Package that reads it: `full_video` for videos, `outlier_matching` or `weight_align` for images."""
    options: Settings = field(default_factory=dict)
    """Further options of the format."""
    folds: Annotated[tuple[Settings, ...], Field(min_length=1), Expected("a list of the folds' options")] = ()
    """Options of each fold, over `options`; none for a set with one split."""
    name: Text = ""
    """Name of the set in records; empty: the package's own."""
    source: Text = ""
    """Name of its form in records; empty: the format."""


@dataclass(frozen=True)
class Real(Entry):
    """A real data set in one of the forms in which it may lie under the data root."""

    source: Name
    """Part of the name of its folder under `data`, "ilsvrc2015"."""
    needs: Places
    """What must lie under the data root."""
    convert: Annotated[Mapping[SplitFile, Conversion], Expected("FILE: how it is made")] = field(default_factory=dict)
    """Name of each file without `.json` (train, test, train_...) -> how it is made; empty for one that is read."""
    read: Annotated[Mapping[SplitFile, Reading], Expected("train and test: how each is read")] = field(
        default_factory=dict
    )
    """`train` and `test` -> how each is read in its own layout; empty for a converted one."""
    settings: Annotated[Mapping[str, Experiments], Expected("PRESET: {EXPERIMENT: {SETTING: VALUE}}")] = field(
        default_factory=dict
    )
    """Preset -> experiment -> recipe on this set, in place of the preset's own."""


def is_there(needs: tuple[str, ...], data_root: str) -> bool:
    """Whether all that a real set or material needs lies under the data root (empty: there is none)."""
    return bool(data_root) and all(Path(data_root, place).exists() for place in needs)
