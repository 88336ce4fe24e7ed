"""Clips: one draw a video, randomness from (seed, epoch, index) alone, flips that respect left and right, padding."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from full_video.augmentation import Augmentation
from full_video.clips import Clips, collate
from full_video.errors import BrokenVideo, UsageError
from full_video.sampling import Sampling
from full_video.video_sets import Facts


class Restless:
    """Frames that must be read in chunks, and that count how many are asked for at once."""

    def __init__(self, video, log):
        self._video, self._log = video, log

    def __len__(self):
        return len(self._video)

    def __getitem__(self, wanted):
        frames = self._video[wanted]
        self._log.append(len(frames))
        return frames


@dataclass
class Videos:
    """Videos of noise in memory, a broken one among them."""

    lengths: tuple[int, ...] = (5, 9, 70, 1, 12, 7)
    class_names: tuple[str, ...] = ("left", "right", "up", "go right")
    broken: int = -1
    log: list[int] = field(default_factory=list)

    @property
    def facts(self):
        return Facts("noise", "test", "0", self.class_names)

    def __len__(self):
        return len(self.lengths)

    def label(self, video):
        return video % len(self.class_names)

    def name(self, video):
        return f"video {video}"

    def frames(self, video):
        if video == self.broken:
            raise BrokenVideo(self.name(video), "is broken")
        generator = torch.Generator().manual_seed(video)
        content = torch.randint(0, 256, (self.lengths[video], 3, 20, 26), dtype=torch.uint8, generator=generator)
        return Restless(content, self.log)


AUGMENTATION = Augmentation(size=16, resize=18, flip="labels")


def test_all_frames_in_order():
    videos = Videos()
    clips = Clips(videos, Sampling(), Augmentation(size=20, resize=20))
    item = clips.item(2)
    assert torch.equal(item["frames"], videos.frames(2)[:][..., 3:23])
    assert (item["label"], item["index"]) == (2, 2)
    assert item["frames"].dtype == torch.uint8
    assert max(videos.log[:-1]) <= 32  # never all 70 at their full size at once


def test_a_clip_is_the_same_in_whatever_chunks_it_is_read():
    clips = Clips(Videos(), Sampling(), AUGMENTATION, seed=3, training=True)
    for index in range(len(clips)):
        for epoch in range(3):
            item = clips.item(index, epoch)
            source, label = clips.source(index, epoch)
            assert len(source) == len(item["frames"]) and label == item["label"]
            for chunk in (1, 4, 100):
                parts = [source[start : min(start + chunk, len(source))] for start in range(0, len(source), chunk)]
                assert torch.equal(torch.cat(parts), item["frames"])
            assert torch.equal(source[np.array([0, len(source) - 1])], item["frames"][[0, -1]])


@pytest.mark.parametrize("rule", ["segments", "uniform", "dense", "motion"])
@pytest.mark.parametrize("training", [True, False])
def test_sampled_clips(rule, training):
    clips = Clips(Videos(), Sampling(4, rule), AUGMENTATION, training=training)
    for index in range(len(clips)):
        item, (source, _) = clips.item(index, 1), clips.source(index, 1)
        assert item["frames"].shape == (4, 3, 16, 16)
        assert torch.equal(source[:], item["frames"])
        assert (np.diff(source.indices) >= 0).all()


def test_randomness_is_that_of_seed_epoch_and_index_alone():
    def frames(index, epoch, seed=0, training=True):
        clips = Clips(Videos(), Sampling(4), AUGMENTATION, seed, training)
        return clips.item(index, epoch)["frames"]

    clips = Clips(Videos(), Sampling(4), AUGMENTATION, 0, True)
    backwards = {i: clips.item(i, 2)["frames"] for i in reversed(range(len(clips)))}
    for index, once in backwards.items():
        assert torch.equal(frames(index, 2), once)
    assert not torch.equal(frames(2, 0), frames(2, 1))
    assert not torch.equal(frames(2, 0, seed=0), frames(2, 0, seed=1))
    assert torch.equal(frames(2, 0, training=False), frames(2, 5, seed=1, training=False))


def test_the_crop_does_not_depend_on_the_sampling():
    by_rule = [Clips(Videos(), Sampling(n, rule), AUGMENTATION, 0, True) for n, rule in ((0, "segments"), (4, "dense"))]
    for epoch in range(4):
        everything, some = (clips.item(2, epoch) for clips in by_rule)
        source, _ = by_rule[1].source(2, epoch)
        assert torch.equal(everything["frames"][source.indices], some["frames"])
        assert everything["label"] == some["label"]


def test_workers_change_nothing():
    clips = Clips(Videos(), Sampling(4), AUGMENTATION, 0, True)
    keys = [(index, epoch) for epoch in range(2) for index in range(len(clips))]
    loader = DataLoader(clips, sampler=keys, batch_size=None, num_workers=2)
    for (index, epoch), item in zip(keys, loader, strict=True):
        assert torch.equal(item["frames"], clips.item(index, epoch)["frames"])
    assert torch.equal(clips[3]["frames"], clips.item(3, 0)["frames"])


@pytest.mark.parametrize("flip", ["none", "horizontal", "labels"])
def test_flips_and_their_labels(flip):
    videos = Videos(lengths=(3,) * 4)
    clips = Clips(videos, Sampling(), Augmentation(size=20, resize=20, crop="centre", flip=flip), training=True)
    mirrored = {0: 1, 1: 0, 2: 2, 3: None}  # left, right, up; "go right" has no "go left"
    seen = {index: set() for index in mirrored}
    for index, other in mirrored.items():
        plain = videos.frames(index)[:][..., 3:23]
        for epoch in range(30):
            item = clips.item(index, epoch)
            flipped = not torch.equal(item["frames"], plain)
            assert torch.equal(item["frames"], plain.flip(-1) if flipped else plain)
            seen[index].add(flipped)
            assert item["label"] == (other if flipped and flip == "labels" else index)
    if flip == "none":
        assert all(flips == {False} for flips in seen.values())
    else:
        assert all(seen[index] == {True, False} for index in (0, 1, 2))
        assert seen[3] == ({False} if flip == "labels" else {True, False})
    test = Clips(videos, Sampling(), clips.augmentation)
    assert all(test.item(i, e)["label"] == i for i in range(4) for e in range(10))


STEPS = {"up": (-1, 0), "left": (0, -1), "down": (1, 0), "right": (0, 1)}


class Dots:
    """A bright dot beside the middle that moves by a pixel a frame, in the direction that is its video's class."""

    facts = Facts("dots", "test", "0", tuple(STEPS))

    def __len__(self):
        return 4

    def label(self, video):
        return video

    def name(self, video):
        return f"dot {video}"

    def frames(self, video):
        frames = torch.zeros(5, 3, 24, 24, dtype=torch.uint8)
        down, right = STEPS[self.facts.class_names[video]]
        for t in range(5):
            row, column = 9 + down * t, 13 + right * t
            frames[t, :, row - 1 : row + 2, column - 1 : column + 2] = 255
        return frames


