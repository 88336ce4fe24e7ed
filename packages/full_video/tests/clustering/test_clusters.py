"""The rules that cut a video into clusters: plain loops over 10,000 videos, numbers by hand, limits, and no look at a value."""

import random
from fractions import Fraction
from math import ceil

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from full_video.clustering.clusters import cluster_frames
from full_video.clustering.methods import METHODS

OURS = ("cumulative", "cumulative_ceil", "slope", "uniform")
GAP_FREE = ("cumulative", "slope", "uniform")

# The reference: one video and one frame at a time, in Python's whole numbers, with no use of the package.


def reference(distances: list[int], clusters: int, method: str) -> list[int]:
    frames = len(distances) + 1
    if method in OURS:
        if frames < clusters:
            return list(range(frames))
        if method == "uniform" or sum(distances) == 0:
            return [i * clusters // frames for i in range(frames)]
    return {
        "cumulative": cumulative,
        "cumulative_ceil": thresholds,
        "slope": lambda d, g: cut(d, g, earlier=True),
        "release_cumulative": release_walk,
        "release_slope": lambda d, g: cut(d, g, earlier=False),
        "release_uniform": release_uniform,
    }[method](distances, clusters)


def travelled(distances: list[int]) -> list[int]:
    return [sum(distances[:i]) for i in range(len(distances) + 1)]


def thresholds(distances: list[int], clusters: int) -> list[int]:
    total = sum(distances)
    return [min(max(ceil(Fraction(clusters * c, total)), 1), clusters) - 1 for c in travelled(distances)]


def cumulative(distances: list[int], clusters: int) -> list[int]:
    frames, ids = len(distances) + 1, [0]
    for i, passed in enumerate(thresholds(distances, clusters)):
        if i:
            ids.append(min(passed, ids[-1] + 1))
        ids[i] = max(ids[i], clusters - frames + i)
    return ids


def cut(distances: list[int], clusters: int, earlier: bool) -> list[int]:
    order = sorted(range(len(distances)), key=lambda pair: (-distances[pair], pair if earlier else -pair))
    after = set(order[: clusters - 1])
    return [sum(pair < i for pair in after) for i in range(len(distances) + 1)]


def release_walk(distances: list[int], clusters: int) -> list[int]:
    total, frames = sum(distances), len(distances) + 1
    if total == 0:
        return [i if i < clusters else -1 for i in range(frames)]
    ids, current = [], 1
    for c in travelled(distances):
        if c > Fraction(current * total, clusters):
            current += 1
        ids.append(current - 1)
    return [i if i < current - 1 else -1 for i in ids]


def release_uniform(distances: list[int], clusters: int) -> list[int]:
    size = max(1, (len(distances) + 1) // clusters)
    return [i // size if i // size < clusters else -1 for i in range(len(distances) + 1)]


def shown(ids: list[int], clusters: int) -> list[int]:
    rows: list[int] = []
    for cluster in range(clusters):
        rows.append(cluster if cluster in ids else rows[-1])
    return rows


def video(rng: random.Random, pairs: int) -> list[int]:
    kind = rng.choice(("smooth", "bursty", "constant", "equal", "sparse", "ties", "frozen ends", "one jump", "large"))
    if kind == "constant":
        return [0] * pairs
    if kind == "equal":
        return [rng.choice((1, 3, 200_704))] * pairs
    if kind == "sparse":
        return [rng.randint(1, 9) if rng.random() < 0.15 else 0 for _ in range(pairs)]
    if kind == "ties":
        return [rng.randint(0, 2) for _ in range(pairs)]
    if kind == "frozen ends":
        return [0 if i < pairs / 3 or i > 2 * pairs / 3 else rng.randint(0, 50) for i in range(pairs)]
    if kind == "one jump":
        place = rng.randrange(max(1, pairs))
        return [rng.randint(1000, 200_000) if i == place else rng.randint(0, 2) for i in range(pairs)]
    top = {"smooth": 30, "bursty": 1, "large": 802_816}[kind]
    return [rng.randint(20, 20 + top) * (rng.choice((1, 1, 1, 40)) if kind == "bursty" else 1) for _ in range(pairs)]


def padded(videos: list[list[int]], rng: random.Random, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The videos with arbitrary distances in the padding, and their real lengths."""
    rows = [v + [rng.randint(0, 99) for _ in range(frames - 1 - len(v))] for v in videos]
    distances = torch.tensor(rows, dtype=torch.int64).view(len(videos), frames - 1)
    return distances, torch.tensor([len(v) + 1 for v in videos])


@pytest.mark.parametrize("method", METHODS)
def test_ten_thousand_videos_against_plain_loops(method: str) -> None:
    rng = random.Random(f"videos for {method}")
    count = 0
    while count < 10_000:
        clusters = rng.choice((2, 3, 5, 8, 16)) if method == "release_cumulative" else rng.choice((1, 2, 3, 5, 8, 16))
        frames = rng.choice((1, 2, 7, 9, 18, 32, 40))
        one_length = rng.random() < 0.5
        videos = [video(rng, (frames if one_length else rng.randint(1, frames)) - 1) for _ in range(250)]
        distances, lengths = padded(videos, rng, frames)
        got = cluster_frames(distances, clusters, method, None if one_length else lengths)
        assert got.ids.dtype == got.rows.dtype == torch.int64
        expected = [reference(v, clusters, method) for v in videos]
        assert got.ids.tolist() == [ids + [-1] * (frames - len(ids)) for ids in expected]
        assert got.rows.tolist() == [shown(ids, clusters) for ids in expected]
        assert got.counts.tolist() == [[ids.count(c) for c in range(clusters)] for ids in expected]
        count += len(videos)


@pytest.mark.parametrize("method", OURS)
def test_every_frame_is_used_exactly_once_and_no_cluster_is_left_empty(method: str) -> None:
    rng = random.Random(5)
    videos = [video(rng, rng.randint(8, 40) - 1) for _ in range(2000)]
    distances, lengths = padded(videos, rng, 40)
    clusters = cluster_frames(distances, 8, method, lengths)
    assert torch.equal(clusters.counts.sum(1), lengths)
    inside = torch.arange(40) < lengths[:, None]
    assert torch.equal(clusters.ids >= 0, inside)
    steps = clusters.ids.diff(dim=1)[inside[:, 1:]]
    assert (steps >= 0).all()
    if method in GAP_FREE:
        assert (clusters.counts > 0).all()
        assert (steps <= 1).all()
        assert torch.equal(clusters.rows, torch.arange(8).expand(2000, 8))


# Distances drawn so that the clusters are those of figure 3.3; f_7 meets the threshold 2/3 of 24 exactly.
FIGURE = [2, 2, 2, 3, 2, 5, 6, 1, 1]


@pytest.mark.parametrize(("method", "expected"), [
    ("cumulative", [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]),
    ("cumulative_ceil", [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]),
    ("slope", [0, 0, 0, 0, 0, 0, 1, 2, 2, 2]),
    ("uniform", [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]),
    ("release_cumulative", [0, 0, 0, 0, 1, 1, 1, -1, -1, -1]),
    ("release_slope", [0, 0, 0, 0, 0, 0, 1, 2, 2, 2]),
    ("release_uniform", [0, 0, 0, 1, 1, 1, 2, 2, 2, -1]),
])  # fmt: skip
def test_figure_3_3(method: str, expected: list[int]) -> None:
    assert cluster_frames(torch.tensor([FIGURE]), 3, method).ids.tolist() == [expected]


def test_a_jump_over_thresholds_gives_the_next_frames_clusters_of_their_own() -> None:
    jump = torch.tensor([[1, 1, 96, 1, 1, 0, 0]])
    assert cluster_frames(jump, 5, "cumulative").ids.tolist() == [[0, 0, 0, 1, 2, 3, 4, 4]]
    printed = cluster_frames(jump, 5, "cumulative_ceil")
    assert printed.ids.tolist() == [[0, 0, 0, 4, 4, 4, 4, 4]]
    assert printed.rows.tolist() == [[0, 0, 0, 0, 4]]
    assert cluster_frames(torch.tensor([[1, 1, 1, 1, 96]]), 4, "cumulative").ids.tolist() == [
        [0, 0, 0, 1, 2, 3]
    ]  # foreseen


def test_equal_distances() -> None:
    same = torch.full((1, 7), 5)
    assert cluster_frames(same, 4, "cumulative").ids.tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]
    assert cluster_frames(same, 4, "slope").ids.tolist() == [[0, 1, 2, 3, 3, 3, 3, 3]]
    assert cluster_frames(same, 4, "release_slope").ids.tolist() == [[0, 0, 0, 0, 0, 1, 2, 3]]


@pytest.mark.parametrize("method", OURS)
def test_a_constant_video_is_cut_evenly_and_few_frames_are_alone(method: str) -> None:
    even = cluster_frames(torch.zeros(1, 9, dtype=torch.int64), 4, method)
    assert even.ids.tolist() == [[0, 0, 0, 1, 1, 2, 2, 2, 3, 3]]
    few = cluster_frames(torch.tensor([[7, 0]]), 5, method)
    shown = few.ids.tolist(), few.rows.tolist(), few.counts.tolist()
    assert shown == ([[0, 1, 2]], [[0, 1, 2, 2, 2]], [[1, 1, 1, 0, 0]])


def test_a_threshold_that_is_met_exactly_where_floats_pass_it() -> None:
    """Frame 2 has come half the way, 3 of 6; of maps with ten entries, in the release's fractions, it has come further."""
    distances, passed = [1, 2, 2, 1], [0.0]
    for distance in distances:
        passed.append(passed[-1] + distance / 10)
    assert [ceil(2 * way / passed[-1]) for way in passed] == [0, 1, 2, 2, 2]
    for method in ("cumulative", "cumulative_ceil"):
        assert cluster_frames(torch.tensor([distances]), 2, method).ids.tolist() == [[0, 0, 0, 1, 1]]
    long = torch.tensor([[2**53, 1, 2**53 - 1, 0]])  # the threshold 1/2 is passed by one half of one, in no float64
    assert cluster_frames(long, 2, "cumulative_ceil").ids.tolist() == [[0, 0, 1, 1, 1]]


class Recorded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The operators that reach the device, views left out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if not func.is_view:
            self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", METHODS)
def test_no_value_is_looked_at(method: str) -> None:
    """A device is never waited for: nothing is read back, and the work is the same for one video and for many."""
    with FakeTensorMode():
        got = cluster_frames(torch.empty(2, 31, dtype=torch.int64), 8, method, torch.empty(2, dtype=torch.int64))
        assert (got.ids.shape, got.rows.shape, got.counts.shape) == ((2, 32), (2, 8), (2, 8))
    names = []
    for videos in (1, 50):
        with Recorded() as recorded:
            cluster_frames(torch.ones(videos, 31, dtype=torch.int64), 8, method)
        assert not {"_local_scalar_dense", "nonzero", "unique"} & set(recorded.names)
        names.append(recorded.names)
    assert names[0] == names[1]
    assert len(names[0]) <= (20 if method in OURS else 32)


def test_unusable_arguments_are_refused() -> None:
    distances = torch.ones(2, 5, dtype=torch.int64)
    for arguments, message in (
        ((distances, 3, "kmeans"), r"method must be one of cumulative, .*, got 'kmeans'"),
        ((distances, 0, "slope"), "clusters must be at least 1 for slope, got 0"),
        ((distances, 1, "release_cumulative"), "clusters must be at least 2 for release_cumulative, got 1"),
        ((distances.float(), 3), r"whole numbers \(V, T-1\), got torch.float32"),
        ((distances[0], 3), r"whole numbers \(V, T-1\).*\(5,\)"),
        ((distances, 3, "slope", torch.tensor([7, 3])), "lengths must be 1 to 6"),
    ):
        with pytest.raises(ValueError, match=message):
            cluster_frames(*arguments)
