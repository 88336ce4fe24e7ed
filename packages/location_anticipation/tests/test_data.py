"""Track-video files: what is read, what is refused, and the targets of a keyframe."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from location_anticipation.data import Keyframes, TrackVideos, collate
from location_anticipation.errors import UsageError
from location_anticipation.motion import linear_boxes, parabola_boxes, random_boxes, supervise
from location_anticipation.videos import Sparse

Write = Callable[..., Path]
V, L, OBJECTS, SIZE = 2, 6, 3, 40


def several_objects() -> dict[str, np.ndarray]:
    """Two videos of three object slots; in the second video slot 2 is padding."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 25, (V, L, OBJECTS, 2))
    boxes = np.concatenate((corner, corner + rng.uniform(3, 10, (V, L, OBJECTS, 2))), axis=-1).astype(np.float32)
    present = np.ones((V, L, OBJECTS), dtype=bool)
    present[0, 0] = False  # nothing in the first frame
    present[0, 3:, 1] = False  # object 1 leaves
    present[0, :2, 2] = False  # object 2 enters
    present[1, 2, 0] = False  # object 0 is hidden for a frame
    present[1, :, 2] = False
    boxes[~present] = np.nan
    labels = np.array([[4, 0, 2], [1, 1, -1]], dtype=np.int64)
    video = rng.integers(0, 256, (V, L, SIZE, SIZE, 3), dtype=np.uint8)
    return {"video": video, "boxes": boxes, "present": present, "labels": labels}


@pytest.fixture
def several(write_tracks: Write) -> tuple[TrackVideos, dict[str, np.ndarray]]:
    arrays = several_objects()
    names = json.dumps(["a", "b", "c", "d", "e"])
    return TrackVideos(write_tracks(arrays=arrays, attributes={"class_names": names})), arrays


def test_facts(write_tracks: Write) -> None:
    facts = TrackVideos(write_tracks(videos=4, frames=6, size=48)).facts
    assert (facts.name, facts.source, facts.content_digest) == ("Squares", "generated", "4-6-48-0")
    assert (facts.videos, facts.frames, facts.image_size) == (4, 6, (48, 48))
    assert facts.class_names == ("filled", "hollow")


def test_what_a_file_may_leave_out(write_tracks: Write) -> None:
    facts = TrackVideos(
        write_tracks(attributes={"class_names": None, "name": None, "source": None, "content_digest": None})
    ).facts
    assert (facts.name, facts.source, facts.content_digest) == ("train", "unknown", "")
    assert facts.class_names == ("0", "1")


def test_frames_are_rgb_from_0_to_1(write_tracks: Write, several: tuple[TrackVideos, dict[str, np.ndarray]]) -> None:
    videos, arrays = several
    frame = videos.frame(1, 4)
    assert frame.shape == (3, SIZE, SIZE) and frame.dtype == torch.float32
    np.testing.assert_array_equal(frame.permute(1, 2, 0).numpy(), (arrays["video"][1, 4] / 255).astype(np.float32))
    grey = np.random.default_rng(0).integers(0, 256, (4, 6, 48, 48), dtype=np.uint8)
    frame = TrackVideos(write_tracks("grey.h5", arrays={"video": grey})).frame(2, 3)
    assert frame.shape == (3, 48, 48)
    for channel in frame:
        np.testing.assert_array_equal(channel.numpy(), (grey[2, 3] / 255).astype(np.float32))


def test_every_frame_with_an_object_is_a_keyframe(several: tuple[TrackVideos, dict[str, np.ndarray]]) -> None:
    videos, _ = several
    assert Keyframes(videos, horizon=2).index == [(0, t) for t in range(1, L)] + [(1, t) for t in range(L)]
    assert Keyframes(videos, horizon=2, subset=range(1, 2)).index == [(1, t) for t in range(L)]
    with pytest.raises(UsageError, match=r"train\.h5: no frame holds an annotated object"):
        Keyframes(videos, horizon=2, subset=range(0))  # none at all, not all of them


