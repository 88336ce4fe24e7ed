"""The command ``synthdata``: what it writes, what it says, how it ends."""

import hashlib
import json
import os
import pty
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_datasets import InputError, SampleFile, no_motion_iou
from synthetic_datasets.card import card
from synthetic_datasets.cli import main
from synthetic_datasets.preview import contact_sheet
from synthetic_datasets.registry import get

SMALL = ("--train", "11", "--test", "10", "--frames", "12")


@pytest.fixture(autouse=True)
def no_real_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFFICIENCY_DATA", raising=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EFFICIENCY_DATA", raising=False)
        assert (
            main(
                ["build", "moving-digits", "--out", str(out), *SMALL, "--border", "bounce", "--objects", "2"]
            )
            == 0
        )
    return out


def run(*words: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, where ``limit`` is the largest file it may write, in bytes."""
    words = ["build", "moving-digits", "--out", str(tmp_path), *SMALL]
    code = f"from synthetic_datasets.cli import main; raise SystemExit(main({words!r}))"
subprocess.run([sys.executable, "-c", code], stderr=follower, stdout=subprocess.DEVNULL, check=True)
    os.close(follower)
    try:
        shown = os.read(leader, 10_000)
    except OSError:  # Linux: nothing was written and the other end is closed
        shown = b""
    os.close(leader)
    assert b"sample" not in shown
