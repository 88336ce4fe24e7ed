"""All weights in one step: the same numbers as one by one, for every option and way of calling, and nothing left behind."""

import copy
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from weight_align import fold, weight_align
from weight_align.method import WeightAlignment, alignment_of
from weight_align.method.fused import align_together
from weight_align.method.together import PAYS_BELOW, install, pays, uninstall


class Net(nn.Module):
    """A convolution, a grouped transposed one, and a linear layer that is used twice; and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 2, 2, groups=2)
        self.hidden = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.stem(x).relu()).relu().mean((2, 3))
        return self.head(self.hidden(self.hidden(x).relu()).relu())


@pytest.fixture
def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().double()


def images(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).double()


def alignments(model: nn.Module) -> list[WeightAlignment]:
    return [found for layer in model.modules() if (found := alignment_of(layer)) is not None]


def pair(net: Net, **options: Any) -> tuple[Net, Net]:
    """The same network aligned layer by layer and all at once, with scales of its own."""
    alone = weight_align(copy.deepcopy(net), **options)
    for number, alignment in enumerate(alignments(alone)):
        if alignment.scale is not None:
            nn.init.uniform_(alignment.scale, 0.5, 2, generator=torch.Generator().manual_seed(number))
    at_once = weight_align(net, together=True, **options)
    at_once.load_state_dict(alone.state_dict())
    return alone, at_once


def step(model: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    loss = model(x).square().sum()
    return loss, list(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad]))


def same(alone: nn.Module, at_once: nn.Module, x: Tensor | None = None) -> None:
    x = images() if x is None else x
    (expected, gradients), (found, alike) = step(alone, x), step(at_once, x)
    assert torch.equal(found, expected)
    for one, other in zip(alike, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert all(alignment.ready is None for alignment in alignments(at_once))


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many weights each step aligns, one entry a step."""
    found: list[int] = []

    def count(weights: Sequence[Tensor], *rest: Any) -> tuple[Tensor, ...]:
        found.append(len(weights))
        return align_together(weights, *rest)

    monkeypatch.setattr("weight_align.method.together.align_together", count)
    return found


@pytest.mark.parametrize(("options", "steps"), [
    ({}, [3]),
    ({"classifier": True, "gain": "nf", "eps": 1e-2}, [4]), ({"scale": "layer", "gain": 0.5}, [3]),
    ({"scale": "none"}, [3]), ({"centre": False}, []), ({"variance": False}, []),
])  # fmt: skip
def test_every_option(net: Net, counts: list[int], options: dict[str, Any], steps: list[int]) -> None:
    """A component alone is aligned layer by layer as ever."""
    alone, at_once = pair(net, **options)
    at_once(images())
    assert counts == steps
    same(alone, at_once)


def test_every_layer_finds_its_weight_ready_and_a_copy_its_own(net: Net) -> None:
    weight_align(net, together=True)
    other = copy.deepcopy(net)
    seen: list[tuple[bool, bool]] = []
    for layer in (net.stem, net.up, net.hidden):
        layer.register_forward_hook(lambda layer, *_: seen.append((alignment_of(layer).ready is layer.weight, True)))  # type: ignore[union-attr]
    net(images())
    assert seen == [(True, True)] * 4

    def look(layer: nn.Module, *_: Any) -> None:
        seen.append((alignment_of(net.up).ready is None, alignment_of(layer).ready is not None))  # type: ignore[union-attr]

    other.up.register_forward_hook(look)
    other(images())
    assert seen == [(True, True)] * 5


def test_layers_that_are_aligned_differently(net: Net, counts: list[int]) -> None:
    alone, later = copy.deepcopy(net), copy.deepcopy(net)
    for model, together in ((alone, False), (net, True)):
        weight_align(model, exclude=["up", "hidden"], gain="nf", scale="layer")
        weight_align(model, exclude=["stem", "hidden"], variance=False)
        weight_align(model, exclude=["stem", "up"], eps=1e-2, together=together)
    same(alone, net)
    assert counts == [2]
    alone = weight_align(copy.deepcopy(later))
    weight_align(later.stem, together=True)
    weight_align(later, exclude=["stem", "hidden"], together=True)
    weight_align(later, exclude=["stem", "up"], together=True)
    same(alone, later)
    assert counts == [2, 3], "every weight once, whenever it was aligned"


