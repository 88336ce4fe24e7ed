"""Converting networks: which layers, what is refused, and what is kept of them."""

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from weight_align import align, fold, is_aligned, weight_align
from weight_align.method import alignment_of


def aligned_names(model: nn.Module) -> list[str]:
    return [name for name, layer in model.named_modules() if alignment_of(layer) is not None]


@pytest.mark.parametrize(("layer", "inputs", "dimension", "n"), [
    (nn.Conv1d(4, 6, 3), (2, 4, 9), 0, 12),
    (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 9, 9), 0, 18),
    (nn.Conv2d(4, 8, 3, groups=4), (2, 4, 9, 9), 0, 9),
    (nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4), 0, 16),
    (nn.ConvTranspose1d(4, 6, 3), (2, 4, 9), 1, 12),
    (nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 5, 5), 1, 18),
    (nn.ConvTranspose3d(2, 3, 2), (1, 2, 4, 4, 4), 1, 16), (nn.Linear(5, 3), (2, 5), 0, 5),
])  # fmt: skip
def test_every_kind_of_layer(layer: nn.Module, inputs: tuple[int, ...], dimension: int, n: int) -> None:
    """The response of each output channel to one input equals that of the filter that loops make."""
    kind, bias = type(layer), layer.bias
    groups = getattr(layer, "groups", 1)
    before = layer.weight.detach().clone()  # type: ignore[operator, union-attr]
    assert weight_align(layer) is layer and is_aligned(layer)
    assert torch.equal(layer.weight, align(before, out_dim=dimension, groups=groups))  # type: ignore[arg-type]
    alignment = alignment_of(layer)
    assert alignment is not None and alignment.scale is not None
    plain = copy.deepcopy(layer)
    with torch.no_grad():
        alignment.scale[1] = 3.0
    x = torch.randn(inputs, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        zero = layer(torch.zeros_like(x))
        response, once = layer(x) - zero, plain(x) - zero
        channel = response.movedim(1, 0) if response.dim() > 2 else response.T
        single = once.movedim(1, 0) if once.dim() > 2 else once.T
        torch.testing.assert_close(channel[1], 3 * single[1])
        torch.testing.assert_close(channel[0], single[0])
    fold(layer)
    assert type(layer) is kind and layer.bias is bias and not is_aligned(layer)


def test_all_layers_but_the_classifier(small: nn.Module) -> None:
    weight = small.stem[0].weight
    assert weight_align(small) is small
    assert aligned_names(small) == ["stem.0", "depthwise", "up", "hidden"]
    assert small.stem[0].parametrizations.weight.original is weight  # type: ignore[union-attr]
    scales = {name: parameter.shape for name, parameter in small.named_parameters() if name.endswith("0.scale")}
    assert [tuple(shape) for shape in scales.values()] == [(8,), (8,), (6,), (10,)]


@pytest.mark.parametrize(("exclude", "left"), [
    ("stem", ["depthwise", "up", "hidden"]), ("stem.0", ["depthwise", "up", "hidden"]),
    (["depth*", "up"], ["stem.0", "hidden"]),
    ((), ["stem.0", "depthwise", "up", "hidden"]),
])  # fmt: skip
def test_layers_left_out_by_name(small: nn.Module, exclude: str | list[str], left: list[str]) -> None:
    weight_align(small, exclude=exclude)
    assert aligned_names(small) == left


def test_the_classifier_on_request(small: nn.Module) -> None:
    assert aligned_names(weight_align(small, classifier=True))[-1] == "head"


def unchanged(model: nn.Module, message: str, **options: object) -> None:
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        weight_align(model, **options)  # type: ignore[arg-type]
    after = model.state_dict()
    assert list(before) == list(after) and all(torch.equal(before[name], after[name]) for name in before)


def test_what_is_refused(small: nn.Module) -> None:
    unchanged(small, r"exclude: 'fc' matches no module of .*Small", exclude=["stem", "fc"])
    unchanged(small, "no convolution or linear layer to align that is not left out", exclude="*")
    unchanged(nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), "no convolution or linear layer")
    unchanged(small, "keep must be 'weights' or 'function', got 'all'", keep="all")
    unchanged(small, "scale must be one of", scale="channel")
    unchanged(small, "gain must be one of", gain="big")
    unchanged(small, "nothing to align", centre=False, variance=False)
    unchanged(small, "eps must be above 0", eps=0)
    unchanged(small, "keep='function' needs a scale for each filter, got scale='layer'", keep="function", scale="layer")
    small.hidden = nn.Linear(1, 10)
    unchanged(small, "hidden cannot be aligned: its filters have one weight each, which has no variance; name it in")


def test_converting_twice(small: nn.Module) -> None:
    weight_align(small, exclude="up")
    unchanged(
        small,
        r"stem\.0 cannot be aligned: it is aligned already; fold the network first, or name it in exclude; "
        "the same holds for depthwise, hidden",
    )
    weight_align(small, exclude=["stem", "depthwise", "hidden"])  # the rest may follow
    assert "up" in aligned_names(small)


def test_layers_that_are_parametrized_otherwise(small: nn.Module) -> None:
    parametrizations.weight_norm(small.up)
    unchanged(small, r"up cannot be aligned: its weight is parametrized by _WeightNorm; take that off first")
    weight_align(small, exclude="up")
    assert "up" not in aligned_names(small)


def test_weights_that_are_no_parameters(small: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(small.up)  # the old one, with hooks
    with pytest.raises(ValueError, match=r"up cannot be aligned: its weight is not a parameter"):
        weight_align(small)
    assert not is_aligned(small)


def test_lazy_layers(pixels: Tensor) -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.Conv2d(4, 2, 1))
    with pytest.raises(ValueError, match="0 cannot be aligned: it is lazy and has no weight yet; show the network"):
        weight_align(model)
    model(pixels)
    assert aligned_names(weight_align(model)) == ["0"]


