"""The generators that can be built by name; a generator's module is imported when it is asked for."""

from importlib import import_module

from efficiency_core.errors import UsageError
from synthetic_datasets.generators import SUMMARIES
from synthetic_datasets.generators.generator import Generator


def generator_names() -> list[str]:
    """Names of all generators, sorted."""
    return sorted(SUMMARIES)


def get_generator(name: str) -> Generator:
    """The generator of that name. Raises UsageError if there is none; the message lists those there are."""
    if name not in SUMMARIES:
        raise UsageError(f"no generator is named {name!r}; available: {', '.join(generator_names())}")
    return import_module(f"synthetic_datasets.generators.{name.replace('-', '_')}").GENERATOR