@pytest.mark.parametrize("horizon", [1, 3, 10])
def test_targets_equal_a_plain_loop(several: tuple[TrackVideos, dict[str, np.ndarray]], horizon: int) -> None:
    videos, arrays = several
    data = Keyframes(videos, horizon=horizon)
    checked = 0
    for (v, t), (image, target) in zip(data.index, (data[i] for i in range(len(data))), strict=True):
        assert torch.equal(image, videos.frame(v, t))
        objects = [o for o in range(OBJECTS) if arrays["present"][v, t, o]]
        assert target["labels"].tolist() == [arrays["labels"][v, o] + 1 for o in objects]
        assert target["boxes"].tolist() == [arrays["boxes"][v, t, o].tolist() for o in objects]
        assert target["trajectories"].shape == (len(objects), horizon, 4)
        assert target["trajectory_valid"].dtype == torch.bool
        for i, o in enumerate(objects):
            for step in range(1, horizon + 1):
                inside = t + step < L
                valid = inside and bool(arrays["present"][v, t + step, o])
                assert target["trajectory_valid"][i, step - 1].item() is valid
                if valid:
                    assert target["trajectories"][i, step - 1].tolist() == arrays["boxes"][v, t + step, o].tolist()
                    checked += 1
    assert checked > 10


def test_the_end_of_the_video_is_not_valid(write_tracks: Write) -> None:
    videos = TrackVideos(write_tracks(videos=1, frames=6))
    data = Keyframes(videos, horizon=4)
    assert [data[t][1]["trajectory_valid"].sum().item() for t in range(6)] == [4, 4, 3, 2, 1, 0]
    for motion in ("linear", "simulated", "random"):  # these need the second keyframe: all steps or none
        data = Keyframes(videos, horizon=4, motion=motion)
        assert [data[t][1]["trajectory_valid"].sum().item() for t in range(6)] == [4, 4, 0, 0, 0, 0]


def test_horizon_0_has_no_trajectories(write_tracks: Write) -> None:
    _, target = Keyframes(TrackVideos(write_tracks()), horizon=0)[3]
    assert set(target) == {"boxes", "labels"}