def test_weights_that_two_layers_share(small: nn.Module) -> None:
    other = nn.Conv2d(8, 8, 3, groups=8)
    other.weight = small.depthwise.weight
    small.add_module("other", other)
    unchanged(small, "depthwise cannot be aligned: other holds the same weight; name both in exclude")
    weight_align(small, exclude=["depthwise", "other"])


def test_all_that_is_refused_is_named_at_once(small: nn.Module) -> None:
    unchanged(small, r"exclude: 'fc', 'x\*' match no module of .*Small", exclude=["fc", "stem", "x*"])
    small.hidden, small.wide = nn.Linear(1, 10), nn.Conv2d(8, 8, 3, groups=8)
    small.stem.append(nn.Conv2d(1, 4, 1))
    small.stem.append(nn.LazyConv2d(4, 1))
    parametrizations.weight_norm(small.up)
    small.wide.weight = small.again = small.depthwise.weight
    with pytest.raises(ValueError) as caught:
        weight_align(small, classifier=True)
    root = torch.typename(small)
    assert str(caught.value) == (
        "stem.3 cannot be aligned: its filters have one weight each, which has no variance; name it in exclude; the same "
        "holds for hidden. stem.4 cannot be aligned: it is lazy and has no weight yet; show the network an input first. "
        "up cannot be aligned: its weight is parametrized by _WeightNorm; take that off first, or name it in exclude. "
        f"depthwise cannot be aligned: {root}, wide hold the same weight; name all in exclude"
    )
    weight_align(small, exclude=["stem.3", "stem.4", "hidden", "up", "depthwise", "wide"])
    assert aligned_names(small) == ["stem.0", "head"]


def test_one_layer_under_two_names_is_one_layer(small: nn.Module) -> None:
    small.again = small.hidden
    weight_align(small)
    assert alignment_of(small.hidden) is alignment_of(small.again)
    fold(small)
    assert type(small.again) is nn.Linear


def test_constant_filters_are_told_about(small: nn.Module, pixels: Tensor) -> None:
    nn.init.zeros_(small.up.weight)
    with pytest.warns(UserWarning, match=r"up \(1 such layers\) has filters of constant weights"):
        weight_align(small)
    small(pixels).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in small.parameters() if parameter.grad is not None)
    layer = nn.Linear(4, 3)
    nn.init.zeros_(layer.weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight_align(layer, variance=False)
    assert not layer.weight.any()


def test_scales_by_option(small: nn.Module, pixels: Tensor) -> None:
    for scale, shape in (("filter", (8,)), ("layer", ()), ("none", None)):
        model = weight_align(copy.deepcopy(small), scale=scale)  # type: ignore[arg-type]
        found = alignment_of(model.depthwise)
        assert found is not None and (None if found.scale is None else tuple(found.scale.shape)) == shape
        assert f"scale={scale}" in repr(found)
        model(pixels).sum().backward()
        if found.scale is not None:
            assert found.scale.grad is not None and found.scale.grad.shape == found.scale.shape


def test_frozen_layers_stay_frozen(small: nn.Module) -> None:
    small.up.requires_grad_(False)
    weight_align(small)
    found = alignment_of(small.up)
    assert found is not None and found.scale is not None and not found.scale.requires_grad
    assert not small.up.parametrizations.weight.original.requires_grad  # type: ignore[union-attr]
    assert not fold(small).up.weight.requires_grad


@pytest.mark.parametrize("options", [{}, {"gain": "nf"}, {"variance": False, "scale": "layer"}])
def test_keeping_the_function(small: nn.Module, options: dict[str, object]) -> None:
    """Each filter keeps its deviation and loses its mean."""
    before = copy.deepcopy(small)
    weight_align(small, keep="function", **options)  # type: ignore[arg-type]
    for name in ("depthwise", "hidden"):
        weight = before.get_submodule(name).weight.detach()  # type: ignore[operator, union-attr]
        rows = weight.flatten(1) - weight.flatten(1).mean(1, keepdim=True)
        torch.testing.assert_close(small.get_submodule(name).weight.flatten(1), rows)  # type: ignore[operator, union-attr]


def test_keeping_the_function_with_means_and_in_half_precision(small: nn.Module, pixels: Tensor) -> None:
    before = small(pixels)
    weight_align(small, keep="function", centre=False)
    torch.testing.assert_close(small(pixels), before)
    weight = 60 * torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    layer = nn.Linear(64, 4).half()
    layer.load_state_dict({"weight": weight, "bias": torch.zeros(4)})
    weight_align(layer, keep="function")
    torch.testing.assert_close(layer.weight.float(), weight - weight.mean(1, keepdim=True), rtol=1e-2, atol=0.2)


def test_a_folded_network_converts_back_to_the_same_function(small: nn.Module, pixels: Tensor) -> None:
    weight_align(small)
    for name in aligned_names(small):
        found = alignment_of(small.get_submodule(name))
        assert found is not None and found.scale is not None
        nn.init.uniform_(found.scale, 0.2, 3)
    before = small(pixels)
    weight_align(fold(small), keep="function")
    torch.testing.assert_close(small(pixels), before)


def test_keeping_the_function_of_zeros_has_ordinary_gradients(small: nn.Module, pixels: Tensor) -> None:
    """As zero convolutions have: a scale of sqrt(eps) makes up for one over sqrt(eps)."""
    nn.init.zeros_(small.up.weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight_align(small, keep="function")
    small(pixels).sum().backward()
    gradient = small.up.parametrizations.weight.original.grad  # type: ignore[union-attr, operator]
    assert 0 < gradient.abs().max() < 100  # type: ignore[operator, union-attr]
