"""Folding converted networks, and their states."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

from weight_align import fold, is_aligned, weight_align
from weight_align.method import GAINS, alignment_of, classifiers


def test_folding_changes_nothing_and_leaves_plain_layers(small: nn.Module, pixels: Tensor) -> None:
    weight_align(small).eval()
    keep = small.stem[0].parametrizations.weight.original  # type: ignore[union-attr]
    before = small(pixels)
    assert fold(small) is small
    assert torch.equal(small(pixels), before)
    assert type(small.up) is nn.ConvTranspose2d and not any(parametrize.is_parametrized(m) for m in small.modules())
    assert not small.up._load_state_dict_pre_hooks
    assert small.stem[0].weight is keep and keep.requires_grad
    assert set(small.state_dict()) == set(type(small)().state_dict())


def test_folding_twice_and_folding_what_was_never_aligned(small: nn.Module) -> None:
    with pytest.raises(ValueError, match="Small has no aligned layer; was it folded before"):
        fold(small)
    fold(weight_align(small))
    with pytest.raises(ValueError, match="no aligned layer"):
        fold(small)


def test_folding_a_part(small: nn.Module, pixels: Tensor) -> None:
    weight_align(small, together=True)
    before = small(pixels)
    fold(small.stem)
    aligned = [name for name, module in small.named_modules() if alignment_of(module) is not None]
    assert aligned == ["depthwise", "up", "hidden"]
    torch.testing.assert_close(small(pixels), before)
    fold(small)
    assert not small._forward_pre_hooks and not small._forward_hooks and not small._forward_hooks_always_called


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet50", "vgg11_bn", "densenet121", "mobilenet_v3_small", "efficientnet_b0", "squeezenet1_1",
     "googlenet", "shufflenet_v2_x0_5", "convnext_tiny", "regnet_y_400mf", "swin_t"],
)  # fmt: skip
def test_networks_of_torchvision(name: str) -> None:
    """Each weight is bit for bit what the alignment made of it, also where little of it is seen in the outputs."""
    models = pytest.importorskip("torchvision").models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"init_weights": True} if name == "googlenet" else {}
        model = models.get_model(name, weights=None, num_classes=11, **options).eval()
    plain = {key: type(layer) for key, layer in model.named_modules()}
    left_out = classifiers(model)
    weight_align(model)
    weights = {}
    for key, layer in model.named_modules():
        if (found := alignment_of(layer)) is not None:
            nn.init.uniform_(found.scale, 0.5, 2, generator=torch.Generator().manual_seed(2))  # type: ignore[arg-type]
            weights[key] = layer.weight.clone()  # type: ignore[operator, union-attr]
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert (alignment_of(layer) is None) == (key in left_out)
            if key in left_out:
                assert (layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels) == 11
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = model(x)
        fold(model)
        change = (model(x) - before).abs().max() / before.abs().max()
    assert before.isfinite().all() and change <= 1e-6
    assert {key: type(layer) for key, layer in model.named_modules()} == plain
    assert all(torch.equal(model.get_parameter(f"{key}.weight"), weight) for key, weight in weights.items())


def test_states(small: nn.Module) -> None:
    weight_align(small)
    other = weight_align(type(small)(), gain="nf")
    other.load_state_dict(small.state_dict())
    torch.testing.assert_close(other.hidden.weight, small.hidden.weight * GAINS["nf"])


@pytest.mark.parametrize("strict", [True, False])
def test_a_folded_state_is_not_loaded_into_an_aligned_network(small: nn.Module, pixels: Tensor, strict: bool) -> None:
    folded = fold(weight_align(copy.deepcopy(small)))
    weight_align(small)
    with pytest.raises(RuntimeError, match=r"stem\.0\.weight is a plain weight .* load the state into the plain"):
        small.load_state_dict(folded.state_dict(), strict=strict)
    plain = type(small)()
    plain.load_state_dict(folded.state_dict())
    plain.eval(), folded.eval()
    before = folded(pixels)
    torch.testing.assert_close(weight_align(plain, keep="function")(pixels), before)


def test_an_aligned_state_is_not_loaded_into_a_plain_network(small: nn.Module) -> None:
    state = weight_align(copy.deepcopy(small)).state_dict()
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\) in state_dict: .*parametrizations\.weight\.original"):
        small.load_state_dict(state)


@pytest.mark.parametrize("together", [False, True])
def test_copies_are_independent(small: nn.Module, pixels: Tensor, together: bool) -> None:
    weight_align(small, together=together)
    before = small(pixels)
    other = copy.deepcopy(small)
    torch.testing.assert_close(other(pixels), before)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    assert torch.equal(small(pixels), before) and not torch.allclose(other(pixels), before)
    assert torch.equal(fold(copy.deepcopy(small))(pixels), before) and is_aligned(small)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("copied", [
    copy.deepcopy, lambda model: AveragedModel(model).module, lambda model: copy.deepcopy(nn.ModuleList([model]))[0],
    lambda model: copy.deepcopy(copy.deepcopy(model)),
])  # fmt: skip
def test_a_copy_and_its_original_are_folded_one_by_one(
    small: nn.Module, pixels: Tensor, copied: Callable[[nn.Module], nn.Module], turned: bool, together: bool
) -> None:
    before = weight_align(small, together=together)(pixels)
    one, other = (copied(small), small) if turned else (small, copied(small))
    assert torch.equal(fold(one)(pixels), before) and not is_aligned(one)
    assert torch.equal(other(pixels), before) and is_aligned(other)
    assert torch.equal(fold(other)(pixels), before)
    assert all(type(model.up) is nn.ConvTranspose2d for model in (one, other))
    torch.testing.assert_close(weight_align(one, keep="function")(pixels), before)


def test_layers_that_torch_copies_and_copies_with_another_parametrization() -> None:
    layer = weight_align(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True))
    encoder, x = nn.TransformerEncoder(layer, 3), torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    before = encoder(x)
    assert torch.equal(fold(encoder)(x), before) and is_aligned(layer) and not is_aligned(encoder)
    one = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8), "bias", dim=None)
    other = copy.deepcopy(one)
    before = one(x)
    for each in (one, other):
        torch.testing.assert_close(weight_align(each, keep="function", centre=False)(x), before)
    for each in (one, other):
        torch.testing.assert_close(fold(each)(x), before)


@pytest.mark.parametrize("layer", [
    nn.ConvTranspose1d(4, 6, 3), nn.ConvTranspose2d(4, 6, 3), nn.ConvTranspose2d(4, 6, 1, groups=2),
    nn.ConvTranspose3d(4, 6, 3, groups=2), nn.Conv2d(4, 6, 3), nn.Conv3d(4, 6, 3, groups=2),
    nn.ConvTranspose2d(4, 6, 3).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
    nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
], ids=repr)  # fmt: skip
def test_a_folded_weight_keeps_its_memory_format(layer: Any) -> None:
    layer = copy.deepcopy(layer)
    strides, contiguous = layer.weight.stride(), layer.weight.is_contiguous()
    weight_align(layer)
    layer.weight.square().sum().backward()
    assert layer.weight.is_contiguous() == contiguous == layer.parametrizations.weight.original.grad.is_contiguous()
    assert fold(layer).weight.stride() == strides


def test_a_folded_state_is_written_as_safetensors(small: nn.Module) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    small.up = nn.ConvTranspose2d(8, 6, 2, 2)
    state = fold(weight_align(small, together=True)).state_dict()
    found = safetensors.load(safetensors.save(state))
    assert all(torch.equal(found[name], value) for name, value in state.items())
