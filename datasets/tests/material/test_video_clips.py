"""Backgrounds from a folder of videos: decoding, dividing, and videos that cannot be used."""

import logging
from pathlib import Path

import numpy as np
import pytest

from synthetic_datasets import UsageError
from synthetic_datasets.material.digits_on_videos import Clips, Stretch, fit, load_clips

av = pytest.importorskip("av")


def write_video(path: Path, levels: list[int], size: tuple[int, int] = (48, 64)) -> None:
    """One plain grey frame for every level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.bit_rate = 2_000_000
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def ucf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root") / "UCF101"
    for group in range(1, 9):
        for clip in (1, 2, 3):
            write_video(folder / f"Archery/v_Archery_g{group:02}_c{clip:02}.avi", [20 * group] * 10)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    write_video(folder / "a.mp4", list(range(20, 220, 5)))
    write_video(folder / "deep/b.avi", [100] * 16)
    return folder


def names(clips: Clips, split: str) -> set[str]:
    return {clips.names[stretch.clip] for stretch in clips.splits[split]}


def test_scenes_of_ucf101_are_in_one_split_only(ucf: Path) -> None:
    clips = load_clips(ucf, (32, 32), 100, 0)
    groups = {split: {name.split("_")[2] for name in names(clips, split)} for split in clips.splits}
    assert len(groups["train"]) == 6 and len(groups["test"]) == 2 and not groups["train"] & groups["test"]
    assert len(clips.names) == 24 and clips.source == "ucf101" and "Soomro" in clips.credit
    for stretch in (*clips.splits["train"], *clips.splits["test"]):
        level = 20 * int(clips.names[stretch.clip].split("_g")[1][:2])
        assert stretch.frames.shape == (10, 32, 32) and abs(stretch.frames.astype(int) - level).max() < 12


def test_clips_are_taken_from_the_scenes_in_turn_and_as_the_seed_decides(ucf: Path) -> None:
    chosen = [load_clips(ucf, (16, 16), 8, seed) for seed in (0, 0, 1)]
    assert chosen[0].names == chosen[1].names != chosen[2].names
    for clips in chosen:
        assert (len(clips.splits["train"]), len(clips.splits["test"])) == (6, 2)
        assert len({name.split("_")[2] for name in clips.names}) == 8, "one of every scene"


def test_a_few_clips_serve_both_splits_at_different_times(few: Path) -> None:
    clips = load_clips(few, (24, 32), 100, 0)
    assert set(clips.names) == {"a.mp4", "deep/b.avi"} == names(clips, "train") == names(clips, "test")
    assert clips.source == few.name.lower()
    ramp = {split: next(s for s in made if clips.names[s.clip] == "a.mp4") for split, made in clips.splits.items()}
    assert (len(ramp["train"].frames), ramp["test"].first, len(ramp["test"].frames)) == (30, 30, 10)
    levels = np.concatenate([ramp[split].frames.mean(axis=(1, 2)) for split in ("train", "test")])
    assert np.abs(levels - np.arange(20, 220, 5)).max() < 6, "all frames, in order"


def test_stretches_play_back_and_fit_never_distorts() -> None:
    frames = np.arange(4, dtype=np.uint8)[:, None, None]
    assert Stretch(0, 0, frames).play(2, 9).ravel().tolist() == [2, 3, 2, 1, 0, 1, 2, 3, 2]
    image = np.zeros((40, 80), np.uint8)
    image[:, 20:60] = 200
    assert (fit(image, (20, 20)) > 180).all() and (fit(image, (10, 40)) == 0).any(), "the middle of that shape"
    assert np.array_equal(fit(image, (40, 80)), image)
    assert fit(image.T.copy(), (8, 12)).shape == (8, 12)


def test_unusable_videos_are_named_and_left_out(few: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "good.avi", [50] * 12)
    write_video(tmp_path / "short.avi", [50] * 3)
    (tmp_path / "broken.mp4").write_bytes(b"not a video" * 50)
    (tmp_path / "notes.txt").write_text("no video")
    with caplog.at_level(logging.WARNING):
        clips = load_clips(tmp_path, (16, 16), 100, 0)
    assert clips.names == ("good.avi",)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "broken.mp4: left out, not a readable video" in said
    assert "short.avi: left out, 3 frames, expected at least 8" in said and "notes" not in said


def test_no_usable_video(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no video .*--background texture"):
        load_clips(tmp_path, (16, 16), 100, 0)
    (tmp_path / "broken.mp4").write_bytes(b"")
    with pytest.raises(UsageError, match="no video can be decoded for the train split"):
        load_clips(tmp_path, (16, 16), 100, 0)
