"""Converted networks in all that torch does with one: weights at once, precisions, compilation, export, processes, training."""

import math
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from weight_align import fold, weight_align
from weight_align.method import alignment_of


def step(model: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    loss = model(x).square().sum()
    return loss, list(torch.autograd.grad(loss, list(model.parameters())))


def test_after_an_error_no_weight_is_left_over(small: nn.Module) -> None:
    weight_align(small, together=True)
    with pytest.raises(RuntimeError):
        small(torch.randn(1, 5, 8, 8))
    assert all(found.ready is None for layer in small.modules() if (found := alignment_of(layer)) is not None)


def test_a_step_changes_the_weights_of_the_next_call(small: nn.Module, pixels: Tensor) -> None:
    weight_align(small, together=True)
    before = small(pixels)
    with torch.no_grad():
        small.up.parametrizations.weight[0].scale.mul_(2)  # type: ignore[union-attr, index, operator]
    assert not torch.allclose(small(pixels), before)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(small: nn.Module, pixels: Tensor, dtype: torch.dtype, together: bool) -> None:
    weight_align(small, together=together)
    seen: list[Tensor] = []
    small.hidden.register_forward_pre_hook(lambda layer, _inputs: seen.append(layer.weight))
    with torch.autocast("cpu", dtype):
        output = small(pixels)
        output.float().square().sum().backward()
    assert seen[0].dtype == torch.float32
    assert output.dtype == dtype and all(parameter.grad.isfinite().all() for parameter in small.parameters())  # type: ignore[union-attr]


def test_double_precision_and_back(small: nn.Module, pixels: Tensor) -> None:
    before = weight_align(small).eval()(pixels)
    small.double()
    torch.testing.assert_close(small(pixels.double()).float(), before)


@pytest.mark.slow
@pytest.mark.parametrize("together", [False, True])
def test_compile_without_graph_breaks(small: nn.Module, pixels: Tensor, together: bool) -> None:
    weight_align(small, together=together)
    compiled = torch.compile(small, fullgraph=True)
    (loss, gradients), (same, alike) = step(small, pixels), step(compiled, pixels)  # type: ignore[arg-type]
    torch.testing.assert_close(same, loss)
    for found, expected in zip(alike, gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


@pytest.mark.slow
def test_export_after_folding(small: nn.Module, pixels: Tensor) -> None:
    weight_align(small, together=True).eval()
    before = small(pixels)
    exported = torch.export.export(fold(small), (pixels,))
    torch.testing.assert_close(exported.module()(pixels), before)
    assert not any("native_batch_norm" in str(node.target) or "group_norm" in str(node.target)
                   for node in exported.graph.nodes)  # fmt: skip


def test_recomputing_activations(small: nn.Module, pixels: Tensor) -> None:
    weight_align(small)
    x = pixels.requires_grad_()

    def loss(call: Callable[[Tensor], Tensor]) -> list[Tensor]:
        return list(torch.autograd.grad(call(x).square().sum(), list(small.parameters())))

    plain, recomputed = loss(small), loss(lambda x: checkpoint(small, x, use_reentrant=False))
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))


def test_a_trained_network_keeps_the_filters_statistics(small: nn.Module, images: Callable[..., Tensor]) -> None:
    weight_align(small, scale="none")
    optimizer = torch.optim.SGD(small.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for seed in range(10):
        optimizer.zero_grad()
        small(images(4, 8, seed)).square().mean().backward()
        optimizer.step()
    rows = small.stem[0].weight.flatten(1)  # type: ignore[operator, union-attr]
    assert rows.mean(1).abs().max() < 1e-6
    torch.testing.assert_close(rows.var(1, correction=0), torch.full((8,), 2 / 27), rtol=1e-5, atol=0)
    assert math.isclose(small.up.weight.square().mean().item() * 16 / 2, 1, rel_tol=1e-5)


def test_method_and_networks_need_torch_alone() -> None:
    code = (
        "import sys, weight_align.method as method, weight_align.networks as networks\n"
        "[getattr(room, name) for room in (method, networks) for name in room.__all__]\n"
        "print(sorted({'efficiency_core', 'torchvision', 'lightning', 'PIL', 'h5py'} & set(sys.modules)))"
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
    expected = ["self_attn.out_proj", "linear1", "linear2"]
    assert [name for name, module in layer.named_modules() if alignment_of(module) is not None] == expected
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = layer(x)
        torch.testing.assert_close(fold(layer)(x), before)