def test_second_derivatives_and_frozen_layers(net: Net) -> None:
    frozen = copy.deepcopy(net)
    frozen.stem.requires_grad_(False)
    frozen.up.weight.requires_grad_(False)
    same(*pair(frozen))

    def penalty(model: nn.Module) -> list[Tensor]:
        parameters = list(model.parameters())
        first = torch.autograd.grad(model(images()).square().sum(), parameters, create_graph=True)
        total = torch.stack([gradient.square().sum() for gradient in first]).sum()
        return list(torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True))

    alone, at_once = pair(net)
    for found, expected in zip(penalty(at_once), penalty(alone), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_aligned_layer_by_layer(net: Net, counts: list[int], dtype: torch.dtype) -> None:
    alone, at_once = pair(net)
    x = images().to(dtype)
    assert torch.equal(at_once.to(dtype)(x), alone.to(dtype)(x)) and counts == []
    at_once.up.double()
    at_once.up.register_forward_pre_hook(lambda _layer, inputs: inputs[0].double())
    at_once.up.register_forward_hook(lambda _layer, _inputs, output: output.to(dtype))
    assert at_once(x).isfinite().all() and counts == [1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast(net: Net, dtype: torch.dtype) -> None:
    alone, at_once = pair(net.float())
    with torch.autocast("cpu", dtype):
        (expected, gradients), (found, alike) = step(alone, images().float()), step(at_once, images().float())
    assert torch.equal(found, expected)
    for one, other in zip(alike, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-2 * float(other.abs().max()))


def test_a_network_that_is_called_twice_for_one_loss(net: Net) -> None:
    class Both(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * self.inner(x.flip(0))  # type: ignore[no-any-return]

    alone, at_once = pair(net)
    same(Both(alone), Both(at_once))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_an_evaluation_between_two_steps(net: Net, mode: Callable[[], Any]) -> None:
    alone, at_once = pair(net)
    with mode():
        assert torch.equal(at_once(images()), alone(images()))
    same(alone, at_once)
    with mode():
        at_once.up(torch.randn(1, 8, 2, 2).double())
    same(alone, at_once)


def test_under_the_transforms_of_torch(net: Net, counts: list[int]) -> None:
    alone, at_once = pair(net)
    given = {name: value.detach() * 2 + 0.1 for name, value in alone.named_parameters()}

    def loss(parameters: dict[str, Tensor], model: nn.Module) -> Tensor:
        output: Tensor = functional_call(model, parameters, (images(),))
        return output.square().sum()

    assert torch.equal(loss(given, at_once), loss(given, alone)) and counts == [3]
    found, expected = grad(loss)(given, at_once), grad(loss)(given, alone)
    assert counts == [3]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_a_layer_that_was_replaced_or_folded(net: Net, counts: list[int]) -> None:
    alone, at_once = pair(net)
    for model in (alone, at_once):
        model.stem = nn.Conv2d(3, 8, 1).double()
        fold(model.up)
    at_once.stem.load_state_dict(alone.stem.state_dict())
    same(alone, at_once)


@pytest.mark.parametrize("wrap", [False, True])
def test_hooks_of_others_stay(net: Net, wrap: bool) -> None:
    calls: list[str] = []
    net.register_forward_pre_hook(lambda *_: calls.append("before"))
    net.register_forward_hook(lambda *_: calls.append("after"), always_call=True)
    weight_align(net, together=True)
    assert len(net._forward_pre_hooks) == len(net._forward_hooks) == len(net._forward_hooks_always_called) == 2
    fold(nn.Sequential(net) if wrap else net)
    assert len(net._forward_pre_hooks) == len(net._forward_hooks) == len(net._forward_hooks_always_called) == 1
    net(images())
    assert calls == ["before", "after"]


def test_without_the_hooks_every_layer_aligns_its_own(net: Net, counts: list[int]) -> None:
    alone, at_once = pair(net)
    uninstall(at_once)
    same(alone, at_once)
    assert counts == [] and len(alignments(at_once)) == 3
    uninstall(at_once)
    install(at_once)
    same(alone, at_once)
    assert counts == [3]


def test_on_the_meta_device_and_where_it_pays(net: Net, counts: list[int]) -> None:
    model = weight_align(net.to("meta"), together=True)
    assert model(images().to("meta")).shape == (4, 4) and counts == []
    with torch.device("meta"):
        for rows, expected in ((PAYS_BELOW // 2048, False), (PAYS_BELOW // 2048 - 1, True)):
            assert pays(weight_align(nn.Sequential(nn.Linear(2048, rows), nn.Linear(rows, 4096)))) is expected


@pytest.mark.slow
def test_two_processes_of_distributed_data_parallel(tmp_path: Path) -> None:
    """Each sees half of the batch, and the second starts with other weights and scales: gradients are those of the whole."""
    code = """
import copy, sys, torch, torch.distributed as dist
from torch import nn
from weight_align import weight_align
rank = int(sys.argv[1])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
for together in (False, True):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 8, 8)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    weight_align(model, together=together)
    whole = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(rank)
    twin = nn.parallel.DistributedDataParallel(model)
    for _ in range(2):
        whole.zero_grad(), twin.zero_grad()
        whole(x).square().mean().backward()
        twin(x[2 * rank : 2 * rank + 2]).square().mean().backward()
        for expected, found in zip(whole.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(found.grad, expected.grad)
            with torch.no_grad():
                for parameter in (expected, found):
                    parameter.sub_(0.1 * parameter.grad)
dist.destroy_process_group()
print("fine")
"""
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    arguments = [[str(rank), str(tmp_path / "store")] for rank in range(2)]
    started = [subprocess.Popen([*command, *each], stdout=pipe, stderr=pipe, text=True) for each in arguments]
    try:
        for process in started:
            out, error = process.communicate(timeout=300)
            assert process.returncode == 0 and out.strip() == "fine", error
    finally:
        for process in started:
            process.kill()
