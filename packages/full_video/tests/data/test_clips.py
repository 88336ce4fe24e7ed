"""Clips: one draw a video, randomness from (seed, epoch, index) alone, flips that respect left and right, padding."""

import numpy as np
import pytest
import torch

from efficiency_core.errors import BrokenFile, UsageError
from full_video.data import Augmentation, ClipConfig, Clips, Sampling, batch_of

AUGMENTATION = Augmentation(size=16, resize=18, flip="labels")
CONFIG = ClipConfig(augmentation=AUGMENTATION)


@pytest.fixture
def noise(video_set):
    """A function that makes videos of noise of six lengths."""
    names = ("left", "right", "up", "go right")
    return lambda lengths=(5, 9, 70, 1, 12, 7), **options: video_set(
        [(length, 20, 26) for length in lengths], [k % 4 for k in range(len(lengths))], names, **options
    )


def test_all_frames_in_order(noise):
    videos = noise()
    clips = Clips(videos, ClipConfig(augmentation=Augmentation(size=20, resize=20)))
    item = clips.clip(2)
    assert torch.equal(item.frames, videos.frames(2)[:][..., 3:23])
    assert item.label == 2
    assert item.frames.dtype == torch.uint8
    assert max(map(len, videos.asked[:-1])) <= 32  # never all 70 at their full size at once


def test_a_clip_is_the_same_in_chunks_of_any_size(noise):
    clips = Clips(noise(), CONFIG, seed=3, training=True)
    for index in range(len(clips)):
        for epoch in range(3):
            item = clips.clip(index, epoch)
            source, label = clips.source(index, epoch)
            assert len(source) == len(item.frames) and label == item.label
            for chunk in (1, 4, 100):
                parts = [source[start : min(start + chunk, len(source))] for start in range(0, len(source), chunk)]
                assert torch.equal(torch.cat(parts), item.frames)
            assert torch.equal(source[np.array([0, len(source) - 1])], item.frames[[0, -1]])


@pytest.mark.parametrize("rule", ["segments", "uniform", "dense", "motion"])
@pytest.mark.parametrize("training", [True, False])
def test_sampled_clips(noise, rule, training):
    clips = Clips(noise(), ClipConfig(Sampling(4, rule), AUGMENTATION), training=training)
    for index in range(len(clips)):
        item, (source, _) = clips.clip(index, 1), clips.source(index, 1)
        assert item.frames.shape == (4, 3, 16, 16)
        assert torch.equal(source[:], item.frames)
        assert (np.diff(source.indices) >= 0).all()


def test_randomness_is_that_of_seed_epoch_and_index_alone(noise):
    def frames(index, epoch, seed=0, training=True):
        clips = Clips(noise(), ClipConfig(Sampling(4), AUGMENTATION), seed, training)
        return clips.clip(index, epoch).frames

    clips = Clips(noise(), ClipConfig(Sampling(4), AUGMENTATION), 0, True)
    backwards = {i: clips.clip(i, 2).frames for i in reversed(range(len(clips)))}
    for index, once in backwards.items():
        assert torch.equal(frames(index, 2), once)
    assert not torch.equal(frames(2, 0), frames(2, 1))
    assert not torch.equal(frames(2, 0, seed=0), frames(2, 0, seed=1))
    assert torch.equal(frames(2, 0, training=False), frames(2, 5, seed=1, training=False))


def test_the_crop_does_not_depend_on_the_sampling(noise):
    rules = Sampling(0), Sampling(4, "dense")
    by_rule = [Clips(noise(), ClipConfig(rule, AUGMENTATION), 0, True) for rule in rules]
    for epoch in range(4):
        everything, some = (clips.clip(2, epoch) for clips in by_rule)
        source, _ = by_rule[1].source(2, epoch)
        assert torch.equal(everything.frames[source.indices], some.frames)
        assert everything.label == some.label


@pytest.mark.parametrize("flip", ["none", "horizontal", "labels"])
def test_flips_and_their_labels(noise, flip):
    videos = noise(lengths=(3,) * 4)
    config = ClipConfig(augmentation=Augmentation(size=20, resize=20, crop="centre", flip=flip))
    clips = Clips(videos, config, training=True)
    mirrored = {0: 1, 1: 0, 2: 2, 3: None}  # left, right, up; "go right" has no "go left"
    seen = {index: set() for index in mirrored}
    for index, other in mirrored.items():
        plain = videos.frames(index)[:][..., 3:23]
        for epoch in range(30):
            item = clips.clip(index, epoch)
            flipped = not torch.equal(item.frames, plain)
            assert torch.equal(item.frames, plain.flip(-1) if flipped else plain)
            seen[index].add(flipped)
            assert item.label == (other if flipped and flip == "labels" else index)
    if flip == "none":
        assert all(flips == {False} for flips in seen.values())
    else:
        assert all(seen[index] == {True, False} for index in (0, 1, 2))
        assert seen[3] == ({False} if flip == "labels" else {True, False})
    test = Clips(videos, config)
    assert all(test.clip(i, e).label == i for i in range(4) for e in range(10))


