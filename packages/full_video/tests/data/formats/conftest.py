"""What tests of data sets share: a tiny video, and a function that lays out files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FRAMES = 3


@pytest.fixture(scope="session")
def clip(tmp_path_factory, write_clip):
    """The content of a video of three frames, which any container's name serves: FFmpeg looks at the content."""
    pictures = [np.full((32, 48, 3), 80 * number, dtype=np.uint8) for number in range(FRAMES)]
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", pictures).read_bytes()


@pytest.fixture
def lay(tmp_path, clip):
    """A function that writes files below the test's folder: text, JSON, or without content an image or a video."""

    def write(*names: str, **contents: object) -> Path:
        files = dict.fromkeys(names) | contents.pop("files", {})
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".jpg":
                Image.new("RGB", (12, 10)).save(path)
            elif content is None:
                path.write_bytes(clip)
            else:
                path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return tmp_path

    return write


@pytest.fixture
def listed():
    """A function that lists the names and labels of a set."""
    return lambda videos: [(videos.name(i), videos.label(i)) for i in range(len(videos))]
