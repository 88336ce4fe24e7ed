"""What tests of several rooms share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic_datasets import Digits, generator_names, get_generator
from synthetic_datasets.cli import main
from synthetic_datasets.material.digits import load_sklearn_digits


@pytest.fixture(scope="session", autouse=True)
def real_data() -> Iterator[Path | None]:
    """Folder of real data sets, if there is one; tests that do not ask for it run without."""
    given = os.environ.pop("EFFICIENCY_DATA", None)
    yield None if given is None else Path(given)
    if given is not None:
        os.environ["EFFICIENCY_DATA"] = given


@pytest.fixture(scope="session")
def synthdata() -> Callable[..., int]:
    """``synthdata`` with the given words in this process; returns the exit status."""

    def run(*words: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


@pytest.fixture(scope="session")
def digits() -> Digits:
    return load_sklearn_digits()


@pytest.fixture(scope="session")
def arrays_of() -> Callable[..., dict[str, np.ndarray]]:
    """(options of a generator, split) -> all samples of it: array name -> values, first axis the sample."""

    def draw(config: Any, split: str = "train") -> dict[str, np.ndarray]:
        generator = next(g for g in map(get_generator, generator_names()) if g.config_type is type(config))
        source = generator.load_source(None, config)
        made = [generator.generate(config, split, index, source).arrays for index in range(getattr(config, split))]
        return {key: np.stack([arrays[key] for arrays in made]) for key in made[0]}

    return draw
