"""``synthdata build GENERATOR``: the options of a generator beside those of its files."""

from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import Any

from efficiency_core.command import OutputFolder
from synthetic_datasets.generators.registry import get_generator


@dataclass(frozen=True)
class BuildFiles:
    """Options of every ``build``, beside those of the data set."""

    out: OutputFolder[Path]
    """Folder of the files made."""
    data_root: Path | None = None
    """Folder of real data sets; None takes that of EFFICIENCY_DATA, if it is set."""
    workers: int = 1
    """Processes that make samples; the files do not depend on it."""


def __getattr__(name: str) -> type[BuildFiles]:
    """The options of the generator ``name``; an attribute, so that a command names them without importing the generator."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    generator = get_generator(name.replace("_", "-"))
    bases = (generator.config_type, BuildFiles)
    return make_dataclass(f"Build{generator.title}", [], bases=bases, frozen=True, namespace={"generator": generator})


def run(options: Any) -> None:
    """Build the data set; prints the files and their digests."""
    from synthetic_datasets.storage.building import build

    generator = options.generator
    given = {field.name: getattr(options, field.name) for field in fields(generator.config_type)}
    config = generator.config_type(**given)
    facts = build(generator, config, options.out, options.data_root, options.workers)["facts"]
    for split, made in facts["splits"].items():
        print(f"{options.out / split}.h5: {made['samples']} samples, digest {made['content_digest'][:12]}")
    print(f"{generator.title} {generator.version} from {facts['source']}, seed {facts['seed']}")
