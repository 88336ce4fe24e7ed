"""The temporal shift against a plain loop, at its limits, and inside a convolution."""

import pytest
import torch
from torch import Tensor, nn

from full_video.networks.shift import ShiftedConv2d, temporal_shift


def loop_shift(x: Tensor, lengths: tuple[int, ...], fold_div: int) -> Tensor:
    out, fold, start = torch.zeros_like(x), x.shape[1] // fold_div, 0
    for length in lengths:
        for t in range(length):
            for c in range(x.shape[1]):
                source = t + 1 if c < fold else t - 1 if c < 2 * fold else t
                if 0 <= source < length:
                    out[start + t, c] = x[start + source, c]
        start += length
    return out


@pytest.mark.parametrize("videos", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize(("channels", "fold_div"), [(16, 8), (17, 8), (8, 2), (9, 3), (3, 8)])
def test_equals_the_loop(videos: int, frames: int, channels: int, fold_div: int) -> None:
    x = torch.randn(videos * frames, channels, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = loop_shift(x, (frames,) * videos, fold_div)
    assert torch.equal(temporal_shift(x, frames, fold_div), expected)
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(temporal_shift(last, frames, fold_div), expected)
    assert torch.equal(temporal_shift(x.clone().requires_grad_(), frames, fold_div), expected)


def test_directions_by_hand() -> None:
    x = torch.arange(1.0, 4.0)[:, None, None, None].expand(3, 8, 1, 1)  # frame t is t + 1 in all channels
    shifted = temporal_shift(x, 3)[:, :, 0, 0]
    assert shifted[:, 0].tolist() == [2, 3, 0]  # the next frame
    assert shifted[:, 1].tolist() == [0, 1, 2]  # the one before
    assert shifted[:, 2].tolist() == shifted[:, 7].tolist() == [1, 2, 3]


def test_videos_of_different_lengths_do_not_meet() -> None:
    lengths = (3, 3, 1, 5)
    x = torch.randn(12, 8, 2, 2, generator=torch.Generator().manual_seed(1))
    shifted = temporal_shift(x, 0, 4, lengths)
    assert torch.equal(shifted, loop_shift(x, lengths, 4))
    alone = [temporal_shift(video, len(video), 4) for video in torch.split(x, list(lengths))]
    assert torch.equal(shifted, torch.cat(alone))


@pytest.mark.parametrize("lengths", [None, (2, 4)])
def test_gradient(lengths: tuple[int, ...] | None) -> None:
    x = torch.randn(6, 8, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda value: temporal_shift(value, 3, 4, lengths), (x,))


def test_shifted_convolution_keeps_names_and_parameters() -> None:
    conv = nn.Conv2d(16, 4, 3, stride=2, padding=1, bias=False)
    shifted = ShiftedConv2d.around(conv)
    assert list(shifted.state_dict()) == list(conv.state_dict()) and shifted.weight is conv.weight
    shifted.num_frames = 3
    x = torch.randn(6, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(shifted(x), conv(temporal_shift(x, 3)))
    shifted.lengths = (2, 4)
    torch.testing.assert_close(shifted(x), conv(temporal_shift(x, 0, lengths=(2, 4))))
    with pytest.raises(ValueError, match=r"not those of videos of \[2, 4\] frames"):
        shifted(x[:5])


def test_what_is_refused() -> None:
    x = torch.zeros(6, 8, 1, 1)
    for arguments, message in (
        ((x, 4), "no whole number of videos of 4 frames"),
        ((x, 3, 1), "at least 2"),
        ((x, 3, 8, (0, 6)), "not those of videos"),
        ((torch.zeros(6), 3), "frames"),
    ):
        with pytest.raises(ValueError, match=message):
            temporal_shift(*arguments)
