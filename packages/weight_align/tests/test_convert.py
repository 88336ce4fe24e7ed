"""Converting networks and folding them: which layers, what is refused, and that everything torch does goes on working."""

import copy
import math
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from weight_align import align, fold, is_aligned, weight_align
from weight_align.align import GAINS
from weight_align.classifier import classifiers
from weight_align.parametrization import alignment_of

pytestmark = pytest.mark.usefixtures("one_thread")


class Small(nn.Module):
    """Every kind of two-dimensional layer, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(8, 6, 2, 2, groups=2)
        self.hidden = nn.Linear(6, 10)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.depthwise(self.stem(x)).relu()).relu()
        scores: Tensor = self.head(self.hidden(x.mean((2, 3))).relu())
        return scores


@pytest.fixture
def small() -> Iterator[Small]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield Small()


def images(count: int = 4, size: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def aligned_names(model: nn.Module) -> list[str]:
    return [name for name, layer in model.named_modules() if alignment_of(layer) is not None]


# Which layers


@pytest.mark.parametrize(
    ("layer", "inputs", "dimension", "n"),
    [
        (nn.Conv1d(4, 6, 3), (2, 4, 9), 0, 12),
        (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 9, 9), 0, 18),
        (nn.Conv2d(4, 8, 3, groups=4), (2, 4, 9, 9), 0, 9),
        (nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4), 0, 16),
        (nn.ConvTranspose1d(4, 6, 3), (2, 4, 9), 1, 12),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 5, 5), 1, 18),
        (nn.ConvTranspose3d(2, 3, 2), (1, 2, 4, 4, 4), 1, 16),
        (nn.Linear(5, 3), (2, 5), 0, 5),
    ],
)
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


def test_all_layers_but_the_classifier(small: Small) -> None:
    weight = small.stem[0].weight
    assert weight_align(small) is small
    assert aligned_names(small) == ["stem.0", "depthwise", "up", "hidden"]
    assert small.stem[0].parametrizations.weight.original is weight  # type: ignore[union-attr]
    scales = {name: parameter.shape for name, parameter in small.named_parameters() if name.endswith("0.scale")}
    assert [tuple(shape) for shape in scales.values()] == [(8,), (8,), (6,), (10,)]


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("stem", ["depthwise", "up", "hidden"]),
        ("stem.0", ["depthwise", "up", "hidden"]),
        (["depth*", "up"], ["stem.0", "hidden"]),
        ((), ["stem.0", "depthwise", "up", "hidden"]),
    ],
)
def test_layers_left_out_by_name(small: Small, exclude: str | list[str], left: list[str]) -> None:
    weight_align(small, exclude=exclude)
    assert aligned_names(small) == left


def test_the_classifier_on_request(small: Small) -> None:
    assert aligned_names(weight_align(small, classifier=True))[-1] == "head"


def named(*layers: str) -> nn.Module:
    """A model whose children have these names; ``c`` at the end makes a convolution, else a linear layer."""
    model = nn.Module()
    for layer in layers:
        path, _, kind = layer.partition(":")
        top, _, rest = path.partition(".")
        if not hasattr(model, top):
            model.add_module(top, nn.Module() if rest else nn.Identity())
        owner = model.get_submodule(top) if rest else model
        owner.add_module(rest or top, nn.Conv2d(2, 2, 1) if kind == "c" else nn.Linear(2, 2))
    return model


class Timm(nn.Module):
    def __init__(self, heads: int) -> None:
        super().__init__()
        self.head, self.head_dist, self.body = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
        self.heads = heads

    def get_classifier(self) -> nn.Module | tuple[nn.Module, nn.Module]:
        return (nn.Identity(), self.head, (self.head, self.head_dist))[self.heads]


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (named("a:c", "b", "c"), {"c"}),
        (named("a:c", "head.fc", "b:c"), {"head.fc"}),  # the last linear layer, also before a convolution
        (named("a:c", "b:c"), {"b"}),
        (named("a:c", "aux1.fc1", "aux1.fc2", "fc"), {"fc", "aux1.fc2"}),
        (named("a:c", "AuxLogits.conv:c", "AuxLogits.fc", "fc"), {"fc", "AuxLogits.fc"}),
        (named("classifier.0:c", "classifier.4:c", "aux_classifier.4:c"), {"classifier.4", "aux_classifier.4"}),
        (nn.ReLU(), set()),
        (nn.Linear(2, 2), set()),
        (Timm(0), set()),
        (Timm(1), {"head"}),
        (Timm(2), {"head", "head_dist"}),
    ],
)
def test_how_the_classifier_is_found(model: nn.Module, found: set[str]) -> None:
    assert classifiers(model) == found


# What is refused


def unchanged(model: nn.Module, message: str, **options: object) -> None:
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        weight_align(model, **options)  # type: ignore[arg-type]
    after = model.state_dict()
    assert list(before) == list(after) and all(torch.equal(before[name], after[name]) for name in before)


def test_patterns_that_match_nothing(small: Small) -> None:
    unchanged(small, r"exclude: 'fc' matches no module of .*Small", exclude=["stem", "fc"])


def test_nothing_to_align(small: Small) -> None:
    unchanged(small, "no convolution or linear layer to align that is not left out", exclude="*")
    unchanged(nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), "no convolution or linear layer")


def test_converting_twice(small: Small) -> None:
    weight_align(small, exclude="up")
    unchanged(small, r"stem\.0 cannot be aligned: it is aligned already; fold the network first, or name it in exclude")
    weight_align(small, exclude=["stem", "depthwise", "hidden"])  # the rest may follow
    assert "up" in aligned_names(small)


def test_layers_that_are_parametrized_otherwise(small: Small) -> None:
    parametrizations.weight_norm(small.up)
    unchanged(small, r"up cannot be aligned: its weight is parametrized by _WeightNorm; take that off first")
    weight_align(small, exclude="up")
    assert "up" not in aligned_names(small)


def test_weights_that_are_no_parameters(small: Small) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(small.up)  # the old one, with hooks
    with pytest.raises(ValueError, match=r"up cannot be aligned: its weight is not a parameter"):
        weight_align(small)
    assert not is_aligned(small)


def test_lazy_layers() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.Conv2d(4, 2, 1))
    with pytest.raises(ValueError, match="0 cannot be aligned: it is lazy and has no weight yet; show the network"):
        weight_align(model)
    model(images())
    assert aligned_names(weight_align(model)) == ["0"]


def test_layers_whose_filters_have_one_weight(small: Small) -> None:
    small.hidden = nn.Linear(1, 10)
    unchanged(small, "hidden cannot be aligned: its filters have one weight each, which has no variance; name it in")


def test_weights_that_two_layers_share(small: Small) -> None:
    other = nn.Conv2d(8, 8, 3, groups=8)
    other.weight = small.depthwise.weight
    small.add_module("other", other)
    unchanged(small, "depthwise cannot be aligned: other holds the same weight; name both in exclude")
    weight_align(small, exclude=["depthwise", "other"])


def test_one_layer_under_two_names_is_one_layer(small: Small) -> None:
    small.again = small.hidden
    weight_align(small)
    assert alignment_of(small.hidden) is alignment_of(small.again)
    fold(small)
    assert type(small.again) is nn.Linear


def test_settings_that_make_no_sense(small: Small) -> None:
    unchanged(small, "keep must be 'weights' or 'function', got 'all'", keep="all")
    unchanged(small, "scale must be one of", scale="channel")
    unchanged(small, "gain must be one of", gain="big")
    unchanged(small, "nothing to align", centre=False, variance=False)
    unchanged(small, "eps must be above 0", eps=0)
    unchanged(small, "keep='function' needs a scale for each filter, got scale='layer'", keep="function", scale="layer")


def test_constant_filters_are_told_about(small: Small) -> None:
    nn.init.zeros_(small.up.weight)
    with pytest.warns(UserWarning, match=r"up \(1 such layers\) has filters of constant weights"):
        weight_align(small)
    small(images()).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in small.parameters() if parameter.grad is not None)


# What is kept


def test_scales_by_option(small: Small) -> None:
    for scale, shape in (("filter", (8,)), ("layer", ()), ("none", None)):
        model = weight_align(copy.deepcopy(small), scale=scale)  # type: ignore[arg-type]
        found = alignment_of(model.depthwise)
        assert found is not None and (None if found.scale is None else tuple(found.scale.shape)) == shape
        assert f"scale={scale}" in repr(found)
        model(images()).sum().backward()
        if found.scale is not None:
            assert found.scale.grad is not None and found.scale.grad.shape == found.scale.shape


def test_frozen_layers_stay_frozen(small: Small) -> None:
    small.up.requires_grad_(False)
    weight_align(small)
    found = alignment_of(small.up)
    assert found is not None and found.scale is not None and not found.scale.requires_grad
    assert not small.up.parametrizations.weight.original.requires_grad  # type: ignore[union-attr]
    assert not fold(small).up.weight.requires_grad


@pytest.mark.parametrize("options", [{}, {"gain": "nf"}, {"variance": False, "scale": "layer"}])
def test_keeping_the_function(small: Small, options: dict[str, object]) -> None:
    """Each filter keeps its deviation and loses its mean."""
    before = copy.deepcopy(small)
    weight_align(small, keep="function", **options)  # type: ignore[arg-type]
    for name in ("depthwise", "hidden"):
        weight = before.get_submodule(name).weight.detach()  # type: ignore[operator, union-attr]
        rows = weight.flatten(1) - weight.flatten(1).mean(1, keepdim=True)
        torch.testing.assert_close(small.get_submodule(name).weight.flatten(1), rows)  # type: ignore[operator, union-attr]


def test_keeping_the_function_with_means(small: Small) -> None:
    before = small(images())
    weight_align(small, keep="function", centre=False)
    torch.testing.assert_close(small(images()), before)


def test_a_folded_network_converts_back_to_the_same_function(small: Small) -> None:
    weight_align(small)
    for name in aligned_names(small):
        found = alignment_of(small.get_submodule(name))
        assert found is not None and found.scale is not None
        nn.init.uniform_(found.scale, 0.2, 3)
    before = small(images())
    weight_align(fold(small), keep="function")
    torch.testing.assert_close(small(images()), before)


def test_keeping_the_function_of_zeros_has_ordinary_gradients(small: Small) -> None:
    """As zero convolutions have: a scale of sqrt(eps) makes up for one over sqrt(eps)."""
    nn.init.zeros_(small.up.weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight_align(small, keep="function")
    small(images()).sum().backward()
    gradient = small.up.parametrizations.weight.original.grad  # type: ignore[union-attr, operator]
    assert 0 < gradient.abs().max() < 100  # type: ignore[operator, union-attr]


# Folding


def test_folding_changes_nothing_and_leaves_plain_layers(small: Small) -> None:
    weight_align(small).eval()
    keep = small.stem[0].parametrizations.weight.original  # type: ignore[union-attr]
    before = small(images())
    assert fold(small) is small
    assert torch.equal(small(images()), before)
    assert type(small.up) is nn.ConvTranspose2d and not any(parametrize.is_parametrized(m) for m in small.modules())
    assert not small.up._load_state_dict_pre_hooks
    assert small.stem[0].weight is keep and keep.requires_grad
    assert set(small.state_dict()) == set(Small().state_dict())


def test_folding_twice_and_folding_what_was_never_aligned(small: Small) -> None:
    with pytest.raises(ValueError, match="Small has no aligned layer; was it folded before"):
        fold(small)
    fold(weight_align(small))
    with pytest.raises(ValueError, match="no aligned layer"):
        fold(small)


def test_folding_a_part(small: Small) -> None:
    weight_align(small, together=True)
    before = small(images())
    fold(small.stem)
    assert aligned_names(small) == ["depthwise", "up", "hidden"]
    torch.testing.assert_close(small(images()), before)
    fold(small)
    assert not small._forward_pre_hooks and not small._forward_hooks and not small._forward_hooks_always_called


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet50", "vgg11_bn", "densenet121", "mobilenet_v3_small", "efficientnet_b0", "squeezenet1_1",
     "googlenet", "shufflenet_v2_x0_5", "convnext_tiny", "regnet_y_400mf", "swin_t"],
)  # fmt: skip
def test_networks_of_torchvision(name: str) -> None:
    models = pytest.importorskip("torchvision").models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"init_weights": True} if name == "googlenet" else {}
        model = models.get_model(name, weights=None, num_classes=11, **options).eval()
    plain = {key: type(layer) for key, layer in model.named_modules()}
    left_out = classifiers(model)
    weight_align(model)
    for key, layer in model.named_modules():
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


# States


def test_states(small: Small) -> None:
    weight_align(small)
    other = weight_align(Small(), gain="nf")
    other.load_state_dict(small.state_dict())
    torch.testing.assert_close(other.hidden.weight, small.hidden.weight * GAINS["nf"])


@pytest.mark.parametrize("strict", [True, False])
def test_a_folded_state_is_not_loaded_into_an_aligned_network(small: Small, strict: bool) -> None:
    folded = fold(weight_align(copy.deepcopy(small)))
    weight_align(small)
    with pytest.raises(
        RuntimeError, match=r"stem\.0\.weight is a plain weight .* load the state into the plain network"
    ):
        small.load_state_dict(folded.state_dict(), strict=strict)
    plain = Small()
    plain.load_state_dict(folded.state_dict())
    plain.eval(), folded.eval()
    before = folded(images())
    torch.testing.assert_close(weight_align(plain, keep="function")(images()), before)


def test_an_aligned_state_is_not_loaded_into_a_plain_network(small: Small) -> None:
    state = weight_align(copy.deepcopy(small)).state_dict()
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\) in state_dict: .*parametrizations\.weight\.original"):
        small.load_state_dict(state)


def test_a_weight_cannot_be_assigned(small: Small) -> None:
    weight_align(small)
    with pytest.raises(RuntimeError, match="does not implement right_inverse"):
        small.up.weight = torch.zeros(8, 3, 2, 2)  # type: ignore[assignment]


@pytest.mark.parametrize("together", [False, True])
def test_copies_are_independent(small: Small, together: bool) -> None:
    weight_align(small, together=together)
    before = small(images())
    other = copy.deepcopy(small)
    torch.testing.assert_close(other(images()), before)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    assert torch.equal(small(images()), before) and not torch.allclose(other(images()), before)
    assert torch.equal(fold(copy.deepcopy(small))(images()), before) and is_aligned(small)


# All weights at once


def step(model: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    loss = model(x).square().sum()
    return loss, list(torch.autograd.grad(loss, list(model.parameters())))


def test_all_weights_at_once_is_bit_for_bit_the_same(small: Small) -> None:
    other = weight_align(copy.deepcopy(small), together=True)
    weight_align(small)
    calls: list[int] = []
    other.up.parametrizations.weight[0].register_forward_hook(  # type: ignore[union-attr, index, operator]
        lambda alignment, _inputs, output: calls.append(alignment.ready is output)
    )
    (loss, gradients), (same, alike) = step(small, images()), step(other, images())
    assert torch.equal(loss, same) and all(torch.equal(a, b) for a, b in zip(gradients, alike, strict=True))
    assert calls == [True] and alignment_of(other.up).ready is None  # type: ignore[union-attr]
    other.up(torch.randn(1, 8, 2, 2))  # alone
    assert calls == [True, False]


def test_after_an_error_no_weight_is_left_over(small: Small) -> None:
    weight_align(small, together=True)
    with pytest.raises(RuntimeError):
        small(torch.randn(1, 5, 8, 8))
    assert all(found.ready is None for layer in small.modules() if (found := alignment_of(layer)) is not None)


def test_a_step_changes_the_weights_of_the_next_call(small: Small) -> None:
    weight_align(small, together=True)
    before = small(images())
    with torch.no_grad():
        small.up.parametrizations.weight[0].scale.mul_(2)  # type: ignore[union-attr, index, operator]
    assert not torch.allclose(small(images()), before)


# What torch does with networks


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(small: Small, dtype: torch.dtype, together: bool) -> None:
    weight_align(small, together=together)
    seen: list[Tensor] = []
    small.hidden.register_forward_pre_hook(lambda layer, _inputs: seen.append(layer.weight))
    with torch.autocast("cpu", dtype):
        output = small(images())
        output.float().square().sum().backward()
    assert seen[0].dtype == torch.float32
    assert output.dtype == dtype and all(parameter.grad.isfinite().all() for parameter in small.parameters())  # type: ignore[union-attr]


def test_a_network_in_half_precision(small: Small) -> None:
    weight_align(small, together=True).to(torch.bfloat16)
    assert small(images().to(torch.bfloat16)).dtype == torch.bfloat16


def test_double_precision_and_back(small: Small) -> None:
    before = weight_align(small).eval()(images())
    small.double()
    torch.testing.assert_close(small(images().double()).float(), before)


@pytest.mark.slow
@pytest.mark.parametrize("together", [False, True])
def test_compile_without_graph_breaks(small: Small, together: bool) -> None:
    weight_align(small, together=together)
    compiled = torch.compile(small, fullgraph=True)
    (loss, gradients), (same, alike) = step(small, images()), step(compiled, images())  # type: ignore[arg-type]
    torch.testing.assert_close(same, loss)
    for found, expected in zip(alike, gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


@pytest.mark.slow
def test_export_after_folding(small: Small) -> None:
    weight_align(small, together=True).eval()
    before = small(images())
    exported = torch.export.export(fold(small), (images(),))
    torch.testing.assert_close(exported.module()(images()), before)
    assert not any("native_batch_norm" in str(node.target) or "group_norm" in str(node.target)
                   for node in exported.graph.nodes)  # fmt: skip


def test_recomputing_activations(small: Small) -> None:
    weight_align(small)
    x = images().requires_grad_()

    def loss(call: Callable[[Tensor], Tensor]) -> list[Tensor]:
        return list(torch.autograd.grad(call(x).square().sum(), list(small.parameters())))

    plain, recomputed = loss(small), loss(lambda x: checkpoint(small, x, use_reentrant=False))
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))


@pytest.mark.slow
def test_distributed_data_parallel() -> None:
    """One process over gloo: gradients are those without, and a step is taken."""
    code = """
