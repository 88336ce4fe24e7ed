"""Equation 3.8's Hamming distance: a loop over bits, both forms against it, and what must not change it."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from full_video.clustering import hamming
from full_video.clustering.hamming import neighbour_distances, pack_signs, packed_distance


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def loop(x: Tensor) -> list[list[int]]:
    """One entry at a time, in Python."""
    videos = x.flatten(2).tolist()
    return [
        [sum((a > 0) != (b > 0) for a, b in zip(now, later, strict=True)) for now, later in pairwise(v)] for v in videos
    ]


def packed(x: Tensor) -> Tensor:
    bits = pack_signs(x.flatten(0, 1)).view(*x.shape[:2], -1)
    return packed_distance(bits[:, 1:], bits[:, :-1])


@pytest.mark.parametrize(
    "shape", [(1, 2, 1), (3, 7, 5), (2, 5, 63), (2, 5, 64), (2, 5, 65), (2, 4, 3, 8, 8), (1, 3, 521), (2, 3, 8, 9, 7)]
)
def test_both_forms_equal_a_loop_over_the_bits(shape: tuple[int, ...]) -> None:
    x = maps(*shape)
    assert neighbour_distances(x).tolist() == packed(x).tolist() == loop(x)


def test_numbers_by_hand() -> None:
    x = torch.tensor([[[0.0, 2.0, -1.0, 3.0], [0.5, 1.0, -2.0, 0.0], [0.5, 1.0, 2.0, 0.0], [-0.0, 0.0, 1.0, 1e-45]]])
    distances = neighbour_distances(x)
    assert distances.tolist() == [[2, 1, 3]]
    assert distances.dtype == torch.int64


def test_counts_of_a_whole_map_at_224_do_not_overflow_a_byte() -> None:
    """Every entry of a ResNet-50 map changes: 802,816, where each byte of a word adds up to its limit."""
    x = torch.ones(1, 3, 256, 56, 56)
    x[:, 1] = -1
    assert neighbour_distances(x).tolist() == packed(x).tolist() == [[802_816, 802_816]]
    assert pack_signs(torch.zeros(1, 64, 56, 56)).shape == (1, 25_088)


@pytest.mark.parametrize("at_once", [1, 300, 700])
def test_pieces_of_time_change_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = maps(2, 11, 100)
    whole = neighbour_distances(x)
    monkeypatch.setattr(hamming, "_AT_ONCE", {"cpu": at_once})
    assert torch.equal(neighbour_distances(x), whole)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_type_of_the_activations_does_not_matter(dtype: torch.dtype) -> None:
    x = maps(2, 6, 4, 5, 5)
    assert torch.equal(neighbour_distances(x.to(dtype)), neighbour_distances(x))
    assert torch.equal(neighbour_distances(x > 0), neighbour_distances(x))


def test_signs_are_the_same_bits_after_the_relu_and_not_traced_by_autograd() -> None:
    x = maps(2, 6, 40).requires_grad_()
    distances, bits = neighbour_distances(x), pack_signs(x[0])
    assert torch.equal(neighbour_distances(x.relu()), distances) and torch.equal(pack_signs(x[0].relu()), bits)
    assert not distances.requires_grad and not bits.requires_grad


def test_memory_format_does_not_matter() -> None:
    """Packed bits of one frame in one format meet bits of another chunk in the other."""
    x = maps(12, 16, 5, 7)
    last = x.to(memory_format=torch.channels_last)
    assert last.stride() != x.stride()
    assert torch.equal(neighbour_distances(last.view(2, 6, 16, 5, 7)), neighbour_distances(x.view(2, 6, 16, 5, 7)))
    assert torch.equal(pack_signs(last), pack_signs(x))
    assert torch.equal(pack_signs(x[3:4]), pack_signs(x)[3:4])


def test_padded_frames_have_no_distance_and_their_content_does_not_matter() -> None:
    x, lengths = maps(3, 6, 30), torch.tensor([6, 1, 4])
    distances = neighbour_distances(x, lengths)
    assert (distances != 0).tolist() == [[True] * 5, [False] * 5, [True] * 3 + [False] * 2]
    other = x.clone()
    other[1, 1:], other[2, 4:] = float("nan"), 1e9
    assert torch.equal(neighbour_distances(other, lengths), distances)
    assert torch.equal(distances[2, :3], neighbour_distances(x[2:, :4])[0])


def test_one_frame_has_no_neighbour() -> None:
    assert neighbour_distances(maps(4, 1, 8)).shape == (4, 0)
    assert neighbour_distances(maps(4, 1, 8), torch.ones(4, dtype=torch.int64)).shape == (4, 0)


def test_packed_frames_broadcast() -> None:
    bits = pack_signs(maps(5, 70))
    assert packed_distance(bits, bits[:1]).tolist() == [int(packed_distance(b, bits[0])) for b in bits]
    assert packed_distance(bits, bits).tolist() == [0] * 5


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit.trace. is deprecated")
def test_a_trace_gives_the_same_integers() -> None:
    """fvcore counts operations on one."""
    x, lengths = maps(2, 6, 4, 5), torch.tensor([6, 3])
    traced = torch.jit.trace(neighbour_distances, (x, lengths))  # type: ignore[no-untyped-call]
    assert torch.equal(traced(-x, lengths), neighbour_distances(-x, lengths))


def test_unusable_arguments_are_refused() -> None:
    zeros = torch.zeros
    for call, message in (
        (lambda: neighbour_distances(zeros(3, 4)), r"\(V, T, \*\).*got \(3, 4\)"),
        (lambda: neighbour_distances(zeros(3, 4, 0)), "at least one entry"),
        (lambda: pack_signs(zeros(0, 4)), "at least one entry"),
        (lambda: neighbour_distances(zeros(3, 4, 2), torch.tensor([4, 4])), r"lengths must be whole numbers \(3,\)"),
        (
            lambda: neighbour_distances(zeros(3, 4, 2), [4, 4, 2]),
            r"lengths must be a tensor of whole numbers \(3,\), got list",
        ),
        (lambda: neighbour_distances(zeros(1, 4, 2), torch.tensor([4.0])), r"whole numbers \(1,\), got torch.float32"),
        (lambda: neighbour_distances(zeros(2, 4, 2), torch.tensor([4, 0])), "lengths must be 1 to 4"),
        (lambda: neighbour_distances(zeros(2, 4, 2), torch.tensor([4, 5])), "lengths must be 1 to 4"),
        (lambda: packed_distance(zeros(2, 8), zeros(2, 8)), "uint8"),
        (lambda: packed_distance(zeros(2, 8).byte(), zeros(2, 16).byte()), "the same B"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
