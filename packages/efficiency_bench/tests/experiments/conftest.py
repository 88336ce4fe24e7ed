"""Small generated data sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthetic_datasets import build, get_generator


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Builds a data set: `data_set(generator, name of the folder, **settings of the generator)`."""

    def made(generator: str, name: str, **settings: Any) -> Path:
        found, folder = get_generator(generator), tmp_path_factory.mktemp("data") / name
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("EFFICIENCY_DATA", raising=False)
            build(found, found.config_type(**settings), folder)
        return folder

    return made