def test_simulated_motion_alternates_along_the_video(write_tracks: Write) -> None:
    videos = TrackVideos(write_tracks(videos=1, frames=9))
    data = Keyframes(videos, horizon=2, motion="simulated")
    boxes = videos.boxes[0, :, 0]
    for t in range(7):
        expected = parabola_boxes(boxes[t : t + 1], boxes[t + 2 : t + 3], 2, 8.0 if t // 2 % 2 == 0 else -8.0)
        np.testing.assert_array_equal(data[t][1]["trajectories"].numpy(), expected)


@pytest.mark.parametrize("horizon", [1, 3, 10])
@pytest.mark.parametrize("motion", ["annotated", "linear", "simulated", "random", "none"])
def test_targets_of_every_motion_equal_a_plain_loop(
    several: tuple[TrackVideos, dict[str, np.ndarray]], motion: str, horizon: int
) -> None:
    """Fully annotated videos: to the bit what keyframes t and t+T alone give."""
    videos, arrays = several
    boxes, present = arrays["boxes"], arrays["present"]
    data = Keyframes(videos, horizon=horizon, motion=motion, seed=5)
    for item, (v, t) in enumerate(data.index):
        target = data[item][1]
        objects = [o for o in range(OBJECTS) if present[v, t, o]]
        end = min(t + horizon, L - 1)
        start_boxes = np.stack([boxes[v, t, o] for o in objects])
        end_boxes = np.stack([boxes[v, end, o] for o in objects])
        rng = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(v, t)))
        expected = {
            "linear": lambda s, e: linear_boxes(s, e, horizon),
            "simulated": lambda s, e, t=t: parabola_boxes(s, e, horizon, 8.0 if t // horizon % 2 == 0 else -8.0),
            "random": lambda s, e, rng=rng: random_boxes(s, e, horizon, (SIZE, SIZE), rng),
        }
        if motion in expected:
            wanted = expected[motion](start_boxes, end_boxes)
            np.testing.assert_array_equal(target["trajectories"].numpy(), wanted)
        for i, o in enumerate(objects):
            there = [t + step < L and bool(present[v, t + step, o]) for step in range(1, horizon + 1)]
            valid = {"annotated": there, "none": [False] * horizon}.get(motion, [there[-1]] * horizon)
            assert target["trajectory_valid"][i].tolist() == valid


@pytest.mark.parametrize("step", [2, 3, 7])
def test_every_so_manieth_frame_is_a_keyframe(several: tuple[TrackVideos, dict[str, np.ndarray]], step: int) -> None:
    videos, _ = several
    everything = Keyframes(videos, horizon=2)
    data = Keyframes(videos, horizon=2, keyframe_step=step)
    assert data.index == [(v, t) for v, t in everything.index if t in range(0, L, step)]
    with pytest.raises(UsageError, match=r"no frame holds an annotated object among every 7-th one"):
        Keyframes(videos, horizon=2, keyframe_step=7, subset=range(1))  # frame 0 of video 0 is empty
    with pytest.raises(ValueError, match="keyframe_step must be at least 1, got 0"):
        Keyframes(videos, horizon=2, keyframe_step=0)


def test_keyframes_are_annotated_frames(write_tracks: Write) -> None:
    videos = Sparse(TrackVideos(write_tracks(videos=1, frames=10)), 3)
    assert Keyframes(videos, horizon=2).index == [(0, t) for t in (0, 3, 6, 9)]
    assert Keyframes(videos, horizon=2, keyframe_step=2).index == [(0, 0), (0, 6)]


def test_annotated_motion_is_valid_where_it_is_annotated(write_tracks: Write) -> None:
    """Table 2.7's keyframe step 6 and label step 3: each keyframe has the labels 3 and 6 frames on."""
    whole = TrackVideos(write_tracks(videos=1, frames=10))
    data = Keyframes(Sparse(whole, 3), horizon=6, keyframe_step=6)
    assert [t for _, t in data.index] == [0, 6]
    for item, steps in enumerate(([3, 6], [3])):
        target = data[item][1]
        assert (np.flatnonzero(target["trajectory_valid"][0]) + 1).tolist() == steps
        for step in steps:
            wanted = whole.boxes[0, 6 * item + step, 0]
            np.testing.assert_array_equal(target["trajectories"][0, step - 1].numpy(), wanted)


def test_motion_over_gaps_is_piecewise_and_cut(write_tracks: Write) -> None:
    whole = TrackVideos(write_tracks(videos=1, frames=10))
    for t in range(10):  # a path that no single line follows
        whole.boxes[0, t, 0] += (t % 4) ** 2
    boxes = whole.boxes[0, :, 0]
    data = Keyframes(Sparse(whole, 4), horizon=6, motion="linear")  # annotated: 0, 4, 8
    for item, t in enumerate((0, 4, 8)):
        target = data[item][1]
        for step in range(1, 7):
            frame = t + step
            before, after = (frame - 1) // 4 * 4, (frame - 1) // 4 * 4 + 4
            valid = after <= 8
            assert target["trajectory_valid"][0, step - 1].item() is valid
            if valid:
                share = (frame - before) / 4
                expected = (1 - share) * boxes[before] + share * boxes[after]
                np.testing.assert_allclose(target["trajectories"][0, step - 1].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("motion", ["linear", "simulated", "random"])
def test_annotation_every_t_frames_gives_the_targets_of_a_full_one(write_tracks: Write, motion: str) -> None:
    whole = TrackVideos(write_tracks(videos=2, frames=13))
    dense = Keyframes(whole, horizon=3, motion=motion, keyframe_step=3)
    sparse = Keyframes(Sparse(whole, 3), horizon=3, motion=motion)
    assert dense.index == sparse.index and len(dense.index) == 10
    for item in range(10):
        one, other = dense[item][1], sparse[item][1]
        assert torch.equal(one["boxes"], other["boxes"]) and torch.equal(one["labels"], other["labels"])
        assert torch.equal(one["trajectory_valid"], other["trajectory_valid"])
        valid = one["trajectory_valid"]
        torch.testing.assert_close(one["trajectories"][valid], other["trajectories"][valid], atol=1e-4, rtol=0)


def test_random_motion_is_drawn_once(write_tracks: Write) -> None:
    videos = TrackVideos(write_tracks())

    def trajectories(seed: int, item: int) -> torch.Tensor:
        return Keyframes(videos, horizon=3, motion="random", seed=seed)[item][1]["trajectories"]

    assert torch.equal(trajectories(0, 1), trajectories(0, 1))
    assert not torch.equal(trajectories(0, 1), trajectories(1, 1))
    assert not torch.equal(trajectories(0, 1)[:, 0], trajectories(0, 2)[:, 0])
    rng = np.random.default_rng(np.random.SeedSequence(7, spawn_key=(0, 1)))
    expected, _ = supervise(
        "random", videos.boxes[0, 1:5].swapaxes(0, 1), np.ones((1, 4), bool), image_size=(48, 48), rng=rng
    )
    np.testing.assert_array_equal(trajectories(7, 1).numpy(), expected)


def test_the_file_is_opened_when_a_frame_is_read(write_tracks: Write) -> None:
    videos = TrackVideos(write_tracks())
    assert videos._file is None
    first = videos.frame(0, 0)
    assert videos._file is not None
    copy: TrackVideos = pickle.loads(pickle.dumps(videos))  # an open HDF5 file cannot be pickled
    assert copy._file is None and copy.facts == videos.facts
    assert torch.equal(copy.frame(0, 0), first)


@pytest.mark.slow
def test_loader_workers_that_are_spawned_read_the_same(write_tracks: Write) -> None:
    videos = TrackVideos(write_tracks(videos=2, frames=4))
    data = Keyframes(videos, horizon=2)
    alone = [data[i] for i in range(8)]  # the file is open here when the workers get their copy
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=collate, multiprocessing_context="spawn")
    loaded = [sample for images, targets in loader for sample in zip(images, targets, strict=True)]
    assert len(loaded) == 8
    for (image, target), (wanted_image, wanted) in zip(loaded, alone, strict=True):
        assert torch.equal(image, wanted_image)
        assert target.keys() == wanted.keys()
        assert all(torch.equal(target[name], wanted[name]) for name in wanted)


def test_collate_keeps_images_apart() -> None:
    samples = [(torch.zeros(3, 4, 5), {"boxes": torch.zeros(0, 4)}), (torch.ones(3, 6, 7), {"boxes": torch.ones(2, 4)})]
    images, targets = collate(samples)
    assert [tuple(image.shape) for image in images] == [(3, 4, 5), (3, 6, 7)]
    assert [len(target["boxes"]) for target in targets] == [0, 2]


def test_unknown_motion_and_horizon_are_refused(write_tracks: Write) -> None:
    videos = TrackVideos(write_tracks())
    with pytest.raises(ValueError, match=r"motion must be one of .*, got 'circular'"):
        Keyframes(videos, horizon=2, motion="circular")
    with pytest.raises(ValueError, match="horizon T must be 0 or more, got -1"):
        Keyframes(videos, horizon=-1)


# Files that cannot be used. Whatever is wrong, the error is a UsageError that names the file.


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.h5: no such file; expected a track-video HDF5 file"):
        TrackVideos(tmp_path / "none.h5")


@pytest.mark.parametrize("content", [b"", b"not HDF5", bytes(5000)])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.h5").write_bytes(content)
    with pytest.raises(UsageError, match=r"odd\.h5: not a readable HDF5 file"):
        TrackVideos(tmp_path / "odd.h5")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(write_tracks: Write, share: float) -> None:
    path = write_tracks()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UsageError, match=r"train\.h5: not a readable HDF5 file \(.*\); build it again"):
        TrackVideos(path)


