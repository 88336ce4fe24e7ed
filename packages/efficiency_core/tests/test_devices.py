"""The device a command works on, and the layout of convolutions there."""

import pytest
import torch
from torch import nn

from efficiency_core.devices import convolution_layout, resolve_device
from efficiency_core.errors import UsageError


@pytest.mark.parametrize("there", [True, False])
def test_auto_is_cuda_where_there_is_a_device(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert resolve_device("auto") == ("cuda" if there else "cpu")
    assert resolve_device("cpu") == "cpu"


def test_what_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, message in (("cuda", "torch finds no CUDA device"), ("gpu", "must be auto, cpu or cuda, got 'gpu'")):
        with pytest.raises(UsageError, match=message):
            resolve_device(name)


@pytest.mark.parametrize(
    ("layer", "safe"),
    [
        (nn.Conv2d(8, 16, 1, stride=2), False),
        (nn.Conv2d(15, 16, 1, stride=(1, 2)), False),
        (nn.Conv2d(16, 32, 1, stride=2), True),
        (nn.Conv2d(8, 16, 1), True),
        (nn.Conv2d(8, 16, 3, stride=2), True),
        (nn.Conv2d(8, 16, 1, stride=2, groups=8), True),
    ],
)
def test_narrow_strided_1x1_convolutions_stay_contiguous_on_the_cpu(layer: nn.Conv2d, safe: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, layer.in_channels, 3), nn.ReLU(), layer)
    assert (convolution_layout(network, "cpu") is torch.channels_last) == safe
    assert convolution_layout(network, "cuda") is torch.channels_last
