"""Fixtures of the tests of readers."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # making_videos

from making_videos import CONTAINERS, encode


@pytest.fixture(params=sorted(CONTAINERS))
def clip(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return encode(tmp_path / f"clip{request.param}")