STEPS = {"up": (-1, 0), "left": (0, -1), "down": (1, 0), "right": (0, 1)}


@pytest.fixture
def dots(video_set):
    """A bright dot near the middle that moves by one pixel per frame, in the direction of the video's class."""
    videos = torch.zeros(4, 5, 3, 24, 24, dtype=torch.uint8)
    for video, (down, right) in zip(videos, STEPS.values(), strict=True):
        for t in range(5):
            row, column = 9 + down * t, 13 + right * t
            video[t, :, row - 1 : row + 2, column - 1 : column + 2] = 255
    return video_set(list(videos), range(4), tuple(STEPS))


def direction(frames):
    """Where the light goes, looked at in the pixels."""
    light = frames[:, 0].double()
    light /= light.sum((1, 2), keepdim=True)
    place = torch.arange(frames.shape[-1], dtype=torch.float64)
    down, right = (float(((light.sum(axis) * place).sum(1))[[0, -1]].diff()) for axis in (2, 1))
    far = max(abs(down), abs(right))
    return {step: name for name, step in STEPS.items()}[round(down / far), round(right / far)]


@pytest.mark.parametrize("crop", ["centre", "multiscale"])
def test_a_turned_dot_moves_as_its_label_says(dots, noise, crop):
    augmentation = Augmentation(size=24, resize=24, crop=crop, scales=(1.0, 0.9), flip="directions")
    config = ClipConfig(augmentation=augmentation)
    clips = Clips(dots, config, training=True)
    for index in range(4):
        pictures, labels = set(), set()
        for epoch in range(60):
            item = clips.clip(index, epoch)
            assert tuple(STEPS)[item.label] == direction(item.frames)
            source, label = clips.source(index, epoch)
            assert label == item.label and torch.equal(source[:], item.frames)
            pictures.add(item.frames.numpy().tobytes())
            labels.add(item.label)
        assert labels == {0, 1, 2, 3}
        assert len(pictures) == 8 if crop == "centre" else len(pictures) > 8
    with pytest.raises(UsageError, match="the classes left, right, up and down, got 4: left, right, up, go right"):
        Clips(noise(), config, training=True)
    test = Clips(dots, config)  # in tests nothing is turned
    for index in range(4):
        assert test.clip(index).label == index and torch.equal(test.clip(index).frames, dots.frames(index)[:])


def test_max_frames(noise):
    clips = Clips(noise(), ClipConfig(augmentation=AUGMENTATION, max_frames=6))
    assert [len(clips.clip(index).frames) for index in range(6)] == [5, 6, 6, 1, 6, 6]
    assert clips.source(2)[0].indices.tolist() == [5, 17, 29, 40, 52, 64]  # of 70: 5.8, 17.5, 29.2, ...
    with pytest.raises(ValueError, match="max_frames"):
        ClipConfig(max_frames=-1)


def test_motion_is_looked_at_once(noise):
    videos = noise()
    clips = Clips(videos, ClipConfig(Sampling(4, "motion"), AUGMENTATION), training=True)
    counts = []
    for epoch in range(2):
        videos.asked.clear()
        clips.clip(2, epoch)
        counts.append(sum(map(len, videos.asked)))
    assert counts == [70 + 4, 4]


def test_batches(noise):
    clips = Clips(noise(), CONFIG)
    items = [clips.clip(index) for index in (0, 1, 3)]
    frames, lengths, labels, videos, broken = batch_of(clips, [(0, 0), (1, 0), (3, 0)])
    assert (videos, broken) == ([0, 1, 3], [])
    assert frames.shape == (3, 9, 3, 16, 16) and frames.dtype == torch.uint8
    assert lengths.tolist() == [5, 9, 1] and lengths.dtype == torch.int64
    assert labels.tolist() == [0, 1, 3] and labels.dtype == torch.int64
    for row, item, length in zip(frames, items, lengths.tolist(), strict=True):
        assert torch.equal(row[:length], item.frames)
        assert torch.equal(row[length:], item.frames[-1:].expand(9 - length, -1, -1, -1))
    assert batch_of(clips, [(2, 0)]).frames.shape == (1, 70, 3, 16, 16)


def test_broken_videos_are_left_out_and_videos_that_are_not_there(noise):
    clips = Clips(noise(broken=[1]), CONFIG)
    for read in (clips.clip, clips.source):
        with pytest.raises(BrokenFile, match="video1: cut off"):
            read(1)
        with pytest.raises(IndexError):
            read(6)
    batch = batch_of(clips, [(0, 0), (1, 0), (3, 0)])
    assert batch.videos == [0, 3] and batch.lengths.tolist() == [5, 1]
    assert [str(error) for error in batch.broken] == ["video1: cut off"]
    batch = batch_of(clips, [(1, 0)])
    assert len(batch.frames) == len(batch.labels) == 0 and len(batch.broken) == 1
