"""What Move4MNIST is made of: which backgrounds are used, textures that move, and clips in file and card."""

import sys
from pathlib import Path

import numpy as np
import pytest

from synthetic_datasets import LabelVideoFile, Move4MNISTConfig, UsageError, build, get_generator
from synthetic_datasets.generators.move4mnist import load_source
from synthetic_datasets.material import digits_on_videos
from synthetic_datasets.material.backgrounds import TILE, moving_texture
from synthetic_datasets.material.digits_on_videos import Clips, Stretch

DEFAULT = Move4MNISTConfig()


def test_which_backgrounds_are_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_source(None, DEFAULT).source == "sklearn-digits on texture" and not caplog.records
    assert load_source(tmp_path, DEFAULT).clips is None
    assert "holds neither UCF101 nor videos; using generated textures" in caplog.text
    for config in (Move4MNISTConfig(background="videos"), Move4MNISTConfig(videos="mine")):
        for root in (None, tmp_path):
            with pytest.raises(UsageError, match="no such folder; name one with --videos"):
                load_source(root, config)
    (tmp_path / "videos").mkdir()
    pytest.importorskip("av")
    with pytest.raises(UsageError, match="holds no video"):
        load_source(tmp_path, DEFAULT)
    assert load_source(tmp_path, Move4MNISTConfig(background="texture")).clips is None


def test_videos_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "UCF101").mkdir()
    for name in [name for name in sys.modules if name.startswith("efficiency_core.readers.video")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match="need PyAV"):
        load_source(tmp_path, DEFAULT)


def test_textures_move_and_repeat() -> None:
    video = moving_texture(40, (64, 200), np.random.default_rng(3))
    assert video.shape == (40, 64, 200) and video.dtype == np.uint8
    assert np.array_equal(video[:, :, :72], video[:, :, TILE : TILE + 72])
    assert np.abs(np.diff(video.astype(int), axis=0)).mean() > 0.2 and video.std() > 5
    assert np.array_equal(video, moving_texture(40, (64, 200), np.random.default_rng(3)))


def test_the_clips_are_in_file_and_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.zeros((40, 64, 64), np.uint8)
    splits = {"train": (Stretch(0, 0, frames),), "test": (Stretch(1, 0, frames),)}
    clips = Clips("videos", "nobody", ("a.avi", "b.avi"), splits)
    monkeypatch.setattr(digits_on_videos, "load_clips", lambda *_: clips)
    (tmp_path / "videos").mkdir()
    facts = build(get_generator("move4mnist"), Move4MNISTConfig(train=1, test=1), tmp_path / "out", tmp_path)["facts"]
    assert facts["source"] == "sklearn-digits on videos" and facts["parts"] == {"background_clip": ["a.avi", "b.avi"]}
    file = LabelVideoFile(tmp_path / "out" / "test.h5")
    assert file.facts["parts"]["background_clip"][int(file[0]["background_clip"])] == "b.avi"
    assert "backgrounds: nobody" in file.facts["source_credit"]