def direction(frames):
    """Where the light goes, looked at in the pixels."""
    light = frames[:, 0].double()
    light /= light.sum((1, 2), keepdim=True)
    place = torch.arange(frames.shape[-1], dtype=torch.float64)
    down, right = (float(((light.sum(axis) * place).sum(1))[[0, -1]].diff()) for axis in (2, 1))
    far = max(abs(down), abs(right))
    return {step: name for name, step in STEPS.items()}[round(down / far), round(right / far)]


@pytest.mark.parametrize("crop", ["centre", "multiscale"])
def test_a_turned_dot_moves_as_its_label_says(crop):
    augmentation = Augmentation(size=24, resize=24, crop=crop, scales=(1.0, 0.9), flip="directions")
    clips = Clips(Dots(), Sampling(), augmentation, training=True)
    for index in range(4):
        pictures, labels = set(), set()
        for epoch in range(80):
            item = clips.item(index, epoch)
            assert tuple(STEPS)[item["label"]] == direction(item["frames"])
            source, label = clips.source(index, epoch)
            assert label == item["label"] and torch.equal(source[:], item["frames"])
            pictures.add(item["frames"].numpy().tobytes())
            labels.add(item["label"])
        assert labels == {0, 1, 2, 3}
        assert len(pictures) == 8 if crop == "centre" else len(pictures) > 8
    test = Clips(Dots(), Sampling(), augmentation)
    for index in range(4):
        assert test.item(index)["label"] == index and torch.equal(test.item(index)["frames"], Dots().frames(index))