@pytest.mark.parametrize("raised", [OSError, KeyError, RuntimeError, MemoryError, TypeError])
def test_damage_that_hdf5_tells_in_its_own_way(
    write_tracks: Write, monkeypatch: pytest.MonkeyPatch, raised: type[Exception]
) -> None:
    path = write_tracks()

    def broken(*_: Any) -> None:
        raise raised("wrong B-tree signature")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", broken)
    with pytest.raises(UsageError, match=r"train\.h5: not a readable HDF5 file \(.*wrong B-tree signature.*\)"):
        TrackVideos(path)


def test_damaged_metadata(write_tracks: Write) -> None:
    path = write_tracks()
    raw = bytearray(path.read_bytes())
    where = raw.find(b"HEAP")  # the names of the arrays
    assert where > 0
    raw[where : where + 4] = b"\0" * 4
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=r"train\.h5: not a readable HDF5 file"):
        TrackVideos(path)


def test_a_damaged_frame_is_named(write_tracks: Write) -> None:
    path = write_tracks()
    with h5py.File(path) as file:
        where, length = file["video"].id.get_chunk_info(1)[2:4]
    raw = bytearray(path.read_bytes())
    raw[where : where + length] = b"\xff" * length
    path.write_bytes(raw)
    videos = TrackVideos(path)
    assert videos.frame(0, 2).shape == (3, 48, 48)
    with pytest.raises(UsageError, match=r"train\.h5: frame 2 of video 1 is damaged \(.*\); build it again"):
        videos.frame(1, 2)