import copy, torch, torch.distributed as dist
from torch import nn
from weight_align import weight_align
dist.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
torch.manual_seed(0)
for together in (False, True):
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    model = weight_align(plain, together=together)
    twin = nn.parallel.DistributedDataParallel(copy.deepcopy(model))
    x = torch.randn(2, 3, 8, 8)
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    model(x).square().sum().backward()
    twin(x).square().sum().backward()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    before = twin(x)
    optimizer.step()
    assert not torch.equal(twin(x), before)
dist.destroy_process_group()
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and done.stdout.strip() == "fine", done.stderr


def test_a_trained_network_keeps_the_filters_statistics(small: Small) -> None:
    weight_align(small, scale="none")
    optimizer = torch.optim.SGD(small.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for seed in range(10):
        optimizer.zero_grad()
        small(images(seed=seed)).square().mean().backward()
        optimizer.step()
    rows = small.stem[0].weight.flatten(1)  # type: ignore[operator, union-attr]
    assert rows.mean(1).abs().max() < 1e-6
    torch.testing.assert_close(rows.var(1, correction=0), torch.full((8,), 2 / 27), rtol=1e-5, atol=0)
    assert math.isclose(small.up.weight.square().mean().item() * 16 / 2, 1, rel_tol=1e-5)


def test_importing_the_core_needs_torch_alone() -> None:
    code = (
        "import sys, weight_align, weight_align.networks, weight_align.distributions, weight_align.checkpoint\n"
        "print(sorted({'torchvision', 'lightning', 'PIL', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("training", [True, False])
def test_attention(training: bool) -> None:
    """Its output projection is a linear layer whose weight attention reads by itself, in eval mode in one kernel."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).train(training)
    weight_align(layer, classifier=True)
    assert aligned_names(layer) == ["self_attn.out_proj", "linear1", "linear2"]
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = layer(x)
        torch.testing.assert_close(fold(layer)(x), before)
