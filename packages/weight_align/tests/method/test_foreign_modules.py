"""Networks that others have built or changed: attention, frozen layers, averaged copies, low precision, pruned weights."""

import copy

import pytest
import torch
import torch.nn.utils.prune
from torch import nn
from torch.optim.swa_utils import AveragedModel

from weight_align import fold, left_out, weight_align


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 16, 3))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_attention_keeps_its_fused_path_and_folds() -> None:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3)).eval()
    weight_align(model)
    assert left_out(model) == ["0.self_attn.in_proj_weight", "1"]
    x = torch.rand(2, 5, 8, generator=torch.Generator().manual_seed(0))
    expected = model(x)
    plain = copy.deepcopy(model)
    fold(plain)
    with torch.no_grad():  # torch computes the whole layer in one call then
        for found in (model(x), plain(x)):
            torch.testing.assert_close(found, expected)


def test_a_frozen_layer_stays_frozen(images: torch.Tensor) -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    weight_align(model)
    model(images).sum().backward()
    frozen = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert frozen == {"0.parametrizations.weight.original", "0.parametrizations.weight.0.scale"}


def test_an_averaged_copy_folds_alone(images: torch.Tensor) -> None:
    model = network()
    weight_align(model)
    averaged = AveragedModel(model)
    averaged.update_parameters(model)
    expected = model(images)
    fold(averaged.module)
    torch.testing.assert_close(averaged(images), expected)
    torch.testing.assert_close(model(images), expected)


def test_low_precision(images: torch.Tensor) -> None:
    model = network()
    weight_align(model)
    expected = model(images)
    found = model.bfloat16()(images.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)


def test_what_cannot_be_aligned_says_why() -> None:
    pruned, spectral, lazy = network(), network(), network()
    torch.nn.utils.prune.l1_unstructured(pruned[0], "weight", 0.5)
    spectral[0] = nn.utils.parametrizations.spectral_norm(spectral[0])
    lazy[0] = nn.LazyConv2d(4, 3)
    for model, message in (
        (pruned, "0 cannot be aligned: its weight is not a parameter"),
        (spectral, "0 cannot be aligned: its weight is parametrized by _SpectralNorm"),
        (lazy, "0 cannot be aligned: it is lazy and has no weight yet; show the network an input first"),
    ):
        before = dict(model.named_parameters())
        with pytest.raises(ValueError, match=message):
            weight_align(model)
        assert dict(model.named_parameters()).keys() == before.keys()