def test_directions_are_four_classes():
    augmentation = Augmentation(size=16, resize=18, flip="directions")
    with pytest.raises(UsageError, match="the classes left, right, up and down, got 4: left, right, up, go right"):
        Clips(Videos(), Sampling(), augmentation, training=True)
    assert Clips(Videos(), Sampling(), augmentation).item(3)["label"] == 3  # in tests nothing is turned


def test_max_frames():
    clips = Clips(Videos(), Sampling(), AUGMENTATION, max_frames=6)
    assert [len(clips.item(index)["frames"]) for index in range(6)] == [5, 6, 6, 1, 6, 6]
    assert clips.source(2)[0].indices.tolist() == [5, 17, 29, 40, 52, 64]  # of 70: 5.8, 17.5, 29.2, ...
    with pytest.raises(ValueError, match="max_frames"):
        Clips(Videos(), Sampling(), AUGMENTATION, max_frames=-1)


def test_motion_is_looked_at_once():
    videos = Videos()
    clips = Clips(videos, Sampling(4, "motion"), AUGMENTATION, training=True)
    clips.item(2, 0)
    first = sum(videos.log)
    videos.log.clear()
    clips.item(2, 1)
    assert first == 70 + 4 and sum(videos.log) == 4


def test_broken_videos_and_videos_that_are_not_there():
    clips = Clips(Videos(broken=1), Sampling(), AUGMENTATION)
    assert len(clips.item(0)["frames"]) == 5
    for read in (clips.item, clips.source):
        with pytest.raises(BrokenVideo, match="video 1: is broken"):
            read(1)
        with pytest.raises(IndexError):
            read(6)


def test_batches():
    clips = Clips(Videos(), Sampling(), AUGMENTATION)
    items = [clips.item(index) for index in (0, 1, 3)]
    frames, lengths, labels = collate(items)
    assert frames.shape == (3, 9, 3, 16, 16) and frames.dtype == torch.uint8
    assert lengths.tolist() == [5, 9, 1] and lengths.dtype == torch.int64
    assert labels.tolist() == [0, 1, 3] and labels.dtype == torch.int64
    for row, item, length in zip(frames, items, lengths.tolist(), strict=True):
        assert torch.equal(row[:length], item["frames"])
        assert torch.equal(row[length:], item["frames"][-1:].expand(9 - length, -1, -1, -1))


def test_a_batch_of_one_clip_is_no_copy():
    item = Clips(Videos(), Sampling(), AUGMENTATION).item(2)
    frames, lengths, labels = collate([item])
    assert frames.shape == (1, 70, 3, 16, 16) and frames.data_ptr() == item["frames"].data_ptr()
    assert (lengths.tolist(), labels.tolist()) == ([70], [2])


def test_batches_that_cannot_be():
    with pytest.raises(ValueError, match="at least one clip"):
        collate([])
    items = [Clips(Videos(), Sampling(), Augmentation(size=s, resize=18)).item(0) for s in (16, 18)]
    with pytest.raises(ValueError, match="frames of one size"):
        collate(items)