def test_a_file_that_is_taken_away_meanwhile(write_tracks: Write) -> None:
    path = write_tracks()
    videos = TrackVideos(path)
    path.unlink()
    with pytest.raises(UsageError, match=r"train\.h5: frame 0 of video 0"):
        videos.frame(0, 0)


@pytest.mark.parametrize("format_name", [None, "image-classes"])
def test_hdf5_of_another_format(write_tracks: Write, format_name: str | None) -> None:
    path = write_tracks(attributes={"format": format_name})
    with pytest.raises(UsageError, match=rf"train\.h5: not a track-video file .*{format_name}"):
        TrackVideos(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"boxes": None}, "array 'boxes' is missing"),
        ({"labels": None}, "array 'labels' is missing"),
        ({"video": np.zeros((4, 6, 48, 48), np.float32)}, "array 'video' has the wrong type, float32"),
        ({"video": np.zeros((4, 6, 48, 48), np.uint16)}, "array 'video' has the wrong type, uint16"),
        ({"present": np.ones((4, 6, 1), np.uint8)}, "array 'present' has the wrong type, uint8"),
        ({"video": np.zeros((4, 48, 48), np.uint8)}, r"expected video \(V, L, H, W\) or .*, got \(4, 48, 48\)"),
        ({"video": np.zeros((4, 6, 48, 48, 2), np.uint8)}, r"expected video .*, got \(4, 6, 48, 48, 2\)"),
        ({"labels": np.zeros(4, np.int64)}, r"and labels \(V, O\), got .* and \(4,\)"),
        ({"boxes": np.zeros((4, 6, 1, 5), np.float32)}, r"'boxes' is \(4, 6, 1, 5\).* it must be \(4, 6, 1, 4\)"),
        ({"boxes": np.zeros((4, 5, 1, 4), np.float32)}, r"'boxes' is \(4, 5, 1, 4\).* it must be \(4, 6, 1, 4\)"),
        ({"present": np.ones((4, 6, 2), bool)}, r"'present' is \(4, 6, 2\).* it must be \(4, 6, 1\)"),
        ({"labels": np.zeros((3, 1), np.int64)}, r"'labels' is \(3, 1\).* it must be \(4, 1\)"),
    ],
)
def test_arrays_that_do_not_fit(write_tracks: Write, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        TrackVideos(write_tracks(arrays=arrays))
    assert "train.h5" in str(caught.value) and "\n" not in str(caught.value)


def test_a_group_where_an_array_is_expected(write_tracks: Write) -> None:
    path = write_tracks(arrays={"boxes": None})
    with h5py.File(path, "a") as file:
        file.create_group("boxes")
    with pytest.raises(UsageError, match=r"train\.h5: array 'boxes' is missing"):
        TrackVideos(path)


@pytest.mark.parametrize("text", ["[", "5", "null"])
def test_class_names_that_are_no_list(write_tracks: Write, text: str) -> None:
    with pytest.raises(UsageError, match=r"train\.h5: attribute 'class_names' is not a JSON list"):
        TrackVideos(write_tracks(attributes={"class_names": text}))


@pytest.mark.parametrize(
    ("box", "label", "fits"),
    [
        ([1, 1, 9, 9], 1, True),
        ([1, 1, 1, 9], 1, False),
        ([9, 1, 1, 9], 1, False),
        ([1, 1, np.nan, 9], 1, False),
        ([1, 1, np.inf, 9], 1, False),
        ([1, 1, 9, 9], -1, False),
        ([1, 1, 9, 9], 2, False),  # there are two classes, 0 and 1
    ],
)
def test_annotations_that_mean_nothing(write_tracks: Write, box: list[float], label: int, fits: bool) -> None:
    boxes = np.tile(np.array([1, 1, 9, 9], np.float32), (4, 6, 1, 1))
    labels, present = np.zeros((4, 1), np.int64), np.ones((4, 6, 1), bool)
    boxes[2, 5, 0], labels[2, 0] = box, label
    present[2, :5] = False
    path = write_tracks(arrays={"boxes": boxes, "labels": labels, "present": present})
    if fits:
        TrackVideos(path)
    else:
        with pytest.raises(UsageError, match=r"train\.h5: video 2, frame 5: object 0 is present with box"):
            TrackVideos(path)
    present[2] = False  # the same numbers beside "not present" are fine
    TrackVideos(write_tracks(arrays={"boxes": boxes, "labels": labels, "present": present}))
